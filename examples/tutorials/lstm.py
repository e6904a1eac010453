"""Is a review good or bad: an LSTM over the words, the mean of its states, a softmax.

    python -m symgraph run examples/tutorials/lstm.py --epochs 20
    python -m symgraph run examples/tutorials/lstm.py --data imdb.pkl

Sequences of different lengths go through one `scan` side by side, with a mask that holds the state
of those that are over. Dropout is switched on and off by a shared variable. ADADELTA needs no
learning rate; `--optimizer sgd` and `rmsprop` are there to compare.

Without `--data` the reviews come from the rules in opinions.py. Model: Deep Learning Tutorials,
"LSTM Networks for Sentiment Analysis", after Hochreiter & Schmidhuber, "Long short-term memory"
(Neural Computation 9, 1997), without peepholes and with a forget gate (Gers et al., 2000); Zeiler,
"ADADELTA" (2012).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
import opinions
import theano
from command import options, say
from theano import config, tensor
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams

SEED = 123
Params = OrderedDict[str, Any]  # shared variables by name
Optimizer = tuple[Callable[..., Any], Callable[..., Any]]


def numpy_floatX(data: Any) -> numpy.ndarray:
    return numpy.asarray(data, dtype=config.floatX)


def minibatches(n: int, size: int, rng: numpy.random.RandomState | None = None) -> list[Any]:
    """The numbers below `n` in lists of `size`, the last perhaps shorter; shuffled by `rng`."""
    order = numpy.arange(n) if rng is None else rng.permutation(n)
    return [order[begin : begin + size] for begin in range(0, n, size)]


def prepare_data(seqs: Sequence[Sequence[int]]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Sequences as the columns of an int64 matrix, padded with 0, and a floatX mask of ones."""
    lengths = [len(s) for s in seqs]
    x = numpy.zeros((max(lengths), len(seqs)), "int64")
    x_mask = numpy.zeros(x.shape, config.floatX)
    for place, s in enumerate(seqs):
        x[: lengths[place], place] = s
        x_mask[: lengths[place], place] = 1.0
    return x, x_mask


def init_params(n_words: int, dim_proj: int, ydim: int) -> Params:
    """Gates lie side by side: input, forget, output, new state."""
    rng = numpy.random.RandomState(SEED)

    def orthogonal() -> numpy.ndarray:
        return numpy.linalg.svd(rng.randn(dim_proj, dim_proj))[0]

    values = OrderedDict()
    values["Wemb"] = 0.01 * rng.rand(n_words, dim_proj)
    values["lstm_W"] = numpy.concatenate([orthogonal() for _ in range(4)], axis=1)
    values["lstm_U"] = numpy.concatenate([orthogonal() for _ in range(4)], axis=1)
    values["lstm_b"] = numpy.zeros(4 * dim_proj)
    values["U"] = 0.01 * rng.randn(dim_proj, ydim)
    values["b"] = numpy.zeros(ydim)
    return OrderedDict(
        (name, theano.shared(numpy_floatX(value), name=name)) for name, value in values.items()
    )


def lstm_layer(tparams: Params, state_below: Any, mask: Any, dim_proj: int) -> Any:
    """States (steps, samples, dim_proj) of `state_below` of that shape; `mask` (steps, samples)."""
    nsteps, n_samples = state_below.shape[0], state_below.shape[1]

    def _slice(_x: Any, n: int) -> Any:
        return _x[:, n * dim_proj : (n + 1) * dim_proj]

    def _step(m_: Any, x_: Any, h_: Any, c_: Any) -> tuple[Any, Any]:
        preact = tensor.dot(h_, tparams["lstm_U"])
        preact += x_
        i = tensor.nnet.sigmoid(_slice(preact, 0))
        f = tensor.nnet.sigmoid(_slice(preact, 1))
        o = tensor.nnet.sigmoid(_slice(preact, 2))
        c = tensor.tanh(_slice(preact, 3))
        c = f * c_ + i * c
        c = m_[:, None] * c + (1.0 - m_)[:, None] * c_
        h = o * tensor.tanh(c)
        h = m_[:, None] * h + (1.0 - m_)[:, None] * h_
        return h, c

    state_below = tensor.dot(state_below, tparams["lstm_W"]) + tparams["lstm_b"]
    rval, _updates = theano.scan(
        _step,
        sequences=[mask, state_below],
        outputs_info=[
            tensor.alloc(numpy_floatX(0.0), n_samples, dim_proj),
            tensor.alloc(numpy_floatX(0.0), n_samples, dim_proj),
        ],
        name="lstm__layers",
        n_steps=nsteps,
    )
    return rval[0]


def dropout_layer(state_before: Any, use_noise: Any, trng: Any) -> Any:
    """Half of `state_before` set to zero while `use_noise` is not 0, else all of it, halved."""
    noise = trng.binomial(state_before.shape, p=0.5, n=1, dtype=state_before.dtype)
    return tensor.switch(use_noise, state_before * noise, state_before * 0.5)


class Model(NamedTuple):
    use_noise: Any
    x: Any
    mask: Any
    y: Any
    f_pred: Callable[..., Any]
    cost: Any


def build_model(tparams: Params, dim_proj: int, use_dropout: bool) -> Model:
    trng = RandomStreams(SEED)
    use_noise = theano.shared(numpy_floatX(0.0))
    x = tensor.matrix("x", dtype="int64")
    mask = tensor.matrix("mask", dtype=config.floatX)
    y = tensor.vector("y", dtype="int64")
    n_timesteps = x.shape[0]
    n_samples = x.shape[1]

    emb = tparams["Wemb"][x.flatten()].reshape([n_timesteps, n_samples, dim_proj])
    proj = lstm_layer(tparams, emb, mask, dim_proj)
    proj = (proj * mask[:, :, None]).sum(axis=0)
    proj = proj / mask.sum(axis=0)[:, None]
    if use_dropout:
        proj = dropout_layer(proj, use_noise, trng)
    pred = tensor.nnet.softmax(tensor.dot(proj, tparams["U"]) + tparams["b"])
    f_pred = theano.function([x, mask], pred.argmax(axis=1), name="f_pred")
    off = 1e-6 if pred.dtype == "float16" else 1e-8
    cost = -tensor.log(pred[tensor.arange(n_samples), y] + off).mean()
    return Model(use_noise, x, mask, y, f_pred, cost)


def _state(tparams: Params, name: str) -> list[Any]:
    """For each parameter a shared variable of zeros of its shape."""
    return [
        theano.shared(p.get_value() * numpy_floatX(0.0), name=f"{k}_{name}")
        for k, p in tparams.items()
    ]


def sgd(lr: Any, tparams: Params, grads: list[Any], inputs: list[Any], cost: Any) -> Optimizer:
    """Gradient descent: a function that returns the cost and keeps gradients, one that steps."""
    gshared = _state(tparams, "grad")
    gsup = list(zip(gshared, grads, strict=True))
    f_grad_shared = theano.function(inputs, cost, updates=gsup, name="sgd_f_grad_shared")
    pup = [(p, p - lr * g) for p, g in zip(tparams.values(), gshared, strict=True)]
    f_update = theano.function([lr], [], updates=pup, name="sgd_f_update")
    return f_grad_shared, f_update


def adadelta(lr: Any, tparams: Params, grads: list[Any], inputs: list[Any], cost: Any) -> Optimizer:
    """ADADELTA with rho 0.95 and epsilon 1e-6; `lr` is not used."""
    zipped_grads = _state(tparams, "grad")
    running_up2 = _state(tparams, "rup2")
    running_grads2 = _state(tparams, "rgrad2")
    zgup = list(zip(zipped_grads, grads, strict=True))
    rg2up = [
        (rg2, 0.95 * rg2 + 0.05 * (g**2)) for rg2, g in zip(running_grads2, grads, strict=True)
    ]
    f_grad_shared = theano.function(
        inputs, cost, updates=zgup + rg2up, name="adadelta_f_grad_shared"
    )
    updir = [
        -tensor.sqrt(ru2 + 1e-6) / tensor.sqrt(rg2 + 1e-6) * zg
        for zg, ru2, rg2 in zip(zipped_grads, running_up2, running_grads2, strict=True)
    ]
    ru2up = [(ru2, 0.95 * ru2 + 0.05 * (ud**2)) for ru2, ud in zip(running_up2, updir, strict=True)]
    param_up = [(p, p + ud) for p, ud in zip(tparams.values(), updir, strict=True)]
    f_update = theano.function(
        [lr], [], updates=ru2up + param_up, on_unused_input="ignore", name="adadelta_f_update"
    )
    return f_grad_shared, f_update


def rmsprop(lr: Any, tparams: Params, grads: list[Any], inputs: list[Any], cost: Any) -> Optimizer:
    """RMSprop, centred, with momentum 0.9 (Graves, 2013) and step 1e-4; `lr` is not used."""
    zipped_grads = _state(tparams, "grad")
    running_grads = _state(tparams, "rgrad")
    running_grads2 = _state(tparams, "rgrad2")
    zgup = list(zip(zipped_grads, grads, strict=True))
    rgup = [(rg, 0.95 * rg + 0.05 * g) for rg, g in zip(running_grads, grads, strict=True)]
    rg2up = [
        (rg2, 0.95 * rg2 + 0.05 * (g**2)) for rg2, g in zip(running_grads2, grads, strict=True)
    ]
    f_grad_shared = theano.function(
        inputs, cost, updates=zgup + rgup + rg2up, name="rmsprop_f_grad_shared"
    )
    updir = _state(tparams, "updir")
    updir_new = [
        (ud, 0.9 * ud - 1e-4 * zg / tensor.sqrt(rg2 - rg**2 + 1e-4))
        for ud, zg, rg, rg2 in zip(updir, zipped_grads, running_grads, running_grads2, strict=True)
    ]
    param_up = [(p, p + udn[1]) for p, udn in zip(tparams.values(), updir_new, strict=True)]
    f_update = theano.function(
        [lr], [], updates=updir_new + param_up, on_unused_input="ignore", name="rmsprop_f_update"
    )
    return f_grad_shared, f_update


OPTIMIZERS = {"sgd": sgd, "adadelta": adadelta, "rmsprop": rmsprop}


class Result(NamedTuple):
    """`costs`: the means between validations; errors are shares from 0 to 1."""

    costs: list[float]
    validation_error: float
    test_error: float


def train_lstm(
    data: tuple[opinions.Set, opinions.Set, opinions.Set],
    n_words: int,
    dim_proj: int = 128,
    max_epochs: int = 100,
    patience: int = 10,
    decay_c: float = 0.0,
    lrate: float = 0.0001,
    optimizer: str = "adadelta",
    batch_size: int = 16,
    valid_batch_size: int = 64,
    valid_freq: int = 370,
    use_dropout: bool = True,
    saveto: str = "",
) -> Result:
    """Train until the validation error was no better in `patience` looks at it in a row.

    It is looked at every `valid_freq` updates. The best parameters are written to `saveto` (.npz),
    unless empty. Raises FloatingPointError if a cost is not a finite number.
    """
    train, valid, test = data
    tparams = init_params(n_words, dim_proj, ydim=max(train.y) + 1)
    model = build_model(tparams, dim_proj, use_dropout)
    cost = model.cost
    if decay_c > 0.0:
        weight_decay = (tparams["U"] ** 2).sum()
        weight_decay *= theano.shared(numpy_floatX(decay_c), name="decay_c")
        cost += weight_decay
    grads = tensor.grad(cost, wrt=list(tparams.values()))
    lr = tensor.scalar(name="lr")
    f_grad_shared, f_update = OPTIMIZERS[optimizer](
        lr, tparams, grads, [model.x, model.mask, model.y], cost
    )

    def error(part: opinions.Set) -> float:
        wrong = 0
        for chosen in minibatches(len(part.x), valid_batch_size):
            found = model.f_pred(*prepare_data([part.x[i] for i in chosen]))
            wrong += int((found != numpy.array([part.y[i] for i in chosen])).sum())
        return wrong / len(part.x)

    rng = numpy.random.RandomState(SEED)
    best, best_update, update = (numpy.inf, numpy.inf), 0, 0
    costs: list[float] = []
    batch_costs: list[float] = []
    begin = time.perf_counter()
    for epoch in range(1, max_epochs + 1):
        for chosen in minibatches(len(train.x), batch_size, rng):
            x, mask = prepare_data([train.x[i] for i in chosen])
            y = numpy.array([train.y[i] for i in chosen], "int64")
            model.use_noise.set_value(numpy_floatX(1.0))
            batch_costs.append(float(f_grad_shared(x, mask, y)))
            if not numpy.isfinite(batch_costs[-1]):
                raise FloatingPointError(
                    f"epoch {epoch}: the cost is {batch_costs[-1]}; learn more slowly"
                )
            f_update(lrate)
            update += 1
            if update % valid_freq:
                continue
            model.use_noise.set_value(numpy_floatX(0.0))
            costs.append(float(numpy.mean(batch_costs)))
            batch_costs = []
            valid_error = error(valid)
            line = f"epoch {epoch}, update {update}: cost {costs[-1]:.4f}, "
            line += f"validation error {100 * valid_error:.2f} %"
            if valid_error < best[0]:
                best, best_update = (valid_error, error(test)), update
                line += f", test error {100 * best[1]:.2f} %"
                if saveto:
                    numpy.savez(saveto, **{name: p.get_value() for name, p in tparams.items()})
            say(line)
        if update - best_update >= patience * valid_freq:
            break
    say(
        f"best validation error {100 * best[0]:.2f} % at update {best_update}, with test error "
        f"{100 * best[1]:.2f} %; {time.perf_counter() - begin:.1f} s"
    )
    return Result(costs, *best)


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        epochs=(100, "passes over the training set, at most"),
        patience=(10, "validations in a row without a better error that end it"),
        valid_freq=(370, "updates from one validation to the next"),
        dim_proj=(128, "numbers of an embedding, and of the LSTM's state"),
        batch_size=(16, "sequences in a minibatch"),
        optimizer=("adadelta", " ".join(OPTIMIZERS)),
        learning_rate=(0.0001, "for sgd"),
        decay=(0.0, "weight of the squared L2 penalty of the last layer"),
        no_dropout=(False, "train without dropout"),
        reviews=(2000, "reviews to generate for training, without --data"),
        n_words=(10000, "words that are told apart, with --data"),
        maxlen=(100, "training reviews of this length or more are left out, with --data"),
        save=("", "NPZ file for the best parameters"),
        data=("", "imdb.pkl of the tutorial; '' generates reviews"),
    )
    if chosen.optimizer not in OPTIMIZERS:
        known = " ".join(OPTIMIZERS)
        raise SystemExit(f"lstm: --optimizer: got {chosen.optimizer}; expected one of {known}")
    if chosen.data:
        data, n_words = opinions.load(chosen.data, chosen.n_words, chosen.maxlen), chosen.n_words
    else:
        data, n_words = opinions.generate(chosen.reviews), len(opinions.WORDS)
    return train_lstm(
        data, n_words, chosen.dim_proj, chosen.epochs, chosen.patience, chosen.decay,
        chosen.learning_rate, chosen.optimizer, chosen.batch_size, valid_freq=chosen.valid_freq,
        use_dropout=not chosen.no_dropout, saveto=chosen.save,
    )  # fmt: skip


if __name__ == "__main__":
    main()
