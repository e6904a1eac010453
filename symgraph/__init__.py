"""symgraph: symbolic computation graphs, differentiated, compiled to Numba kernels and drawn.

The names are Theano's: build expressions with `symgraph.tensor`, keep parameters in `shared`,
differentiate with `grad`, compile with `function`.
"""

from typing import Any

from symgraph._version import __version__
from symgraph.compile.function import Function, function
from symgraph.compile.inputs import In, Out
from symgraph.configuration import change_flags, config
from symgraph.errors import (
    AsTensorError,
    DisconnectedInputError,
    MissingInputError,
    NullTypeGradError,
    ShapeError,
    UnusedInputError,
)
from symgraph.graph import Apply, Constant, Op, Variable, clone_replace
from symgraph.ops import methods as _methods  # noqa: F401 - attaches the operators
from symgraph.sharedvalue import SharedVariable, shared

from symgraph import gradient, printing, tensor  # isort: skip
from symgraph.gradient import grad  # isort: skip
from symgraph.ops.linalg import dot  # isort: skip
from symgraph.printing import debugprint as dprint, pp  # isort: skip


def __getattr__(name: str) -> Any:
    """`symgraph.draw` is imported when it is first asked for."""
    if name == "draw":
        import importlib

        return importlib.import_module("symgraph.draw")
    raise AttributeError(f"module 'symgraph' has no attribute {name!r}")


__all__ = [
    "Apply",
    "AsTensorError",
    "Constant",
    "DisconnectedInputError",
    "Function",
    "In",
    "MissingInputError",
    "NullTypeGradError",
    "Op",
    "Out",
    "ShapeError",
    "SharedVariable",
    "UnusedInputError",
    "Variable",
    "__version__",
    "change_flags",
    "clone_replace",
    "config",
    "dot",
    "dprint",
    "function",
    "grad",
    "gradient",
    "pp",
    "printing",
    "shared",
    "tensor",
]
