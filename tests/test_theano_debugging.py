"""The pages of Theano's documents on mistakes and profiling: what they print.

One test for each section, named after the page, run by `import theano`. NumPy prints numbers
differently now, so values are compared as numbers; texts are exact unless a comment says otherwise.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from tests.under_alias import imported, numbers_of, same
from tests.under_alias import interpreted as interpreted

theano, T, printing = imported("theano", "theano.tensor", "theano.printing")
function, shared, debugprint = theano.function, theano.shared, printing.debugprint


# ---- tutorial/debug_faq --------------------------------------------------------------------------


def test_debug_sizes_that_do_not_fit() -> None:
    x, y = T.vector(), T.vector()
    z = x + x
    z = z + y
    f = function([x, y], z)
    with pytest.raises(ValueError) as error:
        f(np.ones((2,)), np.ones((3,)))
    text = str(error.value)
    # Theano shows the sum of three that it made of both lines: sizes (3,), (2,), (2,)
    assert "Input dimension mis-match. (input[0].shape[0] = 2, input[1].shape[0] = 3)" in text
    assert "Inputs shapes: [(2,), (3,)]" in text
    assert "z = z + y" in text and __file__ in text


def test_debug_with_high_verbosity() -> None:
    x, y = T.vector(), T.vector()
    z = x + x
    z = z + y
    f = function([x, y], z)
    with theano.change_flags(exception_verbosity="high"), pytest.raises(ValueError) as error:
        f(np.ones((2,)), np.ones((3,)))
    assert """Debugprint of the apply node:
Elemwise{add,no_inplace} [id A] <TensorType(float64, vector)> ''
 |Elemwise{add,no_inplace} [id B] <TensorType(float64, vector)> ''
 | |<TensorType(float64, vector)> [id C] <TensorType(float64, vector)>
 | |<TensorType(float64, vector)> [id C] <TensorType(float64, vector)>
 |<TensorType(float64, vector)> [id D] <TensorType(float64, vector)>
""" in str(error.value)


def product() -> tuple[Any, Any]:
    w1 = shared(np.ones((2, 10, 10)), "W1")
    x = T.matrix("x")
    x.tag.test_value = np.ones((5, 10))
    return x, w1.dimshuffle(2, 0, 1).flatten(2).T


def test_debug_a_product_that_does_not_fit() -> None:
    x, func_of_W1 = product()
    h2 = T.dot(T.dot(x, func_of_W1), shared(np.ones((15, 20)), "W2").T)
    f = function([x], h2)
    text = "Shape mismatch: x has 10 cols (and 5 rows) but y has 20 rows (and 10 cols)"
    with pytest.raises(ValueError) as error:
        f(np.ones((5, 10)))
    assert text in str(error.value) and "Inputs shapes: [(5, 10), (20, 10)]" in str(error.value)
    assert "T.dot(T.dot(x, func_of_W1)" in str(error.value)


def test_debug_with_test_values() -> None:
    with theano.change_flags(compute_test_value="raise"):
        x, func_of_W1 = product()
        assert func_of_W1.tag.test_value.shape == (20, 10)
        with pytest.raises(ValueError, match="Shape mismatch") as error:
            T.dot(x, func_of_W1)
        assert "T.dot(x, func_of_W1)" in str(error.value)


def test_debug_values_for_names() -> None:
    x = T.scalar("x")
    x.tag.test_value = 42
    with theano.change_flags(print_test_value=True):
        assert numbers_of(repr(x)) == "x\narray(42)"
    assert repr(x) == "x"


def test_debug_a_value_is_printed(capsys: Any) -> None:
    x = T.dvector("x")
    x_printed = printing.Print("this is a very important value")(x)
    f, f_with_print = function([x], x * 5), function([x], x_printed * 5)
    same(f([1, 2, 3]), [5, 10, 15])
    assert capsys.readouterr().out == ""
    same(f_with_print([1, 2, 3]), [5, 10, 15])
    expected = "this is a very important value __str__ = [ 1.  2.  3.]\n"
    assert numbers_of(capsys.readouterr().out) == numbers_of(expected)


def test_debug_step_by_step(capsys: Any) -> None:
    def inspect_inputs(i: int, node: Any, fn: Any) -> None:
        print(i, node, "input(s) value(s):", [input[0] for input in fn.inputs], end="")  # noqa: T201

    def inspect_outputs(i: int, node: Any, fn: Any) -> None:
        print(" output(s) value(s):", [output[0] for output in fn.outputs])  # noqa: T201

    x = T.dscalar("x")
    mode = theano.compile.MonitorMode(pre_func=inspect_inputs, post_func=inspect_outputs)
    function([x], [5 * x], mode=mode)(3)
    expected = (
        "0 Elemwise{mul,no_inplace}(TensorConstant{5.0}, x) input(s) value(s): "
        "[array(5.0), array(3.0)] output(s) value(s): [array(15.0)]\n"
    )
    # the user's own node is watched, whose literal is an int8
    found = capsys.readouterr().out.replace(", dtype=int8", "")
    assert numbers_of(found) == numbers_of(expected)


def detect_nan(i: int, node: Any, fn: Any) -> None:
    for output in fn.outputs:
        if not isinstance(output[0], np.random.RandomState) and np.isnan(output[0]).any():
            print("*** NaN detected ***")  # noqa: T201
            debugprint(node)
            print("Inputs : %s" % [input[0] for input in fn.inputs])  # noqa: T201
            print("Outputs: %s" % [output[0] for output in fn.outputs])  # noqa: T201
            break


@pytest.mark.parametrize("which", ["own", "provided", "unfused"])
def test_debug_nan_is_detected(which: str, capsys: Any) -> None:
    x = T.dscalar("x")
    post = theano.compile.monitormode.detect_nan if which == "provided" else detect_nan
    mode = theano.compile.MonitorMode(post_func=post)
    if which == "unfused":
        mode = mode.excluding("local_elemwise_fusion", "inplace")
    f = function([x], [T.log(x) * x], mode=mode)
    f(1)
    assert capsys.readouterr().out == ""
    f(0)
    # as Theano prints it without fusion, for the node that the user wrote
    assert (
        numbers_of(capsys.readouterr().out)
        == """*** NaN detected ***
Elemwise{mul,no_inplace} [id A] ''
 |Elemwise{log,no_inplace} [id B] ''
 | |x [id C]
 |x [id C]
Inputs : [array(-inf), array(0)]
Outputs: [array(nan)]
"""
    )


def test_debug_ports_of_the_debugger_example() -> None:
    a, b = T.dmatrix("a"), T.dmatrix("b")
    f = function([a, b], [a * b])
    with pytest.raises(ValueError) as error:
        f(np.arange(12).reshape((3, 4)), np.arange(25).reshape((5, 5)))
    text = str(error.value)
    assert "Input dimension mis-match. (input[0].shape[0] = 3, input[1].shape[0] = 5)" in text
    assert "Inputs shapes: [(3, 4), (5, 5)]" in text and "[a * b]" in text


# ---- tutorial/nan_tutorial, library/compile/nanguardmode -----------------------------------------


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e11])
def test_nan_guard(value: float) -> None:
    NanGuardMode = theano.compile.nanguardmode.NanGuardMode
    x = T.matrix()
    w = shared(np.random.RandomState(0).randn(5, 7))
    y = T.dot(x, w)
    mode = NanGuardMode(nan_is_error=True, inf_is_error=True, big_is_error=True)
    fun = function([x], y, mode=mode)
    assert fun(np.ones((3, 5))).shape == (3, 7)
    with pytest.raises(AssertionError):
        fun(np.tile(value, (3, 5)))
    big = NanGuardMode(nan_is_error=True, inf_is_error=True, big_is_error=False)
    assert function([x], y, mode=big)(np.tile(1e11, (3, 5))).shape == (3, 7)


# ---- tutorial/profiling --------------------------------------------------------------------------


def test_profiling_sections() -> None:
    x, y, z = T.vectors("xyz")
    f = function([x, y, z], [(x + y + z) * 2], profile=True, name="profiled")
    one = np.ones(10)
    f(one, one, one)
    out = io.StringIO()
    f.profile.summary(file=out)
    text = out.getvalue()
    # Theano's sections are classes, ops and nodes; here kernels, ops and the user's lines
    for line in ("Function profiling", "Message: profiled", "Time in 1 calls to Function.__call__",
                 "Total compile time", "Kernels\n", "Ops\n", "Lines\n", "Memory\n"):  # fmt: skip
        assert line in text
    assert f"{__file__}:" in text and "(x + y + z) * 2" in text
