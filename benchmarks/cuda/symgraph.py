"""symgraph on the device: its steps, each kernel against NumPy, training against the CPU."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import symgraph
from benchmarks import data
from benchmarks.cuda import checks
from benchmarks.peers import symgraph as plain
from symgraph import tensor as T
from symgraph.compile.cuda.device import current

Step = Callable[[], Any]


class Peer(plain.Peer):
    """See `benchmarks.cuda.subjects`. Functions run on the device in use, results stay there."""

    def __init__(self, variant: str = "") -> None:
        super().__init__(variant, 1)
        symgraph.config.device = "cuda"

    @staticmethod
    def versions() -> dict[str, str]:
        names = ("numba", "llvmlite", "numpy")
        return {
            "symgraph": symgraph.__version__,
            **{name: importlib.metadata.version(name) for name in names},
        }

    def _result(self, value: Any) -> Any:
        return value.transfer("cuda")

    @staticmethod
    def wait(result: Any) -> None:
        if getattr(result, "size", 0) == 1:
            float(result)
        else:
            current().synchronize()

    @staticmethod
    def events(step: Step, count: int) -> float:
        """Seconds between two events around `count` calls."""
        with current().timing() as timing:
            for _ in range(count):
                step()
        return float(timing.milliseconds) / 1e3

    def copy(self, n: int) -> Step:
        x = symgraph.shared(data.values((n,)))
        y = symgraph.shared(np.zeros(n, "float32"))
        return symgraph.function([], [], updates=[(y, -x)])

    def lenet(self, batch: int) -> Any:
        """The function of `lenet_step`, called once."""
        model = self._lenet()
        cost = self._result(model.cost)
        train = plain.training(cost, [*model.params.values()], model.x, model.y, batch)
        train(0)
        return train

    def launches(self, batch: int) -> Iterator[tuple[dict[str, Any], Step]]:
        """What a LeNet step launches: each kernel, and what launches it again."""
        device = current()
        for launch in self.lenet(batch)._compiled.program.launched():
            what = {"what": launch.name, "blocks": launch.blocks, "threads": launch.threads}
            yield what, partial(device.launch, launch)

    @staticmethod
    def check(family: str, size: int) -> float:
        """The largest error of a family of kernels, see `checks`."""
        return checks.error(family, size)

    def five_steps(self, batch: int, steps: int) -> float:
        """The largest difference of a parameter from training in float64 on the CPU, over the
        largest change of that parameter, after so many steps."""
        here, before = self._trained(batch, steps)
        with symgraph.config.change_flags(device="cpu", floatX="float64"):
            there, _ = self._trained(batch, steps)
        return max(
            float(np.abs(a - b).max() / np.abs(b - start).max())
            for a, b, start in zip(here, there, before, strict=True)
        )

    def _trained(self, batch: int, steps: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        model = self._lenet()
        params = [*model.params.values()]
        floatX = symgraph.config.floatX
        before = [np.asarray(p.get_value(), "float64") for p in params]
        images, targets = data.digits(batch)
        index: Any = T.lscalar("index")
        rows = slice(index * batch, (index + 1) * batch)
        x = symgraph.shared(images.reshape(-1, 1, 28, 28).astype(floatX))
        rate = np.asarray(data.RATE, floatX)
        gradients = zip(params, T.grad(model.cost, params), strict=True)
        givens = {model.x: x[rows], model.y: symgraph.shared(targets)[rows]}
        train = symgraph.function(
            [index], [], updates=[(p, p - rate * g) for p, g in gradients], givens=givens
        )
        for k in range(steps):
            train(k % data.BATCHES)
        return [np.asarray(p.get_value(), "float64") for p in params], before

    def epoch(self, count: int, judged: int, batch: int) -> Step:
        """An epoch as `python -m lenet train` makes it, validation included, of random images."""
        from lenet import data as sets
        from lenet import models
        from lenet.data import Split
        from lenet.options import Options
        from lenet.train import compile_functions

        rng = np.random.RandomState(0)

        def split(n: int) -> Split:
            images = rng.randint(0, 256, (n, 1, 28, 28)).astype("uint8")
            return Split(images, rng.randint(0, 10, n).astype("int32"))

        digits = sets.load(source="sample")
        digits = replace(digits, train=split(count), valid=split(judged), test=split(1))
        options = Options.of(model="tutorial", batch_size=batch, patience="none")
        model = models.build(options, digits.image_shape, digits.classes)
        functions = compile_functions(model, digits, options)

        def step() -> Any:
            functions.begin_epoch(0)
            for k in range(functions.batches):
                cost = functions.train(k)
            functions.validate()
            return cost

        return step
