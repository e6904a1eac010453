"""Records of basic and advanced indexing, of writing to an index, of what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.errors import ShapeError
from symgraph.ops import methods  # noqa: F401 - attaches operators
from symgraph.ops.advanced import (
    choose,
    compress,
    flatnonzero,
    nonzero,
    nonzero_values,
    subscript,
    take,
)
from symgraph.ops.index import inc_subtensor, set_subtensor
from symgraph.types import TensorType
from tests.zoo.case import Case, Failure, In

CUBE = In((3, 4, 5))
MATRIX = In((4, 5))
VECTOR = In((6,))
ROW = In((1, 5), broadcastable=(True, False))
COL = In((4, 1), broadcastable=(False, True))


def ints(values: Any, dtype: str = "int64", **more: Any) -> In:
    return In(np.shape(values), dtype, values=values, **more)


def key(name: str, x: In, index: Any, *more: In, **facts: Any) -> Case:
    """x[index]; `index` may be a function of the further inputs, symbolic or not."""
    make: Callable[..., Any] = index if callable(index) else lambda: index

    def concrete(*rest: Any) -> Any:
        found = make(*(int(r) if np.ndim(r) == 0 else r for r in rest))
        return found

    return Case(
        name,
        lambda x, *rest: x[make(*rest)],
        (x, *more),
        lambda x, *rest: x[concrete(*rest)],
        **facts,
    )


def _write(set_it: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def build(x: Any, y: Any, index: Any) -> Any:
        return (set_subtensor if set_it else inc_subtensor)(x[index], y)

    def expect(x: Any, y: Any, index: Any) -> Any:
        x = x.copy()
        if set_it:
            x[index] = y
        else:
            np.add.at(x, index, np.asarray(y).astype(x.dtype))
        return x

    return build, expect


def write(
    name: str,
    x: In,
    y: In,
    index: Any,
    *more: In,
    sets: tuple[bool, ...] = (True, False),
    **facts: Any,
) -> list[Case]:
    """set_subtensor(x[index], y) and inc_subtensor(x[index], y)."""
    make: Callable[..., Any] = index if callable(index) else lambda: index
    cases = []
    for set_it in sets:
        build, expect = _write(set_it)
        cases.append(
            Case(
                f"{'set' if set_it else 'inc'}_{name}",
                lambda x, y, *rest, b=build: b(x, y, make(*rest)),
                (x, y, *more),
                lambda x, y, *rest, e=expect: e(
                    x, y, make(*(int(r) if np.ndim(r) == 0 else r for r in rest))
                ),
                **facts,
            )
        )
    return cases


s_ = np.s_
TWO, NEG = ints(2), ints(-2)
PICK = ints([0, 2, 2, -1])
GRID = ints([[0, 1], [2, 0]])

BASIC = [
    key("index_int", CUBE, 1, pattern=(False, False)),
    key("index_negative_int", CUBE, -1),
    key("index_all_axes", CUBE, (0, -1, 2), pattern=()),
    key("index_inner", CUBE, s_[:, 1]),
    key("index_numpy_integer", CUBE, (np.int32(1), np.array(2))),
    key("index_nothing", CUBE, ()),
    Case(
        "index_slices_in_a_list",
        lambda x: x[[slice(None), slice(None, None, -1), 1]],
        (CUBE,),
        lambda x: x[:, ::-1, 1],
    ),
    key("index_full", VECTOR, s_[:]),
    key("index_ellipsis", CUBE, s_[..., 1]),
    key("index_ellipsis_middle", CUBE, s_[0, ..., 1:]),
    key("index_ellipsis_of_nothing", MATRIX, s_[0, ..., 1]),
    key("index_newaxis", VECTOR, s_[:, None], pattern=(False, True)),
    key("index_newaxis_first", CUBE, s_[None], pattern=(True, False, False, False)),
    key(
        "index_newaxis_mixed",
        CUBE,
        s_[None, 1, None, ..., None],
        pattern=(True, True, False, False, True),
    ),
    key("index_0d_newaxis", In(), s_[None], pattern=(True,)),
    key("index_0d_ellipsis", In(), s_[...], pattern=()),
    key("index_row_int", ROW, 0, pattern=(False,)),
    key("index_row_full", ROW, s_[:, 1:], pattern=(True, False)),
    key("index_row_reversed", ROW, s_[::-1], pattern=(True, False)),
    key("index_row_none_left", ROW, s_[1:], pattern=(False, False)),
    key("index_row_first", ROW, s_[0:1], pattern=(True, False)),
    key("index_of_one_not_known", MATRIX, s_[1:2], pattern=(False, False)),
    key("index_float32", In((3, 4), "float32"), s_[1:, ::2], dtype="float32"),
    key("index_int8", In((3, 4), "int8"), s_[1:, -1], dtype="int8"),
    key("index_bool", In((3, 4), "bool"), s_[:, 1], dtype="bool"),
    key("index_float16", In((3, 4), "float16"), s_[::2], dtype="float16"),
    key("index_empty", In((0, 3)), s_[:, 1]),
    key("index_empty_reversed", In((0, 3)), s_[::-1, ::-1]),
    key("index_symbolic", CUBE, lambda i: i, TWO),
    key("index_symbolic_negative", CUBE, lambda i: s_[:, i], NEG),
    key("index_int32_variable", CUBE, lambda i: s_[i], ints(2, "int32")),
    key("index_int8_variable", CUBE, lambda i: s_[i], ints(-1, "int8")),
    key("index_uint8_variable", CUBE, lambda i: s_[..., i], ints(3, "uint8")),
    key("index_minibatch", In((12, 3)), lambda i, b: s_[i * b : (i + 1) * b], ints(1), ints(5)),
    key("index_minibatch_cut", In((12, 3)), lambda i, b: s_[i * b : (i + 1) * b], ints(2), ints(5)),
    key("index_minibatch_past_end", In((12, 3)), lambda i: s_[i * 5 : (i + 1) * 5], ints(7)),
    key("index_to_symbolic", VECTOR, lambda i: s_[:i], NEG),
    key("index_from_symbolic_backwards", VECTOR, lambda i: s_[i::-2], NEG),
    key("index_twice", CUBE, lambda i: s_[i:, :i], ints(1)),
    Case("index_chained", lambda x: x[1:][:, ::2][0], (CUBE,), lambda x: x[1, ::2]),
    Case("index_shape", lambda x: x.shape[1:], (CUBE,), lambda x: np.array([4, 5]), dtype="int64"),
    Case("index_shape_last", lambda x: x.shape[-1], (CUBE,), lambda x: np.array(5), dtype="int64"),
    Case("index_by_size", lambda x: x[: x.shape[0] // 2], (VECTOR,), lambda x: x[:3]),
]

BOUNDS: list[int | None] = [None, 0, 2, 5, 9, -1, -4, -9]
SLICES = [
    key(f"slice_{a}_{b}_{step}", VECTOR, s_[a:b:step], grad=())
    for step in (1, 2, 7, -1, -3)
    for a, b in [(a, b) for i, a in enumerate(BOUNDS) for b in BOUNDS[i % 2 :: 2]]
] + [
    key(
        f"slice_symbolic_{a}_{b}_{step}",
        VECTOR,
        lambda a, b, c: s_[a:b:c],
        ints(a),
        ints(b),
        ints(step),
        grad=(),
    )
    for a, b, step in (
        (0, 6, 1),
        (1, 5, 2),
        (5, 1, -1),
        (-1, -7, -2),
        (9, -9, -1),
        (-9, 9, 4),
        (4, 2, 1),
        (2, 4, -1),
        (6, 0, -5),
    )
]

ADVANCED = [
    key("take_vector", CUBE, lambda v: v, PICK, pattern=(False, False, False)),
    key("take_matrix", MATRIX, lambda v: v, GRID),
    key("take_list", CUBE, [0, 2, 2]),
    key("take_nested_list", CUBE, ([[0], [1]],), pattern=(False, True, False, False)),
    key("take_numpy", VECTOR, np.array([5, -6, 0], "int8")),
    key("take_int32", VECTOR, lambda v: v, ints([5, -6, 0], "int32")),
    key("take_uint8", VECTOR, lambda v: v, ints([5, 0], "uint8")),
    key("take_nothing", MATRIX, [], pattern=(False, False)),
    key("take_empty_variable", MATRIX, lambda v: v, In((0,), "int64", values=np.zeros(0))),
    key("pairs", MATRIX, lambda v: (np.arange(4), v), ints([1, 4, 0, -1])),
    key(
        "pairs_broadcast", MATRIX, lambda v: (v, v.T), ints([[0], [2]], broadcastable=(False, True))
    ),
    key("array_and_int", CUBE, lambda v: s_[0, v], PICK),
    key("array_and_symbolic_int", CUBE, lambda v, i: s_[i, v], PICK, NEG),
    key("array_apart_from_int", CUBE, lambda v: s_[0, :, v], PICK),
    key("arrays_apart", CUBE, lambda v: s_[v, :, v], ints([0, 2])),
    key("arrays_apart_by_newaxis", CUBE, lambda v: s_[v, None, v], ints([0, 2])),
    key("array_after_newaxis", CUBE, lambda v: s_[None, :, v], PICK),
    key("array_in_the_middle", CUBE, lambda v: s_[:, v, 1:3], GRID),
    key("array_last", CUBE, lambda v: s_[..., v], GRID),
    key("array_and_slices", CUBE, lambda v, i: s_[i:, v, ::-2], PICK, ints(1)),
    key("array_on_row", ROW, lambda v: s_[v], ints([0, -1, 0]), pattern=(False, False)),
    key("array_on_column", COL, lambda v: s_[:, v], ints([0, -1, 0]), pattern=(False, False)),
    key("array_keeps_pattern", ROW, lambda v: s_[:, v], PICK, pattern=(True, False)),
    key(
        "array_of_one",
        MATRIX,
        lambda v: s_[v],
        ints([2], broadcastable=(True,)),
        pattern=(True, False),
    ),
    key("mask", MATRIX, lambda m: m, In((4, 5), "bool"), pattern=(False,)),
    key("mask_numpy", VECTOR, np.array([True, False, True, True, False, False])),
    key("mask_rows", MATRIX, lambda m: m, In((4,), "bool"), pattern=(False, False)),
    key("mask_columns", MATRIX, lambda m: s_[1:, m], In((5,), "bool")),
    key("mask_inner_axes", CUBE, lambda m: s_[:, m], In((4, 5), "bool")),
    key(
        "mask_and_array",
        CUBE,
        lambda m, v: s_[m, v],
        ints([True, False, True], "bool"),
        ints([3, 1]),
    ),
    key("mask_of_nothing", VECTOR, lambda m: m, ints([False] * 6, "bool")),
    Case("mask_compared", lambda x: x[x > 0], (MATRIX,), lambda x: x[x > 0], grad=()),
    key("array_float32", In((4, 3), "float32"), lambda v: v, PICK, dtype="float32"),
    key("array_int16", In((4, 3), "int16"), lambda v: v, PICK, dtype="int16"),
    key("array_bool", In((4, 3), "bool"), lambda v: v, PICK, dtype="bool"),
    key("array_float16", In((4, 3), "float16"), lambda v: v, PICK, dtype="float16"),
]

WRITES = [
    *write("int", CUBE, In((4, 5)), 1),
    *write("scalar", CUBE, In(), s_[1:, 2]),
    *write("vector_padded", CUBE, In((5,)), s_[1:, 2:]),
    *write("broadcast", MATRIX, In((1, 5), broadcastable=(True, False)), s_[1:]),
    *write("column", MATRIX, In((4, 1), broadcastable=(False, True)), s_[:, ::-2]),
    *write("reversed", MATRIX, In((4, 5)), s_[::-1]),
    *write("full", VECTOR, In((6,)), s_[:]),
    *write("element", MATRIX, In(), (1, -1)),
    *write("newaxis", VECTOR, In((6, 1)), s_[:, None], sets=()),
    *write("symbolic", MATRIX, In((2, 5)), lambda a, b: s_[a:b], ints(1), ints(3)),
    *write("symbolic_int", MATRIX, In((4,)), lambda i: s_[:, i], NEG),
    *write("nothing", MATRIX, In((0, 5)), s_[4:]),
    *write("row", ROW, In((1, 2)), s_[:, 1:3]),
    *write("float32", In((4, 5), "float32"), In((5,), "float64"), 1, dtype="float32"),
    *write("int32", In((4, 5), "int32"), In((5,), "int8"), 1, dtype="int32"),
    *write("array", MATRIX, In((3, 5)), lambda v: v, ints([0, 3, -2])),
    *write("array_scalar", MATRIX, In(), lambda v: v, ints([0, 3])),
    *write("array_repeated", MATRIX, In((4, 5)), lambda v: v, ints([0, 2, 2, -4]), sets=(False,)),
    # the gradient by y of a value that is overwritten is Theano's (rule 26), not the limit
    *write(
        "array_last_wins",
        MATRIX,
        In((4, 5)),
        lambda v: v,
        ints([0, 2, 2, -4]),
        sets=(True,),
        grad=(0,),
    ),
    *write("pairs", MATRIX, In((4,)), lambda v: (np.arange(4), v), ints([1, 4, 0, -1])),
    *write("arrays_apart", CUBE, In((2, 4)), lambda v: s_[v, :, v], ints([0, 2])),
    *write("array_in_the_middle", CUBE, In((3, 2, 2)), lambda v: s_[:, v, 1:3], ints([3, 0])),
    *write(
        "array_and_slice",
        CUBE,
        In((2, 1), broadcastable=(False, True)),
        lambda v, i: s_[i, v, ::2],
        ints([3, 0]),
        ints(1),
    ),
    *write("mask", MATRIX, In(), lambda m: m, In((4, 5), "bool")),
    *write("mask_rows", MATRIX, In((5,)), lambda m: m, In((4,), "bool")),
    *write(
        "array_float32",
        In((4, 5), "float32"),
        In((3, 5), "float64"),
        lambda v: v,
        ints([0, 2, 2]),
        dtype="float32",
    ),
    *write(
        "array_int64",
        In((4, 5), "int64"),
        In((5,), "int64"),
        lambda v: v,
        ints([0, 2, 2]),
        dtype="int64",
    ),
    Case(
        "set_int_truncates",
        lambda x, y: set_subtensor(x[1:], y),
        (In((3,), "int32"), In((2,))),
        lambda x, y: np.concatenate([x[:1], y.astype("int32")]),
        dtype="int32",
    ),
    Case(
        "set_mask_compared",
        lambda x: set_subtensor(x[x > 0], 7),
        (MATRIX,),
        lambda x: np.where(x > 0, 7, x),
        grad=(),
    ),
    Case(
        "set_dimshuffled",
        lambda x, y: set_subtensor(x[:, 1:3].dimshuffle(1, 0), y),
        (MATRIX, In((2, 4))),
        lambda x, y: np.concatenate([x[:, :1], y.T, x[:, 3:]], axis=1).T,
    ),
    Case(
        "inc_transposed_rows",
        lambda x, y: inc_subtensor(x.T[[0, 2]].T, y),
        (MATRIX, In((4, 2))),
        lambda x, y: x + y @ np.eye(5)[[0, 2]],
    ),
    Case(
        "set_reshaped",
        lambda x, y: set_subtensor(x[1:3].reshape((10,)), y),
        (MATRIX, In((10,))),
        lambda x, y: np.concatenate([x[:1], y.reshape(2, 5), x[3:]]),
    ),
    Case(
        "inc_newaxis",
        lambda x, y: inc_subtensor(x[None, 1:], y),
        (VECTOR, In((5,))),
        lambda x, y: (x + np.concatenate([[0], y]))[None],
    ),
    Case(
        "method_set",
        lambda x, y: x[1].set_subtensor(y),
        (VECTOR, In()),
        lambda x, y: np.where(np.arange(6) == 1, y, x),
    ),
]


def _choices(count: int, *shape: int) -> tuple[In, ...]:
    return (In(shape),) * count


FUNCTIONS = [
    Case("take_flat", take, (MATRIX, ints([0, -1, 7])), lambda x, i: np.take(x, i)),
    Case("take_axis", lambda x, i: take(x, i, 1), (CUBE, GRID), lambda x, i: np.take(x, i, 1)),
    Case(
        "take_negative_axis",
        lambda x, i: x.take(i, axis=-1),
        (CUBE, GRID),
        lambda x, i: np.take(x, i, -1),
    ),
    Case("take_scalar", lambda x, i: take(x, i, 0), (CUBE, ints(2)), lambda x, i: np.take(x, i, 0)),
    Case(
        "take_wrap",
        lambda x, i: take(x, i, 0, mode="wrap"),
        (MATRIX, ints([-9, 4, 17])),
        lambda x, i: np.take(x, i, 0, mode="wrap"),
    ),
    Case(
        "take_clip",
        lambda x, i: take(x, i, 1, mode="clip"),
        (MATRIX, ints([[-9, 4], [17, 2]])),
        lambda x, i: np.take(x, i, 1, mode="clip"),
    ),
    Case(
        "choose_list",
        lambda a, x, y, z: choose(a, [x, y, z]),
        (ints([0, 2, 1, 2]), *_choices(3, 4)),
        lambda a, x, y, z: np.choose(a, [x, y, z]),
    ),
    Case(
        "choose_one",
        lambda a, x: choose(a, [x]),
        (ints([0, 0]), In()),
        lambda a, x: np.array([x, x]),
    ),
    Case(
        "choose_broadcast",
        lambda a, x, y: choose(a, [x, y]),
        (ints([[0, 1], [1, 1]]), In((2,)), In()),
        lambda a, x, y: np.choose(a, [x, y]),
    ),
    Case("choose_tensor", choose, (ints([0, 2, 1]), In((3, 3))), np.choose),
    Case("choose_tensor_of_matrices", choose, (ints([1, 0, 1]), In((2, 4, 3))), np.choose),
    Case(
        "choose_tensor_column",
        choose,
        (ints([1, 0, 1]), In((2, 4, 1), broadcastable=(False, False, True))),
        np.choose,
    ),
    Case(
        "choose_wrap",
        lambda a, x: choose(a, x, mode="wrap"),
        (ints([-1, 5, 1]), In((3, 3))),
        lambda a, x: np.choose(a, x, mode="wrap"),
    ),
    Case(
        "choose_clip",
        lambda a, x, y: a.choose([x, y], mode="clip"),
        (ints([-1, 5, 1]), *_choices(2, 3)),
        lambda a, x, y: np.choose(a, [x, y], mode="clip"),
    ),
    Case(
        "nonzero_first",
        lambda x: nonzero(x)[0],
        (In((3, 4), "int8", 0, 1),),
        lambda x: np.nonzero(x)[0],
        dtype="int64",
    ),
    Case(
        "nonzero_method",
        lambda x: x.nonzero()[1],
        (In((3, 4), "bool"),),
        lambda x: np.nonzero(x)[1],
    ),
    Case("nonzero_index", lambda x: x[(x > 0).nonzero()], (MATRIX,), lambda x: x[x > 0], grad=()),
    Case("flatnonzero", flatnonzero, (In((3, 4), "bool"),), np.flatnonzero, dtype="int64"),
    Case(
        "flatnonzero_float", flatnonzero, (ints([0, 2, 0, -1], "float64"),), np.flatnonzero, grad=()
    ),
    Case(
        "nonzero_values",
        nonzero_values,
        (ints([[0, 2], [3, 0]], "float64"),),
        lambda x: x[x != 0],
        grad=(),
    ),
    Case(
        "compress",
        lambda m, x: compress(m, x, axis=1),
        (In((5,), "bool"), MATRIX),
        lambda m, x: np.compress(m, x, axis=1),
    ),
    Case("compress_flat", compress, (ints([0, 1, 1], "int8"), MATRIX), np.compress),
]

CASES: list[Case] = BASIC + SLICES + ADVANCED + WRITES + FUNCTIONS


def _variable(ndim: int, dtype: str = "float64") -> Any:
    return TensorType(dtype, (False,) * ndim)("x")


def _calling(build: Callable[..., Any], *inputs: In) -> Callable[[], Any]:
    """Builds and calls on zeros, or on the values that the inputs give."""

    def provoke() -> Any:
        arrays = [np.zeros(i.shape, i.dtype) if i.values is None else i.array(RNG) for i in inputs]
        kinds = [
            TensorType(i.dtype, i.broadcastable or (False,) * a.ndim)
            for i, a in zip(inputs, arrays, strict=True)
        ]
        variables = [kind(f"v{k}") for k, kind in enumerate(kinds)]
        return build(*variables).eval(dict(zip(variables, arrays, strict=True)))

    return provoke


RNG = np.random.RandomState(0)
OUT = ("out of bounds",)
EMPTY = In((0, 5))
CALLED: list[Failure] = [
    Failure("called_int", _calling(lambda x: x[4], MATRIX), IndexError, ("index 4", *OUT)),
    Failure("called_negative", _calling(lambda x: x[:, -6], MATRIX), IndexError, ("axis 1", *OUT)),
    Failure("called_symbolic", _calling(lambda x, i: x[i], MATRIX, ints(-5)), IndexError, OUT),
    Failure("called_of_empty", _calling(lambda x: x[0], EMPTY), IndexError, OUT),
    Failure(
        "called_step_zero", _calling(lambda x, i: x[::i], MATRIX, ints(0)), ValueError, ("step",)
    ),
    Failure("called_array", _calling(lambda x, v: x[v], MATRIX, ints([0, 4])), IndexError, OUT),
    Failure(
        "called_array_negative", _calling(lambda x, v: x[:, v], MATRIX, ints([-6])), IndexError, OUT
    ),
    Failure("called_array_row", _calling(lambda x, v: x[v], ROW, ints([0, 1])), IndexError, OUT),
    Failure(
        "called_array_of_empty", _calling(lambda x, v: x[v], EMPTY, ints([0])), IndexError, OUT
    ),
    Failure(
        "called_arrays",
        _calling(lambda x, v: x[v, v[1:]], MATRIX, ints([0, 1])),
        ShapeError,
        ("fit",),
    ),
    Failure(
        "called_set",
        _calling(lambda x, v: set_subtensor(x[v], 1), MATRIX, ints([4])),
        IndexError,
        OUT,
    ),
    Failure(
        "called_inc_of_empty",
        _calling(lambda x, v: inc_subtensor(x[v], 1), EMPTY, ints([0])),
        IndexError,
        OUT,
    ),
    Failure(
        "called_set_shape",
        _calling(lambda x, y: set_subtensor(x[1:], y), MATRIX, In((3,))),
        ShapeError,
        ("does not fit", "(3, 5)"),
    ),
    Failure(
        "called_mask", _calling(lambda x, m: x[m], MATRIX, In((3,), "bool")), IndexError, ("mask",)
    ),
    Failure("called_take", _calling(lambda x, v: take(x, v), MATRIX, ints([20])), IndexError, OUT),
    Failure(
        "called_choose",
        _calling(lambda v, x: choose(v, x), ints([0, -1]), In((2, 2))),
        IndexError,
        OUT,
    ),
    Failure(
        "called_choose_list", _calling(lambda v: choose(v, [1, 2]), ints([2])), IndexError, OUT
    ),
]

FAILURES: list[Failure] = [
    *CALLED,
    Failure("index_of_0d", lambda: _variable(0)[0], IndexError, ("too many indices",)),
    Failure("too_many", lambda: _variable(2)[0, 0, 0], IndexError, ("too many indices", "3")),
    Failure(
        "too_many_masked", lambda: _variable(1)[np.ones((2, 2), bool)], IndexError, ("too many",)
    ),
    Failure("two_ellipses", lambda: _variable(2)[..., ...], IndexError, ("Ellipsis",)),
    Failure("float", lambda: _variable(2)[1.0], TypeError, ("float", "astype")),
    Failure("float_variable", lambda: _variable(2)[_variable(0)], TypeError, ("float64",)),
    Failure("float_array", lambda: _variable(2)[_variable(1)], TypeError, ("float64",)),
    Failure("bool", lambda: _variable(2)[True], TypeError, ("boolean",)),
    Failure("bool_variable", lambda: _variable(2)[_variable(0, "bool")], TypeError, ("bool",)),
    Failure("bool_list", lambda: _variable(1)[[True, False]], TypeError, ("list", "mask")),
    Failure("string", lambda: _variable(1)["a"], TypeError, ("'a'",)),
    Failure(
        "slice_of_arrays",
        lambda: _variable(1)[_variable(1, "int64") :],
        TypeError,
        ("slice bound",),
    ),
    Failure("slice_of_floats", lambda: _variable(1)[1.5:], TypeError, ("float",)),
    Failure("step_zero", lambda: _variable(1)[::0], ValueError, ("step cannot be zero",)),
    Failure(
        "known_out_of_range", lambda: _variable(2).shape[2], IndexError, ("out of bounds", "size 2")
    ),
    Failure("assignment", lambda: _variable(1).__setitem__(0, 1), TypeError, ("set_subtensor",)),
    Failure(
        "set_of_no_index",
        lambda: set_subtensor(_variable(1) + 1, 1),
        TypeError,
        ("x must be the result of a subtensor operation",),
    ),
    Failure(
        "inc_too_many_axes",
        lambda: inc_subtensor(_variable(2)[0], _variable(2)),
        TypeError,
        ("1-dimensional subtensor", "2-dimensional value"),
    ),
    Failure(
        "inc_ints_by_floats",
        lambda: inc_subtensor(_variable(1, "int64")[0], _variable(0)),
        TypeError,
        ("floats to integers",),
    ),
    Failure("nonzero_of_0d", lambda: nonzero(_variable(0)), ValueError, ("0-d",)),
    Failure("take_mode", lambda: take(_variable(1), [0], 0, mode="x"), ValueError, ("'wrap'",)),
    Failure("take_axis", lambda: take(_variable(1), [0], 1), ValueError, ("axis 1",)),
    Failure("choose_floats", lambda: choose(_variable(1), [1, 2]), TypeError, ("integers",)),
    Failure(
        "subscript_of_object", lambda: subscript(_variable(1), object()), TypeError, ("object",)
    ),
]
