"""Functions that kernels call: typed and lowered once in a process, optimised with the kernel.

Numba's own way (`register_jitable`) makes each of them ready to run by itself: wrappers, two rounds
of optimisation and machine code that nobody calls. That took a third of a gemm's compile time.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="misc, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler
from numba.core.codegen import CPUCodeLibrary
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.core.targetconfig import ConfigStack
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

F = TypeVar("F", bound=Callable[..., Any])


class Collector(CPUCodeLibrary):
    """A code library that keeps what is lowered instead of optimising it on its own."""

    def __init__(self, name: str) -> None:
        super().__init__(cpu_target.target_context.codegen(), name)
        self.modules: list[ir.Module] = []
        self._parsed: llvm.ModuleRef | None = None

    @property
    def linked(self) -> list[CPUCodeLibrary]:
        """The libraries of what this one calls."""
        return self._linking_libraries

    def add_ir_module(self, ir_module: ir.Module) -> None:
        self.modules.append(ir_module)

    def add_linking_library(self, library: CPUCodeLibrary) -> None:
        if not isinstance(library, Collector):
            library._ensure_finalized()
        self._linking_libraries.append(library)

    def module(self) -> llvm.ModuleRef:
        """The lowered module, to link into others."""
        if self._parsed is None:
            (module,) = self.modules
            self._parsed = parse(str(module))
        return self._parsed


def parse(text: str) -> llvm.ModuleRef:
    """The module that `text` describes, verified."""
    module = llvm.parse_assembly(cgutils.normalize_ir_text(text))
    module.verify()
    return module


def helper(function: F) -> F:
    """Let kernels and other helpers call `function`, by position, with the kernel's own flags."""
    made: dict[Any, Any] = {}

    def compiled(context: Any, arguments: tuple[types.Type, ...]) -> Any:
        flags = ConfigStack.top_or_none().copy()
        key = arguments, flags.get_mangle_string()
        if key not in made:
            made[key] = compiler.compile_extra(
                context, cpu_target.target_context, function, arguments, None, flags, {},
                library=Collector(function.__name__),
            )  # fmt: skip
        return made[key]

    @infer_global(function)
    class _Call(AbstractTemplate):
        def generic(self, args, kws):
            arguments = tuple(types.unliteral(argument) for argument in args)
            return signature(compiled(self.context, arguments).signature.return_type, *arguments)

    @lower_builtin(function, types.VarArg(types.Any))
    def _call(context, builder, sig, args):
        result = compiled(context.typing_context, sig.args)
        context.active_code_library.add_linking_library(result.library)
        return context.call_internal(builder, result.fndesc, sig, args)

    return function
