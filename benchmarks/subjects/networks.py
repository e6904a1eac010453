"""Fully connected networks of the tutorials: logistic regression and a multi-layer perceptron."""

from itertools import pairwise

from benchmarks.subject import Bar, Family, Subject


def _step(title: str, sizes: tuple[int, ...], batch: int) -> Subject:
    layers = [a * b for a, b in pairwise(sizes)]
    return Subject(
        f"{title} step, batch {batch}", "network_step", (sizes, batch),
        flops=2.0 * batch * (3 * sum(layers) - layers[0]),
        bars=(Bar("ratio", 0.5 if batch == 20 else 1.0),),
    )  # fmt: skip


FAMILY = Family(
    "networks",
    "Fully connected networks",
    "One SGD step. MLP: 784-500-10 with tanh; logistic regression: 784-10.",
    tuple(
        _step(title, sizes, batch)
        for title, sizes in (("MLP", (784, 500, 10)), ("logistic regression", (784, 10)))
        for batch in (500, 20)
    ),
)
