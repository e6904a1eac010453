"""Typical mistakes in a model, found in compiled functions: the line is the user's, whatever rules
and fusion made of it. And what `exception_verbosity` and `warn_float64` say.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from symgraph import OpFromGraph, as_op, config, function, grad, scan, shared
from symgraph import tensor as T
from symgraph.errors import ShapeError
from symgraph.graph import graph_inputs
from symgraph.tensor.nnet import conv2d
from symgraph.tensor.signal import pool

Case = tuple[list[Any], Any, list[Any], tuple[Any, ...]]  # inputs, cost, parameters, arguments


def weights(*shape: int) -> Any:
    return shared(np.random.RandomState(0).randn(*shape).astype("f"), "W")


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "f")


def _transposed() -> Case:
    x, w = T.fmatrix("x"), weights(10, 5)
    h = T.dot(x, w.T)  # here
    return [x], T.tanh(h).sum(), [w], (ones(3, 10),)


def _bias() -> Case:
    x, w, b = T.fmatrix("x"), weights(5, 4), shared(ones(3), "b")
    h = T.dot(x, w)
    y = T.tanh(h + b)  # here
    return [x], (y**2).mean(), [w, b], (ones(2, 5),)


def _labels() -> Case:
    x, y, w = T.fmatrix("x"), T.ivector("y"), weights(5, 3)
    p = T.nnet.softmax(T.dot(x, w))
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])  # here
    return [x, y], cost, [w], (ones(2, 5), np.array([0, 3], "int32"))


def _labels_by_name() -> Case:
    x, y, w = T.fmatrix("x"), T.ivector("y"), weights(5, 3)
    p = T.nnet.softmax(T.dot(x, w))
    cost = T.nnet.categorical_crossentropy(p, y).mean()  # here
    return [x, y], cost, [w], (ones(2, 5), np.array([0, -4], "int32"))


def _batches_of_two_lengths() -> Case:
    x, y, w = T.fmatrix("x"), T.ivector("y"), weights(5, 3)
    p = T.nnet.softmax(T.dot(x, w))
    cost = -T.mean(T.log(p)[T.arange(y.shape[0]), y])  # here
    return [x, y], cost, [w], (ones(2, 5), np.array([0, 1, 2], "int32"))


def _image_shape() -> Case:
    x, w = T.ftensor4("x"), weights(2, 1, 3, 3)
    h = conv2d(x, w, input_shape=(20, 1, 8, 8), filter_shape=(2, 1, 3, 3))  # here
    return [x], T.tanh(h).sum(), [w], (ones(7, 1, 8, 8),)


def _channels() -> Case:
    x, w = T.ftensor4("x"), weights(2, 3, 3, 3)
    h = conv2d(x, w)  # here
    p = pool.pool_2d(T.tanh(h), (2, 2), ignore_border=True)
    return [x], p.sum(), [w], (ones(2, 1, 8, 8),)


def _flattened() -> Case:
    """The size of the hidden layer does not follow from that of the pooled image."""
    x, f, w = T.ftensor4("x"), weights(2, 1, 3, 3), weights(20, 4)
    h = pool.pool_2d(conv2d(x, f), (2, 2), ignore_border=True).flatten(2)
    y = T.dot(h, w)  # here
    return [x], y.sum(), [f, w], (ones(2, 1, 8, 8),)


def _concatenation() -> Case:
    x, y, w = T.fmatrix("x"), T.fmatrix("y"), weights(6, 2)
    both = T.concatenate([x, y], axis=1)  # here
    return [x, y], T.dot(both, w).sum(), [w], (ones(3, 4), ones(2, 2))


def _reshape() -> Case:
    x, w = T.fmatrix("x"), weights(2, 1, 3, 3)
    image = x.reshape((-1, 1, 28, 28))  # here
    return [x], conv2d(image, w).sum(), [w], (ones(3, 783),)


def _minibatch() -> Case:
    data, w, i = shared(ones(10, 4), "data"), weights(4, 2), T.lscalar("i")
    row = data[i]  # here
    return [i], T.dot(row, w).sum(), [w], (10,)


def _targets() -> Case:
    x, t, w = T.fmatrix("x"), T.fvector("t"), weights(5, 1)
    out = T.dot(x, w).flatten()
    cost = ((out - t) ** 2).mean()  # here
    return [x, t], cost, [w], (ones(4, 5), ones(3))


def _column_as_vector() -> Case:
    x, t, w = T.fmatrix("x"), T.fmatrix("t"), weights(5, 3)
    cost = ((T.dot(x, w) - t) ** 2).mean()  # here
    return [x, t], cost, [w], (ones(4, 5), ones(4, 1))


MISTAKES: list[tuple[Callable[[], Case], type[Exception], str]] = [
    (_transposed, ShapeError, "x has 10 cols (and 3 rows) but y has 5 rows (and 10 cols)"),
    (_bias, ShapeError, "Inputs shapes: [(2, 4), (1, 3)]"),
    (_labels, IndexError, "index 3 is out of bounds for size 3"),
    (_labels_by_name, IndexError, "index -4 is out of bounds for size 3"),
    (_batches_of_two_lengths, IndexError, "2 rows and 3 labels"),
    (_image_shape, ShapeError, "(7, 1, 8, 8)"),
    (_channels, ShapeError, "same stack size"),
    (_flattened, ShapeError, "x has 18 cols (and 2 rows) but y has 20 rows (and 4 cols)"),
    (_concatenation, ShapeError, "(3, 4)"),
    (_reshape, ShapeError, "2349"),
    (_minibatch, IndexError, "index 10 is out of bounds for"),
    (_targets, ShapeError, "Inputs shapes: [(4,), (3,)]"),
    (_column_as_vector, ShapeError, "a size of 1 broadcasts only where the type says so"),
]


@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE", "NanGuardMode"])
@pytest.mark.parametrize("case", MISTAKES, ids=lambda c: c[0].__name__.strip("_"))
def test_mistakes_in_a_training_function_show_their_line(case: Any, mode: str) -> None:
    build, kind, words = case
    inputs, cost, params, values = build()
    updates = [(v, v - np.float32(0.1) * grad(cost, v)) for v in params]
    before = [v.get_value() for v in params]
    f = function(inputs, cost, updates=updates, mode=mode)
    with pytest.raises(kind) as error:
        f(*values)
    text = str(error.value)
    assert words in text, text
    assert __file__ in text and "# here" in text, text
    for fact in ("where:", "got:", "expected:"):
        assert f"\n  {fact}" in text, text
    for v, old in zip(params, before, strict=True):
        np.testing.assert_array_equal(v.get_value(), old)


# ---- exception_verbosity -------------------------------------------------------------------------


def failing() -> tuple[Any, Any]:
    x, y, w = T.dvector("x"), T.dvector("y"), shared(np.ones(3), "w")
    z = x + x
    z = z + y * w  # here
    return function([x, y], z, updates=[(w, w + y)]), w


def test_low_verbosity_says_the_five_facts() -> None:
    f, _ = failing()
    with pytest.raises(ShapeError) as error:
        f(np.ones(2), np.ones(3))
    text = str(error.value)
    assert text.splitlines()[0].endswith(
        "Input dimension mis-match. (input[0].shape[0] = 2, input[1].shape[0] = 3)"
    )
    assert "Inputs shapes: [(2,), (3,)]" in text and "# here" in text
    assert "Storage map footprint" not in text


def test_high_verbosity_adds_values_tree_and_sizes() -> None:
    f, w = failing()
    with config.change_flags(exception_verbosity="high"):
        with pytest.raises(ShapeError) as error:
            f(np.ones(2), np.ones(3))
    text = str(error.value)
    for words in (
        "# here",
        "\nApply node that caused the error: Elemwise{add,no_inplace}(",
        "\nInputs types: [TensorType(float64, vector), TensorType(float64, vector)]",
        "\nInputs shapes: [(2,), (3,)]",
        "\nInputs values: [array([2., 2.]), array([1., 1., 1.])]",
        "\nDebugprint of the apply node:\nElemwise{add,no_inplace} [id A] <TensorType(",
        "\nStorage map footprint:\n",
        " - y, Input, Shape: (3,), ElemSize: 8 Byte(s), TotalSize: 24 Byte(s)\n",
        " - w, Shared Input, Shape: (3,), ElemSize: 8 Byte(s), TotalSize: 24 Byte(s)\n",
        " TotalSize: 64 Byte(s)",
    ):
        assert words in text, text
    assert w.get_value().tolist() == [1, 1, 1]


def test_high_verbosity_is_silent_where_it_has_nothing_to_say() -> None:
    f, _ = failing()
    with config.change_flags(exception_verbosity="high"):
        with pytest.raises(TypeError) as error:
            f(np.ones((2, 2)), np.ones(3))
        assert "Storage map" not in str(error.value)
        assert f(np.ones(3), np.ones(3)).tolist() == [3, 3, 3]
        k, x = T.lscalar("k"), T.fmatrix("x")
        g = function([x, k], x[k])
        with pytest.raises(IndexError, match=r"(?s)Inputs values: \['not shown', array\(9\)\]"):
            g(x=np.ones((3, 3), "f"), k=9)


# ---- warn_float64 --------------------------------------------------------------------------------


class CodeError(ValueError):
    """An error of a user's, made of more than a text."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class SilentError(Exception):
    """One that makes its text itself."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


@pytest.mark.parametrize("error", [CodeError(7, "no luck"), SilentError(7)])
@pytest.mark.parametrize("target", ["cpu", "python"])
def test_errors_of_a_users_op_stay_what_they_are(error: Any, target: str) -> None:
    @as_op([T.dvector], [T.dvector])
    def failing(x: np.ndarray) -> np.ndarray:
        raise error

    def said(caught: Any) -> str:
        assert caught.value is error and error.code == 7
        return "\n".join([str(error), *getattr(error, "__notes__", ())])

    shown = isinstance(error, CodeError) or hasattr(error, "add_note")
    with config.change_flags(target=target):
        rows = scan(failing, T.dmatrix("rows"))[0]
        x, (matrix,) = T.dvector("x"), [v for v in graph_inputs([rows]) if v.name == "rows"]
        with pytest.raises(type(error)) as caught:
            function([matrix], rows)(np.ones((2, 3)))
        assert ("in round 0" in said(caught)) == shown
        with pytest.raises(type(error)) as caught:
            function([x], failing(x) * 2)([1.0])
        assert ("where:" in said(caught)) == shown
    with config.change_flags(compute_test_value="raise"):
        x.tag.test_value = np.ones(3)
        with pytest.raises(type(error)) as caught:
            failing(x)
        assert ("its test value cannot be computed" in said(caught)) == shown
    assert ("no luck (7)" if isinstance(error, CodeError) else "code 7") in str(error)


def test_what_grad_is_given_is_told_with_all_facts() -> None:
    x = T.dvector("x")
    for build in (
        lambda: grad(x.sum(), {x}),
        lambda: grad(x.sum(), 3.0),
        lambda: grad(x.sum(), x, consider_constant=[3.0]),
        lambda: grad(x.sum(), x, null_gradients="shrug"),
        lambda: grad(None, x),
        lambda: grad(None, x, known_grads={x: T.dscalar()}),
        lambda: OpFromGraph([x], x),
        lambda: OpFromGraph([x], [3]),
        lambda: OpFromGraph([x], [x], givens={}),
        lambda: OpFromGraph([x], [x], name=3),
        lambda: OpFromGraph([x], [x])(x, x),
        lambda: as_op([T.dvector], [T.dvector], infer_shape=3),
    ):
        with pytest.raises((TypeError, ValueError), match=r"got: (.|\n)*expected: "):
            build()


def test_float64_creep_is_told_at_its_line() -> None:
    x, n = T.fvector("x"), T.ivector("n")
    with config.change_flags(warn_float64="warn"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            y = x * n  # here
            assert [w.filename for w in caught] == [__file__]
            text = str(caught[0].message)
            for words in ("creating a TensorVariable with float64 dtype", "# here",
                          "config.cast_policy = 'numpy+floatX'", ".astype", "got:"):  # fmt: skip
                assert words in text
            caught.clear()
            with config.change_flags(cast_policy="numpy+floatX", floatX="float32"):
                x * n
            x * 2 + x.sum()
            function([x, n], [y, T.log(1 + T.exp(y))])  # compiling makes no variables of yours
            assert len(caught) == 3  # exp, +, log


def test_float64_may_be_an_error_or_start_the_debugger(monkeypatch: Any, capsys: Any) -> None:
    x, n = T.fvector("x"), T.ivector("n")
    with config.change_flags(warn_float64="raise"), pytest.raises(TypeError, match="float64 dtype"):
        x * n
    started: list[bool] = []
    monkeypatch.setattr("pdb.set_trace", lambda: started.append(True))
    with config.change_flags(warn_float64="pdb"):
        x * n
    assert started == [True] and "float64 dtype" in capsys.readouterr().err
