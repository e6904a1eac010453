"""Functions that kernels call: typed and lowered once in a process, optimised with each kernel."""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="misc, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import types
from numba.core.imputils import lower_builtin
from numba.core.targetconfig import ConfigStack
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from symgraph.compile.arithmetic import DEVICE
from symgraph.compile.frontend import Collector, compile_to

F = TypeVar("F", bound=Callable[..., Any])


def helper(function: F) -> F:
    """Let kernels and other helpers call `function`, by position; it gets their flags."""
    made: dict[Any, Any] = {}

    def compiled(arguments: tuple[types.Type, ...]) -> Any:
        flags = ConfigStack.top_or_none().copy()
        key = arguments, flags.get_mangle_string(), DEVICE.get()
        if key not in made:
            library = Collector(function.__name__)
            made[key] = result = compile_to(library, function, arguments, None, flags)
            # Two functions of one kernel may call it.
            (module,) = library.lowered
            module.get_global(result.fndesc.llvm_func_name).linkage = "linkonce_odr"
        return made[key]

    class _Call(AbstractTemplate):
        key = function

        def generic(self, args, kws):
            arguments = tuple(types.unliteral(argument) for argument in args)
            return signature(compiled(arguments).signature.return_type, *arguments)

    infer_global(function, types.Function(_Call))

    @lower_builtin(function, types.VarArg(types.Any))
    def _call(context, builder, sig, args):
        result = compiled(sig.args)
        context.active_code_library.add_linking_library(result.library)
        return context.call_internal(builder, result.fndesc, sig, args)

    return function
