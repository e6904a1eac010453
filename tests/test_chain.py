"""Chains: which steps may run chunk by chunk, in which order; nothing comes out different."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symgraph
from symgraph import tensor as T
from symgraph.compile import chain, driver
from symgraph.tensor.nnet import conv2d
from symgraph.tensor.signal import pool


@dataclass(eq=False)
class Rows:
    roots: frozenset

    def host(self):
        return []

    def slices(self, value, shared, extent):
        return chain.Slices(1, 1, extent)


@dataclass(eq=False)
class Step:
    name: str
    writes: tuple
    reads: tuple
    rows: Rows | None = field(default=None)
    is_fallible: bool = False
    overwrites: tuple = ()

    def touched(self):
        return [*self.writes, *self.reads]

    def written(self):
        return list(self.writes)


def step(name, writes, reads, along=None):
    return Step(
        name, tuple(writes), tuple(reads), None if along is None else Rows(frozenset(along))
    )


def names(steps):
    return "".join(s.name for s in steps)


def test_producer_and_consumer_form_a_chain_and_the_rest_keeps_its_place():
    steps = [
        step("a", "x", "i", "xi"),
        step("p", "f", "w"),  # what c needs comes before the chain
        step("q", "g", "h"),  # what nobody needs stays behind it
        step("r", "s", "x"),  # what needs the whole of x too
        step("b", "y", "x", "xy"),
        step("c", "z", "yf", "yz"),
        step("d", "t", "z"),
    ]
    order, chains = chain.arrange(steps)
    assert names(order) == "pabcqrd"
    assert chains == [(1, 4)]


def test_an_array_that_one_side_does_not_follow_parts_them():
    order, chains = chain.arrange([step("a", "x", "i", "xi"), step("b", "y", "xj", "yj")])
    assert names(order) == "ab"
    assert chains == []
    both_read = [step("a", "x", "w", "x"), step("b", "y", "w", "y")]
    assert chain.arrange(both_read)[1] == []  # nothing in common that both follow


def test_no_shared_variable_changes_before_a_step_that_can_fail():
    make, update = step("a", "g", "i", "gi"), step("u", "w", "g", "gw")
    check = step("f", "e", "j")
    check.is_fallible, update.overwrites = True, ("w",)
    assert chain.arrange([make, check, update]) == ([check, make, update], [(1, 3)])
    check.reads = ("g",)
    assert chain.arrange([make, check, update]) == ([make, check, update], [])
    check.reads = ("j",)
    check.is_fallible = False
    assert chain.arrange([make, check, update]) == ([make, update, check], [(0, 2)])


ROOTS = "abcdefgh"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ROOTS), st.sets(st.sampled_from(ROOTS), max_size=3),
            st.sets(st.sampled_from(ROOTS), max_size=6), st.booleans(),
        ),
        max_size=14,
    )
)  # fmt: skip
def test_any_order_keeps_what_depends_on_each_other_in_order(drawn):
    steps = [
        step(str(k), w, sorted(reads - {w}), along if follows else None)
        for k, (w, reads, along, follows) in enumerate(drawn)
    ]
    order, chains = chain.arrange(steps)
    assert sorted(map(id, order)) == sorted(map(id, steps))
    place = {id(s): k for k, s in enumerate(order)}
    for k, first in enumerate(steps):
        for second in steps[k + 1 :]:
            if set(first.writes) & set(second.touched()) or set(second.writes) & set(first.reads):
                assert place[id(first)] < place[id(second)]
    for start, stop in chains:
        members = order[start:stop]
        assert 2 <= len(members) <= chain.LONGEST
        for root in chain.passed_on(members):
            assert all(root in m.rows.roots for m in members if root in m.touched())


def test_chunks_cover_the_same_rows():
    two = [step("a", "x", "i", "xi"), step("b", "y", "x", "xy")]
    two[0].rows.slices = lambda value, shared, extent: chain.Slices(16, 2, 500)
    two[1].rows.slices = lambda value, shared, extent: chain.Slices(1, 3, 10_000)
    cuts = chain.cut(two, {}, lambda root: 1, [(64, 2), (30_000, 60)])
    assert cuts == [chain.Cut({0: 2, 1: 16 * 20 * 3}, 16, 500)]
    few = chain.cut(two, {}, lambda root: 1, [(64, 64), (30_000, 30_000)])
    assert few == []  # one after the other, each in as many chunks as it likes


def test_a_chain_that_sizes_part_is_cut_where_they_do():
    four = [
        step("a", "x", "i", "xi"), step("b", "y", "x", "xy"), step("c", "z", "y", "yz"),
        step("d", "w", "z", "zw"),
    ]  # fmt: skip
    idle = chain.cut([*four[:2], four[2]], {}, lambda root: 1, [(100, 5), (0, 1), (100, 5)])
    assert idle == [chain.Cut({0: 5, 2: 5}, 5, 100)]
    four[2].rows.slices = lambda value, shared, extent: chain.Slices(1, 1, 999)
    cuts = chain.cut(four, {}, lambda root: 1, [(100, 5)] * 4)
    assert cuts == [chain.Cut({0: 5, 1: 5}, 5, 100)]


def forward(batch, ties="all"):
    """Convolution, pooling and tanh twice, with all gradients: what chains are for."""
    rng = np.random.default_rng(0)
    x = T.tensor4("x", dtype="float32")
    layers = [(3, 5), (4, 3)]
    channels, out, parameters = 2, x, []
    for maps, size in layers:
        w = symgraph.shared(rng.standard_normal((maps, channels, size, size)).astype("f4"))
        b = symgraph.shared(rng.standard_normal(maps).astype("f4"))
        parameters += [w, b]
        out = pool.pool_2d(conv2d(out, w), (2, 2), ignore_border=True, ties=ties)
        out = T.tanh(out + b.dimshuffle("x", 0, "x", "x"))
        channels = maps
    cost = T.sum(T.sqr(out))
    f = symgraph.function([x], [cost, *T.grad(cost, parameters)])
    return f, rng.standard_normal((batch, 2, 20, 20)).astype("f4")


@pytest.mark.parametrize(
    ("batch", "ties"), [(1, "all"), (9, "all"), (150, "all"), (150, "first"), (192, "all")]
)
def test_chains_change_no_bit(batch, ties, monkeypatch):
    cuts = []
    original = chain.cut

    def noted(*arguments):
        cuts.append(original(*arguments))
        return cuts[-1]

    monkeypatch.setattr(chain, "cut", noted)
    f, x = forward(batch, ties)
    chained = f(x)
    monkeypatch.setattr(chain, "cut", lambda *arguments: [])
    f, x = forward(batch, ties)
    alone = f(x)
    assert any(cuts) == (batch >= 150)
    for a, b in zip(chained, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_change_no_bit():
    f, x = forward(150)
    before = driver.workers()
    try:
        results = []
        for threads in (1, 2):
            driver.set_threads(threads)
            f, x = forward(150)
            results.append(f(x))
    finally:
        driver.set_threads(before)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_lives_in_a_chain_alone_takes_memory_for_chunks_only(monkeypatch):
    """What a convolution hands to the pooling of it is never there as a whole."""
    x, w = T.tensor4("x", dtype="float32"), T.tensor4("w", dtype="float32")
    images, filters = np.ones((300, 2, 24, 24), "f4"), np.ones((8, 2, 5, 5), "f4")
    arenas, results = [], []
    for cut in (chain.cut, lambda *arguments: []):
        monkeypatch.setattr(chain, "cut", cut)
        f = symgraph.function([x, w], pool.pool_2d(conv2d(x, w), (2, 2), ignore_border=True))
        results.append(f(images, filters))
        arenas.append(f._compiled.program.current.arena)
    np.testing.assert_array_equal(*results)
    assert arenas[1] >= 300 * 8 * 20 * 20 * 4
    assert arenas[0] < arenas[1] / 4
