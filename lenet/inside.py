"""What happens inside a network, as arrays: what layers give, react to, and are made of.

    inside = Inspector(classifier.model)
    maps = inside.outputs(classifier.inputs(images))["layer0"]
    pictures = inside.maximise("layer3")          # what each class looks like to the network

lenet.pictures draws what comes of it; `python -m lenet show` does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import symgraph
from lenet.errors import RunError
from lenet.layers import (
    Activation,
    Application,
    Conv2D,
    Layer,
    LeNetConvPoolLayer,
    RadialBasis,
)
from lenet.layers.conv import filters_seen
from lenet.network import Model
from symgraph import tensor as T
from symgraph.tensor.nnet import conv2d

Array = NDArray[Any]

# Where activations level off, and how near to it, as a share of the range, counts as there.
BOUNDS = {"tanh": (-1.0, 1.0), "scaled_tanh": (-1.7159, 1.7159), "sigmoid": (0.0, 1.0)}
NEAR = 0.025
AT_ONCE = 500  # images


class Activity(NamedTuple):
    """What one layer gave for many images.

    `counts` (bins,) of outputs between `edges` (bins + 1,); the shares, 0 to 1, of outputs that are
    exactly `zero`, and that are `saturated`: within 2.5 % of the range of where the activation
    levels off (None for activations that do not). `dead` of the `units`, which are maps or neurons,
    gave the same for all images and places.
    """

    counts: NDArray[np.int64]
    edges: Array
    zero: float
    saturated: float | None
    dead: int
    units: int


class Inspector:
    """Looks into `model`; what it needs is compiled when first asked for, and then kept.

    `x` is always what the model gets: (n, channels, height, width) in its dtype, as
    lenet.classifier.Classifier.inputs makes it of images.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._ascents: dict[str, tuple[Any, Any]] = {}

    def outputs(self, x: Array) -> dict[str, Array]:
        """The output of every layer, (n, *its shape), by the layers' names."""
        return dict(zip(self.model.outputs, self._layers(x), strict=True))

    def activity(self, x: Array, bins: int = 60) -> dict[str, Activity]:
        """How the outputs of every layer are distributed over the images `x`, at least one.

        A few images at a time: the maps of a large set would fill the memory.
        """
        chunks = [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]
        spreads = {layer.name: _Spread(layer) for layer in self.model.layers}
        for measure in (_Spread.reach, _Spread.count):  # bins need the range of all of them
            for chunk in chunks:
                for name, output in self.outputs(chunk).items():
                    measure(spreads[name], output, bins)
        return {name: spread.activity(bins) for name, spread in spreads.items()}

    def saliency(self, x: Array, classes: Array | None = None) -> Array:
        """The gradient of a score by the image: of `classes` (n,) ints, by default the highest.

        Of the shape and dtype of `x`. Source: Simonyan, Vedaldi, Zisserman, Deep inside
        convolutional networks, 2014.
        """
        chosen = self._answers(x) if classes is None else classes
        gradient: Array = self._saliency(x, np.asarray(chosen, np.int32))
        return gradient

    def maximise(
        self,
        layer: str | None = None,
        units: Sequence[int] | None = None,
        *,
        steps: int = 200,
        rate: float = 0.1,
        decay: float = 0.01,
        blur: float = 0.5,
        limits: tuple[float, float] | None = (0.0, 1.0),
        seed: int = 0,
    ) -> Array:
        """Pictures that `units` of `layer` answer most to: (units, channels, height, width).

        By default all units of the last layer, before softmax: the classes. A unit of a layer of
        maps is a map, of which the mean is maximised. Each of `steps` goes up the gradient, whose
        root mean square is scaled to `rate`, then shrinks the picture by the share `decay` (L2) and
        blurs it by a Gaussian of `blur` pixels (0: not); `limits` keep pixels in the range that
        images have, None for preprocessed ones. It begins with faint and with strong noise, drawn
        from `seed`, and keeps the better outcome: to some noise a ReLU is silent, without gradient.

        Raises RunError for a layer or unit that is not there. Source: Simonyan et al. 2014;
        Yosinski et al., Understanding neural networks through deep visualization, 2015.
        """
        name = layer if layer is not None else self.model.layers[-1].name
        count = self.model.layer(name).output_shape[0]
        chosen = list(range(count)) if units is None else list(units)
        for unit in chosen:
            if not 0 <= unit < count:
                raise RunError(
                    f"unit {unit} of layer {name}",
                    "a number that no unit has",
                    f"0 to {count - 1}",
                    "choose another unit",
                )
        dtype, shape = self.model.x.dtype, (len(chosen), *self.model.input_shape)
        low, high = limits or (-np.inf, np.inf)
        rng = np.random.RandomState(seed)
        noise = np.concatenate([rng.normal(0, 0.1, shape), rng.normal(0, 1, shape)])
        pictures, ascend = self._ascent(name)
        pictures.set_value(np.clip(noise, low, high).astype(dtype))
        settings = [np.asarray(n, dtype) for n in (rate, 1 - decay, low, high)]
        taps, wanted = _gaussian(blur).astype(dtype), np.asarray(2 * chosen, np.int64)
        for _ in range(steps):
            answers = ascend(wanted, *settings, taps)
        better = np.argmax(answers.reshape(2, -1), axis=0)
        found: Array = pictures.get_value().reshape(2, *shape)[better, np.arange(len(chosen))]
        return found

    @cached_property
    def _layers(self) -> Any:
        return symgraph.function([self.model.x], list(self.model.outputs.values()), name="layers")

    @cached_property
    def _answers(self) -> Any:
        return symgraph.function([self.model.x], self.model.prediction, name="answers")

    @cached_property
    def _saliency(self) -> Any:
        x, y = self.model.x, self.model.y
        score = self.model.scores[T.arange(y.shape[0]), y].sum()
        return symgraph.function([x, y], symgraph.grad(score, x), name="saliency")

    def _ascent(self, name: str) -> tuple[Any, Any]:
        """The pictures, a shared variable, and the function that improves them for a layer.

        Its arguments are the numbers of the units, rate, what is kept, limits, and the taps of the
        blur; it returns what the units answered before.
        """
        if name in self._ascents:
            return self._ascents[name]
        dtype = self.model.x.dtype
        shape = self.model.input_shape
        pictures = symgraph.shared(np.zeros((1, *shape), dtype), "pictures")
        output = self.model.apply(pictures, Application())[name]
        units: Any = T.lvector("units")
        rate, kept, low, high = (T.scalar(n, dtype) for n in ("rate", "kept", "low", "high"))
        taps: Any = T.vector("taps", dtype)
        answers = output[T.arange(units.shape[0]), units]
        if answers.ndim == 3:
            answers = answers.mean(axis=(1, 2))
        gradient = symgraph.grad(answers.sum(), pictures)
        size = T.sqrt(T.sqr(gradient).mean(axis=(1, 2, 3), keepdims=True))
        tiny = np.asarray(1e-20, dtype)
        better = kept * (pictures + rate * gradient / T.maximum(size, tiny))
        ones = T.ones((1, *shape), dtype)
        smooth = _blurred(better, taps, shape) / T.patternbroadcast(
            _blurred(ones, taps, shape), (True, False, False, False)
        )
        ascend = symgraph.function(
            [units, rate, kept, low, high, taps],
            answers,
            updates=[(pictures, T.clip(smooth, low, high))],
            name="ascend",
        )
        self._ascents[name] = pictures, ascend
        return pictures, ascend


def filters(model: Model, name: str) -> Array:
    """The weights of a layer, as they meet the input: what a unit looks for, from its input's side.

    Of a convolution (maps, input maps, height, width): flipped if the layer flips its filters, with
    zeros where a table leaves connections out. Of a layer fully connected to images, and of
    LeNet-5's output, whose codes are bitmaps of 7x12, (units, maps, height, width); of one fully
    connected to numbers, (units, inputs). Raises RunError for layers without weights, as pooling.
    """
    layer = model.layer(name)
    if isinstance(layer, (Conv2D, LeNetConvPoolLayer)):
        return filters_seen(layer, layer.W.get_value())
    if isinstance(layer, RadialBasis):
        codes: Array = layer.codes.get_value()
        return codes.reshape(-1, 1, 12, 7) if codes.shape[1] == 84 else codes
    if "W" in layer.params:
        rows: Array = layer.params["W"].get_value().T
        shape = _seen_shape(model, layer)
        return rows.reshape(-1, *shape) if len(shape) == 3 and shape[1] * shape[2] > 1 else rows
    raise RunError(
        f"layer {name!r}",
        f"a layer without filters ({layer.kind})",
        f"one of {', '.join(with_filters(model))}",
        "choose one of these with --layer",
    )


def with_filters(model: Model) -> list[str]:
    """The names of the layers that `filters` knows."""
    return [
        layer.name
        for layer in model.layers
        if "W" in layer.params or isinstance(layer, RadialBasis)
    ]


def confusion(labels: Array, answers: Array, classes: int) -> NDArray[np.int64]:
    """How often each class (row) was taken for each (column): int64 (classes, classes)."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, answers), 1)
    return table


def hardest(probabilities: Array, labels: Array, count: int | None = None) -> NDArray[np.int64]:
    """The numbers of the examples that are most wrong, the worst first; then the least sure ones.

    `probabilities` (n, classes) are the answers to examples of `labels` (n,); wrong answers come
    before right ones, and the label's probability, from the lowest, orders both.
    """
    right = probabilities.argmax(1) == labels
    own = probabilities[np.arange(len(labels)), labels]
    return np.lexsort((own, right))[:count]


class _Spread:
    """What is known so far of the outputs of `layer`: their range, then how they fill it."""

    def __init__(self, layer: Layer) -> None:
        of = getattr(layer, "of" if isinstance(layer, Activation) else "activation", "")
        self.bounds = BOUNDS.get(of)
        self.low, self.high = np.inf, -np.inf  # of each unit, once there is one
        self.counts: Any = 0
        self.zero = self.saturated = self.size = 0

    def reach(self, output: Array, bins: int) -> None:
        others = (0, *range(2, output.ndim))
        self.low = np.minimum(self.low, output.min(others))
        self.high = np.maximum(self.high, output.max(others))

    def count(self, output: Array, bins: int) -> None:
        limits = (np.min(self.low), np.max(self.high))
        self.counts = self.counts + np.histogram(output, bins, limits)[0]
        self.size += output.size
        self.zero += int(np.sum(output == 0))
        if self.bounds is not None:
            low, high = self.bounds
            margin = NEAR * (high - low)
            self.saturated += int(np.sum((output < low + margin) | (output > high - margin)))

    def activity(self, bins: int) -> Activity:
        dead = np.equal(self.low, self.high)
        return Activity(
            self.counts,
            np.histogram_bin_edges([np.min(self.low), np.max(self.high)], bins),
            self.zero / self.size,
            None if self.bounds is None else self.saturated / self.size,
            int(dead.sum()),
            len(dead),
        )


def _seen_shape(model: Model, layer: Layer) -> tuple[int, ...]:
    """The shape of what `layer` reads, as images where only flattening came between."""
    shape = layer.input_shape
    for before in model.layers[model.layers.index(layer) :: -1]:
        if len(shape) == 3 or (before is not layer and before.params):
            break
        if int(np.prod(before.input_shape)) == int(np.prod(shape)):
            shape = before.input_shape
    return shape


def _gaussian(sigma: float) -> Array:
    """Seven numbers that add up to 1."""
    if not sigma:
        return np.array([0.0, 0, 0, 1, 0, 0, 0])
    taps: Array = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    taps /= taps.sum()
    return taps


def _blurred(images: Any, taps: Any, shape: tuple[int, int, int]) -> Any:
    """Images (n, *shape) under the filter `taps`, along rows and along columns."""
    height, width = shape[1:]
    planes = images.reshape((-1, 1, height, width))
    for pattern, border in ((("x", "x", 0, "x"), (3, 0)), (("x", "x", "x", 0), (0, 3))):
        planes = conv2d(planes, taps.dimshuffle(*pattern), border_mode=border)
    return planes.reshape((-1, *shape))
