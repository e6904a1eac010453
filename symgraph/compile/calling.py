"""The call path of a function: one Python function, printed when the graph is compiled.

What is known before the first call is spelled out: which test each argument has to pass, where its
address goes, what is returned. A call whose sizes are those of the last one runs straight through:
nothing is inferred, and no memory is made but that of the results. Everything rarer is a method of
`Program`; a value that fails its test goes through `Function.accept`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.compile.binding import HEAD
from symgraph.compile.host import print_host
from symgraph.compile.inputs import In
from symgraph.compile.program import Program
from symgraph.compile.request import Form
from symgraph.configuration import config
from symgraph.types import FLOATS


class CallPath:
    """The call path of `program`: its `source`, and the function `call(owner, *values)`.

    `ins` are the inputs that are given values, `form` says how results are returned. `owner` is the
    `Function`: its `accept(position, value)` makes an array of the right type or raises TypeError.
    If `trusted`, values are not tested: they are C-contiguous arrays of the right type.
    """

    lock = "lock"  # held during a call

    def __init__(self, program: Program, ins: Sequence[In], form: Form, trusted: bool) -> None:
        self.program, self.ins, self.form, self.trusted = program, ins, form, trusted
        self.arguments = [f"x{k}" for k in range(len(ins))]
        self.results = [f"r{k}" for k in range(len(program.output_slots))]
        self.names: dict[str, Any] = self._known()
        self.source = "\n    ".join(self._lines())
        exec(compile(self.source, "<symgraph call>", "exec"), self.names)
        self.call: Callable[..., Any] = self.names.pop("call")

    def _known(self) -> dict[str, Any]:
        """What the text names."""
        program = self.program
        return {
            "ndarray": np.ndarray,
            "empty": np.empty,
            "place": ctypes.c_int64.from_address,
            "program": program,
            "lock": program.lock,
            "values": program.values,
            "bases": program.bases.data,
            "flags": config._values,
        }

    def _lines(self) -> Iterator[str]:
        yield f"def call({', '.join(['owner', *self.arguments])}):"
        for k, item in enumerate(self.ins):
            yield f"# x{k}: {item}, {item.variable.type}"
            if not self.trusted and item.dtype is not None:
                yield from self._test(k, item)
        if self.program.plan.late:
            yield f"results = program.call_staged([{', '.join(self.arguments)}])"
            yield f"return {self._returned([f'results[{k}]' for k in range(len(self.results))])}"
            return
        yield f"with {self.lock}:"
        for part in (self._bind, self._point, self._run):
            yield from ("    " + line for line in part())
        own = [slot in self.program.own for slot in self.program.output_slots]
        copies = [r + ".copy()" * o for r, o in zip(self.results, own, strict=True)]
        yield f"    return {self._returned(copies)}"

    def _test(self, k: int, item: In) -> Iterator[str]:
        x = f"x{k}"
        self.names[f"dtype{k}"] = item.dtype
        array = [f"type({x}) is ndarray", f"{x}.dtype == dtype{k}", f"{x}.ndim == {item.ndim}"]
        if item.ndim:
            array += [f"{x}.flags.c_contiguous", f"{x}.flags.aligned"]
        axes = enumerate(item.variable.type.broadcastable)
        array += [f"{x}.shape[{axis}] == 1" for axis, one in axes if one]
        yield "if not ("
        if item.ndim == 0 and not item.strict:
            self.names[f"scalar{k}"] = item.dtype.type  # type: ignore[union-attr]
            for test in (f"type({x}) is scalar{k}", *_number_tests(x, item)):
                yield f"    {test} or"
        yield f"    {' and '.join(array)}"
        yield "):"
        yield f"    {x} = {self._accept(k, x)}"

    def _accept(self, k: int, x: str) -> str:
        """An argument that has not passed its test, as an array of the right type."""
        return f"owner.accept({k}, {x})"

    def _bind(self) -> Iterator[str]:
        """Find the tables for the sizes of this call, nearly always those of the last one."""
        program, binder = self.program, self.program.binder
        for k, variable in enumerate(program.shared):
            self.names[f"cell{k}"] = variable.container  # type: ignore[attr-defined]
        if program.shared:
            moved = [f"cell{k}.value is not values[{k}]" for k in range(len(program.shared))]
            yield f"if {' or '.join(moved)}:"
            yield "    program.point_shared()"
        arrays = dict(zip(program.inputs, self.arguments, strict=True))
        arrays |= {v: f"values[{k}]" for k, v in enumerate(program.shared)}
        lines, numbers = print_host([*binder.moving, *binder.deciding], arrays)
        yield from lines
        shapes = [f"{arrays[v]}.shape" for v in program.inputs if v.type.ndim]
        key = "".join(part + ", " for part in [*shapes, *numbers[len(binder.moving) :]])
        yield f"key = ({key})"
        yield "bound = program.current"
        yield "if bound.key != key:"
        yield f"    bound = program.activate(key, [{', '.join(self.arguments)}])"
        if binder.moving:
            yield f"moved = [{', '.join(numbers[: len(binder.moving)])}]"
            yield from self._move()

    def _move(self) -> Iterator[str]:
        """Put offsets that moved into the tables."""
        yield "for table, row, k, size in bound.moving:"
        yield "    table[row] = moved[k] * size"

    def _point(self) -> Iterator[str]:
        """Say where arguments and results are, or copy what has no axes."""
        program = self.program
        for x, variable in zip(self.arguments, program.inputs, strict=True):
            if variable in program.own:
                self.names[f"own_{x}"] = program.own[variable]
                yield f"own_{x}[()] = {x}"
            elif variable.type.ndim:
                base = program.base[variable]
                yield f"bases[{base}] = start = place(id({x}) + {HEAD}).value"
                if program.plan.in_place:
                    yield f"if start < program.high and start + {x}.nbytes > program.low:"
                    yield f"    {x} = program.apart({x})"
                    yield f"    bases[{base}] = place(id({x}) + {HEAD}).value"
        for k, (r, slot) in enumerate(zip(self.results, program.output_slots, strict=True)):
            if slot in program.own:
                self.names[r] = program.own[slot]
            else:
                self.names[f"dtype_{r}"] = np.dtype(slot.type.dtype)
                yield f"{r} = empty(bound.outputs[{k}], dtype_{r})"
                yield f"bases[{program.base[slot]}] = place(id({r}) + {HEAD}).value"

    def _run(self) -> Iterator[str]:
        program, steps = self.program, len(self.program.plan.steps)
        if program.update_slots:
            yield "made = bound.fresh and program.make_room(bound)"
        if not program.is_native:
            yield f"program.run(bound, [{', '.join(self.arguments)}])"
        elif steps:
            yield f"reached = bound.run(0, {steps})"
            yield f"if reached != {steps}:"
            yield "    program.fail(reached)"
        if program.update_slots:
            yield "if made:"
            yield "    program.commit(bound, made)"

    def _returned(self, results: Sequence[str]) -> str:
        if self.form == "single":
            return results[0]
        if isinstance(self.form, str):
            return f"[{', '.join(results)}]"
        pairs = zip(self.form, results, strict=True)
        return "{" + ", ".join(f"{key!r}: {r}" for key, r in pairs) + "}"


def _number_tests(x: str, item: In) -> Iterator[str]:
    """Python numbers that `TensorType.filter` would take for this input of no axes."""
    dtype = str(item.dtype)
    if dtype == "float64":
        yield f"type({x}) is float"
    elif dtype == "int64":
        yield f"type({x}) is int and -0x8000000000000000 <= {x} <= 0x7FFFFFFFFFFFFFFF"
    elif dtype == "bool":
        yield f"type({x}) is bool"
    elif dtype in FLOATS and item.allow_downcast is not False:
        largest = float(np.finfo(dtype).max)
        rounds = "" if item.allow_downcast else f" and flags['floatX'] == {dtype!r}"
        yield f"type({x}) is float and {-largest} <= {x} <= {largest}{rounds}"
