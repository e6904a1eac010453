"""The largest resident size of a process that trains LeNet."""

from benchmarks.subject import Bar, Family, Subject

FAMILY = Family(
    "memory",
    "Peak memory",
    "The largest resident size of a new process after 20 steps, libraries included, 2,000 images "
    "in memory.",
    (
        Subject(
            "peak memory, LeNet training, batch 500", "lenet_step", (500,), how="peak",
            bars=(Bar("ratio", 1.0, against="torch"),),
        ),
    ),
)  # fmt: skip
