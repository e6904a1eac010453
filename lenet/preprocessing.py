"""Preprocessing of images, fitted on the training part and applied to every part alike.

    preparation = Preprocessing.parse("mean,zca")
    preparation.fit(dataset.train.images)
    x = preparation.apply(dataset.test.images)      # float32 (n, channels, height, width)

Steps are done in the order in which they are written:

mean         subtract the mean training image
normalize    zero mean, unit deviation of each channel (PyTorch's transforms.Normalize)
standardize  zero mean, unit deviation of each pixel (scikit-learn's StandardScaler)
pca:K        project on the K principal components of the training images, and back to images
zca          ZCA whitening: uncorrelated pixels of unit variance, still images
whiten:EPS   ZCA whitening that amplifies no noise: EPS (0.1) is added to each variance
contrast     zero mean, unit deviation of each image (global contrast normalisation)
local        subtract and divide by a Gaussian neighbourhood (local contrast normalisation)

The whitenings turn the principal components back (x U f(variance) U^T), so that the results are
images again, on which convolutions make sense. Sources: UFLDL tutorial "PCA Whitening"; Bell and
Sejnowski 1997 (ZCA); Goodfellow, Bengio and Courville, Deep Learning, 12.2.1.1 (global contrast);
Jarrett, Kavukcuoglu, Ranzato and LeCun 2009 (local contrast).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lenet.errors import RunError

Images = NDArray[np.float32]
Chunks = Callable[[], Iterable[NDArray[Any]]]

MAX_COVARIANCE = 4096  # pixels times channels: its covariance takes 128 MiB, and half a minute
TINY_VARIANCE = 1e-7  # share of the largest: smaller ones are rounding, and are not blown up
TINY_DEVIATION = 1e-4  # of an image: the step from one level to the next is 0.004
WINDOW = 9  # pixels, and their Gaussian's standard deviation, as in Jarrett et al.'s experiments
SPREAD = 2.0
_CHUNK = 1 << 22  # pixels worked on at a time
PREFIX = "preprocess/"  # of the names of what was learned, among those of a checkpoint


class Step:
    """One step: what it learns, from images float32 (n, channels, height, width), and does.

    Without `learned` it treats each image by itself and needs no training images.
    """

    learned: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[np.float32]] = {}

    def fit(self, chunks: Chunks) -> None:
        """Learn from the training images; each call of `chunks` hands out all of them anew."""

    def apply(self, images: Images) -> Images:
        """`images` transformed."""
        raise NotImplementedError

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """The shape of each array that is learned from images of `shape` (channels, h, w)."""
        return {}


class Mean(Step):
    """x - mean, pixel by pixel."""

    learned: ClassVar[tuple[str, ...]] = ("mean",)
    axes: ClassVar[tuple[int, ...]] = (0,)

    def fit(self, chunks: Chunks) -> None:
        self.arrays["mean"] = _mean(chunks, self.axes).astype(np.float32)

    def apply(self, images: Images) -> Images:
        return images - self.arrays["mean"]

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        kept = tuple(1 if axis + 1 in self.axes else n for axis, n in enumerate(shape))
        return dict.fromkeys(self.learned, kept)


class Standardize(Mean):
    """(x - mean) / deviation, pixel by pixel; what never varies becomes 0."""

    learned = ("mean", "deviation")

    def fit(self, chunks: Chunks) -> None:
        mean = _mean(chunks, self.axes)
        deviation = np.sqrt(_mean(lambda: ((x - mean) ** 2 for x in chunks()), self.axes))
        deviation[deviation < 1e-6] = 1  # constant but for rounding
        self.arrays["mean"] = mean.astype(np.float32)
        self.arrays["deviation"] = deviation.astype(np.float32)

    def apply(self, images: Images) -> Images:
        return (images - self.arrays["mean"]) / self.arrays["deviation"]


class Normalize(Standardize):
    """(x - mean) / deviation, channel by channel."""

    axes = (0, 2, 3)


class PCA(Step):
    """The projection of x on the affine space of the first `components` principal components."""

    learned = ("mean", "components")

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def fit(self, chunks: Chunks) -> None:
        mean, _, vectors = _principal(chunks)
        if self.components > len(vectors):
            raise RunError(
                f"preprocessing pca:{self.components}",
                f"images of {len(vectors)} values",
                f"at most pca:{len(vectors)}",
                "ask for fewer components",
            )
        self.arrays["mean"] = mean
        self.arrays["components"] = vectors[:, : self.components].T.astype(np.float32)

    def apply(self, images: Images) -> Images:
        mean, components = self.arrays["mean"], self.arrays["components"]
        flat: Images = (images - mean).reshape(len(images), -1)
        scores: Images = flat @ components.T
        projected: Images = scores @ components
        return projected.reshape(images.shape) + mean

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {"mean": shape, "components": (self.components, int(np.prod(shape)))}


class ZCA(Step):
    """(x - mean) U diag(1 / sqrt(variance + eps)) U^T; U holds the principal components.

    Components without variance become 0. Without eps the covariance of the training images
    becomes the identity on all others.
    """

    learned = ("mean", "matrix")

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps

    def fit(self, chunks: Chunks) -> None:
        mean, variances, vectors = _principal(chunks)
        varies = variances > TINY_VARIANCE * variances[0]
        kept = vectors[:, varies]
        matrix = kept / np.sqrt(variances[varies] + self.eps) @ kept.T
        self.arrays["mean"], self.arrays["matrix"] = mean, matrix.astype(np.float32)

    def apply(self, images: Images) -> Images:
        flat: Images = (images - self.arrays["mean"]).reshape(len(images), -1)
        whitened: Images = (flat @ self.arrays["matrix"]).reshape(images.shape)
        return whitened

    def shapes(self, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        pixels = int(np.prod(shape))
        return {"mean": shape, "matrix": (pixels, pixels)}


class Contrast(Step):
    """(x - m) / s with mean m and deviation s of all pixels of the image; 0 if they are equal."""

    def apply(self, images: Images) -> Images:
        axes = (1, 2, 3)
        centred = images - images.mean(axes, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axes, keepdims=True))
        even: Images = centred / np.maximum(deviation, np.float32(TINY_DEVIATION))
        return even


class LocalContrast(Step):
    """v / max(s, mean of s): v is x less its neighbourhood's mean, s its deviation around it.

    The neighbourhood is a 9x9 Gaussian window over all channels, which beyond the edges of the
    image has no weight.
    """

    def apply(self, images: Images) -> Images:
        v = images - _blurred(images)
        deviation = np.sqrt(np.maximum(_blurred(v**2), 0))
        mean = deviation.mean((1, 2, 3), keepdims=True)
        even: Images = v / np.maximum(np.maximum(deviation, mean), np.float32(TINY_DEVIATION))
        return even


STEPS: dict[str, tuple[Callable[..., Step], str | None]] = {
    "mean": (Mean, None),
    "normalize": (Normalize, None),
    "standardize": (Standardize, None),
    "pca": (PCA, "K"),
    "zca": (ZCA, None),
    "whiten": (ZCA, "EPS"),
    "contrast": (Contrast, None),
    "local": (LocalContrast, None),
}
DEFAULT_EPS = "0.1"  # UFLDL's for images of 0 to 1


class Preprocessing:
    """Steps in order. False if there are none: `apply` then only scales to 0 to 1."""

    def __init__(self, names: Sequence[str], steps: Sequence[Step]) -> None:
        self.names, self.steps = tuple(names), tuple(steps)
        self.is_fitted = not any(step.learned for step in steps)

    @classmethod
    def parse(cls, text: str) -> Preprocessing:
        """The steps in `text`, with commas between: "mean", "pca:50", "contrast,zca"; "" is none.

        Raises RunError for an unknown step, or one whose number is missing or out of range.
        """
        names = [name for part in text.split(",") if (name := part.strip())]
        return cls(names, [_step(name) for name in names])

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        return ",".join(self.names)

    def fit(self, images: NDArray[np.uint8]) -> None:
        """Learn from the training images uint8 (n, channels, height, width).

        In float32 a few images at a time, so that little memory is taken. Raises RunError for
        other arrays, for none at all, and where a covariance would be too large.
        """
        _check(images)
        if not len(images):
            raise RunError("preprocessing", "no images", "at least one", "fit it on some")
        for place, step in enumerate(self.steps):
            step.fit(partial(_chunks, images, self.steps[:place]))
        self.is_fitted = True

    def apply(self, images: NDArray[np.uint8]) -> Images:
        """Images uint8 (n, channels, height, width), divided by 255 and sent through all steps.

        Returns float32 of that shape. Raises RunError if nothing was fitted, or to images of
        another shape.
        """
        _check(images)
        if not self.is_fitted:
            cure = "call fit with the training images"
            raise RunError(f"preprocessing {self}", "no fitted values", "a fit", cure)
        for name, step in zip(self.names, self.steps, strict=True):
            if step.learned and _shapes(step) != step.shapes(images.shape[1:]):
                raise RunError(
                    f"preprocessing {name}",
                    f"images of shape {images.shape[1:]}",
                    f"those it was fitted to ({_shapes(step)})",
                    "bring the images to that shape, or fit it again",
                )
        out = np.empty(images.shape, np.float32)
        start = 0
        for chunk in _chunks(images, self.steps):
            out[start : start + len(chunk)] = chunk
            start += len(chunk)
        return out

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What was learned, for a checkpoint: names that begin with PREFIX."""
        return {
            _key(place, name): step.arrays[name]
            for place, step in enumerate(self.steps)
            for name in step.learned
            if self.is_fitted
        }

    @classmethod
    def restore(cls, text: str, arrays: Mapping[str, NDArray[np.float32]]) -> Preprocessing:
        """The fitted steps `text` from what `arrays` gave; other entries are passed over.

        Raises RunError for unknown steps, and where arrays are missing or do not fit.
        """
        found = cls.parse(text)
        for place, (name, step) in enumerate(zip(found.names, found.steps, strict=True)):
            for which in step.learned:
                array = arrays.get(_key(place, which))
                if array is None or array.dtype.kind != "f" or not np.isfinite(array).all():
                    got = "none" if array is None else f"{array.dtype} that are not all finite"
                    raise _unfit(name, which, got, "finite floats")
                step.arrays[which] = np.asarray(array, np.float32)
            if step.learned:
                mean = step.arrays["mean"]
                if mean.ndim != 3 or _shapes(step) != step.shapes(mean.shape):
                    raise _unfit(name, "arrays", f"shapes {_shapes(step)}", "shapes that fit")
        found.is_fitted = True
        return found


def _step(text: str) -> Step:
    name, colon, argument = text.partition(":")
    if name not in STEPS or (colon and STEPS[name][1] is None):
        known = ", ".join(f"{name}:{a}" if a else name for name, (_, a) in STEPS.items())
        raise RunError("preprocessing", repr(text), known, "use these, with commas between")
    make, kind = STEPS[name]
    if kind is None:
        return make()
    if kind == "EPS":
        argument = argument if colon else DEFAULT_EPS
    try:
        number = int(argument) if kind == "K" else float(argument)
    except ValueError:
        number = 0
    if not 0 < number < 10**9:
        example, what = ("pca:50", "a whole number") if kind == "K" else ("whiten:0.1", "a number")
        raise RunError("preprocessing", repr(text), f"{what} above 0", f"write it as {example}")
    return make(number)


def _unfit(step: str, what: str, got: str, expected: str) -> RunError:
    cure = "use a checkpoint of a run with this preprocessing"
    return RunError(f"{what} of preprocessing {step}", got, expected, cure)


def _key(place: int, name: str) -> str:
    return f"{PREFIX}{place}.{name}"


def _shapes(step: Step) -> dict[str, tuple[int, ...]]:
    return {name: step.arrays[name].shape for name in step.learned}


def _check(images: NDArray[np.uint8]) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise RunError(
            "preprocessing",
            f"{images.dtype} images of shape {images.shape}",
            "uint8 (n, channels, height, width)",
            "use the images of a lenet.data.Split",
        )


def _chunks(images: NDArray[np.uint8], steps: Sequence[Step]) -> Iterator[Images]:
    """The images from 0 to 1, a few at a time, after `steps`."""
    count = max(1, _CHUNK // max(1, int(np.prod(images.shape[1:]))))
    for i in range(0, len(images), count):
        chunk: Images = np.multiply(images[i : i + count], 1 / 255, dtype=np.float32)
        for step in steps:
            chunk = step.apply(chunk)
        yield chunk


def _mean(chunks: Chunks, axes: tuple[int, ...]) -> NDArray[np.float64]:
    """The mean over `axes` of (n, channels, height, width), of which the first is dropped."""
    total: NDArray[np.float64] = np.zeros(())
    count = 0.0
    for chunk in chunks():
        part = chunk.sum(axes, dtype=np.float64, keepdims=True)
        total = total + part[0]
        count += chunk.size / part.size
    return total / count


def _principal(
    chunks: Chunks,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """The mean image, and variances (d,) and directions (d, d), columns, by falling variance."""
    mean = _mean(chunks, (0,))
    pixels = mean.size
    if pixels > MAX_COVARIANCE:
        raise RunError(
            "preprocessing by principal components",
            f"images of {pixels:,} values",
            f"at most {MAX_COVARIANCE:,}",
            "use smaller images (--size), or another preprocessing",
        )
    covariance = np.zeros((pixels, pixels))
    count = 0
    for chunk in chunks():
        centred = (chunk - mean).reshape(len(chunk), -1)
        covariance += centred.T @ centred
        count += len(chunk)
    variances, vectors = np.linalg.eigh(covariance / count)
    return mean.astype(np.float32), np.maximum(variances[::-1], 0), vectors[:, ::-1]


def _blurred(images: Images) -> Images:
    """The Gaussian mean around each pixel, of all channels: (n, 1, height, width)."""
    grey = images.mean(1, keepdims=True)
    height, width = images.shape[2:]
    blurred: Images = _window(height) @ grey @ _window(width).T
    return blurred


def _window(extent: int) -> Images:
    """The Gaussian window along an axis as a matrix: row i has the weights of pixel i's mean."""
    distance = np.abs(np.subtract.outer(np.arange(extent), np.arange(extent)))
    weights = np.exp(-0.5 * (distance / SPREAD) ** 2) * (distance <= WINDOW // 2)
    rows: Images = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return rows
