"""Evident mistakes of Theano's that symgraph does not share, one test each."""

from __future__ import annotations

import numpy as np
import pytest

from symgraph import function, grad, scan, shared
from symgraph import tensor as T
from symgraph.errors import DisconnectedInputError
from symgraph.tensor.signal import pool
from tests.under_alias import counted, same
from tests.under_alias import interpreted as interpreted


def test_a_new_axis_before_unwritten_ones() -> None:
    x = T.dmatrix("x")
    assert x[None].eval({x: counted(2, 3)}).shape == (1, 2, 3)
    assert x[:, None].eval({x: counted(2, 3)}).shape == (2, 1, 3)


@pytest.mark.parametrize("mode", ["FAST_RUN", "FAST_COMPILE"])
def test_nan_and_infinity_are_kept(mode: str) -> None:
    x, data = T.dvector("x"), np.array([np.nan, np.inf, 0.0, 2.0])
    f = function([x], [x * 0, x - x, x / x], mode=mode)
    product, difference, quotient = f(data)
    for found in (product, difference):
        np.testing.assert_array_equal(found, [np.nan, np.nan, 0, 0])
    np.testing.assert_array_equal(quotient, [np.nan, np.nan, np.nan, 1])


def test_gradients() -> None:
    m, data = T.dmatrix("m"), counted(2, 3)
    found = grad((T.diagonal(m) ** 2).sum(), m).eval({m: data})
    same(found, [[2, 0, 0], [0, 10, 0]])
    pooled = pool.pool_2d(m, (2, 2), ignore_border=True, pad=(1, 1), mode="average_exc_pad")
    found = grad(pooled.sum(), m).eval({m: counted(3, 3)})
    same(found, [[1, 0.5, 0.5], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    x = T.dvector("x")  # where the bounds are crossed, a value below the lower one becomes it
    lower, upper = T.dscalar("lower"), T.dscalar("upper")
    clipped = T.clip(x, lower, upper)
    given = {x: [0.0, 1.5, 3.0], lower: 2.0, upper: 1.0}
    slopes = function([x, lower, upper], grad(clipped.sum(), [x, lower, upper]))
    at_x, at_lower, at_upper = slopes(*given.values())
    values = clipped.eval(given)
    assert at_x.tolist() == [0, 0, 0]
    assert at_lower == (values == 2).sum() and at_upper == (values == 1).sum()


def test_none_is_an_argument_like_others() -> None:
    x = T.dscalar("x")
    with pytest.raises(TypeError):
        function([x], x + 1)(None)
    assert shared(None).get_value() is None


def test_no_steps_of_a_recurrence() -> None:
    x = T.dvector("x")
    sums, _ = scan(lambda v, h: h + v, sequences=x, outputs_info=T.constant(np.float64(0)))
    f = function([x], [sums, grad(sums.sum() + (x**2).sum(), x)])
    found, slope = f([])
    assert found.shape == slope.shape == (0,)
    assert f([1.0, 2.0])[0].tolist() == [1, 3]


def test_more_steps_than_a_sequence_has() -> None:
    x, n = T.dvector("x"), T.lscalar("n")
    doubled, _ = scan(lambda v: v * 2, sequences=x, n_steps=n)
    f = function([x, n], doubled)
    assert f([1.0, 2.0, 3.0], 2).tolist() == [2, 4]
    with pytest.raises(ValueError, match="steps"):
        f([1.0, 2.0, 3.0], 4)


def test_the_text_of_disconnected_inputs() -> None:
    with pytest.raises(DisconnectedInputError, match="that is not part of the computational graph"):
        grad(T.dscalar("cost") * 2, T.dscalar("x"))
