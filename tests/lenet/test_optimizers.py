"""Update rules: their numbers against NumPy loops written from the papers, types, errors."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest

import symgraph
from lenet.errors import RunError
from lenet.optimizers import (
    OPTIMIZERS,
    adagrad,
    adam,
    clip_norm,
    decay_gradients,
    momentum,
    nesterov,
    parse_optimizer,
    rmsprop,
    sgd,
)
from symgraph import tensor as T

RULES = [sgd, momentum, nesterov, adagrad, rmsprop, adam]
START = {"a.W": np.array([[0.5, -1.0, 2.0]]), "b": np.array([1.5, -0.5])}


# The papers' formulas, on arrays: each gets the gradient and a dictionary for what it keeps.
def by_sgd(g, kept, rate):
    return rate * g


def by_momentum(g, kept, rate, mu=0.9):
    kept["v"] = mu * kept.get("v", 0) + g
    return rate * kept["v"]


def by_nesterov(g, kept, rate, mu=0.9):
    kept["v"] = mu * kept.get("v", 0) + g
    return rate * (g + mu * kept["v"])


def by_adagrad(g, kept, rate, epsilon=1e-10):
    kept["s"] = kept.get("s", 0) + g * g
    return rate * g / (np.sqrt(kept["s"]) + epsilon)


def by_rmsprop(g, kept, rate, rho=0.9, epsilon=1e-8):
    kept["s"] = rho * kept.get("s", 0) + (1 - rho) * g * g
    return rate * g / (np.sqrt(kept["s"]) + epsilon)


def by_adam(g, kept, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    kept["t"] = t = kept.get("t", 0) + 1
    kept["m"] = beta1 * kept.get("m", 0) + (1 - beta1) * g
    kept["v"] = beta2 * kept.get("v", 0) + (1 - beta2) * g * g
    return rate * (kept["m"] / (1 - beta1**t)) / (np.sqrt(kept["v"] / (1 - beta2**t)) + epsilon)


PAPERS = dict(
    zip(RULES, [by_sgd, by_momentum, by_nesterov, by_adagrad, by_rmsprop, by_adam], strict=True)
)


def parameters(dtype="float64"):
    return [symgraph.shared(value.astype(dtype), name) for name, value in START.items()]


def cost_of(a, b):
    """A quadratic bowl, and a valley like Rosenbrock's in the variables of both."""
    valley = T.sqr(1 - b[0]) + 5 * T.sqr(b[1] - T.sqr(b[0]))
    return T.sum(T.arange(1, 4).astype(a.dtype) * T.sqr(a)) + valley + a[0, 0] * b[1]


def gradients_at(a, b):
    grad_a = 2 * np.arange(1.0, 4) * a
    grad_a[0, 0] += b[1]
    bend = b[1] - b[0] ** 2
    return grad_a, np.array([-2 * (1 - b[0]) - 20 * bend * b[0], 10 * bend + a[0, 0]])


@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps_as_in_the_papers(rule) -> None:
    params = parameters()
    train = symgraph.function([], updates=rule(cost_of(*params), params, learning_rate=0.01))
    a, b = (value.copy() for value in START.values())
    kept = ({}, {})
    for _ in range(20):
        train()
        steps = [
            PAPERS[rule](g, state, 0.01) for g, state in zip(gradients_at(a, b), kept, strict=True)
        ]
        a, b = a - steps[0], b - steps[1]
        assert np.allclose(params[0].get_value(), a, rtol=1e-10, atol=0)
        assert np.allclose(params[1].get_value(), b, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("rule", "settings", "paper"),
    [
        (momentum, {"momentum": 0.5}, {"mu": 0.5}),
        (nesterov, {"momentum": 0}, {"mu": 0}),
        (adagrad, {"epsilon": 0.1}, {"epsilon": 0.1}),
        (rmsprop, {"rho": 0.99, "epsilon": 0.1}, {"rho": 0.99, "epsilon": 0.1}),
        (adam, {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.1},
         {"beta1": 0.5, "beta2": 0.9, "epsilon": 0.1}),
    ],
)  # fmt: skip
def test_settings(rule, settings, paper) -> None:
    (p,) = params = [symgraph.shared(np.array([3.0, -1.0]), "p")]
    train = symgraph.function([], updates=rule(T.sum(T.sqr(p)), params, 0.05, **settings))
    x, kept = p.get_value(), {}
    for _ in range(5):
        train()
        x = x - PAPERS[rule](2 * x, kept, 0.05, **paper)
    assert np.allclose(p.get_value(), x, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_trains(rule) -> None:
    params = parameters("float32")
    cost = T.sum(T.sqr(params[0])) + T.sum(T.sqr(params[1]))
    rate = 0.5 if rule is adagrad else 0.05  # its steps shrink
    train = symgraph.function([], cost, updates=rule(cost, params, learning_rate=rate))
    costs = [float(train()) for _ in range(100)]
    assert costs[0] == pytest.approx(7.75) and costs[-1] < costs[0] / 20


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_types_are_the_parameters(rule, floatX) -> None:
    with symgraph.config.change_flags(floatX=floatX):
        row = symgraph.shared(np.ones((1, 3), "float32"), "row", broadcastable=(True, False))
        params = [*parameters("float32"), row, *parameters("float64"), symgraph.shared(1.0, "s")]
        cost = sum((T.sum(T.sqr(p)) for p in params), T.constant(np.float32(0)))
        rates = [T.dscalar("rate"), symgraph.shared(np.float64(0.1)), T.iscalar("rate"), 0.1]
        for rate in rates:
            updates = rule(cost, params, learning_rate=rate)
            assert all(new.type == target.type for target, new in updates)
            assert [p for p, _ in updates if p in params] == params


@pytest.mark.parametrize("rule", RULES)
def test_a_list_of_gradients_a_shared_rate(rule) -> None:
    runs = []
    for given in (0.1, symgraph.shared(np.float32(9), "rate"), T.dscalar("rate")):
        (p,) = params = [symgraph.shared(np.array([1.0, 2.0], "float32"))]
        is_input = given not in (0.1,) and not isinstance(given, symgraph.SharedVariable)
        train = symgraph.function(
            [given] if is_input else [],
            updates=rule(symgraph.grad(T.sum(p**3), params), params, learning_rate=given),
        )
        if isinstance(given, symgraph.SharedVariable):
            given.set_value(np.float32(0.1))
        for _ in range(3):
            train(*([0.1] if is_input else []))
        runs.append(p.get_value())
    assert np.array_equal(runs[0], runs[1]) and np.array_equal(runs[0], runs[2])


@pytest.mark.parametrize("rule", RULES)
def test_rates_of_their_own(rule) -> None:
    together, apart = parameters(), parameters()
    rates = [0.03, symgraph.shared(np.float32(0.01))]
    both = rule(cost_of(*together), together, learning_rate=rates)
    one = rule(cost_of(*apart), apart, learning_rate=0.01)
    symgraph.function([], updates=both)()
    symgraph.function([], updates=one)()
    moved = [
        [p.get_value() - start for p, start in zip(params, START.values(), strict=True)]
        for params in (together, apart)
    ]
    assert np.allclose(moved[0][0], 3 * moved[1][0]) and np.allclose(moved[0][1], moved[1][1])


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (sgd, []),
        (momentum, ["a.W.momentum.velocity", "param1.momentum.velocity"]),
        (nesterov, ["a.W.nesterov.velocity", "param1.nesterov.velocity"]),
        (adagrad, ["a.W.adagrad.squares", "param1.adagrad.squares"]),
        (rmsprop, ["a.W.rmsprop.squares", "param1.rmsprop.squares"]),
        (adam, ["adam.steps", "a.W.adam.mean", "a.W.adam.squares",
                "param1.adam.mean", "param1.adam.squares"]),
    ],
)  # fmt: skip
def test_names_of_the_state(rule, names) -> None:
    params = parameters()
    params[1].name = None
    updates = rule(cost_of(*params), params)
    assert [p.name for p, _ in updates if p not in params] == names
    assert not any(p.get_value().any() for p, _ in updates if p not in params)


@pytest.mark.parametrize("rule", RULES)
def test_pickled_functions_go_on(rule) -> None:
    params = parameters()
    cost = cost_of(*params)
    train = symgraph.function([], cost, updates=rule(cost, params, learning_rate=0.01))
    for _ in range(3):
        train()
    twin = pickle.loads(pickle.dumps(train))
    assert [float(train()) for _ in range(3)] == [float(twin()) for _ in range(3)]


def test_adam_counts_once_for_all_parameters() -> None:
    params = parameters("float32")
    updates = adam(cost_of(*params), params)
    train = symgraph.function([], updates=updates)
    for _ in range(4):
        train()
    (steps,) = (p for p, _ in updates if p.name == "adam.steps")
    assert steps.get_value() == 4 and steps.dtype == "int64"
    # Powers of beta are scalars of a kernel of their own, not computed for each element.
    powers = [kernel for kernel in train.kernels() if "power(" in str(kernel)]
    assert len(powers) == 1


def test_the_table() -> None:
    assert [optimizer.rule for optimizer in OPTIMIZERS.values()] == RULES
    assert OPTIMIZERS["rmsprop"].hyperparameters == {"rho": 0.9, "epsilon": 1e-8}
    assert OPTIMIZERS["adam"].learning_rate == 0.001 and not OPTIMIZERS["sgd"].hyperparameters


def test_parse() -> None:
    params = parameters()
    cost = cost_of(*params)
    assert parse_optimizer("sgd")(cost, params)[0][0] is params[0]
    rule = parse_optimizer("adam:beta1=0.5,epsilon=1e-6")
    assert isinstance(rule, partial) and rule.func is adam
    assert rule.keywords == {"beta1": 0.5, "epsilon": 1e-6}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("adamw", "got 'adamw'; expected one of sgd, momentum, nesterov"),
        ("", "expected one of sgd"),
        ("sgd:momentum=0.9", "optimizer sgd: got 'momentum=0.9'; expected no settings"),
        ("momentum:0.9", "optimizer momentum: got '0.9'; expected momentum=0.9. Cure: write NAME:"),
        ("momentum:momentum=fast", "got 'momentum=fast'; expected momentum=0.9"),
        ("adam:beta1=0.9,beta1=0.8", "got 'beta1=0.8'; expected beta1=0.9,beta2=0.999"),
        ("adam:learning_rate=1", "got 'learning_rate=1'; expected beta1"),
        (
            "momentum:momentum=1",
            "momentum: got momentum=1.0; expected a number from 0 to less than",
        ),
        ("nesterov:momentum=-0.1", "nesterov: got momentum=-0.1; expected a number from 0"),
        ("adam:beta2=1", "adam: got beta2=1.0; expected a number from 0 to less than 1"),
        ("rmsprop:rho=2", "rmsprop: got rho=2.0; expected a number from 0 to less than 1"),
        ("adagrad:epsilon=0", "adagrad: got epsilon=0.0; expected a number above 0. Cure: give"),
        ("adam:epsilon=inf", "adam: got epsilon=inf; expected a number above 0"),
    ],
)
def test_parse_errors(text, words) -> None:
    with pytest.raises(RunError, match=words):
        parse_optimizer(text)


@pytest.mark.parametrize("rule", RULES)
def test_errors(rule) -> None:
    p, q = parameters()
    cost = cost_of(p, q)
    gradients = symgraph.grad(cost, [p, q])
    counts = symgraph.shared(np.zeros(3, "int32"), "counts")
    for arguments, words in (
        ((cost, [p, T.dvector("v")]), r"params\[1\] = v; expected a shared variable of floats"),
        ((cost, [counts]), r"params\[0\] = counts; expected a shared variable of floats"),
        ((cost, [symgraph.shared([1.0])]), r"params\[0\].*expected a shared variable of floats"),
        ((cost, [p, p]), "got a parameter twice; expected each once"),
        ((gradients[:1], [p, q]), "got 1 gradients for 2 parameters; expected as many"),
        ((gradients[::-1], [p, q]), "a gradient of 1 axes for a.W of 2; expected as many"),
        ((p, [p, q]), "got a.W to differentiate; expected a symbolic scalar cost"),
        ((3.0, [p, q]), "got 3.0 to differentiate; expected a symbolic scalar cost"),
        ((cost, [p, q], 0.0), "got learning_rate=0.0; expected a number above 0"),
        ((cost, [p, q], -1), "got learning_rate=-1; expected a number above 0"),
        ((cost, [p, q], np.nan), "got learning_rate=nan"),
        ((cost, [p, q], True), "got learning_rate=True"),
        ((cost, [p, q], "fast"), "got learning_rate=fast"),
        ((cost, [p, q], T.vector("r")), "got learning_rate=r of type .*; expected a scalar"),
        ((cost, [p, q], [0.1]), "got 1 learning rates for 2 parameters; expected as many"),
        ((cost, [p, q], [0.1, 0]), "got learning_rate=0; expected a number above 0"),
    ):
        with pytest.raises(RunError, match=f"^{rule.__name__}: .*{words}.*Cure: "):
            rule(*arguments)


def test_an_epsilon_that_vanishes() -> None:
    p = symgraph.shared(np.ones(2, "float16"), "p")
    with pytest.raises(RunError, match="got 1e-08 for p, which is float16; expected a number that"):
        adam(T.sum(p), [p])
    ((_, _), (_, _), (_, _), (_, new)) = adam(T.sum(p), [p], epsilon=1e-4)
    assert new.type == p.type


def test_clip_norm() -> None:
    a, b = T.fvector("a"), T.dmatrix("b")
    values = np.array([3.0, 0.0], "float32"), np.array([[4.0]])
    for limit, factor in ((10, 1.0), (5, 1.0), (1, 0.2)):
        clipped = clip_norm([a, b], limit)
        assert [g.type for g in clipped] == [a.type, b.type]
        got = symgraph.function([a, b], clipped)(*values)
        assert np.allclose(got[0], factor * values[0]) and np.allclose(got[1], factor * values[1])
    still = symgraph.function([a], clip_norm([a], 1.0))(np.zeros(2, "float32"))
    assert np.array_equal(still[0], [0, 0])
    large = symgraph.function([a], clip_norm([a], 1.0))(np.array([3e30, 4e30], "float32"))
    assert np.allclose(large[0], [0.6, 0.8])  # squares beyond float32
    assert clip_norm([], 1.0) == []


@pytest.mark.parametrize("limit", [0, -1.0, np.inf, np.nan, "1"])
def test_bad_limits(limit) -> None:
    with pytest.raises(RunError, match=f"clip_norm: got limit={limit}; expected a number above 0"):
        clip_norm([T.dvector("g")], limit)


def test_decay() -> None:
    p, q = parameters("float32")
    g, h = T.fmatrix("g"), T.fvector("h")
    decayed = decay_gradients([g, h], [p, q], [0.1, 0])
    assert decayed[1] is h and decayed[0].type == g.type
    got = symgraph.function([g], decayed[0])(np.ones((1, 3), "float32"))
    assert np.allclose(got, 1 + 0.1 * START["a.W"])
    both = symgraph.function([g, h], decay_gradients([g, h], [p, q], 0.5))
    got = both(np.zeros((1, 3), "float32"), np.zeros(2, "float32"))
    assert np.allclose(got[0], START["a.W"] / 2) and np.allclose(got[1], START["b"] / 2)


@pytest.mark.parametrize(
    ("gradients", "rates", "words"),
    [
        (2, -0.1, "got rate=-0.1; expected a number from 0"),
        (2, [0.1, np.inf], "got rate=inf; expected a number from 0"),
        (2, [0.1], "got 1 rates for 2 parameters; expected as many"),
        (1, 0.1, "got 1 gradients for 2 parameters"),
    ],
)
def test_bad_decay(gradients, rates, words) -> None:
    params = parameters()
    with pytest.raises(RunError, match=words):
        decay_gradients(params[:gradients], params, rates)
