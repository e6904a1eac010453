"""Pooling of the last two axes, its gradients, and the gradient of the gradient.

Source: Theano, library/tensor/signal/pool; rules 22 and 36 of its semantics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from symgraph import expr as E
from symgraph.errors import ShapeError, explain
from symgraph.expr import Check, Expr
from symgraph.graph import Apply, Context, LibraryCall, Op, Shape, Variable
from symgraph.ops.core import describe
from symgraph.ops.reduce import match_pattern
from symgraph.types import FLOATS, INTEGERS, DisconnectedType, TensorType

MODES = ("max", "sum", "average_inc_pad", "average_exc_pad")
TIES = ("all", "first")
Pair = tuple[int, int]


def pooled_size(size: Any, ws: Any, stride: Any, pad: Any, ignore_border: bool) -> Expr:
    """How many windows there are along an axis of `size`, as a host expression.

    With `ignore_border` only whole windows count, else also those that begin inside.
    """
    n = E.add(size, E.mul(2, pad))
    stride = E.maximum(stride, 1)  # a symbolic one may be 0, which a check reports
    if ignore_border:
        return E.maximum(E.add(E.floordiv(E.sub(n, ws), stride), 1), 0)
    apart = E.add(E.floordiv(E.sub(n, 1), stride), 1)
    room = E.add(E.sub(E.sub(n, 1), ws), stride)
    overlapping = E.add(E.maximum(0, E.floordiv(room, stride)), 1)
    return E.where(E.compare("le", ws, stride), apart, E.minimum(n, overlapping))


def _window_error(
    ws: Sequence[int], stride: Sequence[int], pad: Sequence[int], ignore: bool, where: Any = None
) -> Exception | None:
    """What is wrong with these windows: a ValueError, a NotImplementedError, or nothing."""
    facts = f"ws={tuple(ws)}, stride={tuple(stride)}, pad={tuple(pad)}, ignore_border={ignore}"
    kind: type[Exception] = NotImplementedError
    if min(*ws, *stride) < 1 or min(pad) < 0:
        kind, problem = ValueError, "windows and strides must be positive, pads not negative"
    elif max(pad) > 0 and not ignore:
        problem = "padding works only with ignore_border=True"
    elif pad[0] >= ws[0] or pad[1] >= ws[1]:
        problem = "padding must be smaller than windows"
    else:
        return None
    return kind(explain("pool_2d", problem, where=where, got=facts))


@dataclass(frozen=True)
class _Pooling(Op):
    """What the ops share: the windows, from the fields or, where these are None, from the input.

    `ws`, `stride` and `pad` are pairs for rows and columns. `ties`: of the elements that equal the
    maximum of a window, all, or the first, row by row, stand for it in derivatives. Windows that
    are known only when the function is called come as a last input, the six numbers in one int
    vector; such an op runs as a Python step.
    """

    mode: str
    ignore_border: bool
    ws: Pair | None = None
    stride: Pair | None = None
    pad: Pair | None = None
    ties: str = "all"

    kernel_name: ClassVar[str]
    arity: ClassVar[int]  # arrays among the inputs

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(
                explain(self, f"pooling mode {self.mode!r} is not known", expected=", ".join(MODES))
            )
        if self.ties not in TIES:
            raise ValueError(
                explain(self, f"ties={self.ties!r} is not known", expected=" or ".join(TIES))
            )
        if self.ws is not None and self.stride is not None and self.pad is not None:
            error = _window_error(self.ws, self.stride, self.pad, self.ignore_border)
            if error is not None:
                raise error

    def _again(self, kind: type[_Pooling]) -> Any:
        """Another of these ops, for the same windows."""
        return kind(self.mode, self.ignore_border, self.ws, self.stride, self.pad, self.ties)

    def output_types(self, *inputs: Any) -> list[TensorType]:
        x = inputs[0]
        if len(inputs) != self.arity + (self.ws is None):
            raise TypeError(explain(self, f"takes {self.arity} arrays", got=describe(inputs)))
        if x.ndim < 2:
            raise NotImplementedError(
                explain(self, "pooling needs at least 2 dimensions", got=describe((x,)))
            )
        if x.dtype not in INTEGERS | {"float32", "float64"} or (
            self.mode.startswith("average") and x.dtype not in FLOATS
        ):
            raise TypeError(
                explain(self, f"{self.mode} pooling of {x.dtype} is not defined",
                        got=describe((x,)), cure="cast the input to a float dtype")
            )  # fmt: skip
        return [TensorType(x.dtype, self._pattern(*inputs[: self.arity]))]

    def _pattern(self, *arrays: Any) -> tuple[bool, ...]:
        """The result's broadcast pattern: a pooled one."""
        return (*arrays[0].broadcastable[:-2], False, False)

    def _windows(self, window: Sequence[Any]) -> tuple[Sequence[Any], ...]:
        """ws, stride and pad: literals, or what stands in the last input."""
        if self.ws is not None:
            return self.ws, self.stride, self.pad  # type: ignore[return-value]
        return window[:2], window[2:4], window[4:6]

    def _pooled(self, shape: Sequence[Any], window: Sequence[Any]) -> tuple[Any, ...]:
        ws, stride, pad = self._windows(window)
        sizes = [
            pooled_size(shape[a - 2], ws[a], stride[a], pad[a], self.ignore_border) for a in (0, 1)
        ]
        return (*shape[:-2], *sizes)

    def _host_windows(self, node: Apply, ctx: Context) -> list[Expr]:
        return [] if self.ws is not None else [ctx.value(node.inputs[-1], i) for i in range(6)]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [self._pooled(ctx.shape(node.inputs[0]), self._host_windows(node, ctx))]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        window = self._host_windows(node, ctx)
        if not window:
            return []

        def fail(*six: int) -> Exception:
            error = _window_error(six[:2], six[2:4], six[4:], self.ignore_border, node.trace)
            return error or AssertionError("the windows are sound")

        holds = [E.compare("lt", E.ZERO, n) for n in window[:4]]
        holds += [E.compare("le", E.ZERO, n) for n in window[4:]]
        for ws, pad in zip(window[:2], window[4:], strict=True):
            holds.append(
                E.compare("lt", pad, ws) if self.ignore_border else E.compare("eq", pad, 0)
            )
        return [Check(condition, tuple(window), fail) for condition in holds]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i < self.arity] for i in range(len(node.inputs))]

    def _terms(self, inputs: Sequence[Any], terms: Sequence[Any]) -> list[Any]:
        """The gradients by the arrays, and none by the windows."""
        rest = [DisconnectedType().make_variable()] * (len(inputs) - len(terms))
        return [*terms, *rest]

    @property
    def lowering(self) -> Callable[..., LibraryCall] | None:  # type: ignore[override]
        """The library kernel, for windows that are known when the graph is built."""
        return None if self.ws is None else self._library_call

    def _arrays(self, node: Apply) -> tuple[Variable, ...]:
        return tuple(node.inputs)

    def _library_call(self, node: Apply, ctx: Context) -> LibraryCall:
        params = {n: getattr(self, n) for n in ("ws", "stride", "pad", "mode", "ties")}
        arrays = self._arrays(node)
        results = self.infer_shape(node, ctx)
        shapes = {f"out{i}": shape for i, shape in enumerate(results)}
        shapes |= {f"in{i}": ctx.shape(v) for i, v in enumerate(arrays)}
        flat = {n: (E.product(s[:-2]), *s[-2:]) for n, s in shapes.items()}  # type: ignore[index]
        dtype: str = node.outputs[0].type.dtype
        return LibraryCall(self.kernel_name, dtype, params, arrays, flat)

    def _taps(
        self, shape: Sequence[int], window: Sequence[int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each place in a window: the rows and columns of x there, one for each window, and
        whether they lie in the image."""
        ws, stride, pad = self._windows(window)
        out = [s.value for s in self._pooled(tuple(map(E.const, shape)), window)[-2:]]
        for i in range(ws[0]):
            for j in range(ws[1]):
                rows = np.arange(out[0]) * stride[0] - pad[0] + i
                columns = np.arange(out[1]) * stride[1] - pad[1] + j
                row_in = (rows >= 0) & (rows < shape[-2])
                column_in = (columns >= 0) & (columns < shape[-1])
                yield rows[row_in], columns[column_in], np.ix_(row_in, column_in)  # type: ignore[misc]

    def _maxima(
        self, x: np.ndarray, out: np.ndarray, window: Sequence[int]
    ) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], np.ndarray]]:
        """For each place in a window: the index of it in x, that of the windows in out, and where
        x there stands for the maximum. All is done with one place before the next one is made."""
        none_yet = np.ones(out.shape, bool)
        for rows, columns, inside in self._taps(x.shape, window):
            at, of = (..., rows[:, None], columns), (..., *inside)
            chosen = x[at] == out[of]
            if self.ties == "first":
                chosen &= none_yet[of]
                none_yet[of] &= ~chosen
            yield at, of, chosen

    def _divisor(self, shape: Sequence[int], window: Sequence[int]) -> Any:
        """By what the sum over each window is divided."""
        if self.mode == "sum":
            return 1
        ws, stride, pad = self._windows(window)
        out = [s.value for s in self._pooled(tuple(map(E.const, shape)), window)[-2:]]
        counts = []
        for a in (0, 1):
            start = np.arange(out[a]) * stride[a] - pad[a]
            size, edge = shape[a - 2], pad[a] if self.mode == "average_inc_pad" else 0
            counts.append(np.minimum(start + ws[a], size + edge) - np.maximum(start, -edge))
        return np.multiply.outer(*counts)

    def _read(self, inputs: Sequence[np.ndarray]) -> list[int]:
        """The six numbers of the last input, checked; none if the windows are fields."""
        if self.ws is not None:
            return []
        window = [int(n) for n in inputs[-1]]
        error = _window_error(window[:2], window[2:4], window[4:], self.ignore_border)
        if error is not None:
            raise error
        return window

    def __str__(self) -> str:
        windows = "" if self.ws is None else f", ws={self.ws}, stride={self.stride}, pad={self.pad}"
        ties = "" if self.ties == "all" else f", ties={self.ties}"
        facts = f"{self.mode}, ignore_border={self.ignore_border}{windows}{ties}"
        return f"{type(self).__name__}{{{facts}}}"


@dataclass(frozen=True)
class Pool(_Pooling):
    """The maximum, sum or average of each window of the last two axes."""

    kernel_name = "pool"
    arity = 1

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        x, window = inputs[0], self._read(inputs)
        shape = [getattr(s, "value", s) for s in self._pooled(x.shape, window)]
        if self.mode == "max":
            low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            out = np.full(shape, low, x.dtype)
            for rows, columns, inside in self._taps(x.shape, window):
                at = (..., *inside)
                out[at] = np.maximum(out[at], x[..., rows[:, None], columns])
            return [out]
        out = np.zeros(shape, x.dtype if x.dtype.kind != "f" else "float64")
        for rows, columns, inside in self._taps(x.shape, window):
            out[(..., *inside)] += x[..., rows[:, None], columns]
        if self.mode != "sum":
            out = out / self._divisor(x.shape, window)
        return [out.astype(x.dtype)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], output_gradients: Sequence[Any]
    ) -> Sequence[Any]:
        (x, *window), (out,), (g,) = inputs, outputs, output_gradients
        if x.dtype not in FLOATS:
            term = x.zeros_like("floatX")
        elif self.mode == "max":
            term = match_pattern(self._again(MaxPoolGrad)(x, out, g, *window), x)
        else:
            term = match_pattern(self._again(PoolGrad)(x, g, *window), x)
        return self._terms(inputs, [term])


@dataclass(frozen=True)
class MaxPoolGrad(_Pooling):
    """The gradient of max pooling, from x, the pooled x and the gradient by it.

    Every element that ties for the maximum of a window gets all of that window's gradient, or the
    first one alone: `ties`. NaN equals nothing: where it is the maximum, no element gets any.
    """

    kernel_name = "max_pool_grad"
    arity = 3

    def _pattern(self, *arrays: Any) -> tuple[bool, ...]:
        return arrays[0].broadcastable  # type: ignore[no-any-return]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return super().shape_checks(node, ctx) + _same_shapes(self, node, ctx)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x, out, g), window = inputs[:3], self._read(inputs)
        total = np.zeros(x.shape)
        for at, of, chosen in self._maxima(x, out, window):
            total[at] += np.where(chosen, g[of], 0)
        return [total.astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, out, g, *window), (gg,) = inputs, output_gradients
        term = match_pattern(self._again(MaxPoolGradGrad)(x, out, gg, *window), g)
        return self._terms(inputs, [x.zeros_like(), out.zeros_like(), term])


@dataclass(frozen=True)
class MaxPoolGradGrad(_Pooling):
    """The sum over each window of v where x is the window's maximum, from x, the pooled x and v;
    with ties="first", v where it is so first."""

    kernel_name = "max_pool_grad_grad"
    arity = 3

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x, out, v), window = inputs[:3], self._read(inputs)
        total = np.zeros(out.shape)
        for at, of, chosen in self._maxima(x, out, window):
            total[of] += np.where(chosen, v[at], 0)
        return [total.astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (x, out, v, *window), (g,) = inputs, output_gradients
        term = match_pattern(self._again(MaxPoolGrad)(x, out, g, *window), v)
        return self._terms(inputs, [x.zeros_like(), out.zeros_like(), term])


@dataclass(frozen=True)
class PoolGrad(_Pooling):
    """The gradient of sum and average pooling, from x, of which only the shape counts, and the
    gradient by the pooled x."""

    kernel_name = "pool_grad"
    arity = 2

    def _pattern(self, *arrays: Any) -> tuple[bool, ...]:
        return arrays[0].broadcastable  # type: ignore[no-any-return]

    def infer_shape(self, node: Apply, ctx: Context) -> Sequence[Shape | None]:
        return [ctx.shape(node.inputs[0])]

    def shape_checks(self, node: Apply, ctx: Context) -> list[Check]:
        return super().shape_checks(node, ctx) + _same_shapes(self, node, ctx)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i == 1] for i in range(len(node.inputs))]

    def _arrays(self, node: Apply) -> tuple[Variable, ...]:
        return (node.inputs[1],)

    def evaluate(self, node: Apply, *inputs: np.ndarray) -> Sequence[np.ndarray]:
        (x, g), window = inputs[:2], self._read(inputs)
        share = g / self._divisor(x.shape, window)
        total = np.zeros(x.shape)
        for rows, columns, inside in self._taps(x.shape, window):
            total[..., rows[:, None], columns] += share[(..., *inside)]
        return [total.astype(x.dtype)]

    def grad(self, inputs: Sequence[Any], output_gradients: Sequence[Any]) -> Sequence[Any]:
        (_, g, *window), (gg,) = inputs, output_gradients
        term = match_pattern(self._again(Pool)(gg, *window), g)
        return self._terms(inputs, [DisconnectedType().make_variable(), term])


def _same_shapes(op: _Pooling, node: Apply, ctx: Context) -> list[Check]:
    """That what belongs to the pooled array has its shape."""
    x = ctx.shape(node.inputs[0])
    pooled = op._pooled(x, op._host_windows(node, ctx))
    checks = []
    for v in node.inputs[1 : op.arity]:
        shape = ctx.shape(v)

        def fail(*sizes: int, v: Variable = v) -> Exception:
            half = len(sizes) // 2
            return ShapeError(
                explain(op, f"{v} has shape {sizes[:half]}", where=node.trace,
                        expected=f"{sizes[half:]}, the shape of the pooled array")
            )  # fmt: skip

        checks += [
            Check(E.compare("eq", a, b), (*shape, *pooled), fail)
            for a, b in zip(shape, pooled, strict=True)
            if a is not b
        ]
    return checks
