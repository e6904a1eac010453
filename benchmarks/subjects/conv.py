"""conv2d alone: forward, gradient by the weights, gradient by the images."""

from benchmarks.subject import Family, Subject

# name: images n x c x size x size, o filters k x k, stride, zeros around
SHAPES = {
    "tutorial layer 1": (500, 1, 28, 20, 5, 1, 0),
    "tutorial layer 2": (500, 20, 12, 50, 5, 1, 0),
    "3x32x32 to 64, 3x3": (128, 3, 32, 64, 3, 1, 1),
    "3x32x32 to 64, 5x5": (128, 3, 32, 64, 5, 1, 2),
    "64x56x56 to 64, 3x3": (16, 64, 56, 64, 3, 1, 1),
    "64x56x56 to 256, 1x1": (16, 64, 56, 256, 1, 1, 0),
    "64x56x56 to 128, 3x3, stride 2": (16, 64, 56, 128, 3, 2, 1),
    "32x28x28 to 64, 5x5, padded 2": (16, 32, 28, 64, 5, 1, 2),
}
KERNELS = {
    "forward": "conv_forward",
    "by weights": "conv_grad_weights",
    "by images": "conv_grad_inputs",
}


def flops(n: int, c: int, size: int, o: int, k: int, stride: int, pad: int) -> float:
    """Of each of the three: they contract the same index space."""
    out = (size + 2 * pad - k) // stride + 1
    return 2.0 * n * o * out * out * c * k * k


FAMILY = Family(
    "conv",
    "Convolution",
    "Images (500, 128 or 16 of them), channels and sizes as named, zeros around where the size is "
    "kept. FLOP are counted for the direct algorithm, on zeros too.",
    tuple(
        Subject(f"conv {name}, {part}", kernel, shape, flops=flops(*shape))
        for name, shape in SHAPES.items()
        for part, kernel in KERNELS.items()
    ),
)
