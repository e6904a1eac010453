"""DebugMode: every kernel against its meaning in NumPy, every rewrite against what it replaced.

A call runs four times: the fused program; the user's graph, node by node, by `Op.evaluate`; the
rewritten graph in the same way; and each of its nodes as a kernel of its own. Where two disagree,
an error says which op, which line of the user's, and which rule.

Source: Theano, library/compile/debugmode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.comparison import (
    SAMPLES,
    describe_difference,
    differences,
    is_mended,
    is_rounding,
    rounded,
    same,
    shown,
)
from symgraph.compile.inputs import In
from symgraph.compile.mode import HostMode, Options
from symgraph.compile.nodewise import NodeProgram, NodewisePath
from symgraph.compile.oracle import (
    BadDestroyMap,
    BadOptimization,
    BadThunkOutput,
    BadViewMap,
    DebugModeError,
    InvalidValueError,
    Walk,
)
from symgraph.compile.pipeline import Compiled, assemble
from symgraph.compile.request import Form
from symgraph.compile.rules import RULES, rewrite_graph
from symgraph.compile.stepwise import first_wrong
from symgraph.configuration import config
from symgraph.errors import explain
from symgraph.graph import Apply, Constant, Variable, ancestors, graph_inputs, toposort
from symgraph.rewrite import AnyRule, Rewriter, Table
from symgraph.sharedvalue import SharedVariable
from symgraph.testvalues import copied

STABILISING = frozenset(("stability", "products", "crossentropy"))  # may make infinite finite


class DebugMode(HostMode):
    """Calls are checked against NumPy; see this module's text. Very slow. Functions run on the CPU,
    whatever `config.device` says.

    Raises DebugModeError: BadThunkOutput, BadOptimization, BadDestroyMap, BadViewMap or
    InvalidValueError; all shared variables then have their old values. `check_c_code` (None:
    True): whether kernels are run one by one. `check_isfinite` (None:
    `config.DebugMode.check_finite`): whether NaN and infinity in inputs and in results of the
    rewritten graph are errors. The other arguments are accepted, and unused.
    Source: Theano, `theano.compile.debugmode.DebugMode`.
    """

    def __init__(
        self,
        optimizer: Any = "fast_run",
        stability_patience: int | None = None,
        check_c_code: bool | None = None,
        check_py_code: bool | None = None,
        check_isfinite: bool | None = None,
        check_preallocated_output: Any = None,
        require_matching_strides: Any = None,
        linker: Any = None,
    ) -> None:
        super().__init__(None, optimizer)
        self.check_c_code = check_c_code is None or bool(check_c_code)
        finite = config.DebugMode.check_finite if check_isfinite is None else check_isfinite
        self.check_isfinite = bool(finite)

    def compile(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        shared: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
    ) -> Compiled:
        return Debugged(self, inputs, outputs, shared, updates)


# ---- a function ----------------------------------------------------------------------------------


class Recorder(Rewriter):
    """Keeps what each use of a rule made of a node."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self.log: list[tuple[AnyRule, Apply, list[Variable]]] = []

    def first(self, node: Apply) -> tuple[AnyRule | None, list[Variable]]:
        rule, new = super().first(node)
        if rule is not None:
            self.log.append((rule, node, new))
        return rule, new


class Debugged(Compiled):
    """A compiled function whose calls are checked."""

    def __init__(
        self,
        mode: DebugMode,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        shared: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
    ) -> None:
        options = mode.options
        self.mode = mode
        self.inputs = list(inputs)
        self.asked = [*outputs, *(value for _, value in updates)]
        made: list[Recorder] = []

        def recorder(table: Table) -> Rewriter:
            made.append(Recorder(table))
            return made[-1]

        values = rewrite_graph(
            self.asked, options.rewrites, options.excluding, options.requiring, recorder
        )
        self.recorders = made  # one for each pass, and those of inner graphs
        pairs = list(zip((t for t, _ in updates), values[len(outputs) :], strict=True))
        fused = assemble(inputs, values[: len(outputs)], shared, pairs, options)
        super().__init__(**{name: getattr(fused, name) for name in Compiled.__dataclass_fields__})
        self.values = values
        self.kernels = self._programs(options) if mode.check_c_code else {}
        found = (v for v in ancestors([*self.asked, *values]) if isinstance(v, SharedVariable))
        self.read = list(dict.fromkeys([*shared, *found]))

    def _programs(self, options: Options) -> dict[Apply, NodeProgram]:
        every = {node: NodeProgram(node, options) for node in self.nodes}
        return {node: program for node, program in every.items() if program.is_native}

    def free(self) -> None:
        super().free()
        for program in self.kernels.values():
            program.free()

    def call_path(self, ins: Sequence[In], form: Form, trusted: bool) -> Any:
        self.fused_call = super().call_path(ins, "list", False).call
        return DebuggedPath(self, form, trusted)

    def run(self, owner: Any, values: Sequence[Any]) -> list[Any]:
        """The results, if all checks pass."""
        with self.program.lock:
            cells = {v: v.container for v in self.read}  # type: ignore[attr-defined]
            before = {v: cell.on_host() for v, cell in cells.items()}
            old = {v: copied(value) for v, value in before.items()}
            try:
                given = [copied(owner.accept(k, value)) for k, value in enumerate(values)]
                leaves = {**dict(zip(self.inputs, map(copied, given), strict=True)), **old}
                results = self.fused_call(owner, *given)
                new = [cells[target].value for target, _ in self.updates]
                self._check(leaves, [*results, *new])
            except BaseException:
                for variable, value in before.items():
                    restored = old[variable]
                    if isinstance(value, np.ndarray) and not same(value, restored):
                        value[...] = restored
                    cells[variable].value = value
                raise
            return results  # type: ignore[no-any-return]

    def _check(self, leaves: Mapping[Variable, Any], found: Sequence[Any]) -> None:
        if self.mode.check_isfinite:
            for variable, value in leaves.items():
                self._check_finite(variable, value)
        rewritten = Walk(leaves)
        self._check_kernels(rewritten)
        self._check_rules(leaves, rewritten)
        self._check_fused(leaves, rewritten, found)

    def _check_finite(self, variable: Variable, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            if not np.isfinite(value).all():
                what = variable.owner.op if variable.owner is not None else "function"
                raise InvalidValueError(
                    explain(what, f"{variable} is not finite", where=variable.created,
                            got=shown(value), expected="finite numbers",
                            cure="find out where it comes from, or pass check_isfinite=False")
                )  # fmt: skip

    # -- kernels ----------------------------------------------------------------------------------

    def _check_kernels(self, walk: Walk) -> None:
        for node in self.nodes:
            inputs = [walk[v] for v in node.inputs]
            expected = [walk[v] for v in node.outputs]
            if self.mode.check_isfinite:
                for variable, value in zip(node.outputs, expected, strict=True):
                    self._check_finite(variable, value)
            if node not in self.kernels:
                continue
            program = self.kernels[node]
            found = program(*(walk[v] for v in program.leaves))
            for k, (right, value) in enumerate(zip(expected, found, strict=True)):
                bad = differences(right, value)
                if bad is not None and not is_rounding(bad, right, value, _moved(node, inputs, k)):
                    raise BadThunkOutput(
                        explain(node.op, f"its kernel gives another result for output {k}",
                                where=node.trace, got=describe_difference(bad, right, value),
                                expected="what its evaluate gives, for inputs "
                                + ", ".join(f"{v} = {shown(x)}"
                                            for v, x in zip(node.inputs, inputs, strict=True)),
                                cure="report this, or mend the op; function.kernels() shows the "
                                "source")
                    )  # fmt: skip

    # -- rules ------------------------------------------------------------------------------------

    def _check_rules(self, leaves: Mapping[Variable, Any], rewritten: Walk) -> None:
        """Every variable of the user's graph against what stands for it in the rewritten one."""
        user = Walk(leaves)
        alive = {v for node in self.nodes for v in node.outputs}
        pairs = list(zip(self.asked, self.values, strict=True))
        for node in toposort(self.asked):
            found = ((v, self.recorders[0].done.get(v)) for v in node.outputs)
            pairs += [(v, new) for v, new in found if new is not None and new in alive]
        for variable, new in pairs:
            bad = differences(user[variable], rewritten[new])
            if bad is not None:
                self._blame(variable, new, bad, leaves, user, rewritten)

    def _blame(
        self,
        variable: Variable,
        new: Variable,
        bad: np.ndarray,
        leaves: Mapping[Variable, Any],
        user: Walk,
        rewritten: Walk,
    ) -> None:
        """BadOptimization for the rule that made the difference, if it is no mere rounding."""
        samples = [Walk(leaves, np.random.default_rng(k)) for k in range(SAMPLES)]
        for rule, node, replaced in (use for recorder in self.recorders for use in recorder.log):
            if not all(v in leaves or isinstance(v, Constant) for v in graph_inputs(node.inputs)):
                continue  # within an inner graph
            for old, made in zip(node.outputs, replaced, strict=True):
                a, b = rewritten[old], rewritten[made]
                where = differences(a, b)
                if where is None:
                    continue
                if family_of(rule) in STABILISING and is_mended(where, a, b):
                    return  # what follows from it differs, and rightly so
                if not is_rounding(where, a, b, [sample[old] for sample in samples]):
                    raise self._bad_rule(str(rule), old, made, where, a, b)
        a, b = user[variable], rewritten[new]
        if not is_rounding(bad, a, b, [sample[variable] for sample in samples]):
            raise self._bad_rule("none: merging, folding or marking", variable, new, bad, a, b)

    def _bad_rule(
        self, rule: str, old: Variable, new: Variable, bad: np.ndarray, a: Any, b: Any
    ) -> BadOptimization:
        from symgraph.printing import debugprint

        trees = (debugprint(v, depth=4, file="str").rstrip() for v in (old, new))
        before, after = ("\n    ".join(["", *tree.splitlines()]) for tree in trees)
        return BadOptimization(
            explain("rewriting", f"a rule has changed the value of {old}", where=old.created,
                    got=f"{describe_difference(bad, a, b)}\n  rule:     {rule}"
                    f"\n  old:{before}\n  new:{after}",
                    expected="the same value, but for rounding",
                    cure="report this; Mode().excluding(the rule's text) does without it")
        )  # fmt: skip

    # -- the fused program ------------------------------------------------------------------------

    def _check_fused(
        self, leaves: Mapping[Variable, Any], walk: Walk, found: Sequence[Any]
    ) -> None:
        samples = [Walk(leaves, np.random.default_rng(k)) for k in range(SAMPLES)]

        def wrong(variable: Variable, value: Any) -> np.ndarray | None:
            right = walk[variable]
            bad = differences(right, value)
            if bad is None or is_rounding(bad, right, value, [s[variable] for s in samples]):
                return None
            return bad

        for variable, value in zip(self.values, found, strict=True):
            bad = wrong(variable, value)
            if bad is None:
                continue
            kernel = "function.kernels() shows all"
            for v in self.read:  # the step by step run starts where this one has
                v.container.value = copied(leaves[v])  # type: ignore[attr-defined]
            culprit = first_wrong(
                self, [copied(leaves[v]) for v in self.inputs],
                lambda v, x: wrong(v, x) is not None,
            )  # fmt: skip
            if culprit is not None:
                position, variable, value = culprit
                bad = wrong(variable, value)
                step = self.plan.steps[position]
                ops = dict.fromkeys(str(n.op) for n in getattr(step, "nodes", ()))
                kernel = f"kernel{position} of function.kernels(): {', '.join(ops)}"
            raise BadThunkOutput(
                explain(variable.owner.op if variable.owner else "function",
                        f"the fused kernels give another result for {variable}",
                        where=variable.created,
                        got=describe_difference(np.asarray(bad), walk[variable], value),
                        expected="what its nodes give one by one",
                        cure=f"report this; {kernel}")
            )  # fmt: skip


def family_of(rule: AnyRule) -> str:
    """The family of a rule of compile/rules; "" for another."""
    return next((family for family, rules in RULES.items() if rule in rules), "")


def _moved(node: Apply, inputs: Sequence[Any], k: int) -> list[Any]:
    """Output k for inputs that are rounded at random."""
    results = []
    for seed in range(SAMPLES):
        random = np.random.default_rng(seed)
        results.append(node.op.evaluate(node, *(rounded(x, random) for x in inputs))[k])
    return results


class DebuggedPath(NodewisePath):
    """The call path of a checked function."""

    source = "(runs under DebugMode)"

    def call(self, owner: Any, *values: Any) -> Any:
        return self.packed(self.compiled.run(owner, values))


__all__ = [
    "BadDestroyMap",
    "BadOptimization",
    "BadThunkOutput",
    "BadViewMap",
    "DebugMode",
    "DebugModeError",
    "InvalidValueError",
]
