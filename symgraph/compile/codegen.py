"""Kernel source to object code: Numba's front end, our own loop facts, LLVM's optimiser.

Imported only when something must be compiled: a process that finds every kernel in the cache never
imports Numba. The object holds one C function

    void symbol(i8** arrays, i64* sizes, i64 start, i64 stop, i64 worker)

that needs no Python: a kernel never allocates and never raises (docs/decisions/001).
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="assignment, misc, union-attr, no-any-return"
# (what Numba and llvmlite do not type)

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.codegen import CPUCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from symgraph.compile import loopfacts, native
from symgraph.compile.frontend import Collector, compile_to, refresh

KERNEL_ARGUMENTS = (
    types.CPointer(types.voidptr),
    native.PointerType(types.int64, "sizes"),
    types.int64,
    types.int64,
    types.int64,
)


def lower(
    function: Any, arguments: tuple[types.Type, ...], options: Mapping[str, Any], symbol: str
) -> llvm.ModuleRef:
    """Type and lower `function(*arguments) -> None` and wrap it as the C function `symbol`.

    Returns the module, with every library it calls linked in, not optimised yet. Raises Numba's
    typing and lowering errors.
    """
    flags = compiler.Flags()
    cpu_target.options.parse_as_flags(flags, {"nopython": True, **options})
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.nrt = False
    collector = Collector(symbol)
    with global_compiler_lock:
        refresh()
        result = compile_to(collector, function, arguments, types.none, flags)
        (module,) = collector.lowered
        _export(module, result.fndesc, arguments, symbol)
        for defined in module.functions:
            _mark_loops(defined)
        linked = collector.module()
        _link(linked, collector.linked)
    return linked


def _export(
    module: ir.Module, descriptor: Any, arguments: tuple[types.Type, ...], symbol: str
) -> None:
    """Add the C function around Numba's, whose status nobody reads: a kernel cannot raise."""
    context = cpu_target.target_context
    inner = module.get_global(descriptor.llvm_func_name)
    inner.linkage = "internal"
    inner.attributes.discard("noinline")
    inner.attributes.add("alwaysinline")
    kinds = [context.get_value_type(argument) for argument in arguments]
    outer = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), symbol)
    outer.attributes.add("nounwind")
    builder = ir.IRBuilder(outer.append_basic_block("entry"))
    context.call_conv.call_function(builder, inner, types.none, arguments, outer.args)
    builder.ret_void()


def _mark_loops(function: ir.Function) -> None:
    """Promise LLVM that no loop carries a dependence through `pointer_in` and `pointer_out`.

    Every edge back to a block that is still being visited closes a loop; its branch names the
    access group that those loads and stores are in (LLVM reference, `llvm.access.group`).
    """
    if not function.blocks:
        return
    successors = {block: _targets(block.terminator) for block in function.blocks}
    state = {function.blocks[0]: "open"}
    path = [(function.blocks[0], iter(successors[function.blocks[0]]))]
    while path:
        block, remaining = path[-1]
        for target in remaining:
            if state.get(target) == "open":
                loopfacts.mark_parallel(function.module, block.terminator)
            elif target not in state:
                state[target] = "open"
                path.append((target, iter(successors[target])))
                break
        else:
            state[block] = "closed"
            path.pop()


def _targets(terminator: ir.Instruction | None) -> list[ir.Block]:
    return [operand for operand in terminator.operands if isinstance(operand, ir.Block)]


def _link(module: llvm.ModuleRef, libraries: Iterable[CPUCodeLibrary]) -> None:
    """Link in what the kernel calls, and only that."""
    pending = list(libraries)
    while missing := undefined(module):
        for library in pending:
            source = _module(library)
            if any(f.name in missing and not f.is_declaration for f in source.functions):
                module.link_in(source, preserve=True)
                pending.remove(library)
                pending.extend(library._linking_libraries)
                break
        else:
            return


def _module(library: CPUCodeLibrary) -> llvm.ModuleRef:
    return library.module() if isinstance(library, Collector) else library._get_module_for_linking()


def undefined(module: llvm.ModuleRef) -> set[str]:
    return {
        function.name
        for function in module.functions
        if function.is_declaration and not function.name.startswith("llvm.")
    }


def reject_run_time(module: llvm.ModuleRef, name: str) -> None:
    """RuntimeError where the kernel allocates, prints or otherwise needs Python or Numba to run."""
    needed = sorted(
        symbol for symbol in undefined(module) if symbol.startswith(("NRT_", "numba_", "Py"))
    )
    if needed:
        raise RuntimeError(
            f"the kernel {name!r} needs {needed}: a kernel must not allocate, print or use objects"
        )


def emit(module: llvm.ModuleRef, machine: llvm.TargetMachine, symbol: str) -> bytes:
    """Optimise `module` for `machine`, keeping only `symbol` and what it needs; its object code.

    Before the code stand the names of the symbols it calls: their length in 4 bytes (little
    endian), then the names, separated by spaces.
    """
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = True
    tuning.slp_vectorization = True
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    needed = " ".join(sorted(undefined(module))).encode()
    return len(needed).to_bytes(4, "little") + needed + machine.emit_object(module)
