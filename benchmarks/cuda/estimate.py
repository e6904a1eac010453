"""The kernels of a LeNet step without a GPU: what they need, and the time that implies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any

import numpy as np

import symgraph
from benchmarks.cuda.paper import Paper
from benchmarks.cuda.symgraph import Peer
from symgraph import expr as E
from symgraph.compile.cuda import codegen
from symgraph.compile.cuda.device import Device, use
from symgraph.compile.cuda.plan import DeviceStage, DeviceStep
from symgraph.graph import Constant, Variable
from tests import cuda_assembly

PEAK, MEMORY = 66.9e12, 4.3e12
"""An H200's float32 FLOP a second (132 multiprocessors, 128 lanes, 1.98 GHz), and the bytes a
second that copies there are known to reach (of 4.8e12 on its data sheet)."""
SHARE, START = 0.5, 1.2e-6
"""What is assumed: the share of the peak that kernels reach, seconds between kernels of a graph."""

_INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][\w.:]*)(?:\s[^\n]*)?;", re.MULTILINE)


def estimate(batch: int = 500, arch: str = "sm_90") -> dict[str, Any]:
    """The kernels of a LeNet step, see `kernels`, and what was assumed."""
    with on_paper(arch):
        train = Peer().lenet(batch)
    return {
        "batch": batch, "arch": arch, "peak": PEAK, "memory": MEMORY, "share": SHARE,
        "start": START, "kernels": kernels(train, arch),
    }  # fmt: skip


@contextmanager
def on_paper(arch: str = "sm_90") -> Iterator[None]:
    """Have functions that are compiled within run on a `Paper` device."""
    flags = symgraph.config.change_flags(device="cuda", floatX="float32", gpu__cublas=False)
    with use(Device(Paper(arch))), flags:
        yield


def kernels(function: Any, arch: str) -> list[dict[str, Any]]:
    """What a function's last call launched: `what`, `blocks`, `threads`, `registers`, bytes of
    `spills` and of `shared` memory (None where nothing assembles PTX), instructions `ffma`,
    `memory` and `other`, `flops`, `bytes`, and the `seconds` that are estimated."""
    compiled = function._compiled
    value: dict[Any, int] = {}
    for step in compiled.plan.steps:
        if isinstance(step, DeviceStage) and step.shapes_of.latest is not None:
            value |= step.shapes_of.latest[0]
    found = []
    for launch in compiled.program.launched():
        step = compiled.plan.steps[launch.step]
        work, moved = flops(step), sum(traffic(step, value))
        found.append({
            "what": what(step), "blocks": launch.blocks, "threads": launch.threads,
            **needs(launch.source, arch), "flops": work, "bytes": moved,
            "seconds": max(work / (SHARE * PEAK), moved / MEMORY) + START,
        })  # fmt: skip
    return found


@cache
def needs(source: str, arch: str) -> dict[str, Any]:
    """Registers, spills, shared memory and instructions of a kernel."""
    ptx = codegen.ptx(source, arch)
    found: dict[str, Any] = dict.fromkeys(("registers", "spills", "shared"))
    if cuda_assembly.assembler() is not None:
        assembled = cuda_assembly.assemble(ptx, arch)
        found = {key: getattr(assembled, key) for key in found}
    return {**found, **mix(ptx)}


def what(step: Any) -> str:
    """What a step computes, in a few words; of a library kernel the size of the result too."""
    names = dict.fromkeys(str(node.op).partition("{")[0] for node in step.nodes)
    if isinstance(step, DeviceStage):
        shapes = _shapes(step)
        kind = "" if _multiplies(step) or "tmp0" not in step.stage.operands else ", parts added"
        return f"{', '.join(names)} to {' x '.join(map(str, shapes['out0']))}{kind}"
    scalars = re.findall(r"Elemwise\{(\w+)", " ".join(str(node.op) for node in step.nodes))
    others = (name for name in names if name not in ("Elemwise", "InplaceDimShuffle"))
    words = dict.fromkeys([*others, *scalars])
    return ", ".join([*words][:5]) + (", ..." if len(words) > 5 else "")


def mix(ptx: str) -> dict[str, int]:
    """How many multiply-adds of floats, accesses to memory and other instructions PTX holds."""
    kinds: Counter[str] = Counter()
    for found in _INSTRUCTION.finditer(ptx.partition("{")[2]):
        name = found[1]
        is_memory = name.startswith(("ld.", "st.")) and not name.startswith("ld.param")
        kinds["ffma" if name.startswith("fma.") else "memory" if is_memory else "other"] += 1
    return {kind: kinds[kind] for kind in ("ffma", "memory", "other")}


def flops(step: Any) -> float:
    """Of a library kernel: two for each multiply-add, one for each sum; 0 for printed kernels."""
    if not isinstance(step, DeviceStage):
        return 0.0
    shapes = _shapes(step)
    if not _multiplies(step):
        return float(prod(shapes["tmp0"])) if "tmp0" in step.stage.operands else 0.0
    name = str(step.nodes[0].op).partition("{")[0]
    if name == "Conv2d":
        return 2.0 * prod(shapes["out0"]) * prod(shapes["in1"][1:])
    if name == "Conv2dGradInputs":
        return 2.0 * prod(shapes["in1"]) * prod(shapes["in0"][1:])
    if name == "Conv2dGradWeights":
        return 2.0 * prod(shapes["in1"]) * prod(shapes["out0"][1:])
    if name == "dot":
        return 2.0 * prod(shapes["out0"]) * shapes["in0"][-1]
    return 0.0


def traffic(step: Any, value: Mapping[Any, int]) -> Iterator[int]:
    """Bytes of each operand of a step, each element once."""
    if isinstance(step, DeviceStage):
        shapes = _shapes(step)
        for name, (root, _) in zip(step.stage.operands, step.operands, strict=True):
            assert isinstance(root, Variable)
            yield prod(shapes[name]) * np.dtype(root.type.dtype).itemsize
        return
    assert isinstance(step, DeviceStep) and step.loops is not None
    # Where a loop's end depends on another loop, as in sums that are cut to parts.
    items = value[step.cut.count] * max(
        (level.longest(value) for level in step.cut.levels[:1]), default=1
    )
    touched: dict[Any, int] = {}
    places = [(operand, address) for operand, address, _ in step.loops.stores]
    values = [value for _, _, value in step.loops.stores]
    places += [(e.head, e.args[0]) for e in E.walk(values) if isinstance(e, E.Load)]
    for operand, address in places:
        around = {i for i in E.walk([address]) if isinstance(i, E.Index)}
        sizes = [_number(i.extent, value) for i in around]
        count = items if None in sizes else prod(filter(None, sizes))
        touched[operand.root] = max(touched.get(operand.root, 0), count)
    for root, count in touched.items():
        size = count * np.dtype(root.type.dtype).itemsize
        container = getattr(root, "container", None)
        if container is not None:
            size = min(size, container.value.nbytes)
        elif isinstance(root, Constant):
            size = min(size, np.asarray(root.data).nbytes)
        yield size


def _number(size: Any, value: Mapping[Any, int]) -> int | None:
    """A size, if it is known."""
    return int(size.value) if isinstance(size, E.Const) else value.get(size)


def _shapes(step: Any) -> dict[str, tuple[int, ...]]:
    latest = step.shapes_of.latest
    assert latest is not None
    return dict(latest[1])


def _multiplies(step: Any) -> bool:
    return any(name.startswith("in") for name in step.stage.operands)
