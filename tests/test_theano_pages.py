"""The pages of Theano's documents on printing and modes: what they print.

One test for each section, named after the page, run by `import theano`. NumPy prints numbers
differently now, so values are compared as numbers; texts are exact unless a comment says otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.under_alias import imported, logistic_regression, numbers_of, same
from tests.under_alias import interpreted as interpreted

theano, T, printing = imported("theano", "theano.tensor", "theano.printing")
function, grad, shared, pp = theano.function, theano.grad, theano.shared, theano.pp
debugprint, pprint = printing.debugprint, printing.pprint


def tree(x: Any, **options: Any) -> list[str]:
    return [line.rstrip() for line in debugprint(x, file="str", **options).splitlines()]


# ---- tutorial/printing_drawing, library/printing -------------------------------------------------


def test_printing_before_compilation() -> None:
    prediction = logistic_regression().prediction
    assert pprint(prediction) == (
        "gt((TensorConstant{1} / (TensorConstant{1} + exp(((-(x \\dot w)) - b)))), "
        "TensorConstant{0.5})"
    )
    assert tree(prediction) == [
        "Elemwise{gt,no_inplace} [id A] ''",
        " |Elemwise{true_div,no_inplace} [id B] ''",
        " | |InplaceDimShuffle{x} [id C] ''",
        " | | |TensorConstant{1} [id D]",
        " | |Elemwise{add,no_inplace} [id E] ''",
        " |   |InplaceDimShuffle{x} [id F] ''",
        " |   | |TensorConstant{1} [id D]",
        " |   |Elemwise{exp,no_inplace} [id G] ''",
        " |     |Elemwise{sub,no_inplace} [id H] ''",
        " |       |Elemwise{neg,no_inplace} [id I] ''",
        " |       | |dot [id J] ''",
        " |       |   |x [id K]",
        " |       |   |w [id L]",
        " |       |InplaceDimShuffle{x} [id M] ''",
        " |         |b [id N]",
        " |InplaceDimShuffle{x} [id O] ''",
        "   |TensorConstant{0.5} [id P]",
    ]


GRADIENT = """
Elemwise{mul} [id A] ''
 |Elemwise{mul} [id B] ''
 | |Elemwise{second,no_inplace} [id C] ''
 | | |Elemwise{pow,no_inplace} [id D] ''
 | | | |x [id E]
 | | | |TensorConstant{2} [id F]
 | | |TensorConstant{1.0} [id G]
 | |TensorConstant{2} [id F]
 |Elemwise{pow} [id H] ''
   |x [id E]
   |Elemwise{sub} [id I] ''
     |TensorConstant{2} [id F]
     |InplaceDimShuffle{} [id J] ''
       |TensorConstant{1} [id K]
"""
"""What Theano's page shows, and Theano 1.0.5 prints, for the gradient of x ** 2."""


def of_users(text: str) -> list[str]:
    """The lines of a tree of Theano's as if its user had written what gradients are made of.

    Theano leaves ",no_inplace" out of the ops that its gradients make, and wraps their constants
    in a DimShuffle{} that does nothing; here they are ops as all others.
    """
    text = (
        text.strip("\n").replace("{mul}", "{mul,no_inplace}").replace("{pow}", "{pow,no_inplace}")
    )
    text = text.replace("{sub}", "{sub,no_inplace}")
    return text.replace(
        "     |InplaceDimShuffle{} [id J] ''\n       |TensorConstant{1} [id K]",
        "     |TensorConstant{1} [id J]",
    ).splitlines()


def test_printing_a_gradient() -> None:
    x = T.dscalar("x")
    gy = grad(x**2, x)
    assert tree(gy) == of_users(GRADIENT)
    top = "Elemwise{mul} [id A] ''\n |Elemwise{mul} [id B] ''\n |Elemwise{pow} [id C] ''"
    assert tree(gy, depth=2) == of_users(top)
    assert tree(gy, depth=1, print_type=True) == [
        "Elemwise{mul,no_inplace} [id A] <TensorType(float64, scalar)> ''"
    ]
    assert pp(gy) == (
        "((fill((x ** TensorConstant{2}), TensorConstant{1.0}) * TensorConstant{2}) "
        "* (x ** (TensorConstant{2} - TensorConstant{1})))"
    )


def test_printing_after_compilation() -> None:
    m = logistic_regression()
    predict = function([m.x], m.prediction)
    ops = [str(node.op) for node in predict.maker.fgraph.toposort()]
    assert any("sigmoid" in op for op in ops) and not any("exp" in op for op in ops)
    with_sigmoid = [k for k in predict.kernels() if "sigmoid" in k.source]
    assert len(with_sigmoid) == 1 and "gt" in with_sigmoid[0].doc
    x = T.dscalar("x")
    f = function([x], grad(x**2, x))
    text = pp(f.maker.fgraph.outputs[0])
    assert text == "(TensorConstant{2.0} * x)"
    assert tree(f.maker.fgraph.outputs[0]) == [
        "Elemwise{mul,no_inplace} [id A] ''",
        " |TensorConstant{2.0} [id B]",
        " |x [id C]",
    ]


def test_formulas_of_other_ops() -> None:
    x, i = T.matrix("x"), T.lscalar("i")
    for expression, text in (
        (x.T, "x.T"),
        (x.dimshuffle("x", 0, 1), "x"),
        (x.dimshuffle(0, "x", 1), "DimShuffle{0, x, 1}(x)"),
        (x.sum(), "sum(x)"),
        (x.max(axis=1), "max(x, axis=1)"),
        (x[0], "x[0]"),
        (x[1:3, ::2], "x[1:3, ::2]"),
        (x[i:], "x[i:]"),
        (T.cast(x, "float32"), "float32(x)"),
        (T.switch(x > 0, x, 0), "switch(gt(x, TensorConstant{0}), x, TensorConstant{0})"),
        (x.shape[0], "x.shape[0]"),
        (-abs(x), "(-abs(x))"),
    ):
        assert pp(expression) == text


def test_printing_during_execution(capsys: Any) -> None:
    x = T.dvector()
    f = function([x], printing.Print("hello world")(x))
    same(f([1, 2, 3]), [1, 2, 3])
    assert numbers_of(capsys.readouterr().out) == "hello world __str__ = [1 2 3]\n"


def test_drawing(tmp_path: Path, capsys: Any) -> None:
    m = logistic_regression(4, 5)
    predict = function([m.x], m.prediction, name="predict")
    train = function(
        [m.x, m.y], [m.prediction, m.xent], updates=[[m.w, m.w - m.gw], [m.b, m.b - m.gb]]
    )
    for name, what in (("prediction", m.prediction), ("predict", predict), ("train", train)):
        for suffix in (".png", ".svg"):
            place = tmp_path / (name + suffix)
            printing.pydotprint(what, outfile=str(place), var_with_name_simple=True)
            assert place.stat().st_size > 1000
            assert capsys.readouterr().out == f"The output file is available at {place}\n"


# ---- extending/graphstructures -------------------------------------------------------------------


def test_graph_structures() -> None:
    x = T.dmatrix("x")
    y = x * 2.0
    assert isinstance(y.owner, theano.Apply) and y.owner.op.name == "Elemwise{mul,no_inplace}"
    assert len(y.owner.inputs) == 2 and y.owner.inputs[0] is x
    other = y.owner.inputs[1]
    assert repr(other) == "InplaceDimShuffle{x,x}.0" and isinstance(other, T.TensorVariable)
    assert isinstance(other.owner, theano.Apply) and isinstance(other.owner.op, T.DimShuffle)
    assert repr(other.owner.inputs) == "[TensorConstant{2.0}]"


# ---- tutorial/modes, tutorial/using_gpu ----------------------------------------------------------


@pytest.mark.parametrize("floatX", ["float64", "float32"])
def test_modes_which_device_was_used(floatX: str) -> None:
    with theano.change_flags(floatX=floatX):
        m = logistic_regression(40, 30)
        m.x.tag.test_value, m.y.tag.test_value = m.data
        cost = T.cast(m.xent.mean(), floatX) + 0.01 * (m.w**2).sum()
        gw, gb = T.grad(cost, [m.w, m.b])
        updates = {m.w: m.w - 0.01 * gw, m.b: m.b - 0.01 * gb}
        train = function([m.x, m.y], [m.prediction, m.xent], updates=updates, name="train")
    names = {n.op.__class__.__name__ for n in train.maker.fgraph.toposort()}
    assert names & {"Gemv", "CGemv", "Gemm", "CGemm"}, "the page: Used the cpu"
    assert not names & {"GpuGemm", "GpuGemv"}
    assert train(*m.data)[0].dtype == "bool" and m.w.get_value().dtype == floatX


def test_using_gpu_elementwise_work_is_done_by_elemwise() -> None:
    x = shared(np.random.RandomState(22).rand(30))
    f = function([], T.exp(x))
    nodes = f.maker.fgraph.toposort()
    assert str(nodes) == "[Elemwise{exp,no_inplace}(<TensorType(float64, vector)>)]"
    assert [isinstance(n.op, T.Elemwise) and "Gpu" not in type(n.op).__name__ for n in nodes]
    same(f(), np.exp(x.get_value()))
    assert theano.config.device == "cpu"


def test_modes_by_name() -> None:
    x = T.dvector("x")
    debug = theano.compile.debugmode.DebugMode()
    for mode in ("FAST_COMPILE", "FAST_RUN", "DebugMode", theano.Mode("py", "fast_compile"),
                 theano.Mode("cvm", "fast_run"), debug):  # fmt: skip
        f = function([x], 10 * x, mode=mode)
        assert [f([5]), f([0]), f([7])] == [50, 0, 70]
