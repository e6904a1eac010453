"""The alias: `import theano` means symgraph, by `install_as_theano` or `python -m symgraph`."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import tensor as T
from symgraph.theano_shim import FINDER, install_as_theano, surface, table, uninstall
from symgraph.theano_shim.modules import is_provided
from symgraph.theano_shim.old import Param

DOCUMENT = Path(__file__).parents[1] / "docs" / "theano.md"


@pytest.fixture
def alias() -> Iterator[None]:
    install_as_theano()
    yield
    uninstall()


def run(code: str) -> dict[str, Any]:
    """The names that `code` leaves behind."""
    names: dict[str, Any] = {"__name__": "ported"}
    exec(compile(code, "ported.py", "exec"), names)
    return names


def python(*arguments: str, cwd: Path | None = None, **more: str) -> Any:
    environment = os.environ | {"PYTHONPATH": str(DOCUMENT.parents[1]), **more}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


# ---- imports -------------------------------------------------------------------------------------

FORMS = [
    "import theano",
    "import theano.tensor as T",
    "import theano, theano.tensor, theano.tensor.nnet",
    "from theano import function, shared, config, tensor, In, Out, Mode",
    "from theano import tensor as T, function, printing, gradient",
    "from theano.tensor import *",
    "from theano.tensor import TensorType, as_tensor_variable, dot",
    "from theano.tensor.nnet import conv, conv2d",
    "from theano.tensor.nnet import conv, sigmoid, softmax, relu",
    "from theano.tensor.nnet.conv import conv2d",
    "from theano.tensor.nnet.abstract_conv import AbstractConv2d_gradInputs",
    "from theano.tensor.nnet.bn import batch_normalization",
    "from theano.tensor.signal import downsample",
    "from theano.tensor.signal import downsample, pool, conv",
    "from theano.tensor.signal.pool import pool_2d",
    "from theano.tensor.signal.downsample import max_pool_2d",
    "from theano.tensor.shared_randomstreams import RandomStreams",
    "import theano.tensor.shared_randomstreams",
    "from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams",
    "from theano.ifelse import ifelse",
    "from theano.printing import Print, debugprint, pp, pydotprint",
    "from theano.gradient import grad_clip, disconnected_grad, DisconnectedType",
    "from theano.compile import SharedVariable, as_op, function_module, io, builders, profiling",
    "from theano.compile.nanguardmode import NanGuardMode",
    "from theano.compile.ops import as_op",
    "from theano.compile.io import In",
    "from theano.compile.mode import Mode, get_default_mode",
    "from theano.gof import Op, Apply, Variable",
    "from theano.gof.graph import inputs, ancestors",
    "import theano.d3viz as d3v; d3v.d3viz",
    "from theano.d3viz.d3viz import d3viz",
    "from theano.tests import unittest_tools as utt",
    "from theano.misc.pkl_utils import dump, load",
    "import theano.misc.pkl_utils",
    "from theano.scan_module import until",
    "from theano.scan_module.scan_utils import until",
    "from theano.updates import OrderedUpdates",
    "from theano.scalar import upcast",
    "import theano.tensor.basic, theano.tensor.var, theano.tensor.type, theano.tensor.sort",
    "from theano.tensor.subtensor import set_subtensor",
    "from theano.tensor.elemwise import Elemwise",
    "from theano.tensor.opt import Assert",
    "from theano.tensor.extra_ops import to_one_hot, repeat",
    "from theano.tensor.nlinalg import matrix_inverse, trace",
    "from theano.tensor.slinalg import cholesky, solve",
    "from theano.configparser import change_flags",
    "from theano.version import version; assert version.split('.')[0] == '1'",
]


@pytest.mark.parametrize("form", FORMS)
def test_import_forms(alias: None, form: str) -> None:
    run(form)


def test_names_mean_symgraphs_objects(alias: None) -> None:
    import theano
    import theano.tensor as TT
    import theano.tensor.var
    from theano.tensor.nnet import conv

    assert theano.function is symgraph.function
    assert theano.config is symgraph.config
    assert theano.shared is symgraph.shared
    assert TT.nnet.sigmoid is T.nnet.sigmoid
    assert conv.conv2d is T.nnet.conv.conv2d
    assert conv.conv2d is not TT.nnet.conv2d
    assert theano.tensor.basic.exp is T.exp
    assert theano.compile.mode.Mode is theano.Mode
    assert theano.SymbolicInput is symgraph.In
    # where a module has the name of a function, the attribute is the function, as in Theano
    assert TT.var is T.var
    assert TT.sort is T.sort
    assert theano.compile.function is symgraph.function
    assert isinstance(importlib.import_module("theano.tensor.var"), types.ModuleType)
    assert theano.ifelse.ifelse is not theano.ifelse


def test_isinstance_tells_expressions_from_constants_and_shared_variables(alias: None) -> None:
    """As in Theano 1.0.5: Lasagne takes a TensorVariable for an expression of the user's."""
    import theano

    symbolic, shared, constant = T.dvector(), symgraph.shared(np.ones(2)), T.constant(1.5)
    kinds = (T.TensorVariable, theano.compile.SharedVariable, T.TensorConstant, theano.Variable)
    for variable, expected in [
        (symbolic, (True, False, False, True)),
        (symbolic + 1, (True, False, False, True)),
        (shared, (False, True, False, True)),
        (constant, (False, False, True, True)),
    ]:
        assert tuple(isinstance(variable, kind) for kind in kinds) == expected


def test_every_row_of_the_table_leads_somewhere(alias: None) -> None:
    for module in table.MODULES:
        importlib.import_module(module)
        for name in importlib.import_module(module).__all__:
            getattr(importlib.import_module(module), name)
    lost = [full for full in table.NAMES if not is_provided(full)]
    assert not lost


def test_the_whole_surface_is_provided(alias: None) -> None:
    lost = [
        f"{home}.{name}" for _, home, name in surface.names() if not surface.is_there(home, name)
    ]
    assert not lost
    import theano

    for name in surface.makers():
        assert callable(getattr(theano.tensor, name))


def test_the_document_says_what_there_is(alias: None, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(surface.document(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == surface.document(), "run with --update-golden"
    listed = {f"{home}.{name}" for _, home, name in surface.names()}
    for name in surface.DIFFERENT:
        assert is_provided(name), name
        assert name in listed or name in table.MODULES, name


def test_a_ported_model_trains(alias: None) -> None:
    made = run(
        """
import numpy
import theano
import theano.tensor as T
from theano import function, shared

rng = numpy.random.RandomState(0)
x, y = T.matrix("x"), T.ivector("y")
w = shared(numpy.zeros((4, 2), dtype=theano.config.floatX), name="w", borrow=True)
p = T.nnet.softmax(T.dot(x, w))
cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])
step = function(inputs=[x, y], outputs=cost, updates=[(w, w - 0.5 * T.grad(cost, w))],
                mode=theano.Mode(optimizer="fast_compile"))
points = rng.randn(50, 4)
labels = (points[:, 0] > 0).astype("int32")
costs = [float(step(points, labels)) for _ in range(20)]
"""
    )
    assert made["costs"][0] == pytest.approx(np.log(2))
    assert made["costs"][-1] < 0.3
    assert made["x"].created.filename == "ported.py"


# ---- on and off ----------------------------------------------------------------------------------


def test_installing_twice_is_installing_once_and_it_can_be_undone() -> None:
    assert FINDER not in sys.meta_path
    for _ in range(2):
        symgraph.install_as_theano()
    try:
        assert sys.meta_path.count(FINDER) == 1
        importlib.import_module("theano.tensor.nnet")
    finally:
        uninstall()
        uninstall()
    assert FINDER not in sys.meta_path
    assert not [name for name in sys.modules if name.split(".")[0] == "theano"]


def test_another_theano_in_the_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "theano", types.ModuleType("theano"))
    with pytest.raises(ImportError, match="another `theano` has been imported already") as caught:
        install_as_theano()
    assert "before the first import of theano" in str(caught.value)
    assert FINDER not in sys.meta_path


def test_importing_symgraph_activates_nothing() -> None:
    code = "import sys, symgraph; print([m for m in sys.modules if 'theano' in m])"
    assert python("-c", code).stdout == "[]\n"


# ---- what is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("theano.tensor.tanhh", "did you mean theano.tensor.tanh"),
        ("theano.tensor.softmax", "did you mean theano.tensor.nnet.softmax?"),
        ("theano.functoin", "did you mean theano.function"),
        ("theano.tensor.nnet.max_pool_2d", "did you mean theano.tensor.signal.downsample.max_pool"),
        ("theano.sandbox.cuda.use('gpu0')", "whole functions run there"),
        ("theano.tensor.inplace.exp_inplace", "the compiler decides what is computed in place"),
        ("theano.tensor.opt.register_canonicalize", "symgraph.rewrite.Rule"),
        ("theano.sparse.csr_matrix", "there are no sparse matrices"),
        ("theano.scalar.Add", "there are no scalar types"),
        ("theano.xyzzy", "see docs/theano.md"),
    ],
)
def test_missing_attributes_say_what_to_use(alias: None, expression: str, said: str) -> None:
    import theano
    import theano.tensor.signal.downsample  # noqa: F401

    with pytest.raises(AttributeError) as caught:
        eval(expression)
    assert said in str(caught.value)
    assert str(caught.value).startswith("theano.")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from theano.tensor import tanhh", "did you mean theano.tensor.tanh"),
        ("from theano.tensor.nnet import conv3", "did you mean theano.tensor.nnet.conv"),
        ("import theano.sandbox.cuda", "whole functions run there"),
        ("from theano.sandbox.cuda.dnn import dnn_conv", "whole functions run there"),
        ("from theano.gpuarray.dnn import dnn_conv", "whole functions run there"),
        ("import theano.gof.graphs", "did you mean theano.gof.graph"),
        ("from theano.gof import SequenceDB", "a part of Theano's compiler"),
        ("from theano import sparse", "there are no sparse matrices"),
    ],
)
def test_missing_imports_say_what_to_use(alias: None, statement: str, said: str) -> None:
    with pytest.raises(ImportError) as caught:
        run(statement)
    assert said in str(caught.value)


def test_code_that_asks_first_goes_on(alias: None) -> None:
    made = run(
        """
import theano
try:
    import theano.sandbox.cuda.dnn as dnn
except ImportError:
    dnn = None
has = hasattr(theano.tensor, "nothing_of_this_name")
default = getattr(theano.config, "floatX", None)
"""
    )
    assert (made["dnn"], made["has"], made["default"]) == (None, False, "float64")


# ---- old spellings -------------------------------------------------------------------------------

image, filters = T.tensor4("image"), T.tensor4("filters")
OLD = [
    (lambda: T.nnet.conv2d(image, filters, image_shape=(1, 1, 5, 5)), "image_shape", "input_shape"),
    (lambda: T.nnet.conv.conv2d(image, filters), "nnet.conv.conv2d", "nnet.conv2d"),
    (lambda: T.signal.downsample.max_pool_2d(image, (2, 2)), "max_pool_2d", "pool_2d"),
    (lambda: T.signal.pool.pool_2d(image, ds=(2, 2), ignore_border=True), "ds", "ws"),
    (lambda: T.signal.pool.pool_2d(image, (2, 2), True, st=(1, 1)), "st", "stride"),
    (lambda: T.signal.pool.pool_2d(image, (2, 2), True, padding=(1, 1)), "padding", "pad"),
    (lambda: T.flatten(image, outdim=2), "outdim", "ndim"),
    (lambda: T.is_flat(image, outdim=2), "outdim", "ndim"),
    (lambda: Param(T.dscalar(), 1), "Param(x, default=1)", "In(x, value=1)"),
    (lambda: T.stack(T.scalar(), T.scalar()), "stack(a, b)", "stack([a, b])"),
]


@pytest.mark.parametrize("old", OLD, ids=[now for _, _, now in OLD])
def test_old_spellings_work_and_warn_once_at_each_line(old: tuple[Any, str, str]) -> None:
    build, former, now = old
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            build()
    (said,) = [w for w in caught if w.category is DeprecationWarning]
    assert said.filename == __file__
    assert f"{former} is the former" in str(said.message)
    assert str(said.message).endswith(now)


def test_a_convolution_of_signals_is_no_former_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        T.signal.conv.conv2d(T.dmatrix(), T.dmatrix())


def test_round_without_a_mode_warns_if_asked_to() -> None:
    x = T.dvector("x")
    T.round(x)
    with symgraph.config.change_flags(warn__round=True):
        T.round(x, mode="half_to_even")
        with pytest.warns(UserWarning, match="ties go to the even number") as caught:
            T.round(x)
    assert caught[0].filename == __file__


# ---- modules that only the alias has -------------------------------------------------------------


def test_walks_over_graphs(alias: None) -> None:
    """The orders are those that Theano 1.0.5 gives for this graph."""
    from theano.gof import graph

    a, b, c = T.dscalar("a"), T.dscalar("b"), T.dscalar("c")
    s = a + b
    p = s * c
    q = s - a
    assert graph.ancestors([p]) == [p, s, a, b, c]
    assert graph.inputs([p]) == [a, b, c]
    assert graph.inputs([p, q]) == [a, b, c]
    assert graph.inputs([c + b, q]) == [a, b, c]
    assert graph.inputs([p], blockers=[s]) == [c]
    assert graph.orphans([a, b], [p]) == [c]
    assert set(graph.variables([s], [p])) == {p, s, c}
    assert graph.ops([a, b, c], [p]) == {s.owner, p.owner}
    assert graph.io_toposort([a, b, c], [p]) == [s.owner, p.owner]
    assert graph.list_of_nodes([s], [p]) == [p.owner]
    assert graph.is_in_ancestors(p.owner, s.owner)
    assert not graph.is_in_ancestors(s.owner, p.owner)
    (x, y), (copy,) = graph.clone([a, s], [p])
    assert x is not a
    assert copy.owner.inputs[0] is y
    assert copy.owner.inputs[1] is not c
    assert copy.owner.op == p.owner.op
    same_orphans = graph.clone([a, s], [p], copy_inputs=False)[1][0]
    assert same_orphans.owner.inputs == [s, c]
    table_of = graph.clone_get_equiv([a], [q], copy_inputs=False, copy_orphans=False)
    assert table_of[b] is b
    assert table_of[q].owner is table_of[q.owner]
    assert graph.equal_computations([p], [(a + b) * c])
    assert not graph.equal_computations([p], [(b + a) * c])
    assert not graph.equal_computations([p], [(a + b) - c])
    assert not graph.equal_computations([p], [p, q])
    assert graph.equal_computations([a + 1], [b + 1], [a], [b])
    assert not graph.equal_computations([a + 1], [a + 2])
    assert graph.is_same_graph(a + b, c + b, {c: a})
    assert graph.flatten([1, (2, [3])]) == [1, 2, 3]
    named = [T.dscalar("x"), T.dscalar("x"), T.dscalar()]
    assert len(set(graph.give_variables_names(named))) == 3


def test_nodes_offer_what_theanos_do() -> None:
    a, b = T.dvector("a"), T.dvector("b")
    node = (a + b).owner
    assert (node.nin, node.nout) == (2, 1)
    assert node.default_output() is node.outputs[0]
    assert node.clone_with_new_inputs([a, b]) is node
    other = node.clone_with_new_inputs([b, a])
    assert other.inputs == [b, a]
    assert other.op == node.op
    with pytest.raises(TypeError, match="cannot replace"):
        node.clone_with_new_inputs([a, T.fvector()])
    assert node.clone_with_new_inputs([a, T.fvector()], strict=False).out.dtype == "float64"


def test_param_is_in_with_its_arguments_in_another_order(alias: None) -> None:
    import theano

    x = T.dscalar("x")
    item = theano.Param(x, 3, "y", allow_downcast=True)
    assert isinstance(item, theano.In)
    assert (item.name, float(item.value), item.allow_downcast) == ("y", 3.0, True)


def test_unittest_tools(alias: None) -> None:
    from theano.tests import unittest_tools as utt

    assert utt.fetch_seed() == 666
    assert utt.fetch_seed("7") == 7
    assert utt.seed_rng() == 666
    assert np.random.randint(1000) == np.random.RandomState(666).randint(1000)
    utt.assert_allclose(np.float32(1), np.float32(1.000005))
    utt.assert_allclose(1.0, 1.5, rtol=0.6)
    with pytest.raises(utt.WrongValue, match="ACTUAL"):
        utt.assert_allclose(1.0, 1.1)
    with symgraph.config.change_flags(target="python"):
        utt.verify_grad(T.tanh, [np.ones((2, 3))])


def test_scalar(alias: None) -> None:
    import theano

    assert theano.scalar.upcast("int32", "float32") == "float64"
    assert theano.scalar.upcast("int8", "float32") == "float32"
    assert "float32" in theano.scalar.float_types
    assert theano._asarray([1, 2], dtype=theano.config.floatX).dtype == "float64"
    with pytest.raises(TypeError, match="not supported"):
        theano._asarray([1], dtype="complex64")


def test_d3viz_writes_one_page(alias: None, tmp_path: Path) -> None:
    from theano.d3viz import d3viz

    x = T.dmatrix("x <b>")
    d3viz(T.tanh(x), tmp_path / "page & more.html", copy_deps=True)
    page = (tmp_path / "page & more.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>page &amp; more</title>" in page
    assert "tanh" in page
    assert "<b>" not in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http://www.w3.org/", "")
    with pytest.raises(OSError, match="cannot write"):
        d3viz(x, tmp_path)
