"""The examples in the docstrings of what a plugin or a reader of results uses are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import dpbench.api
import dpbench.privacy

MODULES = [
    *(f"dpbench.api.{module.name}" for module in pkgutil.iter_modules(dpbench.api.__path__)),
    "dpbench.privacy.handle",
    "dpbench.privacy.ledger",
    "dpbench.leaderboard.board",
    "dpbench.planning.selector",
    "dpbench.planning.toml",
    "dpbench.script",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    found = (doctest.testmod(importlib.import_module(name)).attempted for name in MODULES)
    assert sum(found) >= 10
