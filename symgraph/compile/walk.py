"""The native driver's own code: a walk over the table of steps. Imported only to compile it.

`context` is one int64 vector per program (driver.Program): its slots are named here.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
# mypy: disable-error-code="call-arg, var-annotated, no-untyped-def"
# (what Numba and llvmlite do not type)

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from symgraph.compile import codegen
from symgraph.compile.native import PointerType, address, pointer_at

(STEPS, OPERANDS, POINTERS, SIZES, BASES, ERRORS, FINISHED, THREADS, PARALLEL_FOR, WORKERS) = range(
    10
)
"""Slots of `context`: six addresses, the result, threads allowed, the pool, the worker numbers."""
JOB = 10
"""First of six slots for the step that the threads share: kernel, arrays, sizes, extent, grain and
the number of the next chunk."""
COLUMNS = 6
SLOTS = JOB + 6

I64 = ir.IntType(64)
BYTES = ir.IntType(8).as_pointer()


@intrinsic
def call(typingctx, kernel, arrays, sizes, start, stop, worker):
    """Call the kernel at an address."""

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(ir.VoidType(), [BYTES, BYTES, I64, I64, I64])
        function = builder.inttoptr(args[0], kind.as_pointer())
        places = [builder.inttoptr(place, BYTES) for place in args[1:3]]
        builder.call(function, [*places, *args[3:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), emit


@intrinsic
def next_chunk(typingctx, counter):
    """Take a chunk: the counter before it is increased by one, atomically."""

    def emit(context, builder, sig, args):
        return builder.atomic_rmw("add", args[0], I64(1), "monotonic")

    return types.int64(counter), emit


@intrinsic
def share_out(typingctx, parallel_for, workers, threads, job):
    """Run `share` once for each of `threads` workers on Numba's pool and wait for all of them."""

    def emit(context, builder, sig, args):
        pool, workers, threads, job = args
        kind = ir.FunctionType(ir.VoidType(), [BYTES] * 5 + [I64, I64, ir.IntType(32)])
        function = builder.inttoptr(pool, kind.as_pointer())
        share_kind = ir.FunctionType(ir.VoidType(), [BYTES] * 4)
        callee = cgutils.get_or_insert_function(builder.module, share_kind, "symgraph_share")
        # The pool gives worker w the address `workers + 8 w`: there stands w.
        numbers, count, stride = (cgutils.alloca_once(builder, I64) for _ in range(3))
        builder.store(workers, numbers)
        builder.store(threads, count)
        builder.store(I64(8), stride)
        places = [builder.bitcast(value, BYTES) for value in (callee, numbers, count, stride, job)]
        team = builder.trunc(threads, ir.IntType(32))
        builder.call(function, [*places, I64(0), I64(1), team])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, job), emit


def share(arguments, dimensions, strides, job):
    """What a worker of the pool does: chunks of the job until none is left."""
    first = pointer_at(arguments[0], types.int64)
    kernel, arrays, sizes, extent, grain = job[0], job[1], job[2], job[3], job[4]
    for i in range(dimensions[0]):
        worker = first[i]
        while True:
            start = next_chunk(job + 5) * grain
            if start >= extent:
                break
            call(kernel, arrays, sizes, start, min(start + grain, extent), worker)


def walk(context, first, last):
    """Run the steps first..last; context[FINISHED] is the index of the first one not finished."""
    steps = pointer_at(context[STEPS], types.int64)
    operands = pointer_at(context[OPERANDS], types.int64)
    pointers = pointer_at(context[POINTERS], types.int64)
    sizes = pointer_at(context[SIZES], types.int64)
    bases = pointer_at(context[BASES], types.int64)
    errors = pointer_at(context[ERRORS], types.int64)
    for s in range(first, last):
        step = steps + COLUMNS * s
        kernel, operand, count, extent = step[0], step[1], step[2], step[4]
        grain = step[5] if step[5] > 0 else extent
        for k in range(operand, operand + count):
            pointers[k] = bases[operands[2 * k]] + operands[2 * k + 1]
        arrays, parameters = address(pointers + operand), address(sizes + step[3])
        if extent > grain and context[THREADS] > 1:
            job = context + JOB
            job[0], job[1], job[2], job[3], job[4], job[5] = (
                kernel, arrays, parameters, extent, grain, 0,
            )  # fmt: skip
            threads = min(context[THREADS], (extent - 1) // grain + 1)
            share_out(context[PARALLEL_FOR], context[WORKERS], threads, job)
        else:
            start = 0
            while start < extent:
                call(kernel, arrays, parameters, start, min(start + grain, extent), 0)
                start += grain
        if errors[0] != 0:
            context[FINISHED] = s
            return
    context[FINISHED] = last


# A function in CPython's METH_FASTCALL convention, around `walk`: (context address, first, last)
# to the index reached. ctypes takes five times as long. The interpreter lock is released.
ENTRY = f"""
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @symgraph_walk(ptr, i64, i64)

define ptr @SYMBOL(ptr %self, ptr %arguments, i64 %count) {{
  %2 = load ptr, ptr %arguments
  %place = call i64 @PyLong_AsLongLong(ptr %2)
  %context = inttoptr i64 %place to ptr
  %second = getelementptr ptr, ptr %arguments, i64 1
  %4 = load ptr, ptr %second
  %first = call i64 @PyLong_AsLongLong(ptr %4)
  %third = getelementptr ptr, ptr %arguments, i64 2
  %6 = load ptr, ptr %third
  %last = call i64 @PyLong_AsLongLong(ptr %6)
  %state = call ptr @PyEval_SaveThread()
  call void @symgraph_walk(ptr %context, i64 %first, i64 %last)
  call void @PyEval_RestoreThread(ptr %state)
  %slot = getelementptr i64, ptr %context, i64 {FINISHED}
  %reached = load i64, ptr %slot
  %result = call ptr @PyLong_FromLongLong(i64 %reached)
  ret ptr %result
}}
"""


def compile_driver(machine: llvm.TargetMachine, symbol: str) -> bytes:
    """The object code of the driver, for codegen.emit's readers."""
    vector = PointerType(types.int64, "any")
    options = {"error_model": "numpy"}
    module = llvm.parse_assembly(ENTRY.replace("SYMBOL", symbol))
    for function, arguments in (
        (walk, (vector, types.int64, types.int64)),
        (share, (vector, vector, vector, vector)),
    ):
        name = "symgraph_" + function.__name__
        module.link_in(codegen.lower(function, arguments, options, name))
    return codegen.emit(module, machine, symbol)
