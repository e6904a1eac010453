"""What LLVM is told about loads, stores and loops, to vectorise without comparing addresses.

Loads and stores under native's promise are members of an access group, which the branches that
close loops name (LLVM language reference, `llvm.access.group`).
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="attr-defined, has-type, misc, no-any-return"
# (what llvmlite does not type)

from __future__ import annotations

from typing import Any

from llvmlite import ir


class _Distinct(ir.MDValue):
    """A metadata node that is equal to no other; with `cyclic`, its own first operand."""

    def __init__(self, module: ir.Module, operands: list[Any], cyclic: bool = False) -> None:
        fixed = module._fix_metadata_operands(operands)
        super().__init__(module, fixed, name=str(len(module.metadata)))
        if cyclic:
            self.operands = (self, *self.operands)

    def descr(self, buf: list[str]) -> None:
        inside = ", ".join(operand.get_reference() for operand in self.operands)
        buf += (f"distinct !{{ {inside} }}", "\n")

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


def _access_group(module: ir.Module) -> ir.MDValue:
    group = getattr(module, "symgraph_access_group", None)
    if group is None:
        group = module.symgraph_access_group = _Distinct(module, [])
    return group


def mark_parallel(module: ir.Module, branch: ir.Instruction) -> None:
    """Say of the loop that `branch` closes that no access of the group depends on another's."""
    promise = module.add_metadata(["llvm.loop.parallel_accesses", _access_group(module)])
    branch.set_metadata("llvm.loop", _Distinct(module, [promise], cyclic=True))


def mark(builder: ir.IRBuilder, access: ir.Instruction, kind: str) -> None:
    """Note what `kind` of pointer (native.PointerType) a load or store goes through promises."""
    if kind != "any":
        access.set_metadata("llvm.access.group", _access_group(builder.module))
    if kind == "sizes":
        access.set_metadata("invariant.load", builder.module.add_metadata([]))
