"""Plugins that are one file: for what nobody wants to make a package of yet."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from dpbench.errors import DpbenchError, one_line

__all__ = [
    "FILES_VARIABLE",
    "BadPluginFile",
    "file_hash",
    "load_file",
    "plugin_files",
    "title",
    "use_files",
]

#: Files that every process of a run loads, separated as in ``PATH``; ``--plugin`` adds to them.
FILES_VARIABLE = "DPBENCH_PLUGIN_FILES"


class BadPluginFile(DpbenchError):
    """A file named as a plugin that is not there, or that cannot be imported."""


def plugin_files() -> list[Path]:
    """Return the files that are loaded beside installed plugins."""
    return [Path(part) for part in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if part]


def use_files(paths: Iterable[Path]) -> None:
    """Add files to those that this process, and each that it starts, loads as plugins."""
    try:
        files = [*plugin_files(), *(path.expanduser().resolve() for path in paths)]
    except (OSError, RuntimeError) as error:  # no such home, a link to itself
        raise BadPluginFile(f"{one_line(error)}: name another file with --plugin") from error
    os.environ[FILES_VARIABLE] = os.pathsep.join(map(str, dict.fromkeys(files)))


def load_file(path: Path) -> ModuleType:
    """Import a file under a name that holds the hash of its content, and so is in every key.

    Raises:
        BadPluginFile: with the reason.
    """
    stem = re.sub(r"\W", "_", title(path).removesuffix(".py"))
    name = f"dpbench_file_{stem}_{file_hash(path)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadPluginFile(f"plugin file {path} is not Python: name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a stranger's code may raise anything
        del sys.modules[name]
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BadPluginFile(f"plugin file {path} cannot be imported: {reason}") from error
    return module


def title(path: Path) -> str:
    """Return a file's name; that of its folder too where it is a package's."""
    return f"{path.parent.name}/{path.name}" if path.stem == "__init__" else path.name


def file_hash(path: Path) -> str:
    """Return a digest of a file's content.

    Raises:
        BadPluginFile: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise BadPluginFile(
            f"plugin file {path} cannot be read ({error.strerror}): name another with --plugin"
        ) from error
