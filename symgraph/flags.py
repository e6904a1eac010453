"""The table of settings: those that mean something here, and Theano's others, with their defaults.

Source: Theano, library/config.
"""

from __future__ import annotations

from typing import Any, NamedTuple

LINKERS = ("cvm", "vm", "c|py", "c", "py", "c|py_nogc", "cvm_nogc", "vm_nogc")
OPTIMIZERS = (
    "fast_run", "fast_compile", "o4", "o3", "o2", "o1", "unsafe", "fast_run_stable", "stabilize",
    "merge", "None",
)  # fmt: skip


class Flag(NamedTuple):
    """A setting: values are of the type of `default`, and among `choices` if there are any; or one
    of `also`."""

    default: Any
    choices: tuple[Any, ...] = ()
    meaning: str = "accepted, no meaning here"
    also: tuple[Any, ...] = ()


DEVICES = {
    "cpu": "cpu", "cuda": "cuda", "cuda0": "cuda", "gpu": "cuda", "gpu0": "cuda", "auto": "auto",
}  # fmt: skip
"""Theano's names of devices, and what they mean here: there is one GPU, the first."""

FLAGS: dict[str, Flag] = {
    "floatX": Flag("float64", ("float64", "float32", "float16"), "default floating dtype"),
    "device": Flag("cpu", tuple(DEVICES), "where functions run; auto: on a GPU, if there is one"),
    "force_device": Flag(False, (), "refuse to start where `device` cannot be had"),
    "mode": Flag(
        "Mode",
        ("Mode", "FAST_RUN", "FAST_COMPILE", "DebugMode", "DEBUG_MODE", "NanGuardMode"),
        "how functions are compiled by default",
    ),
    "optimizer": Flag("fast_run", OPTIMIZERS, "the rewrite rules of mode Mode"),
    "linker": Flag("cvm", LINKERS, "accepted: there is one linker"),
    "optimizer_excluding": Flag("", (), "tags of rules to leave out, as a:b"),
    "optimizer_including": Flag("", (), "tags of rules to add"),
    "optimizer_requiring": Flag("", (), "tags that every rule must have"),
    "target": Flag("cpu", ("cpu", "python"), "cpu: compiled kernels; python: interpreted ones"),
    "compiledir": Flag("", (), "folder of compiled kernels; empty: chosen by symgraph"),
    "base_compiledir": Flag("", (), "as `compiledir`, which wins"),
    "on_unused_input": Flag("raise", ("raise", "warn", "ignore"), "an input that nothing needs"),
    "cast_policy": Flag(
        "custom", ("custom", "numpy+floatX"), "dtype of Python numbers and of int with float32"
    ),
    "warn_float64": Flag(
        "ignore", ("ignore", "warn", "raise", "pdb"), "when a float64 variable is made"
    ),
    "warn.round": Flag(False, (), "warn where T.round is given no mode"),
    "announce_compiling": Flag(True, (), "a line on stderr where compiling takes over two seconds"),
    "exception_verbosity": Flag("low", ("low", "high"), "how much of the graph errors show"),
    "compute_test_value": Flag(
        "off", ("off", "ignore", "warn", "raise", "pdb"), "compute with tag.test_value at once"
    ),
    "print_test_value": Flag(False, (), "repr of a variable shows its test value"),
    "profile": Flag(False, (), "time every function, and print a table at exit"),
    "profile_memory": Flag(False, (), "accepted: profiles always show sizes of memory"),
    "profiling.destination": Flag("stderr", (), "where profiles go: stderr, stdout or a file"),
    "profiling.n_apply": Flag(20, (), "rows of a profile's table of nodes"),
    "profiling.n_ops": Flag(20, (), "rows of a profile's table of ops"),
    "NanGuardMode.nan_is_error": Flag(True, (), "NanGuardMode refuses NaN"),
    "NanGuardMode.inf_is_error": Flag(True, (), "NanGuardMode refuses infinity"),
    "NanGuardMode.big_is_error": Flag(True, (), "NanGuardMode refuses what exceeds 1e10"),
    "NanGuardMode.action": Flag("raise", ("raise", "warn", "pdb"), "what NanGuardMode does then"),
    "DebugMode.check_finite": Flag(True, (), "DebugMode refuses NaN and infinity"),
    "conv.assert_shape": Flag(False, (), "accepted: declared shapes are always checked"),
    "gpu.cublas": Flag(False, (), "matrix products on a GPU are computed by NVIDIA's cuBLAS"),
    "int_division": Flag(
        "int", ("int", "raise", "floatX"), "accepted: `/` of integers is true division"
    ),
    "traceback.limit": Flag(8, (), "accepted: errors show the one line that made the node"),
}

_TEST_VALUES = FLAGS["compute_test_value"].choices

ACCEPTED: dict[str, Flag] = {
    "allow_gc": Flag(True),
    "assert_no_cpu_op": Flag("ignore", ("ignore", "warn", "raise", "pdb")),
    "blas.check_openmp": Flag(True),
    "blas.ldflags": Flag(""),
    "cache_optimizations": Flag(False),
    "check_input": Flag(True),
    "check_stack_trace": Flag("off", ("off", "log", "warn", "raise")),
    "cmodule.age_thresh_use": Flag(2073600),
    "cmodule.compilation_warning": Flag(False),
    "cmodule.debug": Flag(False),
    "cmodule.preload_cache": Flag(False),
    "cmodule.remove_gxx_opt": Flag(False),
    "cmodule.warn_no_version": Flag(False),
    "compile.timeout": Flag(120),
    "compile.wait": Flag(5),
    "compiledir_format": Flag(""),
    "compute_test_value_opt": Flag("off", _TEST_VALUES),
    "contexts": Flag(""),
    "ctc.root": Flag(""),
    "cuda.include_path": Flag(""),
    "cuda.root": Flag(""),
    "cxx": Flag(""),
    "cycle_detection": Flag("regular", ("regular", "fast")),
    "deterministic": Flag("default", ("default", "more")),
    "dnn.base_path": Flag(""),
    "dnn.bin_path": Flag(""),
    "dnn.conv.algo_bwd": Flag(""),
    "dnn.conv.algo_bwd_data": Flag("none"),
    "dnn.conv.algo_bwd_filter": Flag("none"),
    "dnn.conv.algo_fwd": Flag("small"),
    "dnn.conv.precision": Flag("as_input_f32"),
    "dnn.conv.workmem": Flag(""),
    "dnn.conv.workmem_bwd": Flag(""),
    "dnn.enabled": Flag("auto", ("auto", "True", "False", "no_check")),
    "dnn.include_path": Flag(""),
    "dnn.library_path": Flag(""),
    "experimental.local_alloc_elemwise": Flag(True),
    "experimental.local_alloc_elemwise_assert": Flag(True),
    "experimental.unpickle_gpu_on_cpu": Flag(False),
    "gcc.cxxflags": Flag(""),
    "gpu.local_elemwise_fusion": Flag(True),
    "gpuarray.cache_path": Flag(""),
    "gpuarray.preallocate": Flag(0.0),
    "gpuarray.sched": Flag("default", ("default", "multi", "single")),
    "gpuarray.single_stream": Flag(True),
    "gpuarray.sync": Flag(False),
    "gpuelemwise.sync": Flag(True),
    "init_gpu_device": Flag(""),
    "lib.amdlibm": Flag(False),
    "lib.cnmem": Flag(0.0),
    "magma.enabled": Flag(False),
    "magma.include_path": Flag(""),
    "magma.library_path": Flag(""),
    "metaopt.optimizer_excluding": Flag(""),
    "metaopt.optimizer_including": Flag(""),
    "metaopt.verbose": Flag(0),
    "nocleanup": Flag(False),
    "numpy.seterr_all": Flag("ignore"),
    "numpy.seterr_divide": Flag("None"),
    "numpy.seterr_invalid": Flag("None"),
    "numpy.seterr_over": Flag("None"),
    "numpy.seterr_under": Flag("None"),
    "on_opt_error": Flag("warn", ("warn", "raise", "pdb", "ignore")),
    "on_shape_error": Flag("warn", ("warn", "raise")),
    "openmp": Flag(False),
    "openmp_elemwise_minsize": Flag(200000),
    "optdb.max_use_ratio": Flag(8.0),
    "optdb.position_cutoff": Flag(float("inf")),
    "optimizer_verbose": Flag(False),
    "pickle_test_value": Flag(True),
    "print_active_device": Flag(True),
    "print_global_stats": Flag(False),
    "profile_optimizer": Flag(False),
    "profiling.debugprint": Flag(False),
    "profiling.ignore_first_call": Flag(False),
    "profiling.min_memory_size": Flag(1024),
    "profiling.min_peak_memory": Flag(False),
    "profiling.output_line_width": Flag(512),
    "profiling.time_thunks": Flag(True),
    "reoptimize_unpickled_function": Flag(False),
    "scan.allow_gc": Flag(False),
    "scan.allow_output_prealloc": Flag(True),
    "scan.debug": Flag(False),
    "tensor.cmp_sloppy": Flag(0),
    "tensor.insert_inplace_optimizer_validate_nb": Flag(-1),
    "tensor.local_elemwise_fusion": Flag(True),
    "traceback.compile_limit": Flag(0),
    "unittests.rseed": Flag(666, also=("random",)),
    "unpickle_function": Flag(True),
    "vm.lazy": Flag("None"),
    "warn.ignore_bug_before": Flag("0.9"),
    "DebugMode.check_c": Flag(False),
    "DebugMode.check_preallocated_output": Flag(""),
    "DebugMode.check_preallocated_output_ndim": Flag(4),
    "DebugMode.check_py": Flag(True),
    "DebugMode.check_strides": Flag(0),
    "DebugMode.patience": Flag(10),
    "DebugMode.warn_input_not_reused": Flag(True),
}
"""Theano's flags that may be set and mean nothing here."""

for _name in (
    "argmax_pushdown_bug gpu_set_subtensor1 gpusum_01_011_0111_bug identify_1pexp_bug "
    "inc_set_subtensor1 inc_subtensor1_opt reduce_join signal_conv2d_interface "
    "subtensor_merge_bug sum_div_dimshuffle_bug sum_sum_bug vm_gc_bug"
).split():
    ACCEPTED[f"warn.{_name}"] = Flag(False)

NAMESPACES = frozenset(
    ["cuda", "gpu", "nvcc"]
    + [".".join(parts[:k]) for key in (*FLAGS, *ACCEPTED)
       for parts in [key.split(".")] for k in range(1, len(parts))]
)  # fmt: skip
"""Where any name may be set: Theano's flags came and went with its versions."""
