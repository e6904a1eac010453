"""Optimisers as update rules for `symgraph.function(updates=...)`, of any model.

    symgraph.function([x, y], cost, updates=adam(cost, params, learning_rate=0.002))

A rule takes a scalar cost, which it differentiates by `params`, or the list of their gradients:
clip or decay those first if need be. It returns pairs (shared variable, its next value) for the
parameters and for its own state. `learning_rate` is a number above 0, a symbolic scalar or a shared
one, which a schedule sets between epochs; or a list of such, one per parameter.

State lies in shared variables of the parameters' types that are named after them, as in
`conv1.W.momentum.velocity`; it starts at zero. All arithmetic is in the parameter's dtype, whatever
floatX and the rate's dtype are. Wrong arguments raise RunError.

The forms are PyTorch's `torch.optim`, without its optional extras; epsilon is outside the root.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np

import symgraph
from lenet.errors import RunError
from symgraph import tensor as T

Updates = list[tuple[Any, Any]]
Rule = Callable[..., Updates]

TINY = math.ulp(0.0)  # the least float above 0, for ranges that leave 0 out


def sgd(gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any = 0.01) -> Updates:
    """Gradient descent: p <- p - rate * g."""
    steps = _steps("sgd", gradients_or_cost, params, learning_rate)
    return [(s.param, s.param - s.rate * s.gradient) for s in steps]


def momentum(
    gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any = 0.01, momentum: float = 0.9
) -> Updates:
    """Gradient descent with momentum: v <- momentum * v + g; p <- p - rate * v.

    `momentum` in [0, 1). Source: Polyak 1964, as in PyTorch: the rate is not part of the velocity.
    """
    return _with_momentum("momentum", gradients_or_cost, params, learning_rate, momentum)


def nesterov(
    gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any = 0.01, momentum: float = 0.9
) -> Updates:
    """Nesterov's momentum: v <- momentum * v + g; p <- p - rate * (g + momentum * v).

    `momentum` in [0, 1). Source: Sutskever, Martens, Dahl, Hinton, On the importance of
    initialization and momentum in deep learning, ICML 2013, as in PyTorch: `p` is the point looked
    ahead to.
    """
    return _with_momentum("nesterov", gradients_or_cost, params, learning_rate, momentum)


def _with_momentum(
    rule: str, gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any, momentum: float
) -> Updates:
    _in_range(rule, "momentum", momentum, 0, 1)
    updates: Updates = []
    for s in _steps(rule, gradients_or_cost, params, learning_rate):
        velocity = s.state("velocity")
        share = s.number(momentum)
        new = share * velocity + s.gradient
        direction = s.gradient + share * new if rule == "nesterov" else new
        updates += [(velocity, new), (s.param, s.param - s.rate * direction)]
    return updates


def adagrad(
    gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any = 0.01, epsilon: float = 1e-10
) -> Updates:
    """AdaGrad: s <- s + g**2; p <- p - rate * g / (sqrt(s) + epsilon).

    `epsilon` above 0. Source: Duchi, Hazan, Singer, JMLR 12, 2011; PyTorch, `Adagrad`.
    """
    _in_range("adagrad", "epsilon", epsilon, TINY, math.inf)
    updates: Updates = []
    for s in _steps("adagrad", gradients_or_cost, params, learning_rate):
        squares = s.state("squares")
        new = squares + T.sqr(s.gradient)
        step = s.rate * s.gradient / (T.sqrt(new) + s.number(epsilon))
        updates += [(squares, new), (s.param, s.param - step)]
    return updates


def rmsprop(
    gradients_or_cost: Any,
    params: Sequence[Any],
    learning_rate: Any = 0.001,
    rho: float = 0.9,
    epsilon: float = 1e-8,
) -> Updates:
    """RMSProp: s <- rho * s + (1 - rho) * g**2; p <- p - rate * g / (sqrt(s) + epsilon).

    `rho` in [0, 1), `epsilon` above 0. Source: Tieleman and Hinton, Neural networks for machine
    learning, lecture 6.5, 2012, with `rho` and rate of Keras; PyTorch has rho = 0.99, rate 0.01.
    """
    _in_range("rmsprop", "rho", rho, 0, 1)
    _in_range("rmsprop", "epsilon", epsilon, TINY, math.inf)
    updates: Updates = []
    for s in _steps("rmsprop", gradients_or_cost, params, learning_rate):
        squares = s.state("squares")
        new = s.number(rho) * squares + s.number(1 - rho) * T.sqr(s.gradient)
        step = s.rate * s.gradient / (T.sqrt(new) + s.number(epsilon))
        updates += [(squares, new), (s.param, s.param - step)]
    return updates


def adam(
    gradients_or_cost: Any,
    params: Sequence[Any],
    learning_rate: Any = 0.001,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Updates:
    """Adam: m <- beta1 * m + (1 - beta1) * g; v <- beta2 * v + (1 - beta2) * g**2;
    p <- p - rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon).

    t counts the steps, from 1: the shared int64 `adam.steps`, one for all parameters of a call.

    Betas in [0, 1), `epsilon` above 0. Source: Kingma and Ba, Adam, ICLR 2015, algorithm 1;
    PyTorch, `Adam`.
    """
    _in_range("adam", "beta1", beta1, 0, 1)
    _in_range("adam", "beta2", beta2, 0, 1)
    _in_range("adam", "epsilon", epsilon, TINY, math.inf)
    steps = symgraph.shared(np.asarray(0, "int64"), "adam.steps")
    count = steps + 1
    # In float64: in float32, 1 - 0.999**t cancels.
    correction1, correction2 = (
        1.0 - T.constant(np.float64(beta)) ** T.cast(count, "float64") for beta in (beta1, beta2)
    )
    updates: Updates = [(steps, count)]
    for s in _steps("adam", gradients_or_cost, params, learning_rate):
        mean, squares = s.state("mean"), s.state("squares")
        new_mean = s.number(beta1) * mean + s.number(1 - beta1) * s.gradient
        new_squares = s.number(beta2) * squares + s.number(1 - beta2) * T.sqr(s.gradient)
        rate = s.rate * s.cast(1.0 / correction1)
        root = T.sqrt(new_squares * s.cast(1.0 / correction2))
        step = rate * new_mean / (root + s.number(epsilon))
        updates += [(mean, new_mean), (squares, new_squares), (s.param, s.param - step)]
    return updates


@dataclass(frozen=True)
class Optimizer:
    """A rule, its default learning rate, and its other settings with their defaults."""

    rule: Rule
    learning_rate: float
    hyperparameters: dict[str, float]

    @classmethod
    def of(cls, rule: Rule) -> Optimizer:
        """The optimiser whose defaults are those of the signature of `rule`."""
        keywords = inspect.signature(rule).parameters.values()
        defaults = {k.name: k.default for k in keywords if k.default is not k.empty}
        return cls(rule, defaults.pop("learning_rate"), defaults)


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer.of(sgd),
    "momentum": Optimizer.of(momentum),
    "nesterov": Optimizer.of(nesterov),
    "adagrad": Optimizer.of(adagrad),
    "rmsprop": Optimizer.of(rmsprop),
    "adam": Optimizer.of(adam),
}


def parse_optimizer(text: str) -> Rule:
    """The rule that `text` names, with settings: "adam" or "adam:beta1=0.8,epsilon=1e-6".

    Raises RunError for unknown names and settings, and values that are out of range.
    """
    name, _, rest = text.partition(":")
    if name not in OPTIMIZERS:
        raise RunError(
            "optimizer", repr(text), f"one of {', '.join(OPTIMIZERS)}", "use one of these names"
        )
    optimizer = OPTIMIZERS[name]
    settings: dict[str, float] = {}
    for part in rest.split(",") if rest else []:
        key, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if key not in optimizer.hyperparameters or key in settings or math.isnan(number):
            known = ",".join(f"{k}={v:g}" for k, v in optimizer.hyperparameters.items())
            raise RunError(
                f"optimizer {name}", repr(part), known or "no settings", "write NAME:SETTING=NUMBER"
            )
        settings[key] = number
    rule = partial(optimizer.rule, **settings)
    rule([], [])  # the rule itself knows the ranges
    return rule


def clip_norm(gradients: Sequence[Any], limit: float) -> list[Any]:
    """The gradients, scaled down together where their common Euclidean norm is above `limit`.

    dtypes stay. Raises RunError unless `limit` is above 0. Source: Pascanu, Mikolov, Bengio, On the
    difficulty of training recurrent neural networks, ICML 2013; Keras, `global_clipnorm`.
    """
    _in_range("clip_norm", "limit", limit, TINY, math.inf)
    if not gradients:
        return []
    squares = [T.sum(T.sqr(T.cast(g, "float64"))) for g in gradients]
    norm = T.sqrt(reduce(add, squares))
    bound = np.float64(limit)
    scale = bound / T.maximum(norm, bound)
    return [g * T.cast(scale, g.dtype) for g in gradients]


def decay_gradients(gradients: Sequence[Any], params: Sequence[Any], rates: Any) -> list[Any]:
    """Gradients with weight decay: g + rate * p, as PyTorch's SGD has it.

    That is the gradient of the cost plus rate / 2 * sum(p**2). `rates` is a number from 0 or a list
    of one per parameter; biases are best given 0, at which nothing is added. Raises RunError for
    other rates, and lists of different lengths.
    """
    each = list(rates) if isinstance(rates, (list, tuple)) else [rates] * len(params)
    _same_number("decay_gradients", "rates", each, params)
    _same_number("decay_gradients", "gradients", gradients, params)
    for rate in each:
        _in_range("decay_gradients", "rate", rate, 0, math.inf)
    return [
        g + np.asarray(rate, p.dtype) * p if rate else g
        for g, p, rate in zip(gradients, params, each, strict=True)
    ]


@dataclass(frozen=True)
class _Step:
    """One parameter's part of a rule: what it reads, in the parameter's dtype."""

    rule: str
    name: str
    param: Any
    gradient: Any
    rate: Any

    def state(self, what: str) -> Any:
        """A shared variable of the parameter's type, at zero."""
        p = self.param
        zero = np.zeros_like(p.get_value(borrow=True))
        name = f"{self.name}.{self.rule}.{what}"
        return symgraph.shared(zero, name, borrow=True, broadcastable=p.broadcastable)

    def number(self, value: float) -> np.ndarray:
        found = np.asarray(value, self.param.dtype)
        if value and not found:
            got = f"{value:g} for {self.name}, which is {self.param.dtype}"
            expected = "a number that this dtype can tell from 0"
            raise RunError(self.rule, got, expected, "give a larger epsilon")
        return found

    def cast(self, value: Any) -> Any:
        return T.cast(value, self.param.dtype)


def _steps(
    rule: str, gradients_or_cost: Any, params: Sequence[Any], learning_rate: Any
) -> list[_Step]:
    params = list(params)
    for position, p in enumerate(params):
        if not isinstance(p, symgraph.SharedVariable) or not getattr(p, "dtype", "").startswith(
            "float"
        ):
            raise RunError(rule, f"params[{position}] = {p}", "a shared variable of floats",
                         "make it with symgraph.shared(array, name)")  # fmt: skip
    if len(set(params)) < len(params):
        raise RunError(rule, "a parameter twice", "each once", "leave the second one out")
    if isinstance(gradients_or_cost, (list, tuple)):
        gradients = list(gradients_or_cost)
        _same_number(rule, "gradients", gradients, params)
    else:
        if getattr(gradients_or_cost, "ndim", None) != 0:
            raise RunError(rule, f"{gradients_or_cost} to differentiate", "a symbolic scalar cost",
                         "take its mean or sum, or give a list of gradients")  # fmt: skip
        gradients = symgraph.grad(gradients_or_cost, params)
    if isinstance(learning_rate, (list, tuple)):
        rates = [_rate(rule, value) for value in learning_rate]
    else:
        rates = [_rate(rule, learning_rate)] * len(params)
    _same_number(rule, "learning rates", rates, params)
    steps = []
    for position, (p, g, rate) in enumerate(zip(params, gradients, rates, strict=True)):
        if g.ndim != p.ndim:
            raise RunError(rule, f"a gradient of {g.ndim} axes for {p} of {p.ndim}", "as many",
                         "give gradients in the order of params")  # fmt: skip
        name = p.name or f"param{position}"
        steps.append(_Step(rule, name, p, T.cast(g, p.dtype), T.cast(rate, p.dtype)))
    return steps


def _rate(rule: str, value: Any) -> Any:
    """A learning rate as a variable of no axes."""
    if isinstance(value, symgraph.Variable):
        if getattr(value, "ndim", None) != 0:
            raise RunError(rule, f"learning_rate={value} of type {value.type}", "a scalar",
                         "give a number, a scalar, or a list of one per parameter")  # fmt: skip
        return value
    _in_range(rule, "learning_rate", value, TINY, math.inf)
    return T.constant(np.float64(value))


def _in_range(rule: str, what: str, value: Any, low: float, high: float) -> None:
    """RunError unless `value` is a number in [low, high)."""
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not is_number or not low <= value < high:
        above = "above 0" if low == TINY else f"from {low:g}"
        expected = f"a number {above}" + (f" to less than {high:g}" if high < math.inf else "")
        raise RunError(rule, f"{what}={value}", expected, f"give such a {what.replace('_', ' ')}")


def _same_number(rule: str, what: str, given: Sequence[Any], params: Sequence[Any]) -> None:
    if len(given) != len(params):
        raise RunError(rule, f"{len(given)} {what} for {len(params)} parameters", "as many",
                     f"give one of the {what} for each parameter")  # fmt: skip
