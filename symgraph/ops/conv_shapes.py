"""Shapes of convolutions as users ask for them: of ints, of integer scalars, of None.

A size that is None gives None. The engine's own arithmetic, on host expressions, is in
`conv_sizes`. Source: Theano, tensor/nnet/abstract_conv, get_conv_output_shape and its kin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.errors import explain
from symgraph.ops.conv_sizes import canonical_mode
from symgraph.ops.shape import with_shape
from symgraph.ops.sizes import known_integer
from symgraph.ops.structure import DeclaredShape, sizes_of
from symgraph.variable import as_tensor_variable

__all__ = [
    "axis_padding", "border_mode_to_pad", "check_conv_gradinputs_shape",
    "get_conv_gradinputs_shape", "get_conv_gradinputs_shape_1axis", "get_conv_gradweights_shape",
    "get_conv_gradweights_shape_1axis", "get_conv_output_shape", "get_conv_shape_1axis", "promised",
]  # fmt: skip


def axis_padding(mode: Any, reach: Any) -> tuple[Any, Any]:
    """The zeros before and behind an axis, for a filter whose taps span `reach` + 1."""
    if isinstance(mode, str) and mode in ("valid", "full", "half"):
        return {"valid": (0, 0), "full": (reach, reach), "half": ((reach + 1) // 2,) * 2}[mode]
    pair = tuple(mode) if isinstance(mode, (tuple, list)) else (mode, mode)
    if len(pair) != 2 or any(isinstance(n, str) or (isinstance(n, int) and n < 0) for n in pair):
        raise ValueError(
            explain("conv", f"border_mode {mode!r} of an axis", expected="'valid', 'full', "
                    "'half', n or (before, after), and border_mode must be >= 0")
        )  # fmt: skip
    return pair[0], pair[1]


def promised(x: Any, hint: Sequence[Any] | None) -> Any:
    """`x`, whose sizes are those in `hint`, None where open; ShapeError at the call if not."""
    if hint is None:
        return x
    sizes = [n if s is None else s for n, s in zip(sizes_of(x), hint, strict=True)]
    return with_shape(DeclaredShape, x, sizes)


def _each(border_mode: Any, axes: int) -> Sequence[Any]:
    return border_mode if isinstance(border_mode, (tuple, list)) else (border_mode,) * axes


def get_conv_shape_1axis(
    image_shape: Any, kernel_shape: Any, border_mode: Any, subsample: Any, dilation: Any = 1
) -> Any:
    """The size of a convolution's output along one axis; None where an argument is None.

    (image + padding - ((kernel - 1) * dilation + 1)) // subsample + 1. ValueError for a border
    mode that is none. Source: Theano, abstract_conv.get_conv_shape_1axis.
    """
    if any(v is None for v in (image_shape, kernel_shape, border_mode, subsample, dilation)):
        return None
    reach = (kernel_shape - 1) * dilation
    before, after = axis_padding(border_mode, reach)
    return (image_shape + before + after - reach - 1) // subsample + 1


def get_conv_output_shape(
    image_shape: Sequence[Any],
    kernel_shape: Sequence[Any],
    border_mode: Any,
    subsample: Sequence[Any],
    filter_dilation: Sequence[Any] | None = None,
) -> tuple[Any, ...]:
    """The shape of the output of a 2-d or 3-d convolution, unshared or not.

    (batch, filters, ...), as far as the shapes of images and filters are known. The last entries of
    `kernel_shape` count, so that it may be that of unshared filters.
    Source: Theano, abstract_conv.get_conv_output_shape.
    """
    axes = len(image_shape) - 2
    dilations = (1,) * axes if filter_dilation is None else filter_dilation
    sizes = map(get_conv_shape_1axis, image_shape[2:], kernel_shape[-axes:],
                _each(border_mode, axes), subsample, dilations)  # fmt: skip
    return (image_shape[0], kernel_shape[0], *sizes)


def get_conv_gradweights_shape_1axis(
    image_shape: Any, top_shape: Any, border_mode: Any, subsample: Any, dilation: Any
) -> Any:
    """The size of the filters along one axis, given those of image and output.

    None where several would fit: for a subsample other than 1 and for "half".
    Source: Theano, abstract_conv.get_conv_gradweights_shape_1axis.
    """
    if any(v is None for v in (image_shape, top_shape, border_mode, subsample, dilation)):
        return None
    if subsample != 1 or border_mode == "half":
        return None
    if border_mode == "full":
        reach = top_shape - image_shape
    else:
        before, after = axis_padding(border_mode, 0)
        reach = image_shape + before + after - top_shape
    return reach // dilation + 1


def get_conv_gradweights_shape(
    image_shape: Sequence[Any],
    top_shape: Sequence[Any],
    border_mode: Any,
    subsample: Sequence[Any],
    filter_dilation: Sequence[Any] | None = None,
    num_groups: int = 1,
    unshared: bool = False,
) -> tuple[Any, ...]:
    """The shape of the filters, given those of images and output, with None for what is open.

    (filters, channels / num_groups, ...); unshared: with the output's sizes between the two. (Where
    num_groups is not 1, Theano divides the number of filters instead; the filters that convolution
    takes are meant here.) Source: Theano, abstract_conv.get_conv_gradweights_shape.
    """
    axes = len(image_shape) - 2
    dilations = (1,) * axes if filter_dilation is None else filter_dilation
    sizes = map(get_conv_gradweights_shape_1axis, image_shape[2:], top_shape[2:],
                _each(border_mode, axes), subsample, dilations)  # fmt: skip
    channels = None if image_shape[1] is None else image_shape[1] // num_groups
    return (top_shape[1], *(top_shape[2:] if unshared else ()), channels, *sizes)


def get_conv_gradinputs_shape_1axis(
    kernel_shape: Any, top_shape: Any, border_mode: Any, subsample: Any, dilation: Any
) -> Any:
    """The size of the image along one axis, given those of filter and output.

    None where several would fit: for a subsample other than 1.
    Source: Theano, abstract_conv.get_conv_gradinputs_shape_1axis.
    """
    if any(v is None for v in (kernel_shape, top_shape, border_mode, subsample, dilation)):
        return None
    if subsample != 1:
        return None
    reach = (kernel_shape - 1) * dilation
    before, after = axis_padding(border_mode, reach)
    return top_shape + reach - before - after


def get_conv_gradinputs_shape(
    kernel_shape: Sequence[Any],
    top_shape: Sequence[Any],
    border_mode: Any,
    subsample: Sequence[Any],
    filter_dilation: Sequence[Any] | None = None,
    num_groups: int = 1,
) -> tuple[Any, ...]:
    """The shape of the images, given those of filters and output, with None for what is open.

    Source: Theano, abstract_conv.get_conv_gradinputs_shape.
    """
    axes = len(top_shape) - 2
    dilations = (1,) * axes if filter_dilation is None else filter_dilation
    sizes = map(get_conv_gradinputs_shape_1axis, kernel_shape[-axes:], top_shape[2:],
                _each(border_mode, axes), subsample, dilations)  # fmt: skip
    channels = kernel_shape[-axes - 1]
    return (top_shape[0], None if channels is None else channels * num_groups, *sizes)


def check_conv_gradinputs_shape(
    image_shape: Sequence[Any],
    kernel_shape: Sequence[Any],
    output_shape: Sequence[Any],
    border_mode: Any,
    subsample: Sequence[Any],
    filter_dilation: Sequence[Any] | None = None,
) -> bool:
    """Whether a convolution of these images and filters could have this output.

    What is None or symbolic is taken to fit.
    Source: Theano, abstract_conv.check_conv_gradinputs_shape.
    """
    axes = len(image_shape) - 2
    lengths = {len(image_shape), len(kernel_shape), len(output_shape)}
    dilations = (1,) * axes if filter_dilation is None else filter_dilation
    if len(lengths) != 1 or len(subsample) != axes or len(dilations) != axes:
        return False
    computed = get_conv_output_shape(image_shape, kernel_shape, border_mode, subsample, dilations)
    for given, wanted in zip(output_shape, computed, strict=True):
        if given is None or wanted is None:
            continue
        known = [known_integer(as_tensor_variable(n)) for n in (given, wanted)]
        if None not in known and known[0] != known[1]:
            return False
    return True


def border_mode_to_pad(mode: Any, convdim: int, kshp: Sequence[Any]) -> tuple[tuple[Any, Any], ...]:
    """The zeros before and behind each of `convdim` axes, for filters of sizes `kshp`.

    ValueError for a mode that is none. Source: Theano, abstract_conv.border_mode_to_pad.
    """
    canonical = canonical_mode(mode, convdim)
    return tuple(
        axis_padding(m, k - 1) for m, k in zip(_each(canonical, convdim), kshp, strict=True)
    )
