"""Numbers in two parts, a + b with |b| at most half a unit in the last place of a.

Sources: T. J. Dekker, A floating-point technique for extending the available precision, Numerische
Mathematik 18 (1971); D. E. Knuth, The Art of Computer Programming 2, 4.2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symgraph.compile.mathlib import Operand, Value


def fast_two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """a + b and what rounding took away, for |a| >= |b| or a = 0."""
    total = a + b
    return total, b - (total - a)


def two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """a + b and what rounding took away."""
    total = a + b
    share = total - a
    return total, (a - (total - share)) + (b - share)


def two_product(a: Value, b: Operand) -> tuple[Value, Value]:
    """a * b and what rounding took away."""
    product = a * b
    return product, a.exact_fma(b, -product)
