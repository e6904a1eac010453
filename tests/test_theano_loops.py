"""The loops of Theano's documents (tutorial/loop, library/scan), with the values they print."""

from __future__ import annotations

from typing import Any

import numpy as np

import symgraph
import symgraph.tensor as T
from symgraph import function, grad, scan, shared
from symgraph.tensor.shared_randomstreams import RandomStreams
from tests.under_alias import interpreted as interpreted
from tests.under_alias import same


def test_a_layer_of_each_row() -> None:
    X, W, b = T.matrix("X"), T.matrix("W"), T.vector("b_sym")
    results, updates = scan(lambda v: T.tanh(T.dot(v, W) + b), sequences=X)
    assert not updates
    compute = function([X, W, b], results)
    same(compute(np.eye(2), np.ones((2, 2)), [1.0, 2.0]), [[0.96402758, 0.99505475]] * 2)


def test_a_sequence_forwards_and_one_backwards() -> None:
    X, W, U, Y = T.vector("X"), T.matrix("W"), T.matrix("U"), T.matrix("Y")
    V, P = T.matrix("V"), T.matrix("P")
    results, _ = scan(
        lambda y, p, x_tm1: T.tanh(T.dot(x_tm1, W) + T.dot(y, U) + T.dot(p, V)),
        sequences=[Y, P[::-1]],
        outputs_info=[X],
    )
    compute = function([X, W, Y, U, P, V], results)
    ones, y, p = np.ones((2, 2)), np.ones((5, 2)), np.ones((5, 2))
    y[0], p[0] = -3, 3
    expected = np.zeros((5, 2))
    expected[0] = np.tanh(np.array([0.0, 1.0]).dot(ones) + y[0].dot(ones) + p[4].dot(ones))
    for i in range(1, 5):
        expected[i] = np.tanh(expected[i - 1].dot(ones) + y[i].dot(ones) + p[4 - i].dot(ones))
    found = compute([0.0, 1.0], ones, y, ones, p, ones)
    same(found, expected)
    same(found[:2, 0], [-0.99505475, 0.96471973])


def test_norms_of_rows_and_columns() -> None:
    X = T.dmatrix("X")
    x = np.diag(np.arange(1.0, 6), 1)
    rows, _ = scan(lambda x_i: T.sqrt((x_i**2).sum()), sequences=[X])
    columns, _ = scan(lambda x_i: T.sqrt((x_i**2).sum()), sequences=[X.T])
    same(function([X], rows)(x), [1, 2, 3, 4, 5, 0])
    same(function([X], columns)(x), [0, 1, 2, 3, 4, 5])


def test_a_trace() -> None:
    X = T.dmatrix("X")
    results, _ = scan(
        lambda i, j, t_f: T.cast(X[i, j] + t_f, "float64"),
        sequences=[T.arange(X.shape[0]), T.arange(X.shape[1])],
        outputs_info=np.asarray(0.0, "float64"),
    )
    x = np.eye(5)
    x[0] = np.arange(5)
    same(function([X], results[-1])(x), 4.0)


def test_two_steps_back() -> None:
    X, W, U, V = T.matrix("X"), T.matrix("W"), T.matrix("U"), T.matrix("V")
    b, n = T.vector("b_sym"), T.iscalar("n_sym")
    results, _ = scan(
        lambda x_tm2, x_tm1: T.dot(x_tm2, U) + T.dot(x_tm1, V) + T.tanh(T.dot(x_tm1, W) + b),
        n_steps=n,
        outputs_info=[dict(initial=X, taps=[-2, -1])],
    )
    compute = function([X, U, V, W, b, n], results)
    half = 0.5 * np.ones((2, 2))
    found = compute([[0.0, 0.0], [0.0, 1.0]], half - 0.5 * np.eye(2), half, half, np.ones(2), 10)
    assert found.shape == (10, 2)
    same(found[0], [1.40514825, 1.40514825])
    same(found[-1], [54.28407732, 54.25282732])


def test_a_jacobian() -> None:
    v, A = T.vector(), T.matrix()
    y = T.tanh(T.dot(v, A))
    results, _ = scan(lambda i: grad(y[i], v), sequences=[T.arange(y.shape[0])])
    compute = function([A, v], results, allow_input_downcast=True)
    x, w = np.eye(5)[0], np.eye(5, 3)
    w[2] = 1
    found = compute(w, x)
    assert found.shape == (3, 5)
    same(found, ((1 - np.tanh(x.dot(w)) ** 2) * w).T)
    same(found[0, :3], [0.41997434, 0.0, 0.41997434])


def test_an_accumulator() -> None:
    k, n = shared(0), T.iscalar("n_sym")
    results, updates = scan(lambda: {k: (k + 1)}, n_steps=n)
    assert results is None and list(updates) == [k]
    accumulator = function([n], [], updates=updates, allow_input_downcast=True)
    assert k.get_value() == 0
    accumulator(5)
    assert k.get_value() == 5


def test_binomial_noise_is_drawn_in_each_step() -> None:
    X, W, b = T.matrix("X"), T.matrix("W"), T.vector("b_sym")
    d = RandomStreams(1234).binomial(size=W[1].shape)
    results, updates = scan(lambda v: T.tanh(T.dot(v, W) + b) * d, sequences=[X])
    compute = function([X, W, b], results, updates=updates, allow_input_downcast=True)
    found = compute(np.eye(10, 2), np.ones((2, 2)), np.ones(2))
    mask = [(1, 0), (0, 1), (0, 0), (1, 1), (1, 0), (0, 1), (0, 1), (0, 1), (0, 0), (1, 1)]
    layer = np.tanh(np.eye(10, 2).dot(np.ones((2, 2))) + 1)
    same(found, layer * mask)
    same(found[0], [0.96402758, 0.0])


def test_a_power() -> None:
    k, A = T.iscalar("k"), T.vector("A")
    result, updates = scan(
        lambda prior_result, A: prior_result * A,
        outputs_info=T.ones_like(A),
        non_sequences=A,
        n_steps=k,
    )
    power = function([A, k], result[-1], updates=updates)
    same(power(range(10), 2), np.arange(10) ** 2)
    same(power(range(10), 4), np.arange(10) ** 4)


def test_a_polynomial() -> None:
    coefficients, x = T.vector("coefficients"), T.scalar("x")
    components, _ = scan(
        lambda coefficient, power, free_variable: coefficient * (free_variable**power),
        sequences=[coefficients, T.arange(10000)],
        outputs_info=None,
        non_sequences=x,
    )
    calculate = function([coefficients, x], components.sum())
    same(calculate(np.asarray([1.0, 0.0, 2.0]), 3), 19.0)


def test_the_polynomial_of_the_exercise() -> None:
    """With an accumulator, and without keeping the terms."""
    coefficients, x = T.vector("coefficients"), T.scalar("x")
    outputs, updates = symgraph.reduce(
        lambda coefficient, power, prior_value, free_var: (
            prior_value + (coefficient * (free_var**power))
        ),
        sequences=[coefficients, T.arange(10000)],
        outputs_info=T.as_tensor_variable(np.asarray(0.0)),
        non_sequences=x,
    )
    calculate = function([coefficients, x], outputs, updates=updates)
    same(calculate(np.asarray([1.0, 0.0, 2.0]), 3), 19.0)


# ---- library/scan --------------------------------------------------------------------------------


def test_sums_up_to_a_number() -> None:
    up_to = T.iscalar("up_to")
    seq = T.arange(up_to)
    results, _ = scan(
        fn=lambda arange_val, sum_to_date: sum_to_date + arange_val,
        outputs_info=T.as_tensor_variable(np.asarray(0, seq.dtype)),
        sequences=seq,
    )
    triangular = function(inputs=[up_to], outputs=results)
    assert triangular(15).tolist() == np.cumsum(np.arange(15)).tolist()


def test_values_at_positions() -> None:
    location, values, output_model = T.imatrix("location"), T.vector("values"), T.matrix("model")

    def set_value_at_position(a_location: Any, a_value: Any, output_model: Any) -> Any:
        zeros = T.zeros_like(output_model)
        return T.set_subtensor(zeros[a_location[0], a_location[1]], a_value)

    result, _ = scan(
        fn=set_value_at_position,
        outputs_info=None,
        sequences=[location, values],
        non_sequences=output_model,
    )
    assign = function(inputs=[location, values, output_model], outputs=result)
    found = assign(np.array([[1, 1], [2, 3]], "int32"), [42.0, 50.0], np.zeros((5, 5)))
    expected = np.zeros((2, 5, 5))
    expected[0, 1, 1], expected[1, 2, 3] = 42, 50
    same(found, expected)


def test_gibbs_sampling_by_shared_variables() -> None:
    rng = np.random.RandomState(0)
    W, bvis, bhid = shared(rng.randn(4, 3)), shared(rng.randn(4)), shared(rng.randn(3))
    trng = RandomStreams(1234)

    def one_step(vsample: Any) -> Any:
        hmean = T.nnet.sigmoid(T.dot(vsample, W) + bhid)
        hsample = trng.binomial(size=hmean.shape, n=1, p=hmean)
        vmean = T.nnet.sigmoid(T.dot(hsample, W.T) + bvis)
        return trng.binomial(size=vsample.shape, n=1, p=vmean, dtype="float64")

    sample = T.vector()
    values, updates = scan(one_step, outputs_info=sample, n_steps=10)
    assert len(updates) == 2
    gibbs10 = function([sample], values[-1], updates=updates)
    first = gibbs10(np.zeros(4))
    assert set(first) <= {0.0, 1.0} and first.shape == (4,)
    assert any((gibbs10(np.zeros(4)) != first).any() for _ in range(5))  # the streams went on


def test_several_taps_of_sequences_and_outputs() -> None:
    def one_step(
        u_tm4: Any, u_t: Any, x_tm3: Any, x_tm1: Any, y_tm1: Any, W: Any, W_in_1: Any,
        W_in_2: Any, W_feedback: Any, W_out: Any,
    ) -> Any:  # fmt: skip
        x_t = T.tanh(
            T.dot(x_tm1, W) + T.dot(u_t, W_in_1) + T.dot(u_tm4, W_in_2) + T.dot(y_tm1, W_feedback)
        )
        return [x_t, T.dot(x_tm3, W_out)]

    W, W_in_1, W_in_2, W_feedback, W_out = T.matrices(5)
    u, x0, y0 = T.matrix(), T.matrix(), T.vector()
    (x_vals, y_vals), _ = scan(
        fn=one_step,
        sequences=dict(input=u, taps=[-4, -0]),
        outputs_info=[dict(initial=x0, taps=[-3, -1]), y0],
        non_sequences=[W, W_in_1, W_in_2, W_feedback, W_out],
        strict=True,
    )
    rng = np.random.RandomState(1)
    sizes = [(3, 3), (2, 3), (2, 3), (1, 3), (3, 1), (6, 2), (3, 3), (1,)]
    given = [rng.uniform(-1, 1, size) for size in sizes]
    f = function([W, W_in_1, W_in_2, W_feedback, W_out, u, x0, y0], [x_vals, y_vals])
    xs, ys = list(given[6]), [given[7]]
    for t in (4, 5):
        below = given[5][t].dot(given[1]) + given[5][t - 4].dot(given[2])
        ys.append(xs[-3].dot(given[4]))
        xs.append(np.tanh(xs[-1].dot(given[0]) + below + ys[-2].dot(given[3])))
    for found, expected in zip(f(*given), (xs[3:], ys[1:]), strict=True):
        same(found, expected)


def test_powers_of_two_until_a_limit() -> None:
    def power_of_2(previous_power: Any, max_value: Any) -> Any:
        again = previous_power * 2
        return again, symgraph.scan_module.until(again > max_value)

    max_value = T.scalar()
    values, _ = scan(
        power_of_2, outputs_info=T.constant(1.0), non_sequences=max_value, n_steps=1024
    )
    assert function([max_value], values)(45).tolist() == [2, 4, 8, 16, 32, 64]
