"""Learning-rate schedules: their tables, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from lenet import schedules
from lenet.errors import RunError
from lenet.schedules import constant, cosine, exponential, inverse, lecun1998, parse, step


def table(schedule, epochs=6):
    return [schedule(epoch) for epoch in range(epochs)]


def test_tables() -> None:
    assert table(constant()) == [1.0] * 6
    assert table(exponential(0.5)) == [1, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert table(inverse(0.5), 3) == [1, 1 / 1.5, 0.5]
    assert table(step(2, 0.1)) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert table(cosine(4)) == pytest.approx([1, (1 + np.sqrt(0.5)) / 2, 0.5, 0.14644661, 0, 0])


def test_lecuns_table() -> None:
    rates = [0.0005 * factor for factor in table(lecun1998(), 20)]
    expected = [0.0005] * 2 + [0.0002] * 3 + [0.0001] * 3 + [0.00005] * 4 + [0.00001] * 8
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("constant", constant()),
        ("exponential:0.95", exponential(0.95)),
        ("inverse:0.1", inverse(0.1)),
        ("step:10,0.5", step(10, 0.5)),
        ("step:1e1,.5", step(10, 0.5)),
        ("cosine:7", cosine(7)),
        ("cosine", cosine(30)),
        ("lecun1998", lecun1998()),
    ],
)
def test_parse(text, expected) -> None:
    assert table(parse(text, epochs=30), 40) == table(expected, 40)


def test_forms() -> None:
    assert [schedules.form(name) for name in schedules.SCHEDULES] == [
        "constant", "exponential:decay", "inverse:decay", "step:every,factor", "cosine:epochs",
        "lecun1998",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected one of constant, exponential:decay"),
        ("linear", "expected one of constant, exponential:decay"),
        ("exponential", "expected exponential:decay. Cure: give these numbers"),
        ("exponential:", "expected exponential:decay"),
        ("exponential:0.9,2", "expected exponential:decay"),
        ("exponential:fast", "expected exponential:decay"),
        ("constant:1", "got 'constant:1'; expected constant"),
        ("exponential:0", "decay=0; expected a number above 0, at most 1"),
        ("exponential:1.1", "decay=1.1; expected a number above 0"),
        ("exponential:nan", "decay=nan; expected a number above 0"),
        ("inverse:-1", "decay=-1; expected a number from 0"),
        ("inverse:inf", "decay=inf; expected a number from 0"),
        ("step:0,0.5", "every=0; expected a whole number from 1"),
        ("step:1.5,0.5", "every=1.5; expected a whole number"),
        ("step:inf,0.5", "every=inf; expected a whole number"),
        ("step:2,2", "factor=2; expected a number above 0, at most 1"),
        ("cosine:0", "epochs=0; expected a whole number from 1. Cure: write it as cosine:epochs"),
    ],
)
def test_errors(text, words) -> None:
    with pytest.raises(RunError, match=words):
        parse(text)
