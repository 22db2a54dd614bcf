"""A fingerprint of the code behind an artifact: formatting and comments do not count."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dpbench.plugins import Registered

__all__ = ["code_version", "package_digest", "stage_version"]

#: Where a kind's results are made, besides the plugin itself.
STAGES = {
    "public": "dpbench.stages.public",
    "extractor": "dpbench.stages.latents",
    "generator": "dpbench.stages.generator",
    "metric": "dpbench.stages.score",
}
#: What stages import and results do not depend on: where and when things run, what is shown.
OUTSIDE = tuple(
    f"dpbench.{room}"
    for room in (
        "cli", "component", "errors", "executors", "hookspecs", "leaderboard", "planning",
        "plugin_files", "plugins", "results", "runner", "script", "store",
    )
)  # fmt: skip


def code_version(registered: Registered) -> str:
    """Name the code of a plugin: distribution, versions, digest of its source.

    The digest covers the modules that define the class and its bases, the stage that
    uses it, and all that these import, directly or not, from the plugin's own packages
    and from dpbench; docstrings, comments and layout do not count.
    """
    cls = registered.cls
    roots = frozenset({"dpbench", cls.__module__.partition(".")[0]})
    modules = {base.__module__ for base in cls.__mro__} | {STAGES.get(cls.kind, cls.__module__)}
    start = frozenset(name for name in modules if name.partition(".")[0] in roots)
    return f"{registered.distribution}/{cls.name}-{cls.version}/{_digest(start, roots)}"


def stage_version(name: str) -> str:
    """Name the code of one of dpbench's stages alone, with what it imports from dpbench."""
    return _digest(frozenset({f"dpbench.stages.{name}"}), frozenset({"dpbench"}))


@functools.cache
def package_digest() -> str:
    """Name the code of dpbench as a whole: what two machines must share."""
    total = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        total.update(_fingerprint(ast.parse(path.read_text(encoding="utf-8"))).encode())
    return total.hexdigest()[:12]


@functools.cache
def _digest(start: frozenset[str], roots: frozenset[str]) -> str:
    total = hashlib.sha256()
    for name in sorted(_reached(start, roots)):
        total.update(f"{name} {_source(name).digest}\n".encode())
    return total.hexdigest()[:12]


def _reached(start: Iterable[str], roots: frozenset[str]) -> set[str]:
    """Return ``start`` and every module that it imports, directly or not, below ``roots``."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in found and not name.startswith(OUTSIDE):
            found.add(name)
            waiting += [
                _origin(module, what)
                for module, what in _source(name).imports.values()
                if module.partition(".")[0] in roots
            ]
    return found


Imported = tuple[str, str]
"""A module, and what is taken from it; nothing for the module itself."""


@dataclass(frozen=True)
class _Source:
    """A module's digest, and what it imports by the name it gives it."""

    digest: str
    imports: dict[str, Imported]


@functools.cache
def _source(name: str) -> _Source:
    path = _file(name)
    if path is None or path.suffix != ".py":  # compiled: its distribution's version must do
        return _Source("", {})
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _Source(_fingerprint(tree), dict(_imports(tree, package)))


def _file(name: str) -> Path | None:
    """Find a module's file without importing it; only its top package is."""
    top, *rest = name.split(".")
    try:
        module = importlib.import_module(top)
    except ImportError:
        return None
    if not rest:
        file = getattr(module, "__file__", None)
        return Path(file) if file else None
    for base in getattr(module, "__path__", ()):
        stem = Path(base, *rest)
        for path in (stem.with_suffix(".py"), stem / "__init__.py"):
            if path.is_file():
                return path
    return None


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, Imported]]:
    """Yield what ``tree`` imports, but not what it imports for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, (alias.name, "")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = ".".join(filter(None, [_above(package, node.level), node.module]))
            yield from ((a.asname or a.name, (module, a.name)) for a in node.names)
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from _imports(node, package)


def _above(package: str, level: int) -> str:
    """Return what a relative import of so many dots starts from; nothing for an absolute one."""
    return ".".join(package.split(".")[: len(package.split(".")) - level + 1]) if level else ""


def _origin(module: str, name: str) -> str:
    """Return the module that ``from module import name`` takes ``name`` from.

    That is a module of that name, or where the package's ``__init__`` has it from.
    """
    if not name or _file(module) is None:
        return module
    if _file(f"{module}.{name}") is not None:
        return f"{module}.{name}"
    path = _file(module)
    if path is not None and path.name == "__init__.py" and name in _source(module).imports:
        return _source(module).imports[name][0]
    return module


def _fingerprint(tree: ast.AST) -> str:
    return hashlib.sha256(ast.dump(_Bare().visit(tree)).encode()).hexdigest()


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
