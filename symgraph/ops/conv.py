"""The convolution functions that users call; the ops are in `convolution`.

Source: Theano, library/tensor/nnet/conv and library/tensor/signal/conv.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from symgraph.deprecation import former
from symgraph.errors import explain
from symgraph.graph import Constant, Variable
from symgraph.ops.conv_sizes import declared
from symgraph.ops.convolution import Conv2d, Conv2dGradInputs, Conv2dGradWeights
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.elementwise import cast
from symgraph.ops.unshared import Unshared
from symgraph.types import FLOATS, upcast
from symgraph.variable import as_tensor_variable

__all__ = [
    "Conv2d",
    "Conv2dGradInputs",
    "Conv2dGradWeights",
    "conv2d",
    "conv2d_grad_wrt_inputs",
    "conv2d_grad_wrt_weights",
    "conv2d_transpose",
    "legacy_conv2d",
    "signal_conv2d",
]


def in_common_dtype(op: Any, name: str, a: Any, b: Any, *shape: Any) -> Any:
    """`op` of both operands in their common dtype, the result in that of the first.

    TypeError for integers; float16 is computed in float32.
    """
    a, b = as_tensor_variable(a), as_tensor_variable(b)
    if a.dtype not in FLOATS:
        raise TypeError(
            explain(name, "takes floats", got=describe((a, b)),
                    cure=f"cast it: {a}.astype(symgraph.config.floatX)")
        )  # fmt: skip
    common = upcast(a.dtype, b.dtype)
    wide = "float32" if common == "float16" else common
    return cast(op(cast(a, wide), cast(b, wide), *shape), a.dtype)


_UNSHARED: dict[type, Callable[..., Any]] = {
    Conv2d: Unshared.forward,
    Conv2dGradInputs: Unshared.by_inputs,
    Conv2dGradWeights: Unshared.by_weights,
}


def convolution(kind: type, name: str, unshared: bool, *parameters: Any) -> Callable[..., Any]:
    """What builds a convolution, or the gradient `kind`, of `parameters`: those of `Conv2d`.

    `name` is what errors about `unshared` filters call it.
    """
    if unshared:
        return partial(_UNSHARED[kind], Unshared(name, *parameters))
    return kind(*parameters)  # type: ignore[no-any-return]


def conv2d(
    input: Any,
    filters: Any,
    input_shape: Sequence[Any] | None = None,
    filter_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    subsample: Sequence[int] = (1, 1),
    filter_flip: bool = True,
    image_shape: Sequence[Any] | None = None,
    filter_dilation: Sequence[int] = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
    **kwargs: Any,
) -> Any:
    """Convolution of images (n, c, h, w) with filters (o, c / num_groups, kh, kw).

    The result is (n, o, oh, ow), of the images' dtype; filters are flipped unless `filter_flip` is
    False. `border_mode`: "valid", "full", "half", an int, (rows, columns), or
    ((top, bottom), (left, right)) zeros around the images. oh = (h + padding - ((kh - 1) * dilation
    + 1)) // stride + 1. `input_shape` (formerly `image_shape`) and `filter_shape` declare sizes,
    None where open: kernels are made for them, and calls with others raise ValueError.
    `unshared`: every place of the output has filters of its own, (o, oh, ow, c / num_groups, kh,
    kw).

    TypeError for operands that are not 4-d floats; ValueError for a border mode that is none, for
    both names of the input shape at once, and for sizes that do not fit. Unknown keywords are
    ignored with a warning. Source: Theano, library/tensor/nnet/conv, conv2d.
    """
    for name in ("imshp_logical", "kshp_logical"):
        if kwargs.pop(name, None) is not None:
            raise ValueError(explain("conv2d", f"{name} is not supported", cure="leave it away"))
    if kwargs:
        warnings.warn(
            f"conv2d ignores the keywords {', '.join(kwargs)}: they chose among Theano's loops",
            stacklevel=2,
        )
    if image_shape is not None:
        if input_shape is not None:
            raise ValueError(
                explain("conv2d", "input_shape and image_shape are both given",
                        cure="give input_shape only: image_shape is its former name")
            )  # fmt: skip
        former("conv2d", "image_shape", "input_shape")
        input_shape = image_shape
    op = convolution(
        Conv2d, "conv2d", unshared, input_shape, filter_shape, border_mode, subsample, filter_flip,
        filter_dilation, num_groups,
    )  # fmt: skip
    return in_common_dtype(op, "conv2d", input, filters)


def legacy_conv2d(
    input: Any,
    filters: Any,
    image_shape: Sequence[Any] | None = None,
    filter_shape: Sequence[Any] | None = None,
    border_mode: str = "valid",
    subsample: Sequence[int] = (1, 1),
    **kwargs: Any,
) -> Any:
    """`conv2d` as it was in theano.tensor.nnet.conv: only "valid" and "full", always flipped.

    Declared shapes whose numbers of channels differ raise AssertionError; the unroll keywords are
    accepted and mean nothing. Other errors as `conv2d`. Source: Theano, tensor/nnet/conv.
    """
    former("conv2d", "tensor.nnet.conv.conv2d", "tensor.nnet.conv2d", "form")
    return _always_flipped(
        input, filters, image_shape, filter_shape, border_mode, subsample, **kwargs
    )


def _always_flipped(
    input: Any, filters: Any, image_shape: Any, filter_shape: Any, border_mode: Any, subsample: Any,
    **kwargs: Any,
) -> Any:  # fmt: skip
    for name in ("imshp_logical", "kshp_logical"):
        if kwargs.get(name) is not None:
            raise ValueError(explain("conv2d", f"{name} is not supported", cure="leave it away"))
    if border_mode not in ("valid", "full"):
        raise ValueError(
            explain("conv2d", f"invalid border_mode {border_mode!r}", expected="'valid' or 'full'",
                    cure="symgraph.tensor.nnet.conv2d has more of them")
        )  # fmt: skip
    images = declared("image_shape", image_shape)
    kernels = declared("filter_shape", filter_shape)
    if images and kernels and None not in (images[1], kernels[1]) and images[1] != kernels[1]:
        raise AssertionError(
            explain("conv2d", "image_shape[1] and filter_shape[1] differ",
                    got=f"{images} and {kernels}")
        )  # fmt: skip
    op = Conv2d(images, kernels, border_mode, subsample)
    return in_common_dtype(op, "conv2d", input, filters)


def conv2d_grad_wrt_inputs(
    output_grad: Any,
    filters: Any,
    input_shape: Sequence[Any],
    filter_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    subsample: Sequence[int] = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Sequence[int] = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Any:
    """The gradient of `conv2d` by its input, given the gradient of its output.

    `input_shape` has four entries, of which the last two are ints or int scalars and say how large
    the result is; ValueError where the output's gradient does not fit to it.
    Source: Theano, tensor/nnet/abstract_conv, conv2d_grad_wrt_inputs.
    """
    hint, size = target("input_shape", input_shape, 2)
    name = "conv2d_grad_wrt_inputs"
    op = convolution(
        Conv2dGradInputs, name, unshared, hint, filter_shape, border_mode, subsample, filter_flip,
        filter_dilation, num_groups,
    )  # fmt: skip
    return in_common_dtype(op, name, filters, output_grad, size)


def conv2d_grad_wrt_weights(
    input: Any,
    output_grad: Any,
    filter_shape: Sequence[Any],
    input_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    subsample: Sequence[int] = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Sequence[int] = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Any:
    """The gradient of `conv2d` by its filters, given the gradient of its output.

    `filter_shape` has four entries (six if `unshared`), of which the last two are ints or int
    scalars and say how large the result is; ValueError where the output's gradient does not fit to
    it. Source: Theano, tensor/nnet/abstract_conv, conv2d_grad_wrt_weights.
    """
    hint, size = target("filter_shape", filter_shape, 2, 6 if unshared else 4)
    name = "conv2d_grad_wrt_weights"
    op = convolution(
        Conv2dGradWeights, name, unshared, input_shape, hint, border_mode, subsample, filter_flip,
        filter_dilation, num_groups,
    )  # fmt: skip
    return in_common_dtype(op, name, input, output_grad, size)


def target(name: str, shape: Any, axes: int, entries: int | None = None) -> tuple[Any, Any]:
    """The shape of a result as a declaration, with None for symbolic sizes, and its last `axes`."""
    entries = axes + 2 if entries is None else entries
    if len(shape) != entries or any(s is None for s in shape[-axes:]):
        raise ValueError(
            explain(f"conv{axes}d", f"{name} must have {entries} entries, the last {axes} known",
                    got=repr(shape))
        )  # fmt: skip
    symbolic = [isinstance(s, Variable) and not isinstance(s, Constant) for s in shape]
    hint = [None if unknown else s for s, unknown in zip(shape, symbolic, strict=True)]
    size = [cast(s, "int64") for s in shape[-axes:]]
    return declared(name, hint, entries), as_tensor_variable(size)


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Sequence[Any],
    filter_shape: Sequence[Any] | None = None,
    border_mode: Any = "valid",
    input_dilation: Sequence[int] = (1, 1),
    filter_flip: bool = True,
    filter_dilation: Sequence[int] = (1, 1),
    num_groups: int = 1,
    unshared: bool = False,
) -> Any:
    """The transposed convolution: `input` is spread by `input_dilation` and convolved.

    It is the gradient by its input of a `conv2d` whose stride is `input_dilation` and whose input
    has `output_shape` (four entries, the last two known or symbolic).
    Source: Theano, tensor/nnet/abstract_conv, conv2d_transpose.
    """
    return conv2d_grad_wrt_inputs(
        input, filters, output_shape, filter_shape, border_mode, input_dilation, filter_flip,
        filter_dilation, num_groups, unshared,
    )  # fmt: skip


def signal_conv2d(
    input: Any,
    filters: Any,
    image_shape: Sequence[Any] | None = None,
    filter_shape: Sequence[Any] | None = None,
    border_mode: str = "valid",
    subsample: Sequence[int] = (1, 1),
    **kwargs: Any,
) -> Any:
    """Every image convolved with every filter: 2-d ones, or stacks of them (3-d).

    The axes of the result are those of stacks that were given, images first, then rows and columns.
    TypeError for other numbers of axes. Source: Theano, library/tensor/signal/conv, conv2d.
    """
    images, kernels = as_tensor_variable(input), as_tensor_variable(filters)
    shapes: list[Any] = []
    for name, x, shape in (("input", images, image_shape), ("filters", kernels, filter_shape)):
        if x.ndim not in (2, 3):
            raise TypeError(explain("signal.conv2d", f"{name} is 2-d or 3-d", got=describe((x,))))
        if shape is None:
            shapes.append(None)
        elif len(shape) == x.ndim:
            shapes.append((1, 1, *shape) if x.ndim == 2 else (shape[0], 1, *shape[1:]))
        else:
            raise ValueError(explain("signal.conv2d", f"a shape of {name} has {x.ndim} entries"))
    four = [
        dimshuffle(x, ("x", "x", 0, 1) if x.ndim == 2 else (0, "x", 1, 2))
        for x in (images, kernels)
    ]
    out = _always_flipped(four[0], four[1], shapes[0], shapes[1], border_mode, subsample, **kwargs)
    kept = [a for a, x in enumerate((images, kernels)) if x.ndim == 3]
    return dimshuffle(out, (*kept, 2, 3))
