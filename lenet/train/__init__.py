"""Training: the compiled functions, the loop, and the callbacks that watch it.

A model of lenet, from its name to its history:

    >>> import symgraph
    >>> from lenet import data, models
    >>> from lenet.options import Options
    >>> from lenet.train import EarlyStopping, Trainer, compile_functions
    >>> options = Options.of(model="keras", epochs=2)
    >>> digits = data.load(source="sample")
    >>> with symgraph.config.change_flags(floatX="float32"):
    ...     model = models.build(options, digits.image_shape, digits.classes)
    ...     functions = compile_functions(model, digits, options)
    >>> state = Trainer(functions, options.epochs, callbacks=[EarlyStopping(3)]).run()
    >>> [entry.epoch for entry in state.history], state.best_validation_error < 0.3
    ([1.0, 2.0], True)

A model of your own: `Functions` holds what the trainer calls.

    >>> import numpy as np
    >>> from symgraph import tensor as T
    >>> from lenet.optimizers import adam
    >>> from lenet.train import Functions, Score
    >>> points = np.random.RandomState(0).normal(size=(2, 500, 2))
    >>> x, w = T.dmatrix("x"), symgraph.shared(np.zeros(2), "w")
    >>> above = T.gt(x.sum(axis=1), 0)
    >>> p = T.nnet.sigmoid(T.dot(x, w))
    >>> cost = T.nnet.binary_crossentropy(p, above).mean()
    >>> step = symgraph.function([x], cost, updates=adam(cost, [w], learning_rate=0.1))
    >>> judge = symgraph.function([x], [T.neq(p > 0.5, above).mean(), cost])
    >>> functions = Functions(
    ...     train=lambda i: step(points[0, 50 * i : 50 * (i + 1)]),
    ...     validate=lambda: Score(*map(float, judge(points[1]))),
    ...     batches=10,
    ...     images=500,
    ... )
    >>> Trainer(functions, epochs=5).run().best_validation_error < 0.05
    True
"""

from lenet.train.callbacks import (
    CSVLogger,
    EarlyStopping,
    Save,
    StopOnNaN,
    StopOnSignal,
    TutorialPatience,
)
from lenet.train.functions import Functions, Score, compile_functions
from lenet.train.state import Round, State
from lenet.train.trainer import Callback, Trainer

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "Functions",
    "Round",
    "Save",
    "Score",
    "State",
    "StopOnNaN",
    "StopOnSignal",
    "Trainer",
    "TutorialPatience",
    "compile_functions",
]
