"""Hybrid (Hamiltonian) Monte Carlo: samples of a Gaussian in five dimensions.

    python -m symgraph run examples/tutorials/hmc.py --samples 1000

Positions get random velocities and follow Hamilton's equations for some leapfrog steps, `scan` with
the gradient of the energy inside; the end is accepted or not by the Metropolis-Hastings rule. The
step size is tuned so that a share of 0.9 is accepted.

Method: Deep Learning Tutorials, "Hybrid Monte-Carlo Sampling", after Duane, Kennedy, Pendleton &
Roweth, "Hybrid Monte Carlo" (Phys. Lett. B 195, 1987) and Neal, "MCMC using Hamiltonian dynamics"
(2011). Documented there: acceptance within 0.1 of 0.9; empirical mean and covariance near the true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
import theano
import theano.tensor as T
from command import options, say
from theano.tensor.shared_randomstreams import RandomStreams

Energy = Callable[[Any], Any]  # of positions (chains, dim): (chains,)


def kinetic_energy(vel: Any) -> Any:
    """Of unit masses with velocities `vel` (chains, dim): (chains,)."""
    return 0.5 * (vel**2).sum(axis=1)


def hamiltonian(pos: Any, vel: Any, energy_fn: Energy) -> Any:
    return energy_fn(pos) + kinetic_energy(vel)


def metropolis_hastings_accept(energy_prev: Any, energy_next: Any, s_rng: Any) -> Any:
    """True, with probability min(1, exp(energy_prev - energy_next)), where a move is accepted."""
    ediff = energy_prev - energy_next
    return (T.exp(ediff) - s_rng.uniform(size=energy_prev.shape)) >= 0


def simulate_dynamics(
    initial_pos: Any, initial_vel: Any, stepsize: Any, n_steps: int, energy_fn: Energy
) -> tuple[Any, Any]:
    """Positions and velocities after `n_steps` leapfrog steps of `stepsize`."""

    def leapfrog(pos: Any, vel: Any, step: Any) -> Any:
        # From vel(t - step/2) to vel(t + step/2), then from pos(t) to pos(t + step).
        dE_dpos = T.grad(energy_fn(pos).sum(), pos)
        new_vel = vel - step * dE_dpos
        new_pos = pos + step * new_vel
        return [new_pos, new_vel], {}

    initial_energy = energy_fn(initial_pos)
    dE_dpos = T.grad(initial_energy.sum(), initial_pos)
    vel_half_step = initial_vel - 0.5 * stepsize * dE_dpos
    pos_full_step = initial_pos + stepsize * vel_half_step
    (all_pos, all_vel), scan_updates = theano.scan(
        leapfrog,
        outputs_info=[dict(initial=pos_full_step), dict(initial=vel_half_step)],
        non_sequences=[stepsize],
        n_steps=n_steps - 1,
    )
    assert not scan_updates  # nothing random within
    final_pos = all_pos[-1]
    final_vel = all_vel[-1]
    energy = energy_fn(final_pos)
    final_vel = final_vel - 0.5 * stepsize * T.grad(energy.sum(), final_pos)
    return final_pos, final_vel


def hmc_move(
    s_rng: Any, positions: Any, energy_fn: Energy, stepsize: Any, n_steps: int
) -> tuple[Any, Any]:
    """Which of the chains accept their move, and where each would be."""
    initial_vel = s_rng.normal(size=positions.shape)
    final_pos, final_vel = simulate_dynamics(
        initial_pos=positions,
        initial_vel=initial_vel,
        stepsize=stepsize,
        n_steps=n_steps,
        energy_fn=energy_fn,
    )
    accept = metropolis_hastings_accept(
        energy_prev=hamiltonian(positions, initial_vel, energy_fn),
        energy_next=hamiltonian(final_pos, final_vel, energy_fn),
        s_rng=s_rng,
    )
    return accept, final_pos


def hmc_updates(
    positions: Any,
    stepsize: Any,
    avg_acceptance_rate: Any,
    final_pos: Any,
    accept: Any,
    target_acceptance_rate: float,
    stepsize_inc: float,
    stepsize_dec: float,
    stepsize_min: float,
    stepsize_max: float,
    avg_acceptance_slowness: float,
) -> list[tuple[Any, Any]]:
    """New positions, a new step size and a new running average of the acceptance."""
    accept_matrix = accept.dimshuffle(*(0, *("x",) * (final_pos.ndim - 1)))
    new_positions = T.switch(accept_matrix, final_pos, positions)
    _new_stepsize = T.switch(
        avg_acceptance_rate > target_acceptance_rate,
        stepsize * stepsize_inc,
        stepsize * stepsize_dec,
    )
    new_stepsize = T.clip(_new_stepsize, stepsize_min, stepsize_max)
    mean_dtype = theano.scalar.upcast(accept.dtype, avg_acceptance_rate.dtype)
    new_acceptance_rate = T.add(
        avg_acceptance_slowness * avg_acceptance_rate,
        (1.0 - avg_acceptance_slowness) * accept.mean(dtype=mean_dtype),
    )
    return [
        (positions, new_positions),
        (stepsize, new_stepsize),
        (avg_acceptance_rate, new_acceptance_rate),
    ]


class HMC_sampler:
    """Chains whose `positions` move by one call of `simulate`."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)

    @classmethod
    def new_from_shared_positions(
        cls,
        shared_positions: Any,
        energy_fn: Energy,
        initial_stepsize: float = 0.01,
        target_acceptance_rate: float = 0.9,
        n_steps: int = 20,
        stepsize_dec: float = 0.98,
        stepsize_min: float = 0.001,
        stepsize_max: float = 0.25,
        stepsize_inc: float = 1.02,
        avg_acceptance_slowness: float = 0.9,
        seed: int = 12345,
    ) -> HMC_sampler:
        """A sampler of the density exp(-energy); `shared_positions` (chains, dim) is its state."""
        stepsize = theano.shared(
            numpy.asarray(initial_stepsize, dtype=theano.config.floatX), "hmc_stepsize"
        )
        avg_acceptance_rate = theano.shared(
            numpy.asarray(target_acceptance_rate, dtype=theano.config.floatX), "avg_acceptance_rate"
        )
        s_rng = RandomStreams(seed)
        accept, final_pos = hmc_move(s_rng, shared_positions, energy_fn, stepsize, n_steps)
        simulate_updates = hmc_updates(
            shared_positions,
            stepsize,
            avg_acceptance_rate,
            final_pos=final_pos,
            accept=accept,
            target_acceptance_rate=target_acceptance_rate,
            stepsize_inc=stepsize_inc,
            stepsize_dec=stepsize_dec,
            stepsize_min=stepsize_min,
            stepsize_max=stepsize_max,
            avg_acceptance_slowness=avg_acceptance_slowness,
        )
        simulate = theano.function([], [], updates=simulate_updates)
        return cls(
            positions=shared_positions,
            stepsize=stepsize,
            avg_acceptance_rate=avg_acceptance_rate,
            simulate=simulate,
        )

    def draw(self) -> numpy.ndarray:
        """Positions (chains, dim) after one more move."""
        self.simulate()
        return self.positions.get_value(borrow=False)


class Result(NamedTuple):
    """Mean (dim,) and covariance (dim, dim) of target and sample; the sampler's end."""

    mean: numpy.ndarray
    covariance: numpy.ndarray
    sample_mean: numpy.ndarray
    sample_covariance: numpy.ndarray
    stepsize: float
    acceptance_rate: float


def sampler_on_nd_gaussian(
    burnin: int = 1000, n_samples: int = 1000, dim: int = 5, chains: int = 3
) -> Result:
    """Sample a Gaussian with a random mean from 0 to 10 and random correlations."""
    rng = numpy.random.RandomState(123)
    mu = numpy.array(rng.rand(dim) * 10, dtype=theano.config.floatX)
    cov = numpy.array(rng.rand(dim, dim), dtype=theano.config.floatX)
    cov = (cov + cov.T) / 2.0
    cov[numpy.arange(dim), numpy.arange(dim)] = 1.0
    cov_inv = numpy.linalg.inv(cov)

    def gaussian_energy(x: Any) -> Any:
        return 0.5 * (theano.tensor.dot((x - mu), cov_inv) * (x - mu)).sum(axis=1)

    position = rng.randn(chains, dim).astype(theano.config.floatX)
    position = theano.shared(position)
    sampler = HMC_sampler.new_from_shared_positions(
        position, gaussian_energy, initial_stepsize=1e-3, stepsize_max=0.5
    )
    for _ in range(burnin):
        sampler.draw()
    samples = numpy.asarray([sampler.draw() for _ in range(n_samples)]).reshape(-1, dim)
    return Result(
        mu,
        cov,
        samples.mean(axis=0),
        numpy.cov(samples.T),
        float(sampler.stepsize.get_value()),
        float(sampler.avg_acceptance_rate.get_value()),
    )


def main(arguments: Sequence[str] | None = None) -> Result:
    chosen = options(
        __doc__,
        arguments,
        burnin=(1000, "moves before the first sample"),
        samples=(1000, "samples of each chain"),
        dim=(5, "dimensions of the Gaussian"),
        chains=(3, "chains that run side by side"),
    )
    result = sampler_on_nd_gaussian(chosen.burnin, chosen.samples, chosen.dim, chosen.chains)
    with numpy.printoptions(precision=3, suppress=True):
        say(f"mean, true      {result.mean}\nmean, sampled   {result.sample_mean}")
        say(f"covariance, true\n{result.covariance}\ncovariance, sampled")
        say(f"{result.sample_covariance}")
    say(f"step size {result.stepsize:.4f}, acceptance rate {result.acceptance_rate:.3f}")
    return result


if __name__ == "__main__":
    main()
