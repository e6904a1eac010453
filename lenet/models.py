"""The models, each a function that builds one; `MODELS` holds them under the names users say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lenet.errors import RunError
from lenet.layers import HiddenLayer, LeNetConvPoolLayer, LogisticRegression
from lenet.options import Options
from symgraph import tensor as T

IMAGE_SIZE = (28, 28)
CLASSES = 10


class Layer(NamedTuple):
    """A row of the summary; the shape is of one example's output, without the batch axis."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier as symbolic expressions.

    `x` (examples, pixels) in floatX, 0 to 1, and `y` (examples,) int32 are its inputs. `cost` is
    the scalar to minimise, `errors` the share of wrong answers, `probabilities` (examples,
    classes), `prediction` (examples,). `params` are the shared variables to train, each with a
    name of its own, `filters` the one of them that looks at the images.
    """

    name: str
    x: Any
    y: Any
    cost: Any
    errors: Any
    probabilities: Any
    prediction: Any
    params: list[Any]
    filters: Any
    layers: list[Layer]

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(layer.parameters for layer in self.layers)


def tutorial(
    rng: np.random.RandomState,
    nkerns: Sequence[int] = (20, 50),
    image_size: tuple[int, int] = IMAGE_SIZE,
    n_hidden: int = 500,
    n_out: int = CLASSES,
) -> Model:
    """The LeNet of the Theano tutorial: twice (5x5 convolution, 2x2 max pooling, tanh), a hidden
    layer of `n_hidden` tanh units, logistic regression.

    The size of the batch is left open, so one model trains, validates and predicts. dtypes are
    `symgraph.config.floatX`. Raises RunError if `nkerns` are not two or the images too small.
    Source: deeplearning.net tutorial "lenet", code/convolutional_mlp.py, whose order of random
    draws is kept.
    """
    if len(nkerns) != 2:
        raise RunError(
            "--nkerns",
            ",".join(map(str, nkerns)),
            "two numbers, of filters in the first and in the second layer",
            "give two, as 20,50",
        )
    height, width = image_size
    x: Any = T.matrix("x")
    y: Any = T.ivector("y")
    layer0 = LeNetConvPoolLayer(
        rng,
        input=x.reshape((x.shape[0], 1, height, width)),
        image_shape=(None, 1, height, width),
        filter_shape=(nkerns[0], 1, 5, 5),
    )
    layer1 = LeNetConvPoolLayer(
        rng,
        input=layer0.output,
        image_shape=layer0.output_shape,
        filter_shape=(nkerns[1], nkerns[0], 5, 5),
    )
    n_in = int(np.prod(layer1.output_shape[1:]))
    layer2 = HiddenLayer(rng, layer1.output.flatten(2), n_in, n_hidden, activation=T.tanh)
    layer3 = LogisticRegression(layer2.output, n_hidden, n_out)
    conv_pool = "convolution 5x5, max pooling 2x2, tanh"
    stack: list[tuple[Any, str, tuple[int, ...]]] = [
        (layer0, conv_pool, layer0.output_shape[1:]),
        (layer1, conv_pool, layer1.output_shape[1:]),
        (layer2, "fully connected, tanh", (n_hidden,)),
        (layer3, "logistic regression", (n_out,)),
    ]
    rows = []
    for number, (layer, kind, shape) in enumerate(stack):
        layer.W.name, layer.b.name = f"layer{number}.W", f"layer{number}.b"
        count = sum(p.get_value(borrow=True).size for p in layer.params)
        rows.append(Layer(f"layer{number}", kind, shape, count))
    return Model(
        name="tutorial",
        x=x,
        y=y,
        cost=layer3.negative_log_likelihood(y),
        errors=layer3.errors(y),
        probabilities=layer3.p_y_given_x,
        prediction=layer3.y_pred,
        params=layer3.params + layer2.params + layer1.params + layer0.params,
        filters=layer0.W,
        layers=rows,
    )


MODELS: dict[str, Callable[..., Model]] = {"tutorial": tutorial}


def build(options: Options) -> Model:
    """The model that `options` ask for, its parameters drawn from their seed.

    Raises RunError for an unknown name and for sizes that do not fit.
    """
    if options.model not in MODELS:
        known = ", ".join(MODELS)
        raise RunError("--model", options.model, f"one of {known}", "use one of these names")
    return MODELS[options.model](np.random.RandomState(options.seed), nkerns=options.nkerns)
