"""Softmax with cross-entropy: mean cost and gradient by the logits."""

from benchmarks.subject import Family, Subject

FAMILY = Family(
    "softmax",
    "Softmax with cross-entropy",
    "The mean cost and its gradient by the logits.",
    tuple(
        Subject(
            f"cross-entropy {rows} x {classes}", "cross_entropy", (rows, classes),
            bytes=8.0 * rows * classes,
        )
        for rows, classes in ((500, 10), (128, 1000), (64, 32000))
    ),
)  # fmt: skip
