"""The tutorial's LeNet: 20 and 50 filters 5x5, 2x2 pooling, 500 hidden units, 10 classes."""

from benchmarks.subject import Bar, Family, Subject

# Multiply-adds for one picture, layer by layer: two convolutions, two fully connected layers.
LAYERS = (20 * 24 * 24 * 25, 50 * 8 * 8 * 20 * 25, 800 * 500, 500 * 10)


def forward_flops(batch: int) -> float:
    return 2.0 * batch * sum(LAYERS)


def step_flops(batch: int) -> float:
    """Each layer once forward, once for its weights and once for its inputs, but the images."""
    return 2.0 * batch * (3 * sum(LAYERS) - LAYERS[0])


BARS = {
    500: (Bar("ratio", 0.5), Bar("fraction", 0.5, least=True)),
    20: (Bar("ratio", 0.5),),
    1: (Bar("ratio", 0.5),),
}

FAMILY = Family(
    "lenet",
    "LeNet",
    "One SGD step (forward, gradient, update, cost read back), and the class probabilities alone.",
    (
        *(
            Subject(
                f"LeNet step, batch {batch}", "lenet_step", (batch,),
                flops=step_flops(batch), bars=BARS.get(batch, ()),
            )
            for batch in (500, 100, 20, 1)
        ),
        *(
            Subject(
                f"LeNet forward, batch {batch}", "lenet_forward", (batch,),
                flops=forward_flops(batch),
            )
            for batch in (500, 1)
        ),
    ),
)  # fmt: skip
