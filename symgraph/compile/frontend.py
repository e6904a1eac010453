"""Numba's front end, less what kernels do without: Python function to LLVM module, not optimised.

Two thirds of a kernel's compile time were Numba's. A third of that went into making each function
that a kernel calls ready to run by itself (wrappers, optimisation, machine code), passes for
closures, array expressions and raises, and asking dozens of overloads of `+` about the same types.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="misc, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler, typed_passes, untyped_passes
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler_machinery import PassManager
from numba.core.registry import cpu_target


class Collector(CPUCodeLibrary):
    """A code library that keeps what is lowered instead of optimising it on its own."""

    def __init__(self, name: str) -> None:
        super().__init__(cpu_target.target_context.codegen(), name)
        self.lowered: list[ir.Module] = []
        self._parsed: llvm.ModuleRef | None = None

    @property
    def linked(self) -> list[CPUCodeLibrary]:
        """The libraries of what this one calls."""
        return self._linking_libraries

    def add_ir_module(self, ir_module: ir.Module) -> None:
        self.lowered.append(ir_module)

    def add_linking_library(self, library: CPUCodeLibrary) -> None:
        if not isinstance(library, Collector):
            library._ensure_finalized()
        self._linking_libraries.append(library)

    def module(self) -> llvm.ModuleRef:
        """What was lowered, parsed and verified: always the same module."""
        if self._parsed is None:
            (lowered,) = self.lowered
            self._parsed = llvm.parse_assembly(cgutils.normalize_ir_text(str(lowered)))
            self._parsed.verify()
        return self._parsed


class _Pipeline(compiler.CompilerBase):
    def define_pipelines(self):
        passes = PassManager("kernel")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            passes.add_pass(step, step.__name__)
        passes.finalize()
        return [passes]


class _Typing:
    """Numba's typing context, which remembers what functions of numbers give."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function, args, kws):
        plain = tuple(types.unliteral(argument) for argument in args)
        if kws or not all(isinstance(argument, types.Number) for argument in plain):
            return self._context.resolve_function_type(function, args, kws)
        found = self._known.get((function, plain))
        if found is None:
            found = self._context.resolve_function_type(function, args, kws)
            if isinstance(function, types.Function) and found and found.args == plain:
                self._known[function, plain] = found
        return found


@cache
def _typing() -> _Typing:
    return _Typing(cpu_target.typing_context)


def refresh() -> None:
    """Have Numba notice what was registered since it last did; the first time takes long."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def compile_to(
    library: Collector,
    function: Callable[..., Any],
    arguments: tuple[types.Type, ...],
    result: types.Type | None,
    flags: compiler.Flags,
) -> Any:
    """Type and lower `function` into `library`; Numba's CompileResult. Raises Numba's errors.

    `result` None: inferred.
    """
    return compiler.compile_extra(
        _typing(), cpu_target.target_context, function, arguments, result, flags, {},
        library=library, pipeline_class=_Pipeline,
    )  # fmt: skip
