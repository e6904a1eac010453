"""Kernel source to PTX: the CPU's front end and vocabulary, LLVM's NVPTX back end.

A CUDA kernel is `def kernel(arrays, sizes):`, run by every thread of a grid of blocks; a comment
`# 256 threads` on that line names the size of a block, `# 256 threads, 2 blocks` also how many
blocks must find registers on a multiprocessor. Its two parameters are passed by value: the
addresses of its operands, and its sizes (docs/decisions/017). Nothing of NVIDIA's is needed to
make PTX; the driver assembles it. Source: LLVM, User Guide for NVPTX Back-end; NVIDIA, PTX ISA.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# (what Numba and llvmlite do not type)

from __future__ import annotations

from functools import cache, lru_cache

import llvmlite.binding as llvm

from symgraph.compile import codegen
from symgraph.compile.arithmetic import DEVICE
from symgraph.compile.cache import OPTIONS, execute
from symgraph.compile.cuda.signature import block_of, parameters
from symgraph.compile.cuda.vocabulary import VOCABULARY

TRIPLE = "nvptx64-nvidia-cuda"
FEATURES = "+ptx78"  # of CUDA 11.8: the first to know sm_90
ENTRY = """
target triple = "nvptx64-nvidia-cuda"
declare void @{body}(ptr, ptr)

define ptx_kernel void @{symbol}(ptr byval([{arrays} x i64]) align 8 %arrays,
                                 ptr byval([{sizes} x i64]) align 8 %sizes) "nvvm.maxntid"="{threads}" "nvvm.minctasm"="{blocks}" {{
  call void @{body}(ptr %arrays, ptr %sizes)
  ret void
}}
"""  # noqa: E501


def ptx(source: str, arch: str = "sm_90", symbol: str = "kernel") -> str:
    """The PTX of the kernel that `source` defines, as `.entry symbol`, for `arch` or later.

    Raises Numba's errors for source that it cannot compile, RuntimeError for a kernel that calls
    what a device does not have.
    """
    module = llvm.parse_bitcode(_lowered(source, symbol))
    machine = _machine(arch)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    arrays, sizes = parameters(source)
    per_block, blocks = block_of(source)
    entry = ENTRY.format(
        symbol=symbol, body=f"{symbol}_body", arrays=arrays, sizes=sizes, threads=per_block,
        blocks=blocks,
    )  # fmt: skip
    parsed = llvm.parse_assembly(entry)
    parsed.data_layout = str(machine.target_data)
    module.link_in(parsed)
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != symbol:
            value.linkage = "internal"
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_unrolling = True
    tuning.loop_vectorization = tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    missing = codegen.undefined(module)
    if missing:
        raise RuntimeError(f"a CUDA kernel calls {sorted(missing)}, which no device has")
    return str(machine.emit_assembly(module))


@lru_cache(maxsize=64)
def _lowered(source: str, symbol: str) -> bytes:
    """The kernel as LLVM's bitcode, the same for all architectures."""
    token = DEVICE.set(True)
    try:
        function = execute(source, "cuda", VOCABULARY)
        module = codegen.lower(function, codegen.KERNEL_ARGUMENTS[:2], OPTIONS, f"{symbol}_body")
    finally:
        DEVICE.reset(token)
    return bytes(module.as_bitcode())


KNOWN = (75, 80, 86, 87, 89, 90)  # what FEATURES' version of PTX knows


def known(arch: str) -> str:
    """The latest architecture up to `arch` that PTX is made for; drivers take it further."""
    number = int(arch.removeprefix("sm_"))
    return f"sm_{max((k for k in KNOWN if k <= number), default=KNOWN[0])}"


@cache
def _machine(arch: str) -> llvm.TargetMachine:
    """LLVM's code generator for an architecture. RuntimeError where LLVM was built without it."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=arch, features=FEATURES, opt=3)
