"""Every numbered rule of Theano's semantics has a test named after it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

RULES = 44


def test_every_rule_has_a_test_named_after_it() -> None:
    named: dict[int, list[str]] = {}
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_rule_"):
                number = re.match(r"test_rule_(\d+)a?_\w", node.name)
                assert number, f"{path.name}: {node.name} names no rule"
                named.setdefault(int(number[1]), []).append(node.name)
    assert sorted(named) == list(range(1, RULES + 1))
