"""JAX on the GPU, jitted, float32 throughout. It has no events: calls are timed by the clock until
the last one's result is there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

# JAX reads this when it starts.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax

from benchmarks import data
from benchmarks.peers import jax as plain

Step = Callable[[], Any]


class Peer:
    """See `benchmarks.cuda.subjects`."""

    def __init__(self, variant: str) -> None:
        if jax.default_backend() != "gpu":
            raise RuntimeError(f"this installation of JAX ({jax.__version__}) sees no GPU")
        jax.config.update("jax_default_matmul_precision", "highest")  # no TF32

    @staticmethod
    def versions() -> dict[str, str]:
        return {"jax": jax.__version__}

    @staticmethod
    def wait(result: Any) -> None:
        float(result)

    @staticmethod
    def events(step: Step, count: int) -> float:
        """Seconds for `count` calls."""
        begin = time.perf_counter()
        for _ in range(count):
            result = step()
        jax.block_until_ready(result)
        return time.perf_counter() - begin

    def lenet_step(self, batch: int) -> Step:
        @partial(jax.jit, donate_argnums=0)
        def train(params: list[Any], x: Any, y: Any) -> Any:
            cost, grads = jax.value_and_grad(lambda p: plain._loss(plain._lenet(p, x), y))(params)
            return cost, [p - data.RATE * g for p, g in zip(params, grads, strict=True)]

        images = plain._last(data.digits(batch)[0].reshape(-1, 1, 28, 28))
        state, turn = [plain._lenet_parameters()], cycle(plain._batches(images, batch))

        def step() -> Any:
            cost, state[0] = train(state[0], *next(turn))
            return cost

        return step
