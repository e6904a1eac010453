"""Random numbers of the device: the CPU's bits, and NumPy's, from any state on."""

from __future__ import annotations

import numpy as np
import pytest

from symgraph.compile.cuda import codegen, library, simulator
from symgraph.ops import philox, random_mersenne, random_mrg
from symgraph.random_state import pack
from tests.cuda_assembly import ARCHITECTURES
from tests.cuda_kernels import both_orders, check_resources, sizes_of, sources

STATE = np.arange(1, 7, dtype="int32")


@pytest.mark.parametrize("dtype", ("float16", "float32", "float64"))
@pytest.mark.parametrize(("streams", "count"), ((1, 5), (7, 7), (70, 200), (70, 30), (3, 0)))
def test_streams_of_mrg(streams: int, count: int, dtype: str) -> None:
    states = random_mrg.streams_from(STATE, streams)
    op = random_mrg.MRGUniform(dtype, (False,))
    want = op.evaluate(None, states, np.int64(count))  # type: ignore[arg-type]
    got = both_orders(
        "mrg_uniform", dtype, {}, [states], [(states.shape, "int32"), ((count,), dtype)]
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("extreme", (0, 2147462578, 2147483646))
def test_reductions_of_mrg_at_their_ends(extreme: int) -> None:
    """States that no stream reaches, but the arithmetic must not wrap at."""
    states = np.full((2, 6), min(extreme, 2147462578), "int32")
    states[:, :3] = extreme
    op = random_mrg.MRGUniform("float64", (False,))
    want = op.evaluate(None, states, np.int64(9))  # type: ignore[arg-type]
    got = both_orders(
        "mrg_uniform", "float64", {}, [states], [((2, 6), "int32"), ((9,), "float64")]
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("place", (0, 1, 2, 227, 622, 623, 624))
@pytest.mark.parametrize("count", (0, 1, 2, 113, 311, 312, 313, 700))
def test_the_twister(place: int, count: int) -> None:
    """From every kind of position: before the first word, odd, at the last one, behind it."""
    generator = np.random.RandomState(count)
    generator.standard_normal()  # a normal number is kept, and stays
    name, key, _, *kept = generator.get_state(legacy=True)
    generator.set_state((name, key, place, *kept))
    before = pack(generator)
    op = random_mersenne.MersenneDraw("float64", (False,), "uniform")
    want = op.evaluate(None, before, np.int64(count))  # type: ignore[arg-type]
    got = both_orders(
        "mersenne_uniform", "float64", {}, [before], [((628,), "uint32"), ((count,), "float64")]
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_normal_numbers_of_the_twister_are_the_hosts() -> None:
    assert library.lower("mersenne_normal", "float64", {}) is None


def test_streams_are_floats() -> None:
    with pytest.raises(ValueError, match="floats"):
        library.lower("mrg_uniform", "int32", {})


def test_states_may_be_written_in_place() -> None:
    states = random_mrg.streams_from(STATE, 70)
    twister = pack(np.random.RandomState(3))
    for name, state, dtype in (
        ("mrg_uniform", states, "float32"),
        ("mersenne_uniform", twister, "float64"),
    ):
        kinds = [(state.shape, str(state.dtype)), ((400,), dtype)]
        after, sample = both_orders(name, dtype, {}, [state], kinds)
        shapes = {"out0": state.shape, "out1": (400,), "in0": state.shape}
        (source,) = sources(name, dtype, {}, shapes)
        numbers = np.zeros(400, dtype)
        extents = [n for a in (state, numbers, state) for n in sizes_of(a)]
        simulator.simulate(source, 2 if state.ndim == 2 else 1, [state, numbers, state], extents)
        np.testing.assert_array_equal(state, after)
        np.testing.assert_array_equal(numbers, sample)


PHILOX = """\
def kernel(arrays, sizes):  # 32 threads
    out = pointer_out(arrays, 0, {kept})
    n = block() * 32 + thread()
    if n < sizes[0]:
        out[n] = philox_{distribution}{bits}(sizes[1], sizes[2], n * 4294967311)
"""


@pytest.mark.parametrize("distribution", philox.FORMULAS)
@pytest.mark.parametrize("bits", (16, 32, 64))
def test_philox(bits: int, distribution: str) -> None:
    kept = "float64" if bits == 64 else "float32"
    source = PHILOX.format(distribution=distribution, bits=bits, kept=kept)
    out = np.zeros(50, kept)
    simulator.simulate(source, 2, [out], [50, 2**63 - 25, 7])
    want = philox.draw(
        distribution, f"float{bits}", 2**63 - 25, 7, np.arange(50) * np.int64(4294967311)
    )
    np.testing.assert_array_equal(out, want)
    for arch in ARCHITECTURES:
        check_resources(source, arch, 64)
        text = codegen.ptx(source, arch)
        assert "call" not in text and ".approx" not in text and "fma.rn.f" not in text


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_resources(arch: str) -> None:
    shapes = {"out0": (15360, 6), "out1": (400000,), "in0": (15360, 6)}
    for dtype in ("float16", "float32", "float64"):
        for source in sources("mrg_uniform", dtype, {}, shapes):
            check_resources(source, arch, 40)
            text = codegen.ptx(source, arch)  # the recurrences are done in 32 bits
            assert "shr.u64" not in text and "mad.lo.s64" not in text
    shapes = {"out0": (628,), "out1": (400000,), "in0": (628,)}
    for source in sources("mersenne_uniform", "float64", {}, shapes):
        check_resources(source, arch, 64)
