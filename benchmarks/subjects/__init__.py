"""The subjects, one file per family, in the order of the tables."""

from benchmarks.subject import Family
from benchmarks.subjects import (
    calls,
    compiling,
    conv,
    elementwise,
    gemm,
    lenet,
    lstm,
    memory,
    networks,
    pooling,
    reductions,
    softmax,
    startup,
    threads,
)

FAMILIES: list[Family] = [
    lenet.FAMILY,
    networks.FAMILY,
    lstm.FAMILY,
    conv.FAMILY,
    gemm.FAMILY,
    pooling.FAMILY,
    softmax.FAMILY,
    elementwise.FAMILY,
    reductions.FAMILY,
    calls.FAMILY,
    threads.FAMILY,
    memory.FAMILY,
    startup.FAMILY,
    compiling.FAMILY,
]
