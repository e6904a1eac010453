"""A restricted Boltzmann machine on MNIST, by persistent contrastive divergence.

    python -m symgraph run examples/tutorials/rbm.py --epochs 15 --samples dreams.png

Binary visible and hidden units with energy -v'Wh - b'v - c'h. The gradient of the log likelihood
needs samples of the model: chains of `--k` Gibbs steps, `scan` with random draws inside, which
persist from one minibatch to the next. The pseudo-likelihood, flipping one pixel at a time, tells
how training goes. After it, chains that start at test digits dream on.

Model: Deep Learning Tutorials, "Restricted Boltzmann Machines", after Hinton, "Training products of
experts by minimizing contrastive divergence" (2002) and Tieleman, "Training restricted Boltzmann
machines using approximations to the likelihood gradient" (ICML 2008).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import digits
import numpy
import pictures
import theano
import theano.tensor as T
from command import options, say
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams


class RBM:
    """`W` (n_visible, n_hidden), `hbias`, `vbias`; they may be shared with another layer.

    Samplers return the pre-activation as well as its sigmoid: log(sigmoid(x)) is then seen as one
    expression wherever it is used, within a scan or not, and stays finite.
    """

    def __init__(
        self,
        input: Any = None,
        n_visible: int = 784,
        n_hidden: int = 500,
        W: Any = None,
        hbias: Any = None,
        vbias: Any = None,
        numpy_rng: numpy.random.RandomState | None = None,
        theano_rng: Any = None,
    ) -> None:
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        if numpy_rng is None:
            numpy_rng = numpy.random.RandomState(1234)
        if theano_rng is None:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
        if W is None:
            bound = 4 * numpy.sqrt(6.0 / (n_hidden + n_visible))
            initial_W = numpy.asarray(
                numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden)),
                dtype=theano.config.floatX,
            )
            W = theano.shared(value=initial_W, name="W", borrow=True)
        if hbias is None:
            hbias = theano.shared(
                value=numpy.zeros(n_hidden, dtype=theano.config.floatX), name="hbias", borrow=True
            )
        if vbias is None:
            vbias = theano.shared(
                value=numpy.zeros(n_visible, dtype=theano.config.floatX), name="vbias", borrow=True
            )
        self.input = input
        if not input:
            self.input = T.matrix("input")
        self.W = W
        self.hbias = hbias
        self.vbias = vbias
        self.theano_rng = theano_rng
        self.params = [self.W, self.hbias, self.vbias]

    def free_energy(self, v_sample: Any) -> Any:
        """-log of the unnormalised probability of each row of `v_sample` (n, n_visible): (n,)."""
        wx_b = T.dot(v_sample, self.W) + self.hbias
        vbias_term = T.dot(v_sample, self.vbias)
        hidden_term = T.sum(T.log(1 + T.exp(wx_b)), axis=1)
        return -hidden_term - vbias_term

    def propup(self, vis: Any) -> list[Any]:
        pre_sigmoid_activation = T.dot(vis, self.W) + self.hbias
        return [pre_sigmoid_activation, T.nnet.sigmoid(pre_sigmoid_activation)]

    def sample_h_given_v(self, v0_sample: Any) -> list[Any]:
        pre_sigmoid_h1, h1_mean = self.propup(v0_sample)
        h1_sample = self.theano_rng.binomial(
            size=h1_mean.shape, n=1, p=h1_mean, dtype=theano.config.floatX
        )
        return [pre_sigmoid_h1, h1_mean, h1_sample]

    def propdown(self, hid: Any) -> list[Any]:
        pre_sigmoid_activation = T.dot(hid, self.W.T) + self.vbias
        return [pre_sigmoid_activation, T.nnet.sigmoid(pre_sigmoid_activation)]

    def sample_v_given_h(self, h0_sample: Any) -> list[Any]:
        pre_sigmoid_v1, v1_mean = self.propdown(h0_sample)
        v1_sample = self.theano_rng.binomial(
            size=v1_mean.shape, n=1, p=v1_mean, dtype=theano.config.floatX
        )
        return [pre_sigmoid_v1, v1_mean, v1_sample]

    def gibbs_hvh(self, h0_sample: Any) -> list[Any]:
        """A Gibbs step from the hidden units: three values of the visible, three of the hidden."""
        visible = self.sample_v_given_h(h0_sample)
        return visible + self.sample_h_given_v(visible[2])

    def gibbs_vhv(self, v0_sample: Any) -> list[Any]:
        """A Gibbs step from the visible units: three values of the hidden, three of the visible."""
        hidden = self.sample_h_given_v(v0_sample)
        return hidden + self.sample_v_given_h(hidden[2])

    def get_cost_updates(self, lr: Any = 0.1, persistent: Any = None, k: int = 1) -> Any:
        """A cost to watch, and updates for a step of CD-k, or of PCD-k from `persistent`.

        `persistent` is a shared matrix (chains, n_hidden) of floatX, the hidden units of chains
        that are never restarted; without it, chains start at the minibatch. The cost is the
        pseudo-likelihood with `persistent`, else the cross-entropy of reconstruction.
        """
        _, _, ph_sample = self.sample_h_given_v(self.input)
        chain_start = persistent if persistent else ph_sample
        (
            [pre_sigmoid_nvs, _nv_means, nv_samples, _pre_sigmoid_nhs, _nh_means, nh_samples],
            updates,
        ) = theano.scan(
            self.gibbs_hvh,
            outputs_info=[None, None, None, None, None, chain_start],
            n_steps=k,
            name="gibbs_hvh",
        )
        chain_end = nv_samples[-1]
        cost = T.mean(self.free_energy(self.input)) - T.mean(self.free_energy(chain_end))
        # The chain was drawn: nothing is to be learned through it.
        gparams = T.grad(cost, self.params, consider_constant=[chain_end])
        for gparam, param in zip(gparams, self.params, strict=True):
            updates[param] = param - gparam * T.cast(lr, dtype=theano.config.floatX)
        if persistent:
            updates[persistent] = nh_samples[-1]
            monitoring_cost = self.get_pseudo_likelihood_cost(updates)
        else:
            monitoring_cost = self.get_reconstruction_cost(updates, pre_sigmoid_nvs[-1])
        return monitoring_cost, updates

    def get_pseudo_likelihood_cost(self, updates: Any) -> Any:
        """An estimate of the log pseudo-likelihood by one pixel; each call takes the next."""
        bit_i_idx = theano.shared(value=0, name="bit_i_idx")
        xi = T.round(self.input)
        fe_xi = self.free_energy(xi)
        xi_flip = T.set_subtensor(xi[:, bit_i_idx], 1 - xi[:, bit_i_idx])
        fe_xi_flip = self.free_energy(xi_flip)
        cost = T.mean(self.n_visible * T.log(T.nnet.sigmoid(fe_xi_flip - fe_xi)))
        updates[bit_i_idx] = (bit_i_idx + 1) % self.n_visible
        return cost

    def get_reconstruction_cost(self, updates: Any, pre_sigmoid_nv: Any) -> Any:
        """The cross-entropy of the input and the chain's last visible probabilities."""
        return T.mean(
            T.sum(
                self.input * T.log(T.nnet.sigmoid(pre_sigmoid_nv))
                + (1 - self.input) * T.log(1 - T.nnet.sigmoid(pre_sigmoid_nv)),
                axis=1,
            )
        )


def train_rbm(
    learning_rate: float = 0.1,
    training_epochs: int = 15,
    batch_size: int = 20,
    n_hidden: int = 500,
    k: int = 15,
    source: str = "auto",
    filters: str = "",
) -> tuple[RBM, list[float]]:
    """Train by PCD-k; the machine, and the mean pseudo-likelihood of each epoch."""
    train_set = digits.load(source)[0]
    n_train_batches = train_set.batches(batch_size)

    index = T.lscalar()
    x = T.matrix("x")
    rng = numpy.random.RandomState(123)
    theano_rng = RandomStreams(rng.randint(2**30))
    persistent_chain = theano.shared(
        numpy.zeros((batch_size, n_hidden), dtype=theano.config.floatX), borrow=True
    )
    rbm = RBM(
        input=x, n_visible=28 * 28, n_hidden=n_hidden, numpy_rng=rng, theano_rng=theano_rng
    )  # fmt: skip
    cost, updates = rbm.get_cost_updates(lr=learning_rate, persistent=persistent_chain, k=k)
    train_rbm = theano.function(
        [index],
        cost,
        updates=updates,
        givens={x: train_set.x[index * batch_size : (index + 1) * batch_size]},
        name="train_rbm",
    )

    costs = []
    begin = time.perf_counter()
    for epoch in range(training_epochs):
        costs.append(float(numpy.mean([train_rbm(batch) for batch in range(n_train_batches)])))
        say(f"epoch {epoch + 1}: pseudo-likelihood {costs[-1]:.4f}")
    say(f"{time.perf_counter() - begin:.1f} s")
    if filters:
        pictures.save(filters, rbm.W.get_value(borrow=True).T)
    return rbm, costs


def sample(
    rbm: RBM, n_chains: int = 20, n_samples: int = 10, plot_every: int = 1000, source: str = "auto"
) -> numpy.ndarray:
    """What chains that start at test digits look like: probabilities (samples, chains, 784).

    There are `plot_every` Gibbs steps from one sample to the next.
    """
    test_set = digits.load(source)[2]
    number_of_test_samples = test_set.x.get_value(borrow=True).shape[0]
    rng = numpy.random.RandomState(123)
    test_idx = rng.randint(number_of_test_samples - n_chains)
    persistent_vis_chain = theano.shared(
        numpy.asarray(
            test_set.x.get_value(borrow=True)[test_idx : test_idx + n_chains],
            dtype=theano.config.floatX,
        )
    )
    (
        [_presig_hids, _hid_mfs, _hid_samples, _presig_vis, vis_mfs, vis_samples],
        updates,
    ) = theano.scan(
        rbm.gibbs_vhv,
        outputs_info=[None, None, None, None, None, persistent_vis_chain],
        n_steps=plot_every,
        name="gibbs_vhv",
    )
    updates.update({persistent_vis_chain: vis_samples[-1]})
    sample_fn = theano.function(
        [], [vis_mfs[-1], vis_samples[-1]], updates=updates, name="sample_fn"
    )  # fmt: skip
    return numpy.array([sample_fn()[0] for _ in range(n_samples)])


def main(arguments: Sequence[str] | None = None) -> tuple[list[float], numpy.ndarray]:
    chosen = options(
        __doc__,
        arguments,
        epochs=(15, "passes over the training set"),
        batch_size=(20, "digits in a minibatch, and chains"),
        learning_rate=(0.1, "step along the gradient"),
        n_hidden=(500, "hidden units"),
        k=(15, "Gibbs steps of a minibatch"),
        n_chains=(20, "chains to sample after training"),
        n_samples=(10, "samples of each"),
        plot_every=(1000, "Gibbs steps from one sample to the next"),
        filters=("", "PNG file for a picture of the weights"),
        samples=("", "PNG file for the samples"),
        data=digits.SOURCE,
    )
    rbm, costs = train_rbm(
        chosen.learning_rate, chosen.epochs, chosen.batch_size, chosen.n_hidden, chosen.k,
        chosen.data, chosen.filters,
    )  # fmt: skip
    dreams = sample(rbm, chosen.n_chains, chosen.n_samples, chosen.plot_every, chosen.data)
    if chosen.samples:
        pictures.save(
            chosen.samples, dreams.reshape(-1, dreams.shape[-1]), columns=chosen.n_chains
        )  # fmt: skip
    return costs, dreams


if __name__ == "__main__":
    main()
