"""The native driver's own code: a walk over the table of steps. Imported only to compile it.

`context` is one int64 vector per program (driver.Program): slots.py names its slots.
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
from symgraph.compile.helpers import helper
from symgraph.compile.native import PointerType, address, pointer_at
from symgraph.compile.rounds import rounds
from symgraph.compile.slots import (
    BASES,
    COUNT,
    ERRORS,
    FINISHED,
    JOB,
    OPERANDS,
    PARALLEL_FOR,
    POINTERS,
    SIZES,
    STEPS,
    TAKEN,
    THREADS,
    WORKERS,
)

COLUMNS = 7

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
    """Take a chunk of a part: the counter before it is increased by one, atomically."""

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


@helper
def run_chunk(context, first, count, chunk, worker):
    """Chunk number `chunk` of each of `count` steps, in order."""
    steps = pointer_at(context[STEPS], types.int64)
    operands = pointer_at(context[OPERANDS], types.int64)
    bases = pointer_at(context[BASES], types.int64)
    sizes = pointer_at(context[SIZES], types.int64)
    own = pointer_at(context[POINTERS], types.int64) + worker * context[COUNT]
    for s in range(first, first + count):
        step = steps + COLUMNS * s
        for k in range(step[1], step[1] + step[2]):
            place, share = bases[operands[3 * k]] + operands[3 * k + 1], operands[3 * k + 2]
            if share > 0:  # the worker's own memory, for its current chunk alone
                place += worker * ((share + 63) // 64 * 64) - chunk * share
            own[k] = place
        extent, grain = step[4], step[5]
        start = chunk * grain
        arrays, parameters = address(own + step[1]), address(sizes + step[3])
        if start < extent:  # a step with nothing to do may stand in a chain
            call(step[0], arrays, parameters, start, min(start + grain, extent), worker)


def share(arguments, dimensions, strides, context):
    """What a worker of the pool does: the chunks of its own part of the job, then others' chunks.

    Parts are runs of chunks: from step to step a worker meets the same rows, still in its cache.
    """
    first = pointer_at(arguments[0], types.int64)
    taken = pointer_at(context[TAKEN], types.int64)
    job = context + JOB
    threads = min(context[THREADS], job[2])
    for i in range(dimensions[0]):
        worker = first[i]
        for other in range(threads):
            part = (worker + other) % threads
            start, stop = part * job[2] // threads, (part + 1) * job[2] // threads
            while True:
                chunk = start + next_chunk(taken + part)
                if chunk >= stop:
                    break
                run_chunk(context, job[0], job[1], chunk, worker)


def walk(context, first, last):
    """Run the steps first..last; context[FINISHED] is the index of the first one not finished."""
    steps = pointer_at(context[STEPS], types.int64)
    errors = pointer_at(context[ERRORS], types.int64)
    taken = pointer_at(context[TAKEN], types.int64)
    job = context + JOB
    s = first
    while s < last:
        step = steps + COLUMNS * s
        count = max(step[6], 1)
        chunks = (step[4] + step[5] - 1) // max(step[5], 1)
        if chunks > 1 and context[THREADS] > 1:
            job[0], job[1], job[2] = s, count, chunks
            threads = min(context[THREADS], chunks)
            for worker in range(threads):
                taken[worker] = 0
            share_out(context[PARALLEL_FOR], context[WORKERS], threads, context)
        else:
            for chunk in range(chunks):
                run_chunk(context, s, count, chunk, 0)
        if errors[0] != 0:
            context[FINISHED] = s
            return
        s += count
    context[FINISHED] = last


# A function in CPython's METH_FASTCALL convention, around `walk`: (context address, first, last)
# to the index reached. ctypes takes five times as long. The interpreter lock is released.
# Without a context (0) it gives the address of `rounds`.
ENTRY = f"""
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @symgraph_walk(ptr, i64, i64)
declare void @symgraph_rounds(ptr, ptr, i64, i64, i64)

define ptr @SYMBOL(ptr %self, ptr %arguments, i64 %count) {{
  %context_object = load ptr, ptr %arguments
  %place = call i64 @PyLong_AsLongLong(ptr %context_object)
  %context = inttoptr i64 %place to ptr
  %absent = icmp eq i64 %place, 0
  br i1 %absent, label %tell, label %run

tell:
  %rounds = call ptr @PyLong_FromLongLong(i64 ptrtoint (ptr @symgraph_rounds to i64))
  ret ptr %rounds

run:
  %second = getelementptr ptr, ptr %arguments, i64 1
  %first_object = load ptr, ptr %second
  %first = call i64 @PyLong_AsLongLong(ptr %first_object)
  %third = getelementptr ptr, ptr %arguments, i64 2
  %last_object = load ptr, ptr %third
  %last = call i64 @PyLong_AsLongLong(ptr %last_object)
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
        (rounds, (vector, vector, types.int64, types.int64, types.int64)),
    ):
        name = "symgraph_" + function.__name__
        module.link_in(codegen.lower(function, arguments, options, name))
    return codegen.emit(module, machine, symbol)
