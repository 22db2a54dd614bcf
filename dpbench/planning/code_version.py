"""A fingerprint of the code behind an artifact: formatting and comments do not count."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from dpbench.plugins import Registered

__all__ = ["code_version", "package_digest"]

#: Code that decides a kind's results besides the plugin's own package.
SHARED = {"generator": ("dpbench.privacy", "dpbench.precision")}


def code_version(registered: Registered) -> str:
    """Name the code of a plugin: distribution, versions, digest of its source.

    The digest covers all modules of the package that defines the class, so a
    helper beside it counts too; docstrings, comments and layout do not.
    """
    cls = registered.cls
    packages = (cls.__module__.rpartition(".")[0] or cls.__module__, *SHARED.get(cls.kind, ()))
    digests = "-".join(_digest(package) for package in packages)
    return f"{registered.distribution}/{cls.name}-{cls.version}/{digests}"


@functools.cache
def package_digest() -> str:
    """Name the code of dpbench as a whole: what two machines must share."""
    return _digest_of(sorted(Path(__file__).parents[1].rglob("*.py")))


@functools.cache
def _digest(name: str) -> str:
    return _digest_of(_sources(importlib.import_module(name)))


def _digest_of(paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        total.update(ast.dump(_Bare().visit(tree)).encode())
    return total.hexdigest()[:12]


def _sources(module: ModuleType) -> list[Path]:
    if not module.__file__:
        return []
    file = Path(module.__file__)
    if file.suffix != ".py":
        return []
    return sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]


class _Bare(ast.NodeTransformer):
    """Drops docstrings, so that rewording one computes nothing again."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:]  # type: ignore[attr-defined]
        return node
