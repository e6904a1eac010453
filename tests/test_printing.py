"""Formulas and trees: exact texts of Theano's pages, sharing, options, depth."""

import io
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from symgraph.graph import Apply, Op, toposort
from symgraph.printing import debugprint, pp, pprint
from symgraph.sharedvalue import shared
from symgraph.types import TensorType
from symgraph.variable import constant


@dataclass(frozen=True)
class Row:
    name: str
    infix: str | None = None
    prefix: str | None = None
    pp_name: str | None = None

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Map(Op):
    scalar_op: Row
    inplace: bool = False

    def output_types(self, *inputs):
        return [max((x.type for x in inputs), key=lambda t: t.ndim)]

    def __str__(self):
        return f"Elemwise{{{self.scalar_op}{'' if self.inplace else ',no_inplace'}}}"


@dataclass(frozen=True)
class Pad(Op):
    order: tuple = ("x",)
    view_of = 0

    def output_types(self, x):
        return [TensorType(x.dtype, [a == "x" for a in self.order])]

    def pprint(self, node, inputs):
        return inputs[0]

    def __str__(self):
        return f"InplaceDimShuffle{{{','.join(map(str, self.order))}}}"


class Dot(Op):
    def output_types(self, x, y):
        return [TensorType(x.dtype, (False,))]

    def pprint(self, node, inputs):
        return f"({inputs[0]} \\dot {inputs[1]})"

    def __str__(self):
        return "dot"


class Split(Op):
    def output_types(self, x):
        return [x.type, x.type]


@dataclass(frozen=True, eq=False)
class Loop(Op):
    inner_outputs: tuple

    def output_types(self, x):
        return [x.type]

    def __str__(self):
        return "for{cpu,scan_fn}"


add, sub, mul = Map(Row("add", "+")), Map(Row("sub", "-")), Map(Row("mul", "*"))
div, neg, exp = Map(Row("true_div", "/")), Map(Row("neg", prefix="-")), Map(Row("exp"))
power, fill, gt = Map(Row("pow", "**")), Map(Row("second", pp_name="fill")), Map(Row("gt"))
scalar, vector = TensorType("float64", ()), TensorType("float64", (False,))
matrix = TensorType("float64", (False, False))


def logistic():
    x = matrix("x")
    w, b = shared(np.zeros(3), name="w"), shared(np.asarray(0.0), name="b")
    one = constant(1)
    inner = sub(neg(Dot()(x, w)), Pad()(b))
    p_1 = div(Pad()(one), add(Pad()(one), exp(inner)))
    return gt(p_1, Pad()(constant(0.5)))


def gradient():
    x, two = scalar("x"), constant(2)
    by_two = Map(Row("mul", "*"), True)
    exponent = Map(Row("sub", "-"), True)(two, Pad(())(constant(1)))
    filled = fill(power(x, two), constant(1.0))
    return by_two(by_two(filled, two), Map(Row("pow", "**"), True)(x, exponent))


def function(outputs, inputs=(), updates=None):
    updates = updates or {}
    order = toposort([*outputs, *updates.values()])
    graph = SimpleNamespace(
        inputs=list(inputs), outputs=list(outputs), updates=updates, toposort=lambda: order
    )
    return SimpleNamespace(maker=SimpleNamespace(fgraph=graph), kernels=lambda: [], name="f")


# ---- formulas ------------------------------------------------------------------------------------


def test_pp_of_the_first_tutorial():
    assert pp(add(scalar("x"), scalar("y"))) == "(x + y)"


def test_pp_of_a_gradient():
    assert pp(gradient()) == (
        "((fill((x ** TensorConstant{2}), TensorConstant{1.0}) * TensorConstant{2}) "
        "* (x ** (TensorConstant{2} - TensorConstant{1})))"
    )


def test_pprint_of_the_logistic_regression():
    assert pprint(logistic()) == (
        "gt((TensorConstant{1} / (TensorConstant{1} + exp(((-(x \\dot w)) - b)))), "
        "TensorConstant{0.5})"
    )


def test_pp_of_leaves_several_outputs_and_nodes():
    x = vector()
    assert pp(x) == "<TensorType(float64, vector)>"
    first, second = Split()(scalar("a"))
    assert pp(add(first, second)) == "(Split(a).0 + Split(a).1)"
    assert pp(add(scalar("x"), scalar("y")).owner) == "(x + y)"
    with pytest.raises(TypeError, match="debugprint"):
        pp([x])


def test_names_that_look_like_holes_stay_as_they_are():
    assert pp(add(scalar("{0}"), scalar("%s"))) == "({0} + %s)"


def test_pp_is_cut_where_sharing_makes_it_explode():
    y = scalar("x")
    for _ in range(60):
        y = add(y, y)
    text = pp(y, limit=1000)
    assert text.endswith(" ... (cut after 1000 characters)") and len(text) < 1100


def test_pp_of_a_deep_expression():
    y = scalar("x")
    for _ in range(50_000):
        y = exp(y)
    assert pp(y) == "exp(" * 50_000 + "x" + ")" * 50_000


# ---- trees ---------------------------------------------------------------------------------------


def test_debugprint_of_the_logistic_regression():
    assert debugprint(logistic(), file="str") == (
        "Elemwise{gt,no_inplace} [id A] ''\n"
        " |Elemwise{true_div,no_inplace} [id B] ''\n"
        " | |InplaceDimShuffle{x} [id C] ''\n"
        " | | |TensorConstant{1} [id D]\n"
        " | |Elemwise{add,no_inplace} [id E] ''\n"
        " |   |InplaceDimShuffle{x} [id F] ''\n"
        " |   | |TensorConstant{1} [id D]\n"
        " |   |Elemwise{exp,no_inplace} [id G] ''\n"
        " |     |Elemwise{sub,no_inplace} [id H] ''\n"
        " |       |Elemwise{neg,no_inplace} [id I] ''\n"
        " |       | |dot [id J] ''\n"
        " |       |   |x [id K]\n"
        " |       |   |w [id L]\n"
        " |       |InplaceDimShuffle{x} [id M] ''\n"
        " |         |b [id N]\n"
        " |InplaceDimShuffle{x} [id O] ''\n"
        "   |TensorConstant{0.5} [id P]\n"
    )


def test_debugprint_of_a_gradient():
    gy = gradient()
    assert debugprint(gy, file="str") == (
        "Elemwise{mul} [id A] ''\n"
        " |Elemwise{mul} [id B] ''\n"
        " | |Elemwise{second,no_inplace} [id C] ''\n"
        " | | |Elemwise{pow,no_inplace} [id D] ''\n"
        " | | | |x [id E]\n"
        " | | | |TensorConstant{2} [id F]\n"
        " | | |TensorConstant{1.0} [id G]\n"
        " | |TensorConstant{2} [id F]\n"
        " |Elemwise{pow} [id H] ''\n"
        "   |x [id E]\n"
        "   |Elemwise{sub} [id I] ''\n"
        "     |TensorConstant{2} [id F]\n"
        "     |InplaceDimShuffle{} [id J] ''\n"
        "       |TensorConstant{1} [id K]\n"
    )
    assert debugprint(gy, depth=2, file="str") == (
        "Elemwise{mul} [id A] ''\n |Elemwise{mul} [id B] ''\n |Elemwise{pow} [id C] ''\n"
    )
    assert debugprint(gy, depth=0, file="str") == ""


def test_a_node_met_again_is_one_line():
    y = exp(scalar("x"))
    y.name = "y"
    assert debugprint(add(y, y), file="str") == (
        "Elemwise{add,no_inplace} [id A] ''\n"
        " |Elemwise{exp,no_inplace} [id B] 'y'\n"
        " | |x [id C]\n"
        " |Elemwise{exp,no_inplace} [id B] 'y'\n"
    )
    assert debugprint(add(y, y), file="str", stop_on_name=True).count("x [id") == 0


def test_ids_types_storage_and_clients():
    w = shared(np.asarray(3.0), name="w")
    y = add(scalar("x"), w)
    assert debugprint(y, file="str", ids="int").splitlines()[1] == " |x [id 1]"
    assert debugprint(y, file="str", ids="").splitlines()[1] == " |x"
    assert f"[id {id(w)}]" in debugprint(y, file="str", ids="id")
    typed = debugprint(y, file="str", print_type=True).splitlines()
    assert typed[0] == "Elemwise{add,no_inplace} [id A] <TensorType(float64, scalar)> ''"
    assert typed[1] == " |x [id B] <TensorType(float64, scalar)>"
    assert debugprint(y, file="str", print_storage=True).splitlines()[2] == " |w [id C] [3.0]"
    clients = debugprint(y, file="str", print_clients=True).splitlines()
    assert clients[1] == " |x [id B] clients:[([id A], 0)]"
    with pytest.raises(ValueError, match="ids"):
        debugprint(y, ids="hex")


def test_ids_after_z_count_in_base_26_as_theano_does():
    y = scalar("x")
    for _ in range(27):
        y = exp(y)
    lines = debugprint(y, file="str").splitlines()
    assert "[id Z]" in lines[25] and "[id BA]" in lines[26] and "[id BB]" in lines[27]


def test_lists_nodes_several_outputs_and_dicts_that_go_on():
    first, second = Split()(scalar("x"))
    assert debugprint(first.owner, file="str") == (
        "Split.0 [id A] ''\n |x [id B]\nSplit.1 [id A] ''\n"
    )
    assert debugprint([second, first], file="str").count("|x") == 1
    done, used = {}, {}
    debugprint(first, file="str", done=done, used_ids=used)
    again = debugprint(exp(second), file="str", done=done, used_ids=used)
    assert again == "Elemwise{exp,no_inplace} [id C] ''\n |Split.1 [id A] ''\n"


def test_a_function_has_positions_and_updates():
    x, w = scalar("x"), shared(np.asarray(0.0), name="w")
    y = exp(x)
    text = debugprint(function([y], [x], {w: sub(w, y)}), file="str")
    assert text == (
        "Elemwise{exp,no_inplace} [id A] ''   0\n"
        " |x [id B]\n"
        "Elemwise{sub,no_inplace} [id C] ''   1 -> w\n"
        " |w [id D]\n"
        " |Elemwise{exp,no_inplace} [id A] ''   0\n"
    )


def test_inner_graphs_follow():
    loop = Loop((mul(scalar("h"), scalar("k")),))
    assert debugprint(loop(scalar("x")), file="str") == (
        "for{cpu,scan_fn} [id A] ''\n |x [id B]\n"
        "\nInner graphs of the scan ops:\n"
        "\nfor{cpu,scan_fn} [id A] ''\n"
        " >Elemwise{mul,no_inplace} [id C] ''\n > |h [id D]\n > |k [id E]\n"
    )


def test_where_it_is_written(capsys):
    y = exp(scalar("x"))
    stream = io.StringIO()
    debugprint(y, file=stream)
    debugprint(y)
    assert capsys.readouterr().out == stream.getvalue() == debugprint(y, file="str")
    with pytest.raises(TypeError, match="no graph"):
        debugprint(3)


@pytest.mark.parametrize("op", [exp, lambda y: add(y, y), lambda y: add(constant(1.0), y)])
def test_debugprint_of_a_deep_expression_is_linear_in_its_depth(op):
    y = scalar("x")
    for _ in range(50_000):
        y = op(y)
    text = debugprint(y, file="str")
    assert text.count("\n") >= 50_001 and len(text) < 60_000_000
    assert "(level 50001)" in text and text.splitlines()[100].startswith(" ")


def test_apply_without_trace_prints():
    node = Apply(exp, [scalar("x")], [scalar()])
    node.trace = None
    assert debugprint(node, file="str").startswith("Elemwise{exp")


def test_importing_loads_neither_graphviz_nor_matplotlib():
    code = (
        "import sys, symgraph.printing, symgraph.draw\n"
        "assert not {'graphviz', 'matplotlib', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
