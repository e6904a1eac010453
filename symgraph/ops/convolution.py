"""Two-dimensional convolution and its gradients: three ops, each one's gradients the other two.

Images are (batch, channels, rows, columns), filters (filters, channels / groups, rows, columns).
Source: Theano, library/tensor/nnet/conv; rules 33 to 35 of its semantics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, LibraryCall, Op, Shape, Variable
from symgraph.ops.conv_sizes import (
    Hint,
    Mode,
    Pair,
    canonical_mode,
    declared,
    out_size,
    padding,
    positive_numbers,
)
from symgraph.ops.core import describe
from symgraph.ops.reduce import match_pattern
from symgraph.ops.structure import MakeVector, shape_i
from symgraph.types import INTEGERS, DisconnectedType, TensorType
from symgraph.variable import constant

# ---- the ops -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Convolution(Op):
    """What the three ops share: what is declared, its checks, and the walk over the filter's taps.

    `imshp` and `kshp` are the shapes of images and filters as far as they are declared; kernels
    are specialised on the declared filter size, and every declared size is checked.
    """

    imshp: Hint = None
    kshp: Hint = None
    border_mode: Mode = "valid"
    subsample: Pair = (1, 1)
    filter_flip: bool = True
    filter_dilation: Pair = (1, 1)
    num_groups: int = 1

    kernel_name: ClassVar[str]
    operand_names: ClassVar[tuple[str, str]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "border_mode", canonical_mode(self.border_mode))
        for name in ("subsample", "filter_dilation"):
            object.__setattr__(self, name, positive_numbers(name, getattr(self, name)))
        if self.num_groups < 1:
            raise ValueError(explain("conv2d", "num_groups must be positive"))
        for name, argument in (("imshp", "input_shape"), ("kshp", "filter_shape")):
            object.__setattr__(self, name, declared(argument, getattr(self, name)))
        if self.imshp and self.kshp:
            channels, wanted = self.imshp[1], self.kshp[1]
            if channels is not None and wanted is not None and channels != wanted * self.num_groups:
                raise self._stack_size(channels, wanted, "declared shapes", None)
            for axis in (0, 1):
                image, kernel = self.imshp[2 + axis], self.kshp[2 + axis]
                if image is None or kernel is None:
                    continue
                stride, dilation = self.subsample[axis], self.filter_dilation[axis]
                room = out_size(image, kernel, self.border_mode, stride, dilation, axis)[1]
                if room.value < 0:  # type: ignore[attr-defined]
                    raise ShapeError(
                        explain(self, "impossible output shape",
                                got=f"images {self.imshp} and filters {self.kshp}",
                                expected="images, padding included, no smaller than the filter")
                    )  # fmt: skip

    def _again(self, kind: type[_Convolution]) -> Any:
        """Another of the three ops, for the same convolution."""
        return kind(
            self.imshp, self.kshp, self.border_mode, self.subsample, self.filter_flip,
            self.filter_dilation, self.num_groups,
        )  # fmt: skip

    def _stack_size(self, channels: Any, wanted: Any, got: str, where: Any) -> ShapeError:
        return ShapeError(
            explain(self, "images and kernel must have the same stack size", where=where,
                    got=f"{got}: images with {channels} channels, filters for {wanted}"
                    + (f" in each of {self.num_groups} groups" if self.num_groups > 1 else ""),
                    expected="images.shape[1] == filters.shape[1] * num_groups")
        )  # fmt: skip

    def _operands(self, a: Any, b: Any, shape: Any = None) -> None:
        """TypeError unless both operands are 4-d floats of one dtype, and `shape` two ints."""
        for name, x in zip(self.operand_names, (a, b), strict=True):
            if x.ndim != 4:
                raise TypeError(
                    explain(self, f"{name} must be 4D tensor", got=describe((x,)),
                            expected="(batch, channels, rows, columns) for images, "
                            "(filters, channels, rows, columns) for filters",
                            cure="reshape, or dimshuffle with 'x'")
                )  # fmt: skip
        if a.dtype != b.dtype or a.dtype not in ("float32", "float64"):
            raise TypeError(
                explain(self, "takes two operands of dtype float32, or float64",
                        got=describe((a, b)), cure="symgraph.tensor.nnet.conv2d casts them")
            )  # fmt: skip
        if shape is not None and (shape.ndim != 1 or shape.dtype not in INTEGERS):
            raise TypeError(explain(self, "shape must be two integers", got=describe((shape,))))

    # -- sizes ------------------------------------------------------------------------------------

    def _sizes(self, node: Apply, ctx: Context) -> tuple[Shape, Shape, Shape]:
        """The shapes of images, filters and output, as host expressions."""
        raise NotImplementedError

    def _moves(self, image: Shape, kernel: Shape) -> list[tuple[Expr, Expr]]:
        """For rows and columns: the output's size and the room for moves."""
        return [
            out_size(image[2 + a], kernel[2 + a], self.border_mode, self.subsample[a],
                     self.filter_dilation[a], a)
            for a in range(2)
        ]  # fmt: skip

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        image, kernel, top = self._sizes(node, ctx)
        shapes = (*image, *kernel, *top)

        def check(holds: Expr, problem: str, expected: str) -> Check:
            def fail(*values: int) -> Exception:
                return ShapeError(
                    explain(self, problem, where=node.trace,
                            got=f"images {values[:4]}, filters {values[4:8]}, output {values[8:]} "
                            f"from {describe(node.inputs)}",
                            expected=expected)
                )  # fmt: skip

            return Check(holds, shapes, fail)

        def stack(*values: int) -> Exception:
            got = f"images {values[:4]}, filters {values[4:8]}"
            return self._stack_size(values[1], values[5], got, node.trace)

        groups = self.num_groups
        wanted = E.mul(kernel[1], groups)
        checks = [
            Check(E.compare("eq", image[1], wanted), shapes, stack),
            check(E.compare("eq", E.mod(kernel[0], groups), 0), "groups of unequal size",
                  f"a multiple of {groups} filters"),
            check(E.compare("eq", image[0], top[0]), "batch sizes differ", "one output per image"),
            check(E.compare("eq", kernel[0], top[1]), "numbers of filters differ",
                  "one map of the output per filter"),
        ]  # fmt: skip
        for a, (size, room) in enumerate(self._moves(image, kernel)):
            side = ("rows", "columns")[a]
            checks += [
                check(E.compare("lt", E.ZERO, kernel[2 + a]), f"filters with no {side}", "one"),
                check(E.compare("le", E.ZERO, room), f"impossible output shape, no {side}",
                      "images, padding included, at least as large as the dilated filter"),
                check(E.compare("eq", size, top[2 + a]), f"the output has other {side}",
                      "the size that follows from images and filters"),
            ]  # fmt: skip
        for name, hint, shape in (("image", self.imshp, image), ("filter", self.kshp, kernel)):
            for a, known in enumerate(hint or ()):
                if known is not None:
                    checks.append(
                        check(E.compare("eq", shape[a], known),
                              f"the {name} shape given to the convolution was {hint}, which axis "
                              f"{a} does not have", "what was declared, or None for an open size")
                    )  # fmt: skip
        return [c for c in checks if not (type(c.holds) is E.Const and c.holds.value)]

    def lowering(self, node: Apply, ctx: Context) -> LibraryCall:
        kh, kw = self.kshp[2:] if self.kshp else (None, None)
        params: dict[str, Any] = {
            "filter_flip": self.filter_flip, "subsample": self.subsample,
            "filter_dilation": self.filter_dilation, "pad": self.border_mode,
            "num_groups": self.num_groups, "kh": kh, "kw": kw,
            "images": self.imshp, "filters": self.kshp,
        }  # fmt: skip
        a, b = node.inputs[:2]
        return LibraryCall(self.kernel_name, a.type.dtype, params, (a, b))

    # -- meaning ----------------------------------------------------------------------------------

    def _taps(
        self, image: Sequence[int], kernel: Sequence[int], top: Sequence[int]
    ) -> Iterator[Any]:
        """For each tap of the filter: its row and column, and the slices of the padded image."""
        for i in range(kernel[2]):
            for j in range(kernel[3]):
                at = []
                for a, tap in enumerate((i, j)):
                    start, step = tap * self.filter_dilation[a], self.subsample[a]
                    at.append(slice(start, start + step * (top[2 + a] - 1) + 1, step))
                if self.filter_flip:
                    i_read, j_read = kernel[2] - 1 - i, kernel[3] - 1 - j
                else:
                    i_read, j_read = i, j
                yield (..., i_read, j_read), (..., *at)

    def _pads(self, kernel: Sequence[int]) -> list[Pair]:
        pads = [
            padding(self.border_mode, a, kernel[2 + a], self.filter_dilation[a]) for a in (0, 1)
        ]
        return [(before.value, after.value) for before, after in pads]  # type: ignore[attr-defined]

    def _check_known(self, image: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """The rows and columns of the output; ShapeError where shapes do not fit."""
        if image[1] != kernel[1] * self.num_groups:
            raise self._stack_size(image[1], kernel[1], f"{image} and {kernel}", None)
        moves = self._moves(tuple(map(E.const, image)), tuple(map(E.const, kernel)))
        if any(room.value < 0 for _, room in moves):  # type: ignore[attr-defined]
            raise ShapeError(explain(self, "impossible output shape", got=f"{image} by {kernel}"))
        for hint, shape in ((self.imshp, image), (self.kshp, kernel)):
            if hint and any(h not in (None, s) for h, s in zip(hint, shape, strict=True)):
                raise ShapeError(explain(self, f"declared {hint}", got=f"{tuple(shape)}"))
        return [size.value for size, _ in moves]  # type: ignore[attr-defined]

    def _grouped(self, x: np.ndarray, axis: int) -> np.ndarray:
        """`x` with its channels, at `axis`, as (groups, channels of a group)."""
        groups = self.num_groups
        shape = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
        return x.reshape(shape)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i < 2] for i in range(len(node.inputs))]

    def __str__(self) -> str:
        facts = [
            f"{name}={getattr(self, name)}" for name in ("imshp", "kshp") if getattr(self, name)
        ]
        facts.append(f"border_mode={self.border_mode}")
        for name, usual in (("subsample", (1, 1)), ("filter_dilation", (1, 1)), ("num_groups", 1)):
            if getattr(self, name) != usual:
                facts.append(f"{name}={getattr(self, name)}")
        if not self.filter_flip:
            facts.append("filter_flip=False")
        return f"{type(self).__name__}{{{', '.join(facts)}}}"


def _last_two(x: Any, hint: Hint) -> Any:
    """Rows and columns of `x` as an int64 vector, constant where they are declared."""
    known = (hint or (None,) * 4)[2:]
    sizes = [shape_i(x, 2 + a) if size is None else size for a, size in enumerate(known)]
    return MakeVector()(*(constant(s, dtype="int64") if isinstance(s, int) else s for s in sizes))


def _disconnected() -> Variable:
    return DisconnectedType().make_variable()


@dataclass(frozen=True)
class Conv2d(_Convolution):
    """Convolution (`filter_flip`) or correlation of images (n, c, h, w) with filters.

    Output (n, o, oh, ow); sizes as `out_size` says. Source: Theano, AbstractConv2d.
    """

    kernel_name = "conv2d"
    operand_names = ("input", "filters")

    def output_types(self, image: Any, kernel: Any) -> list[TensorType]:
        self._operands(image, kernel)
        pattern = (image.broadcastable[0], kernel.broadcastable[0], False, False)
        return [TensorType(image.dtype, pattern)]

    def _sizes(self, node: Apply, ctx: Context) -> tuple[Shape, Shape, Shape]:
        image, kernel = (ctx.shape(v) for v in node.inputs)
        return image, kernel, (image[0], kernel[0], *(s for s, _ in self._moves(image, kernel)))

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [self._sizes(node, ctx)[2]]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        image, kernel = inputs
        size = self._check_known(image.shape, kernel.shape)
        top = np.zeros((image.shape[0], self.num_groups, len(kernel) // self.num_groups, *size))
        padded = self._grouped(np.pad(image, [(0, 0), (0, 0), *self._pads(kernel.shape)]), 1)
        weights = self._grouped(kernel, 0)
        for tap, window in self._taps(image.shape, kernel.shape, (*image.shape[:2], *size)):
            top += np.einsum("ngchw,goc->ngohw", padded[window], weights[tap], dtype="float64")
        return [top.reshape(len(image), len(kernel), *size).astype(image.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (image, kernel), (g,) = inputs, output_gradients
        by_image = self._again(Conv2dGradInputs)(kernel, g, _last_two(image, self.imshp))
        by_kernel = self._again(Conv2dGradWeights)(image, g, _last_two(kernel, self.kshp))
        return [match_pattern(by_image, image), match_pattern(by_kernel, kernel)]


@dataclass(frozen=True)
class Conv2dGradWeights(_Convolution):
    """The gradient of `Conv2d` by its filters, from images, the output's gradient, and (kh, kw).

    Source: Theano, AbstractConv2d_gradWeights.
    """

    kernel_name = "conv2d_grad_weights"
    operand_names = ("input", "output_grad")

    def output_types(self, image: Any, top: Any, shape: Any) -> list[TensorType]:
        self._operands(image, top, shape)
        one = image.broadcastable[1] and self.num_groups == 1
        return [TensorType(image.dtype, (top.broadcastable[1], one, False, False))]

    def _sizes(self, node: Apply, ctx: Context) -> tuple[Shape, Shape, Shape]:
        image, top = (ctx.shape(v) for v in node.inputs[:2])
        size = [ctx.value(node.inputs[2], i) for i in range(2)]
        known = self.kshp or (None,) * 4
        size = [s if k is None else E.const(k) for s, k in zip(size, known[2:], strict=True)]
        return image, (top[1], E.floordiv(image[1], self.num_groups), *size), top

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [self._sizes(node, ctx)[1]]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        image, top, size = inputs
        shape = (top.shape[1], image.shape[1] // self.num_groups, int(size[0]), int(size[1]))
        wanted = (image.shape[0], top.shape[1], *self._check_known(image.shape, shape))
        if top.shape != wanted:
            raise ShapeError(explain(self, f"the output has shape {wanted}", got=str(top.shape)))
        kernel = self._grouped(np.zeros(shape), 0)
        padded = self._grouped(np.pad(image, [(0, 0), (0, 0), *self._pads(shape)]), 1)
        grouped = self._grouped(top, 1)
        for tap, window in self._taps(image.shape, shape, top.shape):
            kernel[tap] = np.einsum("ngchw,ngohw->goc", padded[window], grouped, dtype="float64")
        return [kernel.reshape(shape).astype(image.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (image, top, _), (g,) = inputs, output_gradients
        by_image = self._again(Conv2dGradInputs)(g, top, _last_two(image, self.imshp))
        by_top = self._again(Conv2d)(image, g)
        return [match_pattern(by_image, image), match_pattern(by_top, top), _disconnected()]


@dataclass(frozen=True)
class Conv2dGradInputs(_Convolution):
    """The gradient of `Conv2d` by its images, from filters, the output's gradient, and (h, w).

    Also called transposed convolution. Source: Theano, AbstractConv2d_gradInputs.
    """

    kernel_name = "conv2d_grad_inputs"
    operand_names = ("filters", "output_grad")

    def output_types(self, kernel: Any, top: Any, shape: Any) -> list[TensorType]:
        self._operands(kernel, top, shape)
        one = kernel.broadcastable[1] and self.num_groups == 1
        return [TensorType(kernel.dtype, (top.broadcastable[0], one, False, False))]

    def _sizes(self, node: Apply, ctx: Context) -> tuple[Shape, Shape, Shape]:
        kernel, top = (ctx.shape(v) for v in node.inputs[:2])
        size = [ctx.value(node.inputs[2], i) for i in range(2)]
        known = self.imshp or (None,) * 4
        size = [s if k is None else E.const(k) for s, k in zip(size, known[2:], strict=True)]
        return (top[0], E.mul(kernel[1], self.num_groups), *size), kernel, top

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [self._sizes(node, ctx)[0]]

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        kernel, top, size = inputs
        shape = (top.shape[0], kernel.shape[1] * self.num_groups, int(size[0]), int(size[1]))
        wanted = (top.shape[0], len(kernel), *self._check_known(shape, kernel.shape))
        if top.shape != wanted:
            raise ShapeError(explain(self, f"the output has shape {wanted}", got=str(top.shape)))
        (top_pad, bottom), (left, right) = self._pads(kernel.shape)
        padded = np.zeros((*shape[:2], shape[2] + top_pad + bottom, shape[3] + left + right))
        padded = self._grouped(padded, 1)
        weights, grouped = self._grouped(kernel, 0), self._grouped(top, 1)
        for tap, window in self._taps(shape, kernel.shape, top.shape):
            padded[window] += np.einsum("ngohw,goc->ngchw", grouped, weights[tap], dtype="float64")
        image = padded[..., top_pad : top_pad + shape[2], left : left + shape[3]]
        return [image.reshape(shape).astype(kernel.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (kernel, top, _), (g,) = inputs, output_gradients
        by_kernel = self._again(Conv2dGradWeights)(g, top, _last_two(kernel, self.kshp))
        by_top = self._again(Conv2d)(g, kernel)
        return [match_pattern(by_kernel, kernel), match_pattern(by_top, top), _disconnected()]
