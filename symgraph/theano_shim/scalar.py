"""What `theano.scalar` offers to users: dtypes by kind, and the dtype of mixed arithmetic."""

from __future__ import annotations

from symgraph.tensor.spellings import all_dtypes as all_types
from symgraph.tensor.spellings import complex_dtypes as complex_types
from symgraph.tensor.spellings import continuous_dtypes as continuous_types
from symgraph.tensor.spellings import discrete_dtypes as discrete_types
from symgraph.tensor.spellings import float_dtypes as float_types
from symgraph.tensor.spellings import int_dtypes as int_types
from symgraph.tensor.spellings import uint_dtypes as uint_types
from symgraph.types import upcast

__all__ = [
    "all_types", "complex_types", "continuous_types", "discrete_types", "float_types", "int_types",
    "uint_types", "upcast",
]  # fmt: skip
