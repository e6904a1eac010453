"""Polyphonic music: a recurrent network that sets the biases of a Boltzmann machine at each step.

    python -m symgraph run examples/tutorials/rnnrbm.py --epochs 20 --sample piece.png

At each step t the notes v_t are modelled by a restricted Boltzmann machine with biases
bv_t = bv + u_{t-1} Wuv and bh_t = bh + u_{t-1} Wuh, where u_t = tanh(bu + v_t Wvu + u_{t-1} Wuu).
Training is by contrastive divergence through time, for all steps at once; music is made by a `scan`
with a `scan` inside it, 25 Gibbs steps for each step of the piece.

Without `--data` the music comes from the rules in piano_rolls.py. Model: Deep Learning Tutorials,
"Modeling and generating sequences of polyphonic music with the RNN-RBM", after
Boulanger-Lewandowski, Bengio & Vincent, "Modeling temporal dependencies in high-dimensional
sequences" (ICML 2012). MIDI files are neither read nor written: give piano rolls as a pickle, and
look at the piece that was made as a picture, time downwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy
import piano_rolls
import pictures
import theano
import theano.tensor as T
from command import options, say
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams

# The tutorial sets this flag for the Theano of its day.
theano.config.warn.subtensor_merge_bug = False


def build_rbm(rng: Any, v: Any, W: Any, bv: Any, bh: Any, k: int) -> tuple[Any, Any, Any, Any]:
    """CD-k of a Boltzmann machine that starts at `v`, a vector or the rows of a matrix.

    Returns a sample of v, the cost to differentiate (the sample held constant), the log likelihood
    of v by the mean field of the sample, to watch, and the updates of the random streams.
    """

    def gibbs_step(v: Any) -> tuple[Any, Any]:
        mean_h = T.nnet.sigmoid(T.dot(v, W) + bh)
        h = rng.binomial(size=mean_h.shape, n=1, p=mean_h, dtype=theano.config.floatX)
        mean_v = T.nnet.sigmoid(T.dot(h, W.T) + bv)
        v = rng.binomial(size=mean_v.shape, n=1, p=mean_v, dtype=theano.config.floatX)
        return mean_v, v

    chain, updates = theano.scan(lambda v: gibbs_step(v)[1], outputs_info=[v], n_steps=k)
    v_sample = chain[-1]
    mean_v = gibbs_step(v_sample)[0]
    monitor = T.xlogx.xlogy0(v, mean_v) + T.xlogx.xlogy0(1 - v, 1 - mean_v)
    monitor = monitor.sum() / v.shape[0]

    def free_energy(v: Any) -> Any:
        return -(v * bv).sum() - T.log(1 + T.exp(T.dot(v, W) + bh)).sum()

    cost = (free_energy(v) - free_energy(v_sample)) / v.shape[0]
    return v_sample, cost, monitor, updates


def shared_zeros(*shape: int) -> Any:
    return theano.shared(numpy.zeros(shape, dtype=theano.config.floatX))


def build_rnnrbm(
    numbers: numpy.random.RandomState,
    n_visible: int,
    n_hidden: int,
    n_hidden_recurrent: int,
    n_steps: int,
) -> Any:
    """The model for training, (v, v_sample, cost, monitor, params, updates), and to generate.

    What generates is (v_t, updates): a piece (n_steps, n_visible) from nothing.
    """
    rng = RandomStreams(seed=numbers.randint(1 << 30))

    def shared_normal(num_rows: int, num_cols: int, scale: float) -> Any:
        values = numbers.normal(scale=scale, size=(num_rows, num_cols))
        return theano.shared(values.astype(theano.config.floatX))

    W = shared_normal(n_visible, n_hidden, 0.01)
    bv = shared_zeros(n_visible)
    bh = shared_zeros(n_hidden)
    Wuh = shared_normal(n_hidden_recurrent, n_hidden, 0.0001)
    Wuv = shared_normal(n_hidden_recurrent, n_visible, 0.0001)
    Wvu = shared_normal(n_visible, n_hidden_recurrent, 0.0001)
    Wuu = shared_normal(n_hidden_recurrent, n_hidden_recurrent, 0.0001)
    bu = shared_zeros(n_hidden_recurrent)
    params = W, bv, bh, Wuh, Wuv, Wvu, Wuu, bu

    v = T.matrix()
    u0 = T.zeros((n_hidden_recurrent,))

    def recurrence(v_t: Any, u_tm1: Any) -> Any:
        bv_t = bv + T.dot(u_tm1, Wuv)
        bh_t = bh + T.dot(u_tm1, Wuh)
        generate = v_t is None
        if generate:
            v_t, _, _, updates = build_rbm(rng, T.zeros((n_visible,)), W, bv_t, bh_t, k=25)
        u_t = T.tanh(bu + T.dot(v_t, Wvu) + T.dot(u_tm1, Wuu))
        return ([v_t, u_t], updates) if generate else [u_t, bv_t, bh_t]

    (_u_t, bv_t, bh_t), updates_train = theano.scan(
        lambda v_t, u_tm1, *_: recurrence(v_t, u_tm1),
        sequences=v,
        outputs_info=[u0, None, None],
        non_sequences=params,
    )
    v_sample, cost, monitor, updates_rbm = build_rbm(rng, v, W, bv_t[:], bh_t[:], k=15)
    updates_train.update(updates_rbm)

    (v_t, _u_t), updates_generate = theano.scan(
        lambda u_tm1, *_: recurrence(None, u_tm1),
        outputs_info=[None, u0],
        non_sequences=params,
        n_steps=n_steps,
    )
    return (v, v_sample, cost, monitor, params, updates_train), (v_t, updates_generate)


class RnnRbm:
    """Functions to train on pieces and to make one of `n_steps` steps."""

    def __init__(
        self,
        n_hidden: int = 150,
        n_hidden_recurrent: int = 100,
        lr: float = 0.001,
        n_steps: int = 200,
        seed: int = 0xDEA,
    ) -> None:
        self.numbers = numpy.random.RandomState(seed)
        training, (v_t, updates_generate) = build_rnnrbm(
            self.numbers, piano_rolls.PITCHES, n_hidden, n_hidden_recurrent, n_steps
        )
        v, v_sample, cost, monitor, params, updates_train = training
        gradient = T.grad(cost, params, consider_constant=[v_sample])
        updates_train.update(
            (p, p - lr * g) for p, g in zip(params, gradient, strict=True)
        )  # fmt: skip
        self.train_function = theano.function([v], monitor, updates=updates_train)
        self.generate_function = theano.function([], v_t, updates=updates_generate)

    def train(
        self, rolls: list[numpy.ndarray], batch_size: int = 100, num_epochs: int = 200
    ) -> list[float]:
        """A step for each stretch of `batch_size` steps of the rolls; the mean monitor by epoch."""
        monitors = []
        order = numpy.arange(len(rolls))
        begin = time.perf_counter()
        for epoch in range(1, num_epochs + 1):
            self.numbers.shuffle(order)
            costs = [
                self.train_function(rolls[s][i : i + batch_size])
                for s in order
                for i in range(0, len(rolls[s]), batch_size)
            ]
            monitors.append(float(numpy.mean(costs)))
            say(f"epoch {epoch}: log likelihood (CD-15 mean field) {monitors[-1]:.4f}")
        say(f"{time.perf_counter() - begin:.1f} s")
        return monitors

    def generate(self) -> numpy.ndarray:
        """A piece: a roll of `n_steps` steps."""
        return self.generate_function()


def main(arguments: Sequence[str] | None = None) -> tuple[list[float], numpy.ndarray]:
    chosen = options(
        __doc__,
        arguments,
        epochs=(200, "passes over the pieces"),
        batch_size=(100, "steps of a piece that a call trains on"),
        learning_rate=(0.001, "step along the gradient"),
        n_hidden=(150, "hidden units of the Boltzmann machine"),
        n_recurrent=(100, "units of the recurrent network"),
        pieces=(100, "pieces to compose for training, without --data"),
        steps=(200, "steps of the piece to make after training"),
        sample=("", "PNG file for that piece"),
        data=("", "piano rolls as a pickle, e.g. Nottingham.pickle; '' composes"),
    )
    rolls = piano_rolls.load(chosen.data) if chosen.data else piano_rolls.generate(chosen.pieces)
    model = RnnRbm(chosen.n_hidden, chosen.n_recurrent, chosen.learning_rate, chosen.steps)
    monitors = model.train(rolls, chosen.batch_size, chosen.epochs)
    piece = model.generate()
    say(f"made a piece of {len(piece)} steps with {piece.sum() / len(piece):.2f} notes at a time")
    if chosen.sample:
        pictures.save(chosen.sample, piece.reshape(1, -1), piece.shape)
    return monitors, piece


if __name__ == "__main__":
    main()
