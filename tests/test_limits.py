"""Every known limit names a test, and the test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIMITS = [
    line for line in (ROOT / "docs/limits.md").read_text("utf-8").splitlines() if line[:2] == "- "
]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_is_proven(limit: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", limit)
    assert named, "a limit without a test is a rumour"
    for file, test in named:
        functions = ast.walk(ast.parse((ROOT / file).read_text("utf-8")))
        assert test in {f.name for f in functions if isinstance(f, ast.FunctionDef)}
