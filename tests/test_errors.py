"""What errors say: the op, the user's line, what was got, what was expected, and the cure.

Lines marked "here" are those that a message must show. Errors of calls are tried at every level of
rewriting and on both targets: the line survives rewriting and fusion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import function, grad, shared
from symgraph import tensor as T
from symgraph.compile.pipeline import Options
from symgraph.errors import (
    AsTensorError,
    DisconnectedInputError,
    MissingInputError,
    NullTypeGradError,
    ShapeError,
    UnusedInputError,
    explain,
)
from symgraph.gradient import grad_undefined
from symgraph.graph import Op
from symgraph.tensor.nnet import conv2d
from symgraph.tensor.signal import pool

MODES = [
    Options("python", "none"),
    Options("python", "fast_compile"),
    Options("python", "fast_run"),
    Options("cpu", "none"),
    Options("cpu", "fast_run"),
]


def check(error: BaseException, *words: str, facts: str = "where got expected cure") -> None:
    """The message has `facts` and `words`, and shows the line that is marked."""
    text = str(error)
    for fact in facts.split():
        assert f"\n  {fact}:" in text, f"no {fact} in:\n{text}"
    if "where" in facts:
        assert __file__.rsplit("/", 1)[-1] in text and "# here" in text, text
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"


def test_a_message_leaves_out_empty_facts() -> None:
    assert explain("op", "problem") == "op: problem"
    assert explain("", "problem", got="x", cure="y") == "problem\n  got:      x\n  cure:     y"


# ---- calls ---------------------------------------------------------------------------------------


def _add() -> Any:
    x, y = T.dvectors("x", "y")
    z = x + y  # here
    return [x, y], T.exp(z * 2).sum(), (np.ones(3), np.ones(2))


def _broadcast() -> Any:
    x, w = T.dmatrix("x"), shared(np.ones((1, 3)), "w")
    z = x * w  # here
    return [x], z.sum(axis=0), (np.ones((5, 3)),)


def _dot() -> Any:
    x, y = T.dmatrices("x", "y")
    z = T.dot(x, y)  # here
    return [x, y], T.tanh(z + 1), (np.ones((5, 10)), np.ones((20, 10)))


def _index() -> Any:
    x, i = T.dvector("x"), T.lscalar("i")
    z = x[i]  # here
    return [x, i], z * 2, (np.ones(3), 3)


def _pick() -> Any:
    x, y = T.dmatrix("x"), T.ivector("y")
    z = x[T.arange(y.shape[0]), y]  # here
    return [x, y], T.exp(z).sum(), (np.ones((2, 3)), np.array([0, -4], "int32"))


def _loss() -> Any:
    x, y = T.dmatrix("x"), T.ivector("y")
    p = T.nnet.softmax(x)
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])  # here
    return [x, y], cost, (np.ones((2, 3)), np.array([0, 3], "int32"))


def _concatenate() -> Any:
    x, y = T.dmatrices("x", "y")
    z = T.concatenate([x, y], axis=1)  # here
    return [x, y], z * 2, (np.ones((2, 3)), np.ones((3, 3)))


def _reshape() -> Any:
    x = T.dmatrix("x")
    z = x.reshape((4, 5))  # here
    return [x], z + 1, (np.ones((3, 3)),)


def _maximum() -> Any:
    x = T.dmatrix("x")
    z = x.max(axis=1)  # here
    return [x], z, (np.ones((3, 0)),)


def _convolve() -> Any:
    x, w = T.ftensor4("x"), T.ftensor4("w")
    z = conv2d(x, w)  # here
    return [x, w], T.tanh(z), (np.ones((2, 3, 8, 8), "f"), np.ones((4, 2, 5, 5), "f"))


def _convolve_declared() -> Any:
    x, w = T.ftensor4("x"), shared(np.ones((4, 3, 5, 5), "f"), "w")
    z = conv2d(x, w, input_shape=(2, 3, 8, 8), filter_shape=(4, 3, 5, 5))  # here
    return [x], T.tanh(z), (np.ones((5, 3, 8, 8), "f"),)


RUNS: list[tuple[Callable[[], Any], type[Exception], list[str]]] = [
    (_add, ShapeError, ["Input dimension mis-match. (input[0].shape[0] = 3, input[1].shape[0] = 2)",
                        "(3,), (2,)"]),
    (_broadcast, ShapeError, ["mis-match", "broadcastable", "(5, 3), (1, 3)"]),
    (_dot, ShapeError, ["Shape mismatch: x has 10 cols (and 5 rows) but y has 20 rows (and 10 c"]),
    (_index, IndexError, ["3"]),
    (_pick, IndexError, ["-4"]),
    (_loss, IndexError, ["3"]),
    (_concatenate, ShapeError, []),
    (_reshape, ShapeError, ["9"]),
    (_maximum, ShapeError, ["no identity"]),
    (_convolve, ShapeError, ["images and kernel must have the same stack size"]),
    (_convolve_declared, ValueError, ["5"]),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES, ids=lambda m: f"{m.target}-{m.rewrites}")
@pytest.mark.parametrize("case", RUNS, ids=lambda c: c[0].__name__.strip("_"))
def test_errors_of_calls_show_the_line(case: Any, mode: Options) -> None:
    build, kind, words = case
    inputs, output, values = build()
    f = function(inputs, output, mode=mode)
    with pytest.raises(kind) as error:
        f(*values)
    check(error.value, *words, facts="where got expected")


def test_errors_in_gradients_show_the_line_of_the_forward_pass() -> None:
    x, w = T.dmatrix("x"), shared(np.ones((4, 2)), "w")
    z = T.dot(x, w)  # here
    f = function([x], grad((z**2).sum(), w), mode=Options("python"))
    with pytest.raises(ShapeError) as error:
        f(np.ones((3, 5)))
    check(error.value, "x has 5 cols", facts="where got expected cure")


def test_a_step_in_python_says_where_it_was_built() -> None:
    class Odd(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

        def infer_shape(self, node: Any, ctx: Any) -> Any:
            return [ctx.shape(node.inputs[0])]

        def perform(self, node: Any, inputs: Any, output_storage: Any) -> None:
            output_storage[0][0] = inputs[0][1:]

    x = T.dvector("x")
    y = Odd()(x)  # here
    with pytest.raises(ValueError) as error:
        function([x], y, mode=Options("python"))([1, 2])
    check(error.value, "infer_shape", "(1,)", "(2,)", facts="where got expected")


# ---- while building ------------------------------------------------------------------------------


def _raises(kind: type[Exception], build: Callable[[], Any], *words: str, facts: str) -> None:
    with pytest.raises(kind) as error:
        build()
    check(error.value, *words, facts=facts)


def test_expressions_that_cannot_be() -> None:
    x, m, i = T.dvector("x"), T.dmatrix("m"), T.lvector("i")
    cases: list[tuple[type[Exception], Callable[[], Any], str | None]] = [
        (ValueError, lambda: m.dimshuffle(0), "cannot drop a non-broadcastable"),
        (ValueError, lambda: m.dimshuffle(0, 0, 1), "more than once"),
        (ValueError, lambda: m.sum(axis=2), "Not enough dimensions"),
        (TypeError, lambda: x.sum(acc_dtype="float32"), "precision would be lost"),
        (TypeError, lambda: x & i, "integers or bools"),
        (TypeError, lambda: x + True, "Cannot cast True"),
        (AsTensorError, lambda: T.as_tensor_variable("text"), "cannot make a tensor"),
        (TypeError, lambda: x + None, None),
        (TypeError, lambda: x < 1 < 2 if (x < 1) else 0, "boolean operations"),
        (TypeError, lambda: list(m), "does not support iteration"),
        (TypeError, lambda: T.zscalar("z"), "complex"),
        (TypeError, lambda: T.TensorType("complex128", ())("z"), "complex"),
        (TypeError, lambda: conv2d(m, m), None),
        (IndexError, lambda: m[0, 0, 0], None),
        (IndexError, lambda: T.dscalar()[0], None),
        (TypeError, lambda: m[0.5], None),
        (TypeError, lambda: m.__setitem__(0, x), "set_subtensor"),
        (TypeError, lambda: T.set_subtensor(m, x), "result of a subtensor"),
        (NotImplementedError, lambda: pool.pool_2d(x, (2, 2), ignore_border=True), None),
        (
            NotImplementedError,
            lambda: pool.pool_2d(m, (2, 2), ignore_border=True, pad=(2, 2)),
            None,
        ),
        (ValueError, lambda: pool.pool_2d(m, (2, 2), ignore_border=True, mode="min"), None),
        (ValueError, lambda: pool.pool_2d(m, (2, 2, 2), ignore_border=True), None),
    ]
    for number, (kind, build, words) in enumerate(cases):
        with pytest.raises(kind, match=words):
            build()
            pytest.fail(f"case {number} raised nothing")


def test_unknown_names_say_which_are_near() -> None:
    with pytest.raises(AttributeError, match=r"did you mean.*tanh"):
        T.tanhh  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no flag 'flaotX'.*floatX\?"):
        symgraph.config.flaotX  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no flag 'flaotX'.*floatX\?"):
        symgraph.config.flaotX = "float32"
    with pytest.raises(AttributeError, match="no flag"), symgraph.config.change_flags(foo=1):
        pass
    with pytest.raises(AttributeError, match=r"no flag 'conf\.x'"):
        symgraph.config.set("conf.x", 1)
    with symgraph.config.change_flags(openmp=True, warn__subtensor_merge_bug=False):
        symgraph.config.warn.sum_div_dimshuffle_bug = False
        assert symgraph.config.warn.subtensor_merge_bug is False
    with pytest.raises(ValueError, match=r"device takes one of cpu, cuda, .*; got 'gpu1'"):
        symgraph.config.device = "gpu1"
    with pytest.raises(ValueError, match="floatX takes one of float64, float32, float16; got 'f8'"):
        symgraph.config.floatX = "f8"
    with pytest.raises(ValueError, match="on_unused_input"):
        symgraph.config.on_unused_input = "shrug"


# ---- functions -----------------------------------------------------------------------------------


def test_errors_of_functions() -> None:
    x = T.dvector("x")  # here
    y = T.dvector("y")  # here
    w = shared(np.ones(2, "float32"), "w")  # here
    wide = w + x  # here
    python = Options("python")

    def build(*args: Any, **options: Any) -> Callable[[], Any]:
        return lambda: function(*args, mode=python, **options)

    every = "where got expected cure"
    _raises(MissingInputError, build([x], x + y), "the graph needs y", facts=every)
    _raises(UnusedInputError, build([x, y], x), "at index 1", ": y", facts=every)
    _raises(UnusedInputError, build([x, x], x), "listed twice", facts="where got expected")
    _raises(TypeError, build([w], w), "Cannot use a shared variable (w)", facts=every)
    _raises(TypeError, build([x], [], updates=[(w, wide)]), "update must have the same type",
            "TensorType(float64, vector)", "TensorType(float32, vector)", facts=every)  # fmt: skip
    _raises(TypeError, build([x], [], updates=[(x, x)]), "SharedVariable",
            facts="where expected cure")  # fmt: skip
    _raises(ValueError, build([], [], updates=[(w, w), (w, w)]), "two updates", facts="where")
    _raises(RuntimeError, build([x], x, givens={x: y}), "givens", facts="where got cure")
    total = wide.sum()  # here
    _raises(TypeError, build([], y, givens={y: total}), "cannot replace y", facts=every)
    _raises(AssertionError, build([x], y, givens=[(y, wide), (w, w)]), "depend", facts="where got")


def test_errors_of_arguments() -> None:
    x = T.fmatrix("x")  # here
    f = function([x], x, name="f", mode=Options("python"))
    bad = 'Bad input argument to symgraph function with name "f" at index 0 (0-based)'
    for value, words in (
        (np.ones((2, 2)), "cannot store a value of dtype float64 without risking loss"),
        (np.ones(3, "f"), "Wrong number of dimensions: expected 2, got 1 with shape (3,)."),
        ([[0.1]], "allow_input_downcast=True"),
        (x, "symbolic variable"),
    ):
        with pytest.raises(TypeError) as error:
            f(value)
        check(error.value, bad, words, facts="where got expected")


# ---- gradients -----------------------------------------------------------------------------------


def test_errors_of_gradients() -> None:
    x = T.dvector("x")  # here
    y = T.dvector("y")  # here
    cost = x * 2  # here
    _raises(TypeError, lambda: grad(cost, x), "cost must be a scalar.",
            facts="where got expected cure")  # fmt: skip
    _raises(DisconnectedInputError, lambda: grad(cost.sum(), y), "not part of the computational",
            "y (TensorType(float64, vector))", facts="where got expected cure")  # fmt: skip

    class Rough(Op):
        def output_types(self, x: Any) -> Any:
            return [x.type]

        def grad(self, inputs: Any, output_gradients: Any) -> Any:
            return [grad_undefined(self, 0, inputs[0], "It is rough.")]

    rough = Rough()(x).sum()  # here
    _raises(NullTypeGradError, lambda: grad(rough, x), "It is rough.",
            facts="where got expected cure")  # fmt: skip
