"""The kernel vocabulary: that machine code and Python mean the same. Accuracy: test_accuracy.py."""

import ctypes
import re

import numpy as np
import pytest

from symgraph.compile import cache, interpreted

FLOATS = ("float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
DTYPES = ("bool_", *INTEGERS, "float16", *FLOATS)
CALL = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)


def memory(dtype: str) -> np.dtype:
    return np.dtype(dtype.rstrip("_"))


def kernel_source(expression: str, dtypes: tuple[str, ...], result: str) -> str:
    loads = "".join(
        f"    {name} = pointer_in(arrays, {k}, {dtype})\n"
        for k, (name, dtype) in enumerate(zip("abc", dtypes, strict=False), 1)
    )
    values = re.sub(r"\b([abc])\b", r"\1[i]", expression)
    return (
        "def kernel(arrays, sizes, start, stop, worker):\n"
        f"    out = pointer_out(arrays, 0, {result})\n{loads}"
        f"    for i in range(start, stop):\n        out[i] = {values}\n"
    )


def run(source: str, result: str, *inputs: np.ndarray, target: str = "cpu") -> np.ndarray:
    out = np.zeros(inputs[0].shape, memory(result))
    arrays = np.array([out.ctypes.data, *(array.ctypes.data for array in inputs)])
    sizes = np.array([out.size])
    kernel = cache.build(source, target, "test")
    if target == "python":
        kernel.function(arrays.tolist(), sizes, 0, out.size, 0)
    else:
        CALL(kernel.address)(arrays.ctypes.data, sizes.ctypes.data, 0, out.size, 0)
    return out


def evaluate(
    expression: str, dtypes: tuple[str, ...], result: str, *inputs: np.ndarray, target: str = "cpu"
) -> np.ndarray:
    return run(kernel_source(expression, dtypes, result), result, *inputs, target=target)


def test_special_functions_against_scipy():
    scipy = pytest.importorskip("scipy.special")
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-20, 20, 2000), rng.uniform(0, 1e-3, 99), [1e5, 1e300]])
    got = evaluate("psi(a)", ("float64",), "float64", x)
    want = scipy.psi(x)
    assert np.max(abs(got - want) / np.maximum(1, abs(want))) < 1e-12
    x = np.append(rng.uniform(1e-3, 50, 2000), 1e5)
    got = evaluate("tri_gamma(a)", ("float64",), "float64", x)
    np.testing.assert_allclose(got, scipy.polygamma(1, x), rtol=1e-13)
    x = np.concatenate([rng.uniform(-1, 1, 2000), 1 - 10 ** rng.uniform(-15, 0, 500), [1, -1, 2]])
    got = evaluate("erfinv(a)", ("float64",), "float64", x)
    np.testing.assert_allclose(got, scipy.erfinv(x), rtol=1e-12)
    x = np.concatenate([rng.uniform(0, 2, 2000), 10 ** rng.uniform(-300, 0, 500), [0, 2]])
    got = evaluate("erfcinv(a)", ("float64",), "float64", x)
    np.testing.assert_allclose(got, scipy.erfcinv(x), rtol=1e-12, atol=1e-16)


def test_reflection_of_tri_gamma():
    x = np.array([-0.5, -1.5, -2.25, -1.0, 0.0])
    got = evaluate("tri_gamma(a)", ("float64",), "float64", x)
    # psi'(1 - x) + psi'(x) = pi**2 / sin(pi x)**2; psi'(1/2) = pi**2 / 2.
    np.testing.assert_allclose(got[:2], [np.pi**2 / 2 + 4, np.pi**2 / 2 + 4 + 4 / 9], rtol=1e-13)
    assert np.all(np.isinf(got[3:]))


# ---- machine code against Python

UNARY = (
    "exp exp2 expm1 log log2 log10 log1p sqrt sin cos tan arcsin arccos arctan sinh cosh tanh "
    "arcsinh arccosh arctanh erf erfc erfinv erfcinv gamma gammaln psi tri_gamma sigmoid softplus "
    "floor ceil trunc rint round_half_away_from_zero absolute sgn isnan isinf logical_not"
).split()
BINARY = ("maximum minimum mod floor_divide power logical_and logical_or logical_xor").split()
DRAWS = [f"philox_{kind}{bits}" for kind in ("uniform", "normal") for bits in (16, 32, 64)]
QUESTIONS = {"isnan", "isinf", "logical_not", "logical_and", "logical_or", "logical_xor"}


def test_both_vocabularies_have_the_same_names():
    from symgraph.compile import native

    assert set(native.VOCABULARY) == set(interpreted.VOCABULARY)
    tested = {*UNARY, *BINARY, *DTYPES, *DRAWS, "arctan2", "invert", "select", "affine"}
    carved = {"pointer_at", "pointer_in_at", "pointer_out_at", "address"}
    pointers = {"pointer", "pointer_in", "pointer_out"} | carved
    assert set(native.VOCABULARY) == tested | pointers


@pytest.mark.parametrize("name", DRAWS)
def test_drawn_numbers_have_the_same_bits(name):
    key = np.array([0, -1, 2**62, -(2**63), 12345] * 40)
    calls, index = np.arange(200) // 7 << 31, np.arange(200) << 29
    result = "float64" if name.endswith("64") else "float32"
    arguments = f"{name}(a, b, c)", ("int64",) * 3, result, key, calls, index
    np.testing.assert_array_equal(evaluate(*arguments), evaluate(*arguments, target="python"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_affine_rounds_twice(dtype):
    x, scale, shift = np.random.RandomState(0).randn(3, 5000).astype(dtype)
    arguments = "affine(a, b, c)", (dtype,) * 3, dtype, x, scale, shift
    np.testing.assert_array_equal(evaluate(*arguments), x * scale + shift)
    np.testing.assert_array_equal(evaluate(*arguments, target="python"), x * scale + shift)


def agree(expression: str, dtypes: tuple[str, ...], result: str, *inputs: np.ndarray) -> None:
    native = evaluate(expression, dtypes, result, *inputs)
    python = evaluate(expression, dtypes, result, *inputs, target="python")
    if result in FLOATS:
        tolerance = 2e-6 if result == "float32" else 1e-13
        np.testing.assert_allclose(native, python, tolerance, tolerance, err_msg=expression)
    else:
        np.testing.assert_array_equal(native, python, err_msg=expression)


def arguments(dtype: str, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = memory(dtype)
    if kind.kind == "f":
        special = [0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5, 2, 3, np.inf, -np.inf, np.nan, 20, -20]
        return np.concatenate([rng.uniform(-4, 4, 30), rng.uniform(0, 1, 10), special]).astype(kind)
    if kind.kind == "b":
        return rng.integers(0, 2, 40).astype(bool)
    info = np.iinfo(kind)
    edges = np.array([info.min, info.max, 0, 1, 2, 3, info.max - 1, info.min + 1], kind)
    small = rng.integers(max(info.min, -7), 8, 60).astype(kind)
    return np.concatenate([edges, small])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_agree(name, dtype):
    x = arguments(dtype)
    if name == "psi":  # -inf against nan at the poles is the same formula in two precisions
        x = x[(x != np.floor(x)) | (x > 0)]
    agree(f"{name}(a)", (dtype,), "bool_" if name in QUESTIONS else dtype, x)


@pytest.mark.parametrize("dtype", ("bool_", *INTEGERS))
def test_functions_of_integers_agree(dtype):
    a = arguments(dtype)
    for name in ("absolute", "sgn", "invert", "isnan", "isinf", "logical_not"):
        agree(f"{name}(a)", (dtype,), "bool_" if name in QUESTIONS else dtype, a)
    a, b = (grid.ravel() for grid in np.meshgrid(a, arguments(dtype, 4)))
    for name in BINARY:
        agree(
            f"{name}(a, b)", (dtype, dtype), "bool_" if name in QUESTIONS else dtype,
            a.copy(), b.copy(),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [*BINARY, "arctan2"])
def test_binary_functions_agree(name, dtype):
    a, b = (grid.ravel().copy() for grid in np.meshgrid(arguments(dtype), arguments(dtype, 4)))
    agree(f"{name}(a, b)", (dtype, dtype), "bool_" if name in QUESTIONS else dtype, a, b)


def test_division_by_zero_and_overflow_of_integers():
    a = np.array([5, -5, 0, -(2**31), -(2**31), 7], np.int32)
    b = np.array([0, 0, 0, -1, 0, -2], np.int32)
    quotient = evaluate("floor_divide(a, b)", ("int32", "int32"), "int32", a, b)
    rest = evaluate("mod(a, b)", ("int32", "int32"), "int32", a, b)
    np.testing.assert_array_equal(quotient, [0, 0, 0, -(2**31), 0, -4])
    np.testing.assert_array_equal(rest, [0, 0, 0, 0, 0, -1])


@pytest.mark.parametrize("source", DTYPES)
def test_casts_agree(source):
    x = arguments(source)
    for target in DTYPES:
        agree(f"{target}(a)", (source,), target, x)


@pytest.mark.parametrize("source", FLOATS)
def test_casts_of_what_does_not_fit_agree(source):
    x = np.array([-1, 255, 256, 3e9, -3e9, 5e9, 1e19, -1e19, 1e30, np.inf, -np.inf, np.nan], source)
    for target in INTEGERS:
        agree(f"{target}(a)", (source,), target, x)


def test_casts_like_numpy_where_numpy_defines_them():
    x = np.array([-2.7, -0.5, 0.0, 0.9, 100.99, 127.0], "f8")
    for target in ("int8", "int32", "int64", "float32", "bool_"):
        got = evaluate(f"{target}(a)", ("float64",), target, x)
        np.testing.assert_array_equal(got, x.astype(memory(target)))


def test_select_and_mixed_types():
    a = np.array([0.0, 2.0, np.nan, -1.0], "f4")
    b = np.array([1, 2, 3, 4], "i4")
    agree("select(a > b - 1, a, float32(b))", ("float32", "int32"), "float32", a, b)
    agree("select(isnan(a), b, int64(7))", ("float32", "int32"), "int64", a, b)


# ---- pointers


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_operand_of_every_dtype(dtype):
    x = arguments(dtype)
    np.testing.assert_array_equal(evaluate("a", (dtype,), dtype, x), x)
    np.testing.assert_array_equal(evaluate("a", (dtype,), dtype, x, target="python"), x)


def test_half_precision_rounds_like_numpy():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    got = evaluate("a", ("float16",), "float32", every)
    np.testing.assert_array_equal(got, every.astype("f4"))
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    with np.errstate(all="ignore"):
        ties = every.astype("f4") * np.float32(1.00048828125)
        x = np.concatenate([bits.view("f4"), ties, rng.uniform(-7e-5, 7e-5, 20_000)]).astype("f4")
        want = x.astype("f2")
    np.testing.assert_array_equal(evaluate("a", ("float32",), "float16", x), want)


SHIFTED = """
def kernel(arrays, sizes, start, stop, worker):
    out = pointer(arrays, 0, float64)
    last = pointer(arrays, 1, float64) + (sizes[0] - 1)
    scratch = pointer_at(address(out) + 8 * sizes[0], int16)
    for i in range(start, stop):
        out[i] = last[-i]
    scratch[0] = sizes[0]
"""


@pytest.mark.parametrize("target", ["cpu", "python"])
def test_negative_indices_and_carved_workspace(target):
    x = np.arange(7.0)
    out = np.zeros(8)
    arrays, sizes = np.array([out.ctypes.data, x.ctypes.data]), np.array([7])
    kernel = cache.build(SHIFTED, target)
    if target == "cpu":
        CALL(kernel.address)(arrays.ctypes.data, sizes.ctypes.data, 0, 7, 0)
    else:
        kernel.function(arrays.tolist(), sizes, 0, 7, 0)
    np.testing.assert_array_equal(out[:7], x[::-1])
    assert out.view("i2")[28] == 7


def many_inputs(count: int, out: str) -> str:
    lines = ["def kernel(arrays, sizes, start, stop, worker):"]
    lines += [f"    out = {out}(arrays, 0, float32)"]
    lines += [f"    x{k} = pointer_in(arrays, {k + 1}, float32)" for k in range(count)]
    lines += ["    for i in range(start, stop):"]
    lines += ["        out[i] = " + " + ".join(f"tanh(x{k}[i])" for k in range(count))]
    return "\n".join(lines) + "\n"


def test_many_operands_vectorise_without_address_checks():
    from symgraph.compile import codegen, native

    source = many_inputs(10, "pointer_out")
    function = cache.execute(source, "test", native.VOCABULARY)
    module = codegen.lower(function, codegen.KERNEL_ARGUMENTS, cache.OPTIONS, "test")
    codegen.emit(module, cache.machine(), "test")
    text = str(module)
    assert re.search(r"store <\d+ x float>", text)
    assert "memcheck" not in text


def test_in_place_operands():
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal(1001).astype("f4") for _ in range(3)]
    source = many_inputs(3, "pointer_out")
    expected = run(source, "float32", *arrays)
    place = arrays[1].copy()
    addresses = [place, arrays[0], place, arrays[2]]
    vector = np.array([array.ctypes.data for array in addresses])
    CALL(cache.build(source).address)(vector.ctypes.data, vector.ctypes.data, 0, 1001, 0)
    np.testing.assert_array_equal(place, expected)
