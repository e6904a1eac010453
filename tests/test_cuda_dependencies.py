"""Launches may run in any order that their dependencies allow, and nothing comes out otherwise."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from symgraph.compile.cuda.dependencies import MOST, Access, dependencies, latest_first

RANGE = st.tuples(st.integers(0, 9), st.integers(1, 4)).map(lambda r: (r[0], r[0] + r[1]))
RANGES = st.lists(RANGE, max_size=2)
ACCESS = st.builds(Access, RANGES, RANGES)


def outcome(accesses: list[Access], order: list[int]) -> list[object]:
    """What memory holds when each launch writes what it read, in this order."""
    memory: list[object] = list(range(16))
    for k in order:
        access = accesses[k]
        read = tuple(memory[i] for start, stop in access.reads for i in range(start, stop))
        for start, stop in access.writes:
            for i in range(start, stop):
                memory[i] = (k, i, hash(read))
    return memory


@given(st.lists(ACCESS, max_size=12))
@settings(deadline=None, derandomize=True)
def test_any_order_that_is_allowed(accesses: list[Access]) -> None:
    found = dependencies(accesses)
    order = latest_first(found)
    assert sorted(order) == list(range(len(accesses)))
    assert outcome(accesses, order) == outcome(accesses, list(range(len(accesses))))


def test_what_shares_nothing_waits_for_nobody() -> None:
    a, b = Access([(0, 4)], [(8, 12)]), Access([(0, 4)], [(12, 16)])
    both = Access([(8, 16)], [(4, 8)])
    assert dependencies([a, b, both]) == [[], [], [1, 0]]
    assert latest_first(dependencies([a, b, both])) == [1, 0, 2]


def test_no_edge_that_others_imply() -> None:
    step = Access([(0, 1)], [(0, 1)])
    assert dependencies([step] * 4) == [[], [0], [1], [2]]


def test_memory_that_is_used_again_keeps_its_order() -> None:
    first, reader, second = Access([], [(0, 8)]), Access([(2, 4)], [(20, 21)]), Access([], [(3, 9)])
    assert dependencies([first, reader, second]) == [[], [0], [1]]


def test_notes_are_left_in_any_order_and_asked_for_after_all() -> None:
    noting = Access([], [], notes=[(0, 8)])
    asking = Access([], [(8, 9)], asks=[(0, 8)])
    assert dependencies([noting, noting, asking, noting]) == [[], [], [1, 0], [2]]


def test_a_long_program_is_a_chain() -> None:
    found = dependencies([Access([], [(k, k + 1)]) for k in range(MOST + 1)])
    assert found[0] == [] and found[-1] == [MOST - 1]
