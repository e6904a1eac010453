"""Pickles and deep copies: graphs of any depth, shared variables, functions, and all together.

What is shared inside one pickle or copy stays shared; nothing of the original changes with a copy;
loading compiles no kernel that the cache holds.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import In, function, shared
from symgraph import tensor as T
from symgraph.graph import Apply, Op, Variable, toposort
from tests.oracle import evaluate
from tests.test_zoo import CASES, built
from tests.zoo.case import Case

ROOT = Path(__file__).parent.parent


def pickled(protocol: int) -> Callable[[Any], Any]:
    return lambda x: pickle.loads(pickle.dumps(x, protocol))


def pickled_in_python(x: Any) -> Any:
    """By the pickler that is written in Python: subclasses of it are common."""
    file = io.BytesIO()
    pickle._Pickler(file).dump(x)  # type: ignore[attr-defined]
    return pickle._Unpickler(io.BytesIO(file.getvalue())).load()  # type: ignore[attr-defined]


WAYS = {f"protocol{n}": pickled(n) for n in range(pickle.HIGHEST_PROTOCOL + 1)}
WAYS |= {"python": pickled_in_python, "deepcopy": copy.deepcopy}


@pytest.fixture(params=WAYS)
def again(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """A way to copy: each pickling protocol, and deepcopy."""
    return WAYS[request.param]


@pytest.fixture
def interpreted() -> Any:
    with symgraph.config.change_flags(target="python"):
        yield


def shallow(n: int = 200) -> int:
    """The recursion limit that leaves the caller n frames."""
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth + n


# ---- graphs --------------------------------------------------------------------------------------


def test_a_graph_comes_back(again: Callable[[Any], Any]) -> None:
    w = shared(np.arange(6.0).reshape(2, 3), name="w")
    x = T.dmatrix("x")
    p = T.nnet.softmax(T.dot(x, w).max(axis=0).dimshuffle("x", 0)[:, ::-1] + 1.5)
    p.name = "p"
    data = np.ones((4, 2))
    new_x, new_p, new_w = again([x, p, w])
    np.testing.assert_array_equal(new_p.eval({new_x: data}), p.eval({x: data}))
    assert (new_p.name, new_x.name, new_w.name) == ("p", "x", "w")
    assert (new_p.type, new_x.type, new_p.index) == (p.type, x.type, 0)
    assert new_w.container is not w.container
    assert new_p.owner.op == p.owner.op and new_p.owner.outputs[0] is new_p
    leaves = [v for n in toposort([new_p]) for v in n.inputs if v.owner is None]
    assert new_x in leaves and new_w in leaves and x not in leaves and w not in leaves


def test_where_things_were_made_and_what_was_noted_travel_along(
    again: Callable[[Any], Any],
) -> None:
    x = T.dvector("x")
    y = T.exp(x)
    z = y + 1
    x.tag.test_value = np.ones(3)
    y.tag.note, y.owner.tag.seen = {"a": 1}, [z]  # which y leads to
    y.tag.itself = y
    new = again(z)
    new_y = new.owner.inputs[0]
    assert new.created == z.created and new.owner.trace == z.owner.trace
    assert Path(new.created.filename).name == "test_pickle.py"
    assert new_y.owner.inputs[0].created == x.created
    assert new_y.tag.note == {"a": 1} and new_y.tag.note is not y.tag.note
    assert new_y.tag.itself is new_y and new_y.owner.tag.seen[0] is new
    np.testing.assert_array_equal(new_y.owner.inputs[0].tag.test_value, np.ones(3))


def test_compiled_functions_of_eval_stay_behind(again: Callable[[Any], Any]) -> None:
    y = T.constant(2.0) * 3
    assert y.eval() == 6
    new = again(y)
    assert not hasattr(new, "_eval_functions")
    assert new.eval() == 6


def test_identity_within_one_object(again: Callable[[Any], Any]) -> None:
    """However it is nested: nodes, siblings, leaves, types' values, in any order."""
    x = T.dvector("x")
    h = T.tanh(x)
    low, place = Halves()(h)
    y = low * 2
    model = {"y": y, "h": (h, [h, y]), "node": y.owner, "place": place, "x": x}
    new = again(model)
    assert new["h"][0] is new["h"][1][0] and new["h"][1][1] is new["y"]
    assert new["node"] is new["y"].owner and new["node"].inputs[0] is new["place"].owner.outputs[0]
    assert new["h"][0].owner.inputs[0] is new["x"]
    assert all(a is not b for a, b in zip(new["h"][1], model["h"][1], strict=True))


def test_nodes_alone(again: Callable[[Any], Any]) -> None:
    x = T.dvector("x")
    node = (T.exp(x) + 1).owner
    new = again(node)
    assert isinstance(new, Apply) and new.op == node.op and new.out.owner is new
    assert new.inputs[0].owner.inputs[0].name == "x"
    assert function([new.inputs[0].owner.inputs[0]], new.out)([0.0]) == [2.0]


def test_constants_are_kept_from_change(again: Callable[[Any], Any]) -> None:
    c = T.constant(np.arange(3.0), name="c")
    assert c.signature
    new = again(c)
    assert new.name == "c" and new.signature == c.signature and new.data is not c.data
    assert not new.data.flags.writeable


def test_copy_makes_another_variable_of_the_same_owner() -> None:
    x = T.dvector("x")
    y = x * 2
    twin, other = copy.copy(y), copy.copy(x)
    assert twin is not y and twin.owner is y.owner and twin.type == y.type
    assert other is not x and other.owner is None and other.name == "x"
    w = shared(1.0)
    assert copy.copy(w).container is w.container


@pytest.mark.parametrize(
    ("way", "deep"),
    [("protocol2", 10_000), ("protocol5", 100_000), ("python", 10_000), ("deepcopy", 100_000)],
)
def test_no_recursion_limit(way: str, deep: int) -> None:
    """A chain as deep as the issue asks for, each link with a sibling, and a list of all."""
    x, w = T.dvector("x"), shared(np.ones(1), "w")
    chain: list[Variable] = [x]
    for k in range(deep):
        chain.append(T.tanh(chain[-1]) if k % 2 else chain[-1] + w)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(shallow())
    try:
        last, new_w = WAYS[way]((chain[-1], w))
        many = WAYS[way](chain[:5000])
    finally:
        sys.setrecursionlimit(limit)
    nodes = toposort([last])
    assert len(nodes) == deep
    assert all(n.inputs[1] is new_w for n in nodes if len(n.inputs) == 2)
    assert all(b.owner.inputs[0] is a for a, b in pairwise(many))


def test_work_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each node is looked at once, however many of its successors one pickle is given."""
    from symgraph import serial

    visited: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        nodes = toposort(*args, **kwargs)
        visited.append(len(nodes))
        return nodes

    monkeypatch.setattr(serial, "toposort", counted)
    for n in (100, 200):
        chain = [T.dvector("x")]
        for _ in range(n):
            chain.append(chain[-1] + 1)
        for way in ("protocol5", "python", "deepcopy"):
            visited.clear()
            WAYS[way](chain)
            assert sum(visited) == 2 * n  # the number 1 is broadcast by a node of its own
    sizes = [len(pickle.dumps(chain[: n + 1])) for n in (50, 100, 200)]
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])


# ---- picklers ------------------------------------------------------------------------------------


def deep_chain(n: int = 3000) -> list[Variable]:
    chain = [T.dvector("x")]
    for _ in range(n):
        chain.append(T.exp(chain[-1]))
    return chain


def test_picklers_in_turns_do_not_confuse_each_other() -> None:
    """What one pickler holds is no reason to leave it out of another's walk."""
    chain = deep_chain()
    files = [io.BytesIO(), io.BytesIO()]
    picklers = [pickle.Pickler(f) for f in files]
    for depth in (1000, 2000, 3000):
        for pickler in picklers:
            pickler.dump(chain[depth])
    for file in files:
        file.seek(0)
        unpickler = pickle.Unpickler(file)
        found = [unpickler.load() for _ in range(3)]
        assert [len(toposort([v])) for v in found] == [1000, 2000, 3000]
        assert found[0] in [n.out for n in toposort([found[2]])]


def test_a_pickle_that_failed_leaves_no_trace() -> None:
    chain = deep_chain()
    unfit = T.exp(chain[-1])
    unfit.owner.inputs[0].tag.note = lambda: None
    for _ in range(2):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(unfit)
    del unfit.owner.inputs[0].tag.note
    assert len(toposort([pickle.loads(pickle.dumps(unfit))])) == 3001


class Halves(Op):
    """A user's op with two outputs."""

    def output_types(self, x: Any) -> Any:
        return [x.type, x.type]

    def evaluate(self, node: Apply, x: Any) -> Any:
        return [x[: len(x) // 2], x[len(x) // 2 :]]


class Encloses(Op):
    """A user's op that pickles a graph of its own, in a pickle of its own."""

    def __init__(self, graph: Variable) -> None:
        self.graph = graph

    def __reduce__(self) -> Any:
        return enclosing, (pickle.dumps(self.graph),)

    def output_types(self, *inputs: Any) -> Any:
        return [x.type for x in inputs]

    def evaluate(self, node: Apply, *inputs: Any) -> Any:
        return list(inputs)


def enclosing(data: bytes) -> Encloses:
    return Encloses(pickle.loads(data))


def test_a_pickle_within_a_pickle() -> None:
    """Of the same nodes, even."""
    chain = deep_chain()
    y = T.exp(Encloses(chain[2000])(chain[-1]))
    new = pickle.loads(pickle.dumps([chain[5], y, chain[50]]))
    assert len(toposort([new[1]])) == 3002 and len(toposort([new[2]])) == 50
    assert len(toposort([new[1].owner.inputs[0].owner.op.graph])) == 2000


def test_threads_pickle_at_the_same_time() -> None:
    chain = deep_chain()
    wrong: list[Any] = []

    def work() -> None:
        found = {n: pickle.loads(pickle.dumps(chain[n])) for n in (500, 3000)}
        wrong.extend(n for n, v in found.items() if len(toposort([v])) != n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- every op ------------------------------------------------------------------------------------


def is_value(op: Op) -> bool:
    return type(op).__eq__ is not object.__eq__


@pytest.mark.parametrize("case", CASES)
def test_every_op_comes_back_equal(case: Case) -> None:
    b = built(case)
    outputs = [b.out, *b.gradients]
    for way in ("protocol2", "protocol5", "deepcopy"):
        found = WAYS[way](outputs)
        old, new = toposort(outputs), toposort(found)
        assert [type(n.op) for n in new] == [type(n.op) for n in old]
        if all(is_value(n.op) for n in old):
            assert [n.op for n in new] == [n.op for n in old]
        else:  # an op that holds a graph is equal to itself only
            found, inputs = WAYS[way]((outputs, b.inputs))
            given = dict(zip(inputs, b.arrays, strict=True))
            expected = evaluate(outputs, dict(zip(b.inputs, b.arrays, strict=True)))
            for value, other in zip(evaluate(found, given), expected, strict=True):
                np.testing.assert_array_equal(value, other)
        assert [v.type for n in new for v in n.outputs] == [v.type for n in old for v in n.outputs]
        assert [type(v) for n in new for v in n.inputs] == [type(v) for n in old for v in n.inputs]


def test_another_process_finds_every_op(tmp_path: Path) -> None:
    """Rows of tables are pickled by name: they are made on import, all of them."""
    graphs = [[built(c.values[0]).out, *built(c.values[0]).gradients] for c in CASES]  # type: ignore[arg-type]
    path = tmp_path / "graphs.pkl"
    path.write_bytes(pickle.dumps(graphs))
    code = "import pickle, sys, symgraph; print(len(pickle.load(open(sys.argv[1], 'rb'))))"
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(CASES)


# ---- shared variables ----------------------------------------------------------------------------


def test_shared_variables_come_back(again: Callable[[Any], Any]) -> None:
    w = shared(np.ones((2, 1), "float32"), "w", strict=True, broadcastable=(False, True))
    w.default_update = w * 2
    new = again(w)
    assert new.type == w.type and new.name == "w" and new.created == w.created
    assert new.container.strict and new.default_update.owner.inputs[0] is new
    new.set_value(np.zeros((2, 1), "float32"))
    assert w.get_value().any() and not new.get_value().any()
    function([], new)()


def test_clones_go_on_sharing(again: Callable[[Any], Any]) -> None:
    w = shared(1.0, "w")
    new, twin = again((w, w.clone()))
    assert new is not twin and new.container is twin.container is not w.container
    new.set_value(3.0)
    assert twin.get_value() == 3 and w.get_value() == 1


def test_generic_values(again: Callable[[Any], Any]) -> None:
    g = shared({"list": [1, 2]}, "g")
    new = again(g)
    assert new.get_value() == {"list": [1, 2]} and new.type == g.type
    holder: dict[str, Any] = {}
    h = shared(holder, borrow=True)
    holder["self"] = h  # a value may lead back to its variable
    assert again(h).get_value(borrow=True)["self"].name is None


def test_a_model_of_variables_and_graphs(again: Callable[[Any], Any]) -> None:
    """As the tutorial keeps its best logistic regression: parameters, input and predictions."""
    x = T.dmatrix("x")
    model = Regression(x, 4, 3)
    model.W.set_value(np.arange(12.0).reshape(4, 3))
    new = again(model)
    predict = function([new.input], new.y_pred)
    data = np.random.RandomState(1).randn(5, 4)
    np.testing.assert_array_equal(predict(data), function([x], model.y_pred)(data))
    assert predict.get_shared() == [new.W, new.b] == new.params
    new.W.set_value(np.zeros((4, 3)))
    assert model.W.get_value().any()


class Regression:
    def __init__(self, x: Any, n_in: int, n_out: int) -> None:
        self.W = shared(np.zeros((n_in, n_out)), name="W", borrow=True)
        self.b = shared(np.zeros(n_out), name="b", borrow=True)
        self.p_y_given_x = T.nnet.softmax(T.dot(x, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.params, self.input = [self.W, self.b], x


@pytest.mark.parametrize("writeable", [False, True])
def test_buffers_out_of_band(writeable: bool) -> None:
    """Kernels overwrite values in place: borrowed memory that is read-only is copied."""
    w = shared(np.arange(1000.0), "w")
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(w, protocol=5, buffer_callback=buffers.append)
    raw = [bytes(b) for b in buffers]
    new = pickle.loads(data, buffers=[bytearray(r) for r in raw] if writeable else raw)
    step = function([], [], updates=[(new, new + 1)])
    step()
    assert new.get_value()[1] == 2 and w.get_value()[1] == 1
    assert new.container.value.flags.writeable


# ---- functions -----------------------------------------------------------------------------------


def trainer() -> tuple[Any, Any, Any, Any]:
    x, y = T.dmatrix("x"), T.ivector("y")
    model = Regression(x, 4, 3)
    cost = -T.mean(T.log(model.p_y_given_x)[T.arange(y.shape[0]), y])
    updates = [(p, p - 0.5 * T.grad(cost, p)) for p in model.params]
    train = function([x, y], cost, updates=updates, name="train")
    return train, function([x], model.y_pred), model, (x, y)


POINTS = np.random.RandomState(0).randn(6, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2], "int32")


def test_functions_and_parameters_stay_together(again: Callable[[Any], Any]) -> None:
    """Two functions, a model and its inputs in one object: what they share, the copies share."""
    train, predict, model, (x, _) = trainer()
    train(POINTS, LABELS)
    new_train, new_predict, new_model, new_x = again([train, predict, model, x])
    assert new_train.get_shared() == new_model.params
    assert new_predict.get_shared() == new_model.params
    assert new_model.input is new_x and new_train.name == "train"
    before = model.W.get_value()
    costs = [float(new_train(POINTS, LABELS)) for _ in range(20)]
    assert costs[-1] < costs[0] and (model.W.get_value() == before).all()
    np.testing.assert_array_equal(
        new_predict(POINTS),
        np.argmax(POINTS @ new_model.W.get_value() + new_model.b.get_value(), 1),
    )
    expected = [float(train(POINTS, LABELS)) for _ in range(20)]
    assert costs == expected


def test_a_model_that_holds_functions_is_copied_and_both_go_on(interpreted: None) -> None:
    """rnnslu's best model."""

    class Model:
        def __init__(self) -> None:
            self.train, self.predict, self.net, _ = trainer()
            self.params = self.net.params

    model = Model()
    model.train(POINTS, LABELS)
    best = copy.deepcopy(model)
    kept = [p.get_value() for p in best.params]
    for _ in range(5):
        model.train(POINTS, LABELS)
    assert all((p.get_value() == k).all() for p, k in zip(best.params, kept, strict=True))
    first = best.train(POINTS, LABELS)
    assert first > model.train(POINTS, LABELS)
    assert not (best.params[0].get_value() == kept[0]).all()


def test_copies_are_compiled_when_they_are_first_called(
    again: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from symgraph.compile import mode

    train, _, _, _ = trainer()
    calls: list[Any] = []
    compile_graph = mode.Mode.compile
    monkeypatch.setattr(mode.Mode, "compile", lambda *a: (calls.append(a), compile_graph(*a))[1])
    new = again(train)
    assert not calls and new.get_shared() and new.name == "train"
    again(new)
    assert not calls
    new(POINTS, LABELS)
    new(POINTS, LABELS)
    assert len(calls) == 1


def test_a_copy_is_compiled_once_by_many_threads() -> None:
    new = copy.deepcopy(trainer()[0])
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(new._compiled)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(r) for r in results}) == 1


def test_defaults_states_and_settings_come_back(
    again: Callable[[Any], Any], interpreted: None
) -> None:
    u, x, s = T.dscalars("u", "x", "s")
    inc = function([u, In(x, value=3.0), In(s, update=s + x * u, value=10.0)], s, name="inc")
    inc(5)
    inc[x] = 4
    inc.trust_input = True
    new, new_s = again((inc, s))
    assert new[new_s] == new["s"] == 25 and new["x"] == 4 and new.trust_input
    assert new(np.array(1.0), np.array(1.0)) == 25 and new["s"] == 26 and inc[s] == 25
    results = {"b": x * 2, "a": u}
    found = again(function([x, u], results))(1, 2)
    assert found == {"a": 2, "b": 2} and list(found) == ["a", "b"]
    assert again(function([x], [x]))(1) == [1] and again(function([], None))() == []


@pytest.mark.parametrize("mode", ["FAST_COMPILE", "FAST_RUN"])
def test_the_mode_comes_back(again: Callable[[Any], Any], mode: str) -> None:
    f = function([], T.constant(1.0) + 1, mode=mode)
    assert again(f).mode == f.mode and again(f).options == f.options


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    """Loading and calling a pickled function finds every kernel in the cache."""
    script = (
        "import json, pickle, sys, numpy as np\n"
        "from symgraph.compile import cache\n"
        "from tests.test_pickle import LABELS, POINTS, trainer\n"
        "path = sys.argv[1]\n"
        "if sys.argv[2] == 'write':\n"
        "    train = trainer()[0]\n"
        "    train(POINTS, LABELS)\n"
        "    pickle.dump(train, open(path, 'wb'))\n"
        "else:\n"
        "    train = pickle.load(open(path, 'rb'))\n"
        "    found = cache.statistics().hits + cache.statistics().compiled\n"
        "    assert found == 0, 'loading alone builds nothing'\n"
        "cost = float(train(POINTS, LABELS))\n"
        "print(json.dumps([cache.statistics().compiled, cache.statistics().hits, cost]))\n"
    )
    env = dict(os.environ, SYMGRAPH_CACHE=str(tmp_path / "cache"))

    def run(*args: str) -> Any:
        command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", script, *args]
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    path = str(tmp_path / "train.pkl")
    written, read = run(path, "write"), run(path, "read")
    assert written[0] > 0
    assert read[0] == 0 and read[1] > 0
    assert read[2] == written[2]


def test_a_pickle_names_symgraph_numpy_and_builtins_only() -> None:
    """What loading calls is what rebuilds these objects: no code travels in a pickle."""

    class Watching(pickle.Unpickler):
        found: set[str] = set()  # noqa: RUF012

        def find_class(self, module: str, name: str) -> Any:
            self.found.add(module.split(".")[0])
            return super().find_class(module, name)

    Watching(io.BytesIO(pickle.dumps(trainer()[0]))).load()
    assert Watching.found <= {"symgraph", "numpy", "builtins", "copyreg", "types"}
