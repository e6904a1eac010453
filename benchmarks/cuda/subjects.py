"""What is measured on a GPU, by whom, and the bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.subjects.lenet import step_flops

Row = dict[str, Any]
"""What one contender gave for a subject, as `benchmarks.cuda.child` says."""

BATCH = 500
EPOCHS, PEER, GRAPHS = 200, "torch", "torch.compile"
CONTENDERS = ("symgraph", PEER, GRAPHS, "JAX")


@dataclass(frozen=True)
class Bar:
    """`value` is at most (or `least`: at least) `limit`. Values: seconds; ratio, symgraph's seconds
    over those of `against`; peak, the share of the device's float32 peak; error; total seconds of
    EPOCHS calls."""

    value: str
    limit: float
    least: bool = False
    against: str = PEER


@dataclass(frozen=True)
class Subject:
    """A row. `kernel` is the method of the contenders' `Peer` that makes the step, `arguments` what
    it gets; `how`: "time", "check" (an error against NumPy or the CPU), "kernels" (each launch of
    a step apart), "first" (a new process, from the model to the first cost; "first again" with
    the caches that this left). `flops` and `bytes`: the least work of one call.
    """

    name: str
    kernel: str
    arguments: tuple[Any, ...] = ()
    how: str = "time"
    flops: float = 0
    bytes: float = 0
    bars: tuple[Bar, ...] = ()
    contenders: tuple[str, ...] = CONTENDERS[:1]


def _gemm(name: str, m: int, k: int, n: int, *bars: Bar) -> Subject:
    arguments = (m, k, n, False, False, "float32")
    flops, memory = 2.0 * m * k * n, 4.0 * (m * k + k * n + m * n)
    return Subject(name, "gemm", arguments, "time", flops, memory, bars, ("symgraph", "torch"))


def _conv(name: str, kernel: str, layer: tuple[int, ...], *bars: Bar) -> Subject:
    n, c, size, o, k, _, _ = layer
    out = size - k + 1
    flops = 2.0 * n * o * out * out * c * k * k
    memory = 4.0 * (n * c * size * size + o * c * k * k + n * o * out * out)
    return Subject(name, kernel, layer, "time", flops, memory, bars, ("symgraph", "torch"))


FIRST = (BATCH, 1, 28, 20, 5, 1, 0)
SECOND = (BATCH, 20, 12, 50, 5, 1, 0)
FAMILIES = (
    "elementwise", "reductions", "softmax", "gemm", "convolution", "strided convolution",
    "pooling", "indexing", "sorting", "random numbers", "scan",
)  # fmt: skip
_COPIED = 1 << 27

SUBJECTS = (
    *(Subject(f"check: {name}", "check", (name, 500), "check", bars=(Bar("error", 1e-4),))
      for name in FAMILIES),
    Subject("copy, 512 MB", "copy", (_COPIED,), bytes=8.0 * _COPIED,
            contenders=("symgraph", "torch")),
    _gemm("gemm 4096", 4096, 4096, 4096, Bar("ratio", 1 / 0.6)),
    _gemm("gemm 500x800 by 800x500", 500, 800, 500),
    _conv("conv2 forward", "conv_forward", SECOND, Bar("peak", 0.5, least=True)),
    _conv("conv2 by weights", "conv_grad_weights", SECOND),
    _conv("conv2 by images", "conv_grad_inputs", SECOND),
    _conv("conv1 forward", "conv_forward", FIRST),
    _conv("conv1 by weights", "conv_grad_weights", FIRST),
    Subject("LeNet step, batch 500", "lenet_step", (500,), flops=step_flops(500),
            contenders=CONTENDERS,
            bars=(Bar("seconds", 0.35e-3), Bar("ratio", 1.0), Bar("ratio", 1.5, against=GRAPHS))),
    Subject("LeNet step, batch 100", "lenet_step", (100,), flops=step_flops(100),
            contenders=CONTENDERS),
    Subject("LeNet step, kernel by kernel", "launches", (500,), "kernels"),
    Subject("five steps against float64 on the CPU", "five_steps", (BATCH, 5), "check",
            bars=(Bar("error", 1e-4),)),
    Subject("an epoch of the tutorial", "epoch", (50_000, 10_000, BATCH),
            bars=(Bar("total seconds", 10.0),)),
    Subject("first LeNet step, empty cache", "lenet_step", (500,), "first"),
    Subject("first LeNet step, full cache", "lenet_step", (500,), "first again"),
)  # fmt: skip
