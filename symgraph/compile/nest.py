"""Kernels over memory: the form between fusion and printing.

An element is read as `Load(operand, (address,))`: the operand is a place in memory (a base and an
offset), the address is linear in the loop variables where it can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symgraph import expr as E
from symgraph.compile.fuse import Nest
from symgraph.expr import Expr, Index, Load
from symgraph.graph import Apply, Variable


@dataclass(frozen=True)
class Layout:
    """Where a variable lies: `root` owns the memory; offset and strides are in elements."""

    root: Variable
    offset: Expr
    strides: tuple[Expr, ...]


@dataclass(frozen=True)
class Operand:
    """An array that a kernel touches: element 0 is `offset` elements into the memory of `root`."""

    root: Variable
    offset: Expr
    dtype: str


@dataclass
class LoopNest:
    """A kernel over memory: `stores` are (operand, address, value), at the innermost loop.

    Two stores to one element differ in none of the loops `apart`: these may run in any order.
    """

    loops: Nest
    stores: list[tuple[Operand, Expr, Expr]]
    nodes: list[Apply]
    ordered: bool = False
    is_fallible: bool = False
    apart: frozenset[Index] = frozenset()


def fetch(operand: Operand, address: Expr) -> Load:
    """The element at `address` of an operand; float16 is loaded as float32."""
    dtype = "float32" if operand.dtype == "float16" else operand.dtype
    return E._intern(Load, operand, (address,), dtype, False)  # type: ignore[no-any-return]


def address_of(indices: Sequence[Expr], strides: Sequence[Expr]) -> Expr:
    """The sum of indices times strides."""
    total: Expr = E.ZERO
    for i, stride in zip(indices, strides, strict=True):
        total = E.add(total, E.mul(i, stride))
    return total
