"""Loops: `scan`, and what is made of it.

`scan` calls the user's function once, on variables that stand for one step (step.py), and makes the
result the inner graph of a `Scan` node (ops/scan.py). Source: Theano, library/scan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.errors import Trace, explain, warn_at
from symgraph.graph import Variable, user_trace
from symgraph.ops.core import describe
from symgraph.ops.elementwise import minimum
from symgraph.ops.join import join
from symgraph.ops.scan import Recomputed
from symgraph.ops.shape import shape_padleft, unbroadcast
from symgraph.ops.sizes import known_integer
from symgraph.ops.structure import as_size, shape_i, sizes_of
from symgraph.step import Slice, State, Step, StepError, listed, parsed, slices, state_of, until
from symgraph.testvalues import suspended
from symgraph.types import DISCRETE
from symgraph.updates import OrderedUpdates
from symgraph.variable import as_tensor_variable, constant

__all__ = [
    "OrderedUpdates", "StepError", "foldl", "foldr", "map", "reduce", "scan", "scan_checkpoints",
    "until",
]  # fmt: skip


def scan(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    n_steps: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
    profile: Any = False,
    allow_gc: bool | None = None,
    strict: bool = False,
    return_list: bool = False,
) -> tuple[Any, OrderedUpdates]:
    """Call `fn` once, and run what it builds once for each step of a loop.

    `fn` gets, in this order: the elements of the sequences (of each, one for each tap), the past
    values of the outputs (of each, one for each tap), the non-sequences. It returns a variable or a
    list of them, then updates of shared variables (a dict or a list of pairs), then `until(...)`;
    each of these may be left out, except that `until` is never alone.

    * `sequences`: variables, arrays, or dicts `input`, `taps` (default [0]), or a list of these.
      The first axis is time. With taps [-1, 0] the loop starts at element 1; with [0, 1] it ends
      one element before the last. `go_backwards` starts at their end.
    * `outputs_info`: for each output None (not fed back), its initial value (as a variable, array
      or number: tap -1), or a dict `initial`, `taps`. For taps other than [-1] the initial value
      has a first axis with at least -min(taps) rows, the oldest first. None: no output is fed back.
    * `non_sequences`: further arguments of `fn`. Whatever else `fn` uses is found by itself; with
      `strict`, a shared variable that is not listed is a MissingInputError.
    * `n_steps`: an integer or an integer scalar; None: as many as the shortest sequence allows. A
      sequence that is too short for it is a ShapeError when called, a negative number an
      IndexError. With the constant 1 (or -1, as in Theano) there is no loop: the step is built in
      place.
    * `truncate_gradient`: how many steps gradients go back, from the last one; -1: all.
    * `mode`, `profile`, `allow_gc` are accepted; a loop is compiled as the function it is in.

    Returns the outputs over time (one bare, several in a list, `return_list`: always in a list,
    None if there are none), without the initial values, and `OrderedUpdates` with the last values
    of the shared variables that change from step to step: those that `fn` updates, and those with a
    `default_update` (random streams). Pass these to `function(updates=)`.

    Raises ValueError for what `fn` or the arguments should not be, StepError (a TypeError and a
    ValueError) where an output is fed back in another dtype or number of axes than its initial
    value has. Source: Theano, `theano.scan`.
    """
    where = user_trace()
    given = [x for item in listed(sequences) for x in slices(item, go_backwards, where)]
    states = [state_of(k, info, where) for k, info in enumerate(listed(outputs_info))]
    fixed = [x if isinstance(x, Variable) else as_tensor_variable(x) for x in listed(non_sequences)]
    count = _number_of_steps(n_steps, [x.values for x in given], where)
    if known_integer(count) in (1, -1):
        outputs, updates = _one_step(fn, given, states, fixed, where)
    else:
        step = _step(fn, given, states, fixed, strict, where)
        values = [x.values for x in given]
        made = step.over_time(count, values, step.rows, list(step.shared), truncate_gradient, name)
        outputs, updates = made.outputs, made.updates
    if not outputs:
        return None, updates
    return outputs[0] if len(outputs) == 1 and return_list is not True else outputs, updates


def _step(
    fn: Callable[..., Any],
    given: Sequence[Slice],
    states: Sequence[State | None],
    fixed: Sequence[Variable],
    strict: bool,
    where: Trace | None,
) -> Step:
    past = [x for state in states if state is not None for x in state.inner]
    found = parsed(fn(*(x.element for x in given), *past, *fixed), where)
    with suspended():
        return Step(given, _for_all(states, found.outputs, where), fixed, found, strict, where)


def _one_step(
    fn: Callable[..., Any],
    given: Sequence[Slice],
    states: Sequence[State | None],
    fixed: Sequence[Variable],
    where: Trace | None,
) -> tuple[list[Any], OrderedUpdates]:
    """The only step, built in place."""
    past = [x for state in states if state is not None for x in state.before()]
    found = parsed(fn(*(x.values[0] for x in given), *past, *fixed), where)
    _for_all(states, found.outputs, where)
    if found.condition is not None:
        warn_at(where, "scan: with one step, the condition of `until` is ignored")
    return [unbroadcast(shape_padleft(x), 0) for x in found.outputs], found.updates


def _for_all(
    states: Sequence[State | None], outputs: Sequence[Any], where: Trace | None
) -> Sequence[State | None]:
    """An entry for each output, as `outputs_info` has them."""
    if states and len(states) != len(outputs):
        raise ValueError(
            explain("scan", "Please provide None as outputs_info for any output that does not feed "
                    "back into scan (i.e. it behaves like a map)", where=where,
                    got=f"{len(outputs)} outputs of the step, {len(states)} in outputs_info",
                    expected="an entry for each output")
        )  # fmt: skip
    return states or [None] * len(outputs)


def _number_of_steps(n_steps: Any, over_time: Sequence[Any], where: Trace | None) -> Any:
    if n_steps is None:
        if not over_time:
            raise ValueError(
                explain("scan", "No information about the number of steps", where=where,
                        cure="give n_steps, or a sequence")
            )  # fmt: skip
        count = shape_i(over_time[0], 0)
        for x in over_time[1:]:
            count = minimum(count, shape_i(x, 0))
        return count
    if isinstance(n_steps, (float, np.floating)):
        raise TypeError(
            explain("scan", "n_steps is not an integer", where=where, got=repr(n_steps))
        )
    variable = as_tensor_variable(n_steps)
    if variable.dtype not in DISCRETE:
        raise ValueError(
            explain("scan", "n_steps must be an int.", where=where, got=describe([variable]),
                    expected="an integer scalar", cure="cast it: .astype('int64')")
        )  # fmt: skip
    return as_size(variable, "scan")


# ---- kin -----------------------------------------------------------------------------------------


def map(
    fn: Callable[..., Any],
    sequences: Any,
    non_sequences: Any = None,
    truncate_gradient: int = -1,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """`fn` of each element of the sequences; see `scan`. Source: Theano, `theano.map`."""
    return scan(
        fn, sequences, [], non_sequences, truncate_gradient=truncate_gradient,
        go_backwards=go_backwards, mode=mode, name=name,
    )  # fmt: skip


def reduce(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    go_backwards: bool = False,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """The last values of `scan`. Source: Theano, `theano.reduce`."""
    results, updates = scan(
        fn, sequences, outputs_info, non_sequences, go_backwards=go_backwards, mode=mode, name=name
    )
    last = [x[-1] for x in results] if isinstance(results, list) else results[-1]
    return last, updates


def foldl(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """`reduce` from the first element to the last. Source: Theano, `theano.foldl`."""
    return reduce(fn, sequences, outputs_info, non_sequences, False, mode, name)


def foldr(
    fn: Callable[..., Any],
    sequences: Any,
    outputs_info: Any,
    non_sequences: Any = None,
    mode: Any = None,
    name: str | None = None,
) -> tuple[Any, OrderedUpdates]:
    """`reduce` from the last element to the first. Source: Theano, `theano.foldr`."""
    return reduce(fn, sequences, outputs_info, non_sequences, True, mode, name)


# ---- checkpoints ---------------------------------------------------------------------------------


def scan_checkpoints(
    fn: Callable[..., Any],
    sequences: Any = None,
    outputs_info: Any = None,
    non_sequences: Any = None,
    name: str | None = "checkpointscan_fn",
    n_steps: Any = None,
    save_every_N: int = 10,  # Theano's name
    padding: bool = True,
) -> tuple[Any, OrderedUpdates]:
    """`scan` in blocks of `save_every_N` steps, of which only the last values are kept.

    The outputs have a row for each block, and one for the steps that are left over, if any; their
    last rows are those of `scan`. The gradient computes the steps of a block again when it comes
    to it, so that memory is needed for n / N + N steps instead of n. States have tap -1. All
    sequences have the same length; `padding=False` says that it is a multiple of `save_every_N`
    (ShapeError when called, if not). Otherwise as `scan`; RuntimeError for taps, ValueError for
    blocks of no steps. Source: Theano, `theano.scan_checkpoints`; the idea: A. Griewank and A.
    Walther, Algorithm 799: revolve, ACM TOMS 26, 2000.
    """
    where = user_trace()
    infos = listed(outputs_info)
    for item in (*infos, *listed(sequences)):
        if isinstance(item, Mapping) and "taps" in item:
            raise RuntimeError(
                explain("scan_checkpoints", "it doesn't work with taps.", where=where,
                        got=f"taps={item['taps']}", expected="no taps: states have tap -1",
                        cure="use scan, or slice the sequence for each tap")
            )  # fmt: skip
    if save_every_N < 1:
        raise ValueError(
            explain("scan_checkpoints", "blocks of no steps", where=where,
                    got=f"save_every_N={save_every_N}", expected="at least 1")
        )  # fmt: skip
    given = [x["input"] if isinstance(x, Mapping) else x for x in listed(sequences)]
    values: list[Any] = [as_tensor_variable(x) for x in given]
    fixed = [x if isinstance(x, Variable) else as_tensor_variable(x) for x in listed(non_sequences)]
    states = [state_of(k, info, where) for k, info in enumerate(infos)]
    fed = [state for state in states if state is not None]
    count = _number_of_steps(n_steps, values, where)
    blocks = count // save_every_N
    done = blocks * save_every_N
    block = constant(save_every_N, dtype="int64")
    inner: list[Step] = []

    def one_block(*args: Any) -> Any:
        parts, past = args[: len(values)], args[len(values) : len(values) + len(fed)]
        elements = [s for part in parts for s in slices(part, False, where)]
        step = _step(fn, elements, states, fixed, False, where)
        inner.append(step)
        rows = [shape_padleft(x) for x in past]
        made = step.over_time(block, parts, rows, list(step.shared), -1, name, Recomputed)
        return [x[-1] for x in made.outputs], made.updates

    split = [
        (x[:done] if padding else x).reshape((blocks, save_every_N, *sizes_of(x)[1:]), x.ndim + 1)
        for x in values
    ]
    elements = [s for x in split for s in slices(x, False, where)]
    outer = _step(one_block, elements, states, fixed, False, where)
    made = outer.over_time(blocks, split, outer.rows, list(outer.shared), -1, name)
    outputs, updates = made.outputs, made.updates
    if padding:
        (step,) = inner
        rows = [shape_padleft(x) for x in made.last]
        shared = [updates[x] for x in step.shared]
        rest = [x[done:count] for x in values]
        left = step.over_time(count - done, rest, rows, shared, -1, name)
        outputs = [join(0, a, b[-1:]) for a, b in zip(outputs, left.outputs, strict=True)]
        updates = left.updates
    if not outputs:
        return None, updates
    return outputs[0] if len(outputs) == 1 else outputs, updates
