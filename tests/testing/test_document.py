"""The documentation lists the checks that there are."""

from __future__ import annotations

from pathlib import Path

from dpbench.testing import CHECKS
from dpbench.testing.document import checks_list

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_documentation_lists_every_check_with_its_promise() -> None:
    assert checks_list() in DOCUMENT.read_text(), "write it anew: dpbench.testing.document"


def test_every_check_has_a_promise_of_one_sentence() -> None:
    for checks in CHECKS.values():
        names = [check.name for check in checks]
        assert len(names) == len(set(names))
        for check in checks:
            assert check.promise.endswith("."), check
