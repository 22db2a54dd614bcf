"""A plugin's package: source, test, README, CI; it runs and passes its kit as written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpbench import __version__
from dpbench.errors import DpbenchError
from dpbench.plugins import registry

__all__ = ["KINDS", "Kind", "NameTaken", "NotAName", "make_package"]

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PREFIX = "dpbench-"


class NotAName(DpbenchError):
    """A plugin's name of which no package's and no module's name can be made."""


class NameTaken(DpbenchError):
    """A name that a plugin of the same kind has, so that the registry would refuse another."""


@dataclass(frozen=True)
class Kind:
    """What the templates say of one kind of plugin.

    Attributes:
        kind: as the registry calls it.
        hook: that registers it.
        base: class of :mod:`dpbench.api` that it derives from.
        section: of ``benchmarks.toml`` with its hyperparameters.
        title: in a sentence.
        use: a command that uses it.
    """

    kind: str
    hook: str
    base: str
    section: str
    title: str
    use: str

    @property
    def kit(self) -> str:
        """Its kit in :mod:`dpbench.testing`."""
        return f"{self.base.removeprefix('Private')}Kit"


#: By the name that ``--kind`` takes.
KINDS = {
    "generator": Kind(
        "generator", "register_generators", "PrivateGenerator", "generators",
        "private generator", "dpbench run --grid smoke --method {name}",
    ),
    "public-model": Kind(
        "public", "register_public_models", "PublicModel", "public",
        "public model", "dpbench run --grid smoke --method {name}",
    ),
    "extractor": Kind(
        "extractor", "register_extractors", "Extractor", "extractors",
        "latent extractor", "dpbench run --grid smoke --method {name}",
    ),
    "metric": Kind(
        "metric", "register_metrics", "Metric", "metrics",
        "metric", "dpbench run --grid smoke && dpbench score --grid smoke --metrics {name}",
    ),
    "dataset": Kind(
        "dataset", "register_datasets", "Dataset", "datasets",
        "data set", "dpbench run --grid smoke --dataset {name}",
    ),
    "executor": Kind(
        "executor", "register_executors", "Executor", "executors",
        "executor", "dpbench run --grid smoke --executor {name}",
    ),
}  # fmt: skip


def make_package(name: str, kind: str, parent: Path) -> Path:
    """Write the package ``dpbench-NAME`` below ``parent`` and return its directory.

    Raises:
        NotAName: ``name`` is not lower-case words of letters and digits, joined by ``-``.
        NameTaken: another package's plugin of that kind has it.
        DpbenchError: there is something already, or it cannot be written.
    """
    name = name.removeprefix(PREFIX)
    if not NAME.fullmatch(name):
        raise NotAName(f"{name!r} is no name for a plugin: use a-z, 0-9 and single -, as my-gan")
    root = parent / f"{PREFIX}{name}"
    if root.exists():
        raise DpbenchError(f"{root} is there already: choose another name or --to")
    _require_free(name, KINDS[kind])
    try:
        for path, text in _files(name, KINDS[kind]):
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DpbenchError(f"{root} cannot be written ({error.strerror})") from error
    return root


def _require_free(name: str, kind: Kind) -> None:
    """Refuse a name with which the package would not be loaded.

    What has it may be an earlier version of the package itself, which this one would replace.
    """
    taken = registry().classes[kind.kind].get(name)
    if taken is not None and taken.distribution != f"{PREFIX}{name}":
        raise NameTaken(
            f"the {kind.title} name {name!r} is already taken by {taken.distribution}: "
            f"choose another, as my-{name}"
        )


def _files(name: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield path and text of every file."""
    words = name.split("-")
    module = "dpbench_" + "_".join(words)
    values = {
        "name": name,
        "distribution": f"{PREFIX}{name}",
        "module": module,
        "cls": "".join(word.capitalize() for word in words),
        "kind": kind,
        "use": kind.use.format(name=name),
        "dpbench": __version__,
    }
    templates = Environment(
        loader=PackageLoader("dpbench.new"),
        autoescape=False,  # source code, not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    for template, path in (
        ("pyproject.toml.j2", "pyproject.toml"),
        ("README.md.j2", "README.md"),
        ("test_plugin.py.j2", f"tests/test_{'_'.join(words)}.py"),
        ("ci.yml.j2", ".github/workflows/test.yml"),
        (f"kinds/{kind.kind}.py.j2", f"{module}/__init__.py"),
    ):
        yield path, templates.get_template(template).render(values)
    yield f"{module}/py.typed", ""
