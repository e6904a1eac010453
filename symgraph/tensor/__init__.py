"""Theano's `theano.tensor`: the names, handed on from where they are written.

`import symgraph.tensor as T` reads as in Theano's tutorials. Source: Theano, library/tensor.
"""
# ruff: noqa: F401

from typing import Any

from symgraph.errors import AsTensorError, NotConstantError, ShapeError
from symgraph.gradient import *  # noqa: F403 - what it lists in __all__, as Theano does
from symgraph.graph import Apply, Constant, Op, Variable
from symgraph.ops.advanced import (
    choose,
    compress,
    flatnonzero,
    nonzero,
    nonzero_values,
    take,
)
from symgraph.ops.alloc import (
    alloc,
    arange,
    bartlett,
    eye,
    full,
    full_like,
    identity_like,
    mgrid,
    ogrid,
    ones,
    ones_like,
    tri,
    tril,
    triu,
    zeros,
    zeros_like,
)
from symgraph.ops.closeness import allclose, isclose
from symgraph.ops.core import DimShuffle, Elemwise, dimshuffle
from symgraph.ops.elementwise import (
    abs_,
    add,
    and_,
    angle,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    cast,
    ceil,
    clip,
    conj,
    cos,
    cosh,
    deg2rad,
    eq,
    erf,
    erfc,
    erfcinv,
    erfinv,
    exp,
    exp2,
    expm1,
    fill,
    floor,
    gamma,
    gammaln,
    ge,
    gt,
    imag,
    int_div,
    inv,
    invert,
    iround,
    isinf,
    isnan,
    le,
    log,
    log1p,
    log2,
    log10,
    lt,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    neq,
    or_,
    pow,
    psi,
    rad2deg,
    real,
    round,
    second,
    sgn,
    sigmoid,
    sin,
    sinh,
    softplus,
    sqr,
    sqrt,
    sub,
    switch,
    tan,
    tanh,
    tensor_copy,
    tri_gamma,
    true_div,
    trunc,
    where,
    xor,
)
from symgraph.ops.elementwise import int_div as floor_div
from symgraph.ops.elementwise import sqr as square
from symgraph.ops.index import inc_subtensor, set_subtensor
from symgraph.ops.join import (
    concatenate,
    horizontal_stack,
    join,
    split,
    stack,
    stacklists,
    vertical_stack,
)
from symgraph.ops.linalg import (
    batched_dot,
    batched_tensordot,
    cov,
    dot,
    matrix_transpose,
    outer,
    tensordot,
)
from symgraph.ops.methods import get_scalar_constant_value
from symgraph.ops.multi_index import ravel_multi_index, unravel_index
from symgraph.ops.reduce import (
    all,
    any,
    argmax,
    argmin,
    largest,
    max,
    max_and_argmax,
    mean,
    min,
    norm,
    prod,
    ptp,
    smallest,
    std,
    sum,
    var,
)
from symgraph.ops.scipy_functions import (
    chi2sf,
    erfcx,
    gammainc,
    gammaincc,
    gammal,
    gammau,
    i0,
    i1,
    iv,
    j0,
    j1,
    jv,
)
from symgraph.ops.shape import (
    addbroadcast,
    diag,
    diagonal,
    fill_diagonal,
    fill_diagonal_offset,
    flatten,
    get_vector_length,
    patternbroadcast,
    ravel,
    repeat,
    reshape,
    roll,
    shape,
    shape_padaxis,
    shape_padleft,
    shape_padright,
    specify_shape,
    squeeze,
    swapaxes,
    tile,
    transpose,
    unbroadcast,
)
from symgraph.ops.sort import bincount, cumprod, cumsum, diff, searchsorted
from symgraph.sharedvalue import SharedVariable, TensorSharedVariable
from symgraph.tensor.constructors import *  # noqa: F403 - two hundred makers of variables
from symgraph.tensor.sort import argsort, argtopk, sort, topk, topk_and_argtopk
from symgraph.tensor.spellings import *  # noqa: F403
from symgraph.types import TensorType
from symgraph.variable import (
    TensorConstant,
    TensorVariable,
    as_tensor_variable,
    constant,
)
from symgraph.variable import as_tensor_variable as as_tensor

from . import extra_ops, nlinalg, nnet, signal, slinalg, subtensor, xlogx  # isort: skip - they import us


_WHEN_ASKED_FOR = ("random", "raw_random", "shared_randomstreams")


def __getattr__(name: str) -> Any:
    import difflib
    import importlib

    if name in _WHEN_ASKED_FOR:
        return importlib.import_module(f"symgraph.tensor.{name}")
    near: Any = difflib.get_close_matches(name, globals(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise AttributeError(f"symgraph.tensor has no {name!r}{hint}")
