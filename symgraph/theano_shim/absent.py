"""Theano's names that are not provided: why, and what to use instead."""

from __future__ import annotations

from symgraph.errors import explain

_INTERNAL = "it is a part of Theano's compiler, and symgraph's is another one"
_GPU = (
    "graphs have no ops for the GPU alone, whole functions run there",
    "THEANO_FLAGS=device=cuda, and x.transfer('cuda') for results that stay there",
)
_DNN = (_GPU[0], "theano.tensor.nnet.conv2d and theano.tensor.signal.pool.pool_2d")

# a name, or all names below a module: (why, what to use instead)
ABSENT: dict[str, tuple[str, str]] = {
    "theano.sandbox.cuda": _GPU,
    "theano.gpuarray": _GPU,
    "theano.sandbox.gpuarray": _GPU,
    "theano.sandbox.cuda.dnn": _DNN,
    "theano.gpuarray.dnn": _DNN,
    "theano.sparse": ("there are no sparse matrices", "dense ones, or rows chosen by x[indices]"),
    "theano.sparse_grad": ("there are no sparse gradients", "theano.grad"),
    "theano.typed_list": ("there are no lists of variables as variables", "tensor.stack"),
    "theano.tensor.inplace": (
        "the compiler decides what is computed in place",
        "the function of theano.tensor without _inplace",
    ),
    "theano.tensor.opt": (
        _INTERNAL,
        "symgraph.rewrite.Rule; docs/rewrites.md lists the rules",
    ),
    "theano.gof": (_INTERNAL, "symgraph.rewrite for rules, f.maker.fgraph for graphs"),
    "theano.compile": (_INTERNAL, "theano.function and theano.Mode"),
    "theano.predefined_linkers": ("there is one linker", "theano.Mode"),
    "theano.predefined_optimizers": (_INTERNAL, "theano.Mode(optimizer=...), by name"),
    "theano.printing.PPrinter": (_INTERNAL, "a `pprint` method of the op"),
    "theano.gof.opt": (_INTERNAL, "symgraph.rewrite.Rule; docs/rewrites.md lists the rules"),
    "theano.gof.optdb": (_INTERNAL, "symgraph.rewrite.Rule"),
    "theano.gof.local_optimizer": (_INTERNAL, "symgraph.rewrite.NodeRule"),
    "theano.compile.optdb": (_INTERNAL, "symgraph.rewrite.Rule"),
    "theano.gof.vm": (_INTERNAL, "theano.function"),
    "theano.gof.link": (_INTERNAL, "theano.function"),
    "theano.gof.cc": ("there is no C code", "symgraph.graph.Op with compute, which makes kernels"),
    "theano.gof.COp": ("there is no C code", "symgraph.graph.Op with compute, which makes kernels"),
    "theano.gof.OpenMPOp": ("there is no C code", "theano.Op; kernels use all threads anyway"),
    "theano.OpenMPOp": ("there is no C code", "theano.Op; kernels use all threads anyway"),
    "theano.gof.FunctionGraph": (_INTERNAL, "f.maker.fgraph of a function"),
    "theano.FunctionGraph": (_INTERNAL, "f.maker.fgraph of a function"),
    "theano.gof.toolbox": (_INTERNAL, "f.maker.fgraph of a function"),
    "theano.toolbox": (_INTERNAL, "f.maker.fgraph of a function"),
    "theano.function_dump": ("it dumps the arguments of a call", "pickle the function itself"),
    "theano.test": ("Theano's own tests are not here", "pytest in a checkout of symgraph"),
    "theano.tensor.cscalar": (
        "complex numbers are not supported, so all c and z types raise",
        "real and imaginary parts",
    ),
    "theano.tensor.load": ("files are read outside of graphs", "numpy.load, and a shared variable"),
    "theano.tensor.LoadFromDisk": (
        "files are read outside of graphs",
        "numpy.load, and a shared variable",
    ),
    "theano.tensor.complex": ("complex numbers are not supported", "real and imaginary parts"),
    "theano.tensor.complex_from_polar": (
        "complex numbers are not supported",
        "real and imaginary parts",
    ),
    "theano.tensor.fft": (
        "complex numbers are not supported",
        "theano.compile.as_op on numpy.fft.rfft, with real and imaginary parts as results",
    ),
    "theano.tensor.fourier": ("complex numbers are not supported", "as for theano.tensor.fft"),
    "theano.tensor.nnet.corr": (_INTERNAL, "theano.tensor.nnet.conv2d"),
    "theano.tensor.nnet.ctc": ("it binds a C library", "theano.scan over the alignments"),
    "theano.tensor.nnet.blocksparse": ("it serves the GPU", "theano.tensor.batched_dot"),
    "theano.tensor.nnet.conv.ConvOp": (_INTERNAL, "theano.tensor.nnet.conv.conv2d"),
    "theano.tensor.isend": ("there is no MPI here", "one process, or files between processes"),
    "theano.tensor.irecv": ("there is no MPI here", "one process, or files between processes"),
    "theano.tensor.send": ("there is no MPI here", "one process, or files between processes"),
    "theano.tensor.recv": ("there is no MPI here", "one process, or files between processes"),
    "theano.scan_module.scan_op": (_INTERNAL, "theano.scan"),
    "theano.scan_module.scan_opt": (_INTERNAL, "theano.scan"),
    "theano.compile.orig_function": (_INTERNAL, "theano.function"),
    "theano.compile.std_fgraph": (_INTERNAL, "f.maker.fgraph of a function"),
    "theano.compile.FunctionMaker": (_INTERNAL, "theano.function"),
    "theano.scalar": (
        "there are no scalar types apart from tensors of no axes",
        "theano.tensor, whose functions take scalars",
    ),
}


def reason(full: str) -> tuple[str, str] | None:
    """(why, what to use instead) for a name that is known to be absent, or is below such a one."""
    name = full
    while name:
        if name in ABSENT:
            return ABSENT[name]
        name = name.rpartition(".")[0]
    return None


def advice(full: str) -> str:
    """What to tell somebody who asked for `full`, which is not provided."""
    near = nearest(full)
    known = reason(full)
    if full not in ABSENT and near:
        return explain(
            full, f"symgraph has nothing of this name; did you mean {' or '.join(near)}?"
        )
    if known is not None:
        why, instead = known
        return explain(full, f"not provided by symgraph: {why}", cure=instead)
    return explain(
        full, "symgraph has nothing of this name", cure="see docs/theano.md for what there is"
    )


def nearest(full: str) -> list[str]:
    """Names that are provided and look like `full`: of its own module first, then of others.

    What nobody has imported so far is not imported to answer.
    """
    import difflib
    import sys

    from symgraph.theano_shim.modules import public_names
    from symgraph.theano_shim.table import MODULES

    module, _, name = full.rpartition(".")
    known = {
        m: public_names(m)
        for m, sources in MODULES.items()
        if all(s in sys.modules for s in sources)
    }
    near = difflib.get_close_matches(name, known.get(module, ()), n=2, cutoff=0.7)
    if near:
        return [f"{module}.{found}" for found in near]
    same = [f"{other}.{name}" for other, names in known.items() if name in names]
    return same[:1]
