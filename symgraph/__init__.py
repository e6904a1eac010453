"""symgraph: symbolic computation graphs, differentiated, compiled to Numba kernels and drawn.

The names are Theano's: build expressions with `symgraph.tensor`, keep parameters in `shared`,
differentiate with `grad`, compile with `function`.
"""

from typing import Any

from symgraph._version import __version__
from symgraph.compile.function import Function, function
from symgraph.compile.inputs import In, Out
from symgraph.compile.mode import Mode
from symgraph.configuration import change_flags, config
from symgraph.errors import (
    AsTensorError,
    DisconnectedInputError,
    MissingInputError,
    NullTypeGradError,
    ShapeError,
    UnusedInputError,
)
from symgraph.graph import Apply, Constant, Variable, clone_replace
from symgraph.ops import methods as _methods  # noqa: F401 - attaches the operators
from symgraph.sharedvalue import SharedVariable, shared

from symgraph import gradient, ifelse, printing, tensor  # isort: skip
from symgraph import loops as scan_module  # isort: skip
from symgraph.cloning import clone  # isort: skip
from symgraph.gradient import Lop, Rop, grad, subgraph_grad  # isort: skip
from symgraph.loops import OrderedUpdates, foldl, foldr  # isort: skip
from symgraph.loops import map, reduce, scan, scan_checkpoints  # isort: skip
from symgraph.op_from_graph import OpFromGraph  # isort: skip
from symgraph.userop import Op, as_op  # isort: skip
from symgraph.ops.linalg import dot  # isort: skip
from symgraph.printing import debugprint as dprint, pp  # isort: skip


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for."""
    if name == "gpu_report":
        from symgraph.compile.cuda.report import gpu_report

        return gpu_report
    if name == "install_as_theano":
        from symgraph.theano_shim import install_as_theano

        return install_as_theano
    if name == "NoGPU":
        from symgraph.compile.cuda.api import NoGPU

        return NoGPU
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
    "Lop",
    "MissingInputError",
    "Mode",
    "NullTypeGradError",
    "Op",
    "OpFromGraph",
    "OrderedUpdates",
    "Out",
    "Rop",
    "ShapeError",
    "SharedVariable",
    "UnusedInputError",
    "Variable",
    "__version__",
    "as_op",
    "change_flags",
    "clone",
    "clone_replace",
    "config",
    "dot",
    "dprint",
    "foldl",
    "foldr",
    "function",
    "grad",
    "gradient",
    "ifelse",
    "map",
    "pp",
    "printing",
    "reduce",
    "scan",
    "scan_checkpoints",
    "scan_module",
    "shared",
    "subgraph_grad",
    "tensor",
]
