"""A release as a directory that a data owner may hand on."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpbench.errors import DpbenchError
from dpbench.privacy.statement import Statement, in_short
from dpbench.release.croissant import croissant
from dpbench.release.images import write_images
from dpbench.release.sampler import Sampler
from dpbench.results import to_json

__all__ = ["require_empty", "write_release"]

SCRIPT = "recompute_epsilon.py"


def require_empty(folder: Path) -> None:
    """Raise unless a release can be written to ``folder`` without touching anything."""
    if folder.exists() and any(folder.iterdir()):
        raise DpbenchError(f"{folder} is not empty: name another directory with --to")


def write_release(
    folder: Path,
    sampler: Sampler,
    statement: Statement,
    count: int,
    *,
    device: str = "cpu",
    licence: str,
    creator: str,
    objections: Sequence[str] = (),
) -> None:
    """Draw ``count`` images and write them, with all that belongs to them, to ``folder``.

    It appears whole or not at all. ``objections`` are what was overruled; the data card
    repeats them.

    Raises:
        DpbenchError: ``folder`` is not empty.
    """
    require_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write_images(*sampler.labelled(count, device=device), draft)
        sampler.save(draft)
        _describe(draft, sampler, statement, count, licence, creator, objections)
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _describe(
    folder: Path,
    sampler: Sampler,
    statement: Statement,
    count: int,
    licence: str,
    creator: str,
    objections: Sequence[str],
) -> None:
    (folder / "privacy.md").write_text(statement.markdown(), encoding="utf-8")
    (folder / "privacy.json").write_text(_json(to_json(statement)), encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)
    described = croissant(
        folder, count, statement, licence=licence, creator=creator, objections=objections
    )
    (folder / "croissant.json").write_text(_json(described), encoding="utf-8")
    card = (
        _environment()
        .get_template("README.md.j2")
        .render(
            name=statement.title,
            guarantee=in_short(statement),
            count=count,
            shape=sampler.image_shape,
            sampler=sampler,
            statement=statement,
            licence=licence,
            creator=creator,
            objections=objections,
        )
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dpbench.release"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
