"""2x2 max pooling of the tutorial's two layers."""

from benchmarks.subject import Family, Subject


def _pool(n: int, c: int, size: int, gradient: bool) -> Subject:
    image, pooled = 4.0 * n * c * size * size, 4.0 * n * c * (size // 2) ** 2
    part = "forward and gradient" if gradient else "forward"
    return Subject(
        f"pool {c}x{size}x{size}, {part}", "pool", (n, c, size, gradient),
        bytes=2 * image + 2 * pooled if gradient else image + pooled,
    )  # fmt: skip


FAMILY = Family(
    "pooling",
    "Max pooling",
    "500 pictures, 2x2 windows. The gradient comes with the forward result, as in training.",
    tuple(
        _pool(500, c, size, gradient)
        for c, size in ((20, 24), (50, 8))
        for gradient in (False, True)
    ),
)
