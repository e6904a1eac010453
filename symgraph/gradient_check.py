"""Gradients checked against finite differences. Source: Theano, gradient.py (verify_grad)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.errors import explain
from symgraph.types import FLOATS, TensorType
from symgraph.variable import as_tensor_variable

EPSILON = {"float64": 1e-6, "float32": 3e-3, "float16": 1e-1}  # about the cube root of the ulp
TOLERANCE = {"float64": 1e-4, "float32": 1e-2, "float16": 5e-2}


class GradientError(AssertionError):
    """A symbolic gradient and finite differences disagree."""


class numeric_grad:
    """Central finite differences of a function of arrays, in all their elements.

    `f(*pt)` is a number; `pt` an array or a list of arrays (float16 to float64, any shapes), which
    are not changed. `eps` is the distance to both sides; by default it suits the narrowest dtype
    among `pt` and `out_type`, in which f computes. `gf` holds the result: arrays of the shapes and
    dtypes of `pt`, in a list if `pt` is one. Source: Theano, `gradient.numeric_grad`.
    """

    def __init__(
        self, f: Callable[..., Any], pt: Any, eps: float | None = None, out_type: str | None = None
    ) -> None:
        packed = isinstance(pt, (list, tuple))
        points = [np.array(p, order="C") for p in (pt if packed else [pt])]
        dtypes = [str(p.dtype) for p in points] + ([out_type] if out_type else [])
        if not set(dtypes) <= FLOATS:
            raise TypeError(f"numeric_grad: points are arrays of floats, got {', '.join(dtypes)}")
        if eps is None:
            eps = max(EPSILON[d] for d in dtypes)
        grads = [np.zeros_like(p) for p in points]
        for point, gradient in zip(points, grads, strict=True):
            flat, slope = point.reshape(-1), gradient.reshape(-1)
            for i in range(flat.size):
                middle = flat[i]
                flat[i] = middle + eps
                right, above = float(flat[i]), float(f(*points))
                flat[i] = middle - eps
                left, below = float(flat[i]), float(f(*points))
                flat[i] = middle
                slope[i] = (above - below) / (right - left)
        self.gf: Any = grads if packed else grads[0]

    @staticmethod
    def abs_rel_err(a: Any, b: Any) -> tuple[Any, Any]:
        """|a - b|, and |a - b| / max(|a| + |b|, 1e-8), element by element."""
        distance = np.abs(np.asarray(a, "float64") - np.asarray(b, "float64"))
        size = np.abs(np.asarray(a, "float64")) + np.abs(np.asarray(b, "float64"))
        return distance, distance / np.maximum(size, 1e-8)

    def abs_rel_errors(self, g_pt: Any) -> list[tuple[Any, Any]]:
        """`abs_rel_err` of `g_pt`, a gradient of the form of `pt`, for each of its arrays."""
        mine = self.gf if isinstance(self.gf, list) else [self.gf]
        others = g_pt if isinstance(g_pt, (list, tuple)) else [g_pt]
        if len(mine) != len(others):
            raise ValueError(f"numeric_grad: {len(mine)} arrays are not compared to {len(others)}")
        for a, b in zip(mine, others, strict=True):
            if np.shape(a) != np.shape(b):
                raise ValueError(f"numeric_grad: a gradient of shape {np.shape(b)} for {a.shape}")
        return [self.abs_rel_err(a, b) for a, b in zip(mine, others, strict=True)]

    def max_err(self, g_pt: Any, abs_tol: float, rel_tol: float) -> tuple[int, int, float, float]:
        """Where `g_pt` is most wrong: array, flat position in it, absolute and relative error.

        An element is as wrong as the lesser of its two errors, each in units of its tolerance; NaN
        is wrong beyond measure.
        """
        worst = (-1.0, 0, 0, 0.0, 0.0)
        for number, (absolute, relative) in enumerate(self.abs_rel_errors(g_pt)):
            if not absolute.size:
                continue
            scores = np.minimum(absolute / abs_tol, relative / rel_tol).reshape(-1)
            scores = np.where(np.isnan(scores), np.inf, scores)
            at = int(np.argmax(scores))
            if scores[at] > worst[0]:
                errors = float(absolute.flat[at]), float(relative.flat[at])
                worst = (float(scores[at]), number, at, *errors)
        return worst[1:]


def verify_grad(
    fun: Callable[..., Any],
    pt: Sequence[Any],
    n_tests: int = 2,
    rng: Any = None,
    eps: float | None = None,
    out_type: str | None = None,
    abs_tol: float | None = None,
    rel_tol: float | None = None,
    mode: Any = None,
    cast_to_output_type: bool = False,
    no_debug_ref: bool = True,
) -> None:
    """Check the symbolic gradient of `fun` at the arrays `pt` against finite differences.

    `fun` takes one variable for each array (floats, any shapes) and returns a tensor, which is
    projected on `n_tests` random directions drawn from `rng` (a NumPy RandomState or Generator).
    `out_type` is the dtype in which fun computes, if it is narrower than its result;
    `cast_to_output_type` casts the gradient's seed to it; `no_debug_ref` means nothing here. Axes
    of size 1 in `pt` are broadcastable.

    Raises GradientError where both the absolute error exceeds `abs_tol` and the relative one
    `rel_tol` (1e-4 in float64, 1e-2 in float32, 5e-2 in float16), TypeError without `rng` or for
    arrays that are not floats, ValueError if `fun` gives several outputs.
    Source: Theano, `gradient.verify_grad`.
    """
    from symgraph.compile.function import function
    from symgraph.gradient import grad
    from symgraph.ops.elementwise import cast
    from symgraph.ops.reduce import sum

    if rng is None:
        raise TypeError("verify_grad: rng must be a numpy.random.RandomState or Generator")
    points = [np.array(p) for p in pt]
    for position, point in enumerate(points):
        if str(point.dtype) not in FLOATS:
            raise TypeError(f"verify_grad: pt[{position}] is of {point.dtype}; it takes floats")
    inputs = [
        TensorType(str(p.dtype), [size == 1 for size in p.shape])(f"input {i}")
        for i, p in enumerate(points)
    ]
    output = fun(*inputs)
    if isinstance(output, (list, tuple)):
        raise ValueError("verify_grad: fun gives several outputs; choose one of them")
    output = as_tensor_variable(output)
    if output.dtype not in FLOATS:
        raise TypeError(f"verify_grad: fun gives {output.dtype}, which has no gradient to check")
    dtypes = [*(str(p.dtype) for p in points), output.dtype, *([out_type] if out_type else [])]
    allowed = max(TOLERANCE[d] for d in dtypes)
    abs_tol, rel_tol = (allowed if t is None else t for t in (abs_tol, rel_tol))
    # float16 results are projected in float32, which their sum would overflow
    wide = out_type if cast_to_output_type and out_type else output.dtype
    wide = "float32" if wide == "float16" else wide
    direction = TensorType(wide, output.broadcastable)("direction")
    cost = sum(cast(output, wide) * direction, dtype="float64")
    options: dict[str, Any] = {"mode": mode, "on_unused_input": "ignore"}
    value = function(inputs, output, name="verify_grad value", **options)
    projected = function([*inputs, direction], cost, name="verify_grad projection", **options)
    symbolic = function(
        [*inputs, direction], grad(cost, inputs, disconnected_inputs="ignore"),
        name="verify_grad gradient", **options,
    )  # fmt: skip
    shape = value(*points).shape
    for test in range(n_tests):
        along = np.asarray(rng.uniform(0.5, 1.5, shape), wide)
        numeric = numeric_grad(lambda *p, along=along: projected(*p, along), points, eps, out_type)
        found = symbolic(*points, along)
        number, at, absolute, relative = numeric.max_err(found, abs_tol, rel_tol)
        if not (absolute <= abs_tol or relative <= rel_tol):
            raise GradientError(
                explain(
                    "verify_grad",
                    f"the gradient by input {number} is wrong at flat position {at}, test {test}",
                    where=getattr(output.owner, "trace", None),
                    got=f"{found[number].flat[at]} symbolically, {numeric.gf[number].flat[at]} "
                    f"by finite differences, for shape {points[number].shape}",
                    expected=f"an absolute error ({absolute:.3g}) of at most {abs_tol:.3g}, "
                    f"or a relative one ({relative:.3g}) of at most {rel_tol:.3g}",
                )
            )


verify_grad.E_grad = GradientError  # type: ignore[attr-defined]
