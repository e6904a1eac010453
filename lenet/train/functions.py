"""What training calls: compiled functions over data that lie in shared variables.

A step gets the number of a minibatch, so that nothing is copied from call to call: images stay
bytes until a kernel reads them, and a shuffled epoch gathers them through a permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

import symgraph
from lenet import device, schedules
from lenet.augment import Augmentation
from lenet.data import Dataset
from lenet.errors import RunError
from lenet.network import Model
from lenet.optimizers import clip_norm, parse_optimizer
from lenet.options import Options
from lenet.penalties import l1, l2
from lenet.train.blame import blame
from symgraph import tensor as T

EVALUATED_AT_ONCE = 500
FETCHED_AT_ONCE = 100
RANDOM = "random"


class Score(NamedTuple):
    """How good a model is on a set: the share of wrong answers, 0 to 1, and the mean cost."""

    error: float
    cost: float


@dataclass(frozen=True)
class Functions:
    """What the trainer calls; make your own for a model that is not of lenet.

    `train(i)` makes a step with minibatch i of `batches`, of `images` examples together, and
    returns the cost, a number, or what float() waits for: then the costs of `fetched` steps are
    waited for together. `validate` and `test` judge the model as it is. `begin_epoch(k)`, k from 0,
    sets order and learning rate, which it returns. `variables` are all shared variables that
    training changes, by the names under which checkpoints keep them. `blame(i)` says in words which
    variable is the first that is not finite when minibatch i is computed, None if all are.
    `compiled` is the symgraph function behind `train`, for pictures.
    """

    train: Callable[[int], Any]
    validate: Callable[[], Score]
    batches: int
    images: int
    test: Callable[[], Score] | None = None
    begin_epoch: Callable[[int], float] = lambda epoch: 0.0
    variables: Mapping[str, Any] = field(default_factory=dict)
    blame: Callable[[int], str | None] = lambda batch: None
    compiled: Any = None
    fetched: int = 1


def compile_functions(
    model: Model,
    dataset: Dataset,
    options: Options,
    prepare: Callable[[Any], Any] | None = None,
) -> Functions:
    """The functions that train `model` on `dataset` as `options` say.

    Call it under the floatX of the model. `prepare` makes what the model gets of images, uint8
    (n, channels, height, width): by default they stay uint8 and are divided by 255 in the kernels.
    A last minibatch of what is left over is smaller, as in Keras and PyTorch; the tutorials drop
    it. A step of a cost that is not finite changes no variable. Raises RunError if options name
    layers that the model has not, or freeze all of them, and for a part without images.
    """
    count = len(dataset.train.labels)
    size = options.batch_size or count
    prepare = prepare or (lambda images: images)
    index: Any = T.lscalar("index")
    images = symgraph.shared(prepare(dataset.train.images), "images", borrow=True)
    labels = symgraph.shared(dataset.train.labels, "labels", borrow=True)
    batch: Any = slice(index * size, (index + 1) * size)
    order = None
    if options.shuffle:
        order = symgraph.shared(np.arange(count), "order")
        batch = order[batch]
    here = {model.x: as_input(images[batch]), model.y: labels[batch]}

    factors = rates_of(model, options)
    training = model.training(
        options.seed,
        Augmentation.parse(options.augment) or None,
        fill=float(np.median(prepare(np.zeros((1, *dataset.image_shape), np.uint8)))),
        frozen=[name for name, factor in factors.items() if not factor],
    )
    weights = [p for name, p in model.params.items() if name.endswith(".W")]
    cost = training.cost
    if options.l1:
        cost = cost + np.asarray(options.l1, cost.dtype) * l1(weights)
    if options.l2:
        cost = cost + np.asarray(options.l2, cost.dtype) * l2(weights)
    params = {
        p: factors[layer.name]
        for layer in model.layers
        for p in layer.params.values()
        if factors[layer.name]
    }
    if not params:
        raise RunError("--freeze", "every layer", "one to train at least", "leave one out")
    rate = symgraph.shared(np.asarray(options.learning_rate, symgraph.config.floatX), "rate")
    gradients = symgraph.grad(cost, list(params))
    rule = parse_optimizer(options.optimizer)
    own = rule(
        gradients if options.clip is None else clip_norm(gradients, options.clip),
        list(params),
        learning_rate=[
            rate if factor == 1 else rate * np.asarray(factor, rate.dtype)
            for factor in params.values()
        ],
    )
    finite = T.lt(abs(cost), np.asarray(np.inf, cost.dtype))
    updates = [
        (variable, T.switch(finite, new, variable))
        for variable, new in [*own, *training.updates, *training.random_updates]
    ]
    there = device.gpu() is not None
    train = symgraph.function(
        [index], _left(cost) if there else cost, updates=updates, givens=here, name="train"
    )

    network = {**model.params, **model.states}
    known = set(network.values())
    variables = {
        **network,
        **{f"optimizer/{p.name}": p for p, _ in own if p not in known},
        **{f"{RANDOM}/{i}": state for i, (state, _) in enumerate(training.random_updates)},
    }
    watched = {"the input": model.x}
    watched |= {f"the output of {name}": value for name, value in training.outputs.items()}
    watched["the cost"] = cost
    watched |= {f"the gradient of {p.name}": g for p, g in zip(params, gradients, strict=True)}
    factor = schedules.parse(options.schedule, options.epochs)

    def begin_epoch(epoch: int) -> float:
        now = options.learning_rate * factor(epoch)
        rate.set_value(np.asarray(now, rate.dtype))
        if order is not None:
            # The same order whether or not the run was interrupted before.
            order.set_value(np.random.RandomState([options.seed, epoch]).permutation(count))
        return now

    return Functions(
        train=train,
        validate=evaluator(model, prepare(dataset.valid.images), dataset.valid.labels, "validate"),
        batches=-(-count // size),
        images=count,
        test=evaluator(model, prepare(dataset.test.images), dataset.test.labels, "test"),
        begin_epoch=begin_epoch,
        variables=variables,
        blame=blame(variables, watched, index, here),
        compiled=train,
        fetched=FETCHED_AT_ONCE if there else 1,
    )


def _left(value: Any) -> Any:
    """`value` where it is computed: whoever looks at it waits, nobody else."""
    return value.transfer("cuda")


def rates_of(model: Model, options: Options) -> dict[str, float]:
    """The factor of the learning rate of each layer, 0 for frozen ones; RunError for no layers."""
    rates = options.rates_by_layer()
    for name in rates:
        model.layer(name)
    return {layer.name: rates.get(layer.name, 1.0) for layer in model.layers}


def as_input(images: Any) -> Any:
    """Bytes as floatX from 0 to 1; other numbers are a model's input already, in any precision."""
    if images.dtype != "uint8":
        return T.cast(images, symgraph.config.floatX)
    return T.cast(images, symgraph.config.floatX) * np.asarray(1 / 255, symgraph.config.floatX)


def evaluator(model: Model, images: Any, labels: Any, name: str) -> Callable[[], Score]:
    """A function that judges `model` on images, uint8 or floats, and labels (n,), one at least."""
    index: Any = T.lscalar("index")
    batch = slice(index * EVALUATED_AT_ONCE, (index + 1) * EVALUATED_AT_ONCE)
    x = symgraph.shared(images, "images", borrow=True)[batch]
    y = symgraph.shared(labels, "labels", borrow=True)[batch]
    outputs = [T.neq(model.prediction, model.y).sum(), model.cost * model.y.shape[0]]
    if device.gpu() is not None:
        outputs = [_left(value) for value in outputs]
    function = symgraph.function(
        [index], outputs, givens={model.x: as_input(x), model.y: y}, name=name
    )
    count = len(labels)
    if not count:
        raise RunError(f"the images to {name} with", "none", "one at least", "add some")

    def score() -> Score:
        found = [function(i) for i in range(-(-count // EVALUATED_AT_ONCE))]
        wrong = sum(int(errors) for errors, _ in found)
        cost = sum(float(costs) for _, costs in found)
        return Score(wrong / count, cost / count)

    return score
