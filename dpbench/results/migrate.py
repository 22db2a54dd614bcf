"""Rows of older schema versions, read as rows of this one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from dpbench.results.identity import DEFAULT
from dpbench.results.reading import Unreadable
from dpbench.results.schema import SCHEMA_VERSION

__all__ = ["migrate_audit", "migrate_result"]

Content = dict[str, Any]


def migrate_result(content: Any) -> Content:
    """Return the content of a result's file as the current schema has it.

    Raises:
        Unreadable: no object, or of a version that this one does not know.
    """
    return _migrate(content, {1: _result_from_1})


def migrate_audit(content: Any) -> Content:
    """The same for an audit's file, whose first version had no number."""
    if isinstance(content, dict):
        content = {"schema_version": 1, **content}
    return _migrate(content, {1: _audit_from_1})


def _migrate(content: Any, steps: dict[int, Callable[[Content], Content]]) -> Content:
    if not isinstance(content, dict):
        raise Unreadable("not a JSON object")
    current: Content = content
    while (version := current.get("schema_version")) != SCHEMA_VERSION:
        if not isinstance(version, int) or version not in steps:
            raise Unreadable(f"schema version {version!r} is unknown to this version of dpbench")
        current = steps[version](current)
    return current


def _result_from_1(old: Content) -> Content:
    """Settings were a grid's name; what randomness was used stood in two places."""
    new = {**old, "schema_version": 2}
    settings = old.get("settings", DEFAULT)
    new["grids"] = [] if settings == DEFAULT else [settings]
    privacy = old.get("privacy")
    if isinstance(privacy, dict):
        new["privacy"] = _privacy_from_1(privacy) if "ledger" in privacy else None
        new["secure"] = privacy.get("rng") == "secure"
    return new


def _privacy_from_1(old: Content) -> Content:
    """An infinite epsilon was written as null."""
    spent = {k: math.inf if v is None else v for k, v in old.get("spent", {}).items()}
    return {"ledger": old["ledger"], "spent": spent}


def _audit_from_1(old: Content) -> Content:
    """An audit named fewer fields of its trial, and was a bound of epsilon always."""
    new = {name: value for name, value in old.items() if name != "audit"}
    return {**new, "schema_version": 2, "found": old.get("audit")}
