"""Gradients of a model or of one layer against finite differences, variable by variable.

    with symgraph.config.change_flags(floatX="float64"):
        model = build(Options.of(model="pytorch"), (1, 28, 28), digits)
        for row in check_model(model, *random_batch(model)):
            print(row.name, row.error, row.ok)

The cost is the one that training minimises, without penalties: batch normalisation uses the
statistics of the batch, and dropout drops, with the same random numbers in every evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import symgraph
from lenet.errors import RunError
from lenet.layers import Application, Layer
from lenet.network import Model
from symgraph import tensor as T
from symgraph.tensor.random import RandomStreams

EPSILON = 1e-5
TOLERANCE = 1e-5
ENTRIES = 20
SMALLER = (10, 100, 1000)  # steps are divided by these in turn where a kink may be
NOISE = 1e-3  # deviation of what is added to the input to get away from a kink
ROUNDING = 16  # how many units in the last place of the cost its sums may be off


@dataclass(frozen=True)
class Checked:
    """The gradient by one variable, of `size` entries, `checked` of which were compared.

    `error` is the largest relative error: |symbolic - numeric| / (|symbolic| + |numeric|), where
    gradients too small for finite differences to tell from rounding are taken as larger. It was
    found at the entry `at`, where the gradients are `symbolic` and `numeric`. Of the entries,
    `kinks` lie near or at a point without derivative (ReLU at 0, a tie in max pooling, whose
    elements all get the gradient): they are right with a smaller step, or beside it, with a little
    noise added to the input. Of these, `undecided` are at such a point and could not be compared:
    there the symbolic gradient lies between the slopes to both sides.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    checked: int
    error: float
    at: tuple[int, ...]
    symbolic: float
    numeric: float
    kinks: int
    undecided: int
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the gradient is right: no error above the tolerance, and not all undecided."""
        return self.error <= self.tolerance and (self.undecided < self.checked or not self.checked)


def check_model(
    model: Model,
    x: NDArray[np.float64],
    y: NDArray[np.int32],
    *,
    entries: int | None = ENTRIES,
    seed: int = 0,
    epsilon: float = EPSILON,
    tolerance: float = TOLERANCE,
) -> list[Checked]:
    """The gradients of the cost in training by all parameters and by the input, a row for each.

    `model` was built under floatX float64; `x` (n, channels, height, width) and the labels `y`
    (n,) are a small batch. Of every variable, `entries` chosen by `seed` are compared (None: all)
    with central differences of `epsilon` to each side.

    Raises RunError if the model is not float64.
    """
    with symgraph.config.change_flags(floatX="float64"):
        cost = model.training(seed).cost
        images = symgraph.shared(np.asarray(x, "float64"), "input")
        labels = symgraph.shared(np.asarray(y, "int32"), "labels")
        variables = {**model.params, "input": model.x}
        givens = {model.x: images, model.y: labels}
        return check(cost, variables, givens, entries, seed, epsilon, tolerance, images)


def check_layer(
    layer: Layer,
    *,
    batch: int = 4,
    entries: int | None = ENTRIES,
    seed: int = 0,
    epsilon: float = EPSILON,
    tolerance: float = TOLERANCE,
) -> list[Checked]:
    """The gradients of one built layer alone, by its parameters and by its input.

    What is differentiated is the sum of its output, in training, times fixed random numbers; its
    input is (batch, *input_shape) normal random numbers, which have hardly a kink. Arguments and
    errors are as for `check_model`.
    """
    rng = np.random.RandomState(seed)
    with symgraph.config.change_flags(floatX="float64"):
        x = symgraph.shared(rng.normal(size=(batch, *layer.input_shape)), "input")
        # The types that layers get in a network: no axis is known to be 1.
        seen: Any = T.TensorType("float64", (False,) * x.ndim)("input")
        how = Application(training=True, streams=RandomStreams(seed))
        weights = rng.normal(size=(batch, *layer.output_shape))
        cost = T.sum(layer.apply(seen, how) * weights)
        params = {p.name: p for p in layer.params.values()}
        variables = {**params, "input": seen}
        return check(cost, variables, {seen: x}, entries, seed, epsilon, tolerance, x)


def random_batch(
    model: Model, count: int = 8, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Images of independent pixels, uniform from 0 to 1, and labels, for `check_model`.

    Unlike real images they have no areas of one shade, where all units of a map are at one kink.
    """
    rng = np.random.RandomState(seed)
    images = rng.uniform(size=(count, *model.input_shape))
    return images, rng.randint(len(model.classes), size=count).astype(np.int32)


def scatter(model: Model, seed: int = 0) -> None:
    """Add normal random numbers of deviation 0.1 to parameters whose entries are all the same.

    Such as zeros: behind the tutorial's last layer every gradient is 0 at first, right or wrong.
    """
    rng = np.random.RandomState(seed)
    for param in model.params.values():
        value = param.get_value()
        if np.ptp(value) == 0:
            param.set_value(value + rng.normal(0, 0.1, value.shape).astype(value.dtype))


def check(
    cost: Any,
    variables: Mapping[str, Any],
    givens: Mapping[Any, Any],
    entries: int | None = ENTRIES,
    seed: int = 0,
    epsilon: float = EPSILON,
    tolerance: float = TOLERANCE,
    movable: Any = None,
) -> list[Checked]:
    """The gradients of the scalar `cost` by `variables`, a row for each, by their names.

    A variable is shared, or a key of `givens`, whose values are shared: all float64, else RunError.
    Entries that are wrong are compared again with noise added to the shared variable `movable`:
    what is right there was at a kink.
    """
    holders = {name: givens.get(v, v) for name, v in variables.items()}
    for name, holder in holders.items():
        if holder.dtype != "float64":
            raise RunError(
                f"gradient check of {name}",
                holder.dtype,
                "float64: finite differences in float32 tell nothing",
                'build the model under symgraph.config.change_flags(floatX="float64")',
            )
    # Random numbers stand still: their states are read, never moved on.
    fixed: dict[str, Any] = {"givens": givens, "no_default_updates": True}
    value = symgraph.function([], cost, name="cost", **fixed)
    slopes = symgraph.grad(cost, list(variables.values()), disconnected_inputs="ignore")
    gradients = symgraph.function([], slopes, name="gradients", **fixed)
    probe = _Probe(lambda: float(value()), epsilon, tolerance)

    compared: dict[str, dict[int, _Entry]] = {}
    for (name, holder), gradient in zip(holders.items(), gradients(), strict=True):
        size = gradient.size
        rng = np.random.RandomState(seed)
        chosen = np.arange(size) if entries is None else rng.permutation(size)[:entries]
        compared[name] = probe.compare_all(holder, gradient, chosen.tolist())
    wrong = {
        name: [i for i, entry in found.items() if entry.error > tolerance]
        for name, found in compared.items()
    }
    if movable is not None and any(wrong.values()):
        here = movable.get_value()
        noise = np.random.RandomState(seed).normal(0, NOISE, here.shape)
        movable.set_value(here + noise)
        probe = _Probe(probe.value, epsilon, tolerance)
        for (name, holder), gradient in zip(holders.items(), gradients(), strict=True):
            again = probe.compare_all(holder, gradient, wrong[name])
            right = {i: e._replace(near=True) for i, e in again.items() if e.error <= tolerance}
            compared[name].update(right)
        movable.set_value(here)
    return [
        _row(n, holders[n].get_value().shape, found, tolerance) for n, found in compared.items()
    ]


class _Entry(NamedTuple):
    """What came of comparing one entry: `near` a kink, and `open`, undecided, at it."""

    error: float
    symbolic: float
    numeric: float
    near: bool = False
    open: bool = False


@dataclass
class _Probe:
    """Compares single entries: `value` is the cost as a function of what the variables hold."""

    value: Callable[[], float]
    epsilon: float
    tolerance: float

    def __post_init__(self) -> None:
        self.middle = self.value()

    def compare_all(self, holder: Any, gradient: Any, chosen: list[int]) -> dict[int, _Entry]:
        """The entries `chosen` of what `holder`, a shared variable, holds."""
        before = holder.get_value()
        moved = np.array(before, order="C")
        holder.set_value(moved, borrow=True)
        try:
            flat = holder.get_value(borrow=True).reshape(-1)
            return {i: self.compare(flat, i, float(gradient.flat[i])) for i in chosen}
        finally:
            holder.set_value(before, borrow=True)

    def compare(self, flat: Any, i: int, symbolic: float) -> _Entry:
        """Entry `i` of `flat`, in place, with steps that get smaller while it seems wrong."""
        numeric = sum(self.slopes(flat, i, self.epsilon)) / 2
        first = _Entry(self.error(symbolic, numeric, self.epsilon), symbolic, numeric)
        if first.error <= self.tolerance:
            return first
        before = None
        for epsilon in (self.epsilon / divisor for divisor in SMALLER):
            left, right = self.slopes(flat, i, epsilon)
            nearer = (left + right) / 2
            error, rounding = self.error(symbolic, nearer, epsilon), self.rounding(epsilon)
            # A kink within the first step: without it, both steps give the same but for rounding.
            if error <= self.tolerance and abs(nearer - numeric) > rounding:
                return _Entry(error, symbolic, nearer, near=True)
            # At a kink the slopes to both sides stay apart, however small the step.
            jump = abs(right - left)
            stays = before is not None and jump > max(0.5 * before, 4 * rounding)
            slack = rounding + self.tolerance * jump
            if stays and min(left, right) - slack <= symbolic <= max(left, right) + slack:
                return _Entry(0.0, symbolic, nearer, near=True, open=True)
            before = jump
        return first

    def slopes(self, flat: Any, i: int, epsilon: float) -> tuple[float, float]:
        """The slopes to the left and to the right of entry `i`, which is left as it was."""
        here = flat[i]
        try:
            flat[i] = here - epsilon
            left, below = flat[i], self.value()
            flat[i] = here + epsilon
            right, above = flat[i], self.value()
        finally:
            flat[i] = here
        before = (self.middle - below) / (here - left)
        return float(before), float((above - self.middle) / (right - here))

    def rounding(self, epsilon: float) -> float:
        """How far a slope may be off because costs are rounded."""
        return float(ROUNDING * np.spacing(max(1.0, abs(self.middle))) / epsilon)

    def error(self, symbolic: float, numeric: float, epsilon: float) -> float:
        """The relative error; infinite where something is not finite."""
        if not (np.isfinite(symbolic) and np.isfinite(numeric)):
            return float("inf")
        least = self.rounding(epsilon) / self.tolerance
        return abs(symbolic - numeric) / max(abs(symbolic) + abs(numeric), least)


def _row(
    name: str, shape: tuple[int, ...], found: Mapping[int, _Entry], tolerance: float
) -> Checked:
    """The row of a variable of `shape` of which the entries `found` were compared."""
    i, worst = max(found.items(), key=lambda pair: pair[1].error, default=(0, _Entry(0, 0, 0)))
    size = int(np.prod(shape))
    return Checked(
        name, shape, size, len(found), worst.error,
        tuple(int(n) for n in np.unravel_index(i, shape)) if size else (),
        worst.symbolic, worst.numeric,
        sum(entry.near for entry in found.values()), sum(entry.open for entry in found.values()),
        tolerance,
    )  # fmt: skip
