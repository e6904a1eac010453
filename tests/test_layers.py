"""The order of the house: a module imports from its own layer and those below, nothing above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LAYERS: list[set[str]] = [
    {"deprecation", "errors", "flags", "_version"},
    {"configuration", "types"},
    {"graph", "expr", "serial"},
    {"variable"},
    {"random_state", "sharedvalue"},
    {"misc", "testvalues", "updates"},
    {"ops"},
    {
        "backward",
        "cloning",
        "gradient",
        "gradient_check",
        "ifelse",
        "loops",
        "op_from_graph",
        "rng_mrg",
        "step",
        "userop",
        "rewrite",
        "printing",
        "draw",
        "subject",
    },
    {"compile"},
    {"tensor", "__init__", "theano_shim", "__main__"},
]
LENET: list[set[str]] = [
    {"data"},
    {"errors"},
    {"device"},
    {
        "activations",
        "augment",
        "initializers",
        "losses",
        "optimizers",
        "penalties",
        "photograph",
        "preprocessing",
        "schedules",
    },
    {"layers"},
    {"network"},
    {"gradient_check", "inside", "models", "summary"},
    {"options"},
    {"train"},
    {"checkpoint", "display", "pictures"},
    {"classifier", "exchange", "run_data", "runs"},
    {"job", "report", "report_style"},
    {"commands"},
    {"__init__", "__main__"},
]
RANKS = {
    package: {name: rank for rank, names in enumerate(order) for name in names}
    for package, order in (("symgraph", LAYERS), ("lenet", LENET))
}

# (module, what it imports): reason. All of them import inside a function.
EXCEPTIONS = {
    ("symgraph.graph", "symgraph.variable"): "Op.make_node makes constants of numbers",
    ("symgraph.graph", "symgraph.compile.function"): "Variable.eval is a short way to function",
    ("symgraph.types", "symgraph.graph"): "a type makes variables of itself",
    ("symgraph.types", "symgraph.variable"): "a type makes variables of itself",
    (
        "symgraph.variable",
        "symgraph.ops.shape",
    ): "lists of variables are stacked when they become one",
    ("symgraph.ops.scan_gradient", "symgraph.backward"): "a step is differentiated as a graph",
    ("symgraph.graph", "symgraph.testvalues"): "a new node is evaluated at once if so asked",
    ("symgraph.testvalues", "symgraph.compile.host"): "sizes are checked as a call would",
    ("symgraph.testvalues", "symgraph.compile.sizes"): "sizes are checked as a call would",
    (
        "symgraph.configuration",
        "symgraph.compile.cuda.device",
    ): "asking for a device that is not there is an error at once",
    ("symgraph.sharedvalue", "symgraph.compile.cuda"): "a value may be put on the device at once",
    ("symgraph.variable", "symgraph.printing"): "notebooks show a variable as its picture",
    ("symgraph.gradient_check", "symgraph.compile.function"): "verify_grad compiles what it checks",
}

# what the LeNet family may use: the public names
PUBLIC = ("symgraph", "symgraph.tensor", "symgraph.printing", "symgraph.draw")


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(path: Path) -> list[tuple[str, bool]]:
    """(absolute module name, whether inside a function) of every import that runs."""
    found: list[tuple[str, bool]] = []
    stack: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while stack:
        node, inside = stack.pop()
        if is_for_types_only(node):
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                place = ROOT / full.replace(".", "/")
                is_module = place.is_dir() or place.with_suffix(".py").exists()
                found.append((full if is_module else base, inside))
        inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        stack.extend((child, inside) for child in ast.iter_child_nodes(node))
    return found


def layer(module: str) -> int:
    parts = module.split(".")
    return RANKS[parts[0]][parts[1] if len(parts) > 1 else "__init__"]


@pytest.mark.parametrize("package", ["symgraph", "lenet"])
def test_imports_go_downwards(package: str) -> None:
    wrong, used = [], set()
    for path in modules(package):
        module = name_of(path)
        for other, inside in imports(path):
            if other.split(".")[0] != package or other == "symgraph._version":
                continue
            if layer(other) <= layer(module):
                continue
            if (module, other) in EXCEPTIONS and inside:
                used.add((module, other))
            else:
                wrong.append(f"{module} imports {other}")
    assert not wrong
    needed = {pair for pair in EXCEPTIONS if pair[0].split(".")[0] == package}
    assert used == needed, "an exception that nobody needs"


@pytest.mark.parametrize("package", ["symgraph", "lenet"])
def test_modules_do_not_import_each_other_in_circles(package: str) -> None:
    """At the top of files, that is: Python would notice only in the wrong order of imports."""
    graph = {
        name_of(p): {o for o, inside in imports(p) if o.startswith(f"{package}.") and not inside}
        for p in modules(package)
    }
    done: set[str] = set()
    while graph.keys() - done:
        ready = {m for m in graph.keys() - done if not (graph[m] & graph.keys()) - done - {m}}
        assert ready, f"circle among {sorted(graph.keys() - done)}"
        done |= ready


@pytest.mark.parametrize("package", ["symgraph"])
def test_the_engine_does_not_know_lenet(package: str) -> None:
    for path in modules(package):
        assert not any(other.split(".")[0] in ("lenet", "tests") for other, _ in imports(path))


def test_lenet_uses_public_names() -> None:
    for path in modules("lenet"):
        for other, _ in imports(path):
            if other.split(".")[0] != "symgraph":
                continue
            public = other in PUBLIC or other.startswith("symgraph.tensor.")
            assert public, f"{name_of(path)} imports {other}"
