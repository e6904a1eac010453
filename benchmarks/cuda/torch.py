"""PyTorch on the GPU, float32 without TF32: eager, and compiled with CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import data
from benchmarks.peers import torch as plain

Step = Callable[[], Any]


def _there(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


class Peer(plain.Peer):
    """See `benchmarks.cuda.subjects`; `variant` is "eager" or "compiled". Images are channels first
    for eager steps, as the same numbers lie for symgraph, and last for compiled ones."""

    def __init__(self, variant: str) -> None:
        super().__init__(variant, 1)
        if not torch.cuda.is_available():
            raise RuntimeError(f"this build of PyTorch ({torch.__version__}) sees no GPU")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True

    @staticmethod
    def versions() -> dict[str, str]:
        return {
            "torch": torch.__version__, "cuDNN": str(torch.backends.cudnn.version()),
            "torch's CUDA": str(torch.version.cuda),
        }  # fmt: skip

    @staticmethod
    def wait(result: Any) -> None:
        if result.numel() == 1:
            result.item()
        else:
            torch.cuda.synchronize()

    @staticmethod
    def events(step: Step, count: int) -> float:
        """Seconds between two events around `count` calls."""
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        for _ in range(count):
            step()
        after.record()
        after.synchronize()
        return float(before.elapsed_time(after)) / 1e3

    def copy(self, n: int) -> Step:
        x, y = _there(data.values((n,))), torch.zeros(n, device="cuda")
        return lambda: torch.neg(x, out=y)

    def gemm(self, m: int, k: int, n: int, ta: bool, tb: bool, dtype: str) -> Step:
        a = _there(data.values((k, m) if ta else (m, k), 0, dtype))
        b = _there(data.values((n, k) if tb else (k, n), 1, dtype))
        return self._inference(torch.mm, a.t() if ta else a, b.t() if tb else b)

    def conv_forward(self, n: int, c: int, size: int, o: int, k: int, s: int, p: int) -> Step:
        x, w, _ = map(_there, data.convolution(n, c, size, o, k, s, p))
        return self._inference(lambda x, w: F.conv2d(x, w, None, s, p), x, w)

    def _conv_backward(self, pick: int, *shape: int) -> Step:
        x, w, g = map(_there, data.convolution(*shape))
        s, p = shape[5:]
        mask = [pick == 0, pick == 1, False]
        backward = torch.ops.aten.convolution_backward
        return self._inference(
            lambda x, w, g: backward(
                g, x, w, None, [s, s], [p, p], [1, 1], False, [0, 0], 1, mask
            )[pick], x, w, g
        )  # fmt: skip

    def lenet_step(self, batch: int) -> Step:
        net = self._lenet().cuda()
        images, targets = data.digits(batch)
        x = _there(images.reshape(-1, 1, 28, 28)).contiguous(memory_format=self.layout)
        y = _there(targets).long()
        optimizer = torch.optim.SGD(net.parameters(), lr=data.RATE, fused=True)

        def eager(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(net(x), y)

        loss_of: Callable[..., torch.Tensor] = eager
        if self.compiled:
            loss_of = torch.compile(eager, mode="reduce-overhead", dynamic=False)
        batches = cycle(list(zip(x.split(batch), y.split(batch), strict=True)))

        def step() -> torch.Tensor:
            if self.compiled:
                torch.compiler.cudagraph_mark_step_begin()
            optimizer.zero_grad()
            loss = loss_of(*next(batches))
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step
