"""Arrays in a device's memory."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from symgraph.compile.cuda.device import Device
from symgraph.errors import explain


class Doubt(Protocol):
    """Whether kernels have found fault with what they were given: not known yet."""

    def check(self) -> None:
        """Wait, and raise the error that one has noted."""


class DeviceArray(NDArrayOperatorsMixin):
    """A C-contiguous array on a GPU: what `.transfer('cuda')` gives, and shared variables hold.

    NumPy computes with it as with its copy on the host, which is made when it is asked for:
    `np.asarray(a)`, `float(a)`, `a + 1`. The device goes on meanwhile; only these wait for it.
    `shape`, `dtype`, `ndim`, `size` and `nbytes` cost nothing. Its memory is let go with it.
    """

    __slots__ = ("__weakref__", "address", "device", "doubts", "dtype", "nbytes", "shape")

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: Any) -> None:
        self.nbytes = 0  # until there is memory
        self.device, self.shape, self.dtype = device, tuple(shape), np.dtype(dtype)
        nbytes = prod(self.shape) * self.dtype.itemsize
        self.address = device.reserve(nbytes)
        self.nbytes = nbytes
        self.doubts: set[Doubt] = set()
        """What must hold before the content counts: they raise the errors that kernels noted."""

    def __del__(self) -> None:
        if self.nbytes:
            self.device.give(self.address, self.nbytes)

    @classmethod
    def of(cls, device: Device, array: np.ndarray) -> DeviceArray:
        """A copy of a host array on the device."""
        made = cls(device, array.shape, array.dtype)
        if made.nbytes:
            device.upload(made.address, np.ascontiguousarray(array))
        return made

    def like(self, array: np.ndarray) -> DeviceArray:
        """A host array where this one is, to take its place."""
        return DeviceArray.of(self.device, array)

    def fill(self, array: np.ndarray) -> None:
        """Copy a host array of this shape and dtype here."""
        with self.device.lock:  # a call reads all of it or nothing
            if self.nbytes:
                self.device.upload(self.address, np.ascontiguousarray(array))
            self.doubts.clear()

    def on_host(self) -> np.ndarray:
        """A copy in the host's memory; waits for the device. Raises what kernels found wrong."""
        array = np.empty(self.shape, self.dtype)
        if array.nbytes:
            self.device.download(array, self.address)
        if self.doubts:
            with self.device.lock:
                for doubt in list(self.doubts):
                    doubt.check()
                self.doubts.clear()
        return array

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def flat(self) -> Any:
        """As of the copy on the host."""
        return self.on_host().flat

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
        }

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on the device has no memory in common with NumPy")
        array = self.on_host()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(x, DeviceArray) for x in kwargs.get("out", ())):
            raise TypeError(
                explain(ufunc.__name__, "the result cannot be written to an array on the device",
                        got="a DeviceArray as `out`, as in `a += 1`",
                        cure="a = a + 1, which gives an array of the host")
            )  # fmt: skip
        plain = [x.on_host() if isinstance(x, DeviceArray) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        return self.on_host()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.on_host())

    def __float__(self) -> float:
        return float(self.on_host())

    def __int__(self) -> int:
        return int(self.on_host())

    def __index__(self) -> int:
        return operator.index(self.on_host()[()])

    def __bool__(self) -> bool:
        return bool(self.on_host())

    def item(self) -> Any:
        """The only element, as a Python number."""
        return self.on_host().item()

    def copy(self) -> DeviceArray:
        """A copy on the device."""
        twin = DeviceArray(self.device, self.shape, self.dtype)
        if self.nbytes:
            self.device.copy(twin.address, self.address, self.nbytes)
        twin.doubts = set(self.doubts)
        return twin

    def __copy__(self) -> DeviceArray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> DeviceArray:
        return self.copy()

    def __reduce__(self) -> Any:
        return np.array, (self.on_host(),)  # what is read back is on the host

    def __format__(self, spec: str) -> str:
        return format(self.on_host()[()], spec)

    def __repr__(self) -> str:
        return f"DeviceArray({self.on_host()!r})"
