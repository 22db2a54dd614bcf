"""What counts as other code, and what does not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dpbench import plugins
from dpbench.planning import code_version as module
from dpbench.planning.code_version import code_version
from dpbench.plugins import Registered

CODE = '''"""A docstring."""

from fakes import Brightness
from their_package.helper import half

class Mine(Brightness):
    name = "mine"
    def compute(self, generated, references, context):
        """Another."""
        return {"brightness": 1.0 + 2}
'''
HELPER = "def half(x):\n    return x / 2\n"


def forget_code() -> None:
    module._digest.cache_clear()
    module._source.cache_clear()


@pytest.fixture
def version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Return the code version of a plugin whose package holds these files."""
    monkeypatch.syspath_prepend(tmp_path)

    def of(code: str = CODE, helper: str = HELPER, version: str = "1", dist: str = "mine") -> str:
        package = tmp_path / "their_package"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "metric.py").write_text(code)
        (package / "helper.py").write_text(helper)
        for name in [n for n in sys.modules if n.startswith("their_package")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        forget_code()
        cls: Any = importlib.import_module("their_package.metric").Mine
        cls.version = version
        return code_version(Registered(cls, dist, "0.1"))

    yield of
    forget_code()


def test_layout_comments_and_docstrings_do_not_count(version: Callable[..., str]) -> None:
    base = version()
    assert version(CODE + "\n\n# a comment\n") == base
    assert version(CODE.replace("A docstring.", "Reworded.").replace("Another.", "Too.")) == base
    assert version(CODE.replace("1.0 + 2", "(1.0 +   2)")) == base


@pytest.mark.parametrize(
    "change",
    [
        {"code": CODE.replace("+ 2", "+ 3")},
        {"helper": HELPER.replace("2", "3")},
        {"version": "2"},
        {"dist": "another"},
    ],
)
def test_what_may_change_results_counts(version: Callable[..., str], change: Any) -> None:
    assert version() != version(**change)


def test_the_release_of_a_plugin_does_not_count(forget: Callable[[], None]) -> None:
    entry = plugins.registry().get("metric", "fid")
    assert code_version(entry) == code_version(Registered(entry.cls, "dpbench", "99"))


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str], None]]:
    """Make the code version read a module as if one text in it were another."""
    read = Path.read_text

    def edit(name: str, old: str, new: str) -> None:
        path = module._file(name)
        assert path is not None

        def reading(self: Path, *args: Any, **kwargs: Any) -> str:
            text = read(self, *args, **kwargs)
            if self != path:
                return text
            assert old in text
            return text.replace(old, new)

        monkeypatch.setattr(Path, "read_text", reading)
        forget_code()

    yield edit
    forget_code()


FIRST = "from __future__ import annotations"
VERSIONED = [
    ("public", "ae"), ("public", "wgan"), ("extractor", "gradient"), ("generator", "vae"),
    ("generator", "gan"), ("metric", "fid"),
]  # fmt: skip


def versions() -> dict[str, str]:
    registry = plugins.registry()
    return {name: code_version(registry.get(kind, name)) for kind, name in VERSIONED}


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        # a helper of public models, and of the stage that shows public images to extractors
        ("dpbench.augment", FIRST, FIRST + "\nimport os", {"ae", "wgan", "gradient"}),
        ("dpbench.public.ae", FIRST, FIRST + "\nimport os", {"ae"}),
        ("dpbench.privacy.mechanism", FIRST, FIRST + "\nimport os", {"vae", "gan"}),
        ("dpbench.generators.vae", FIRST, FIRST + "\nimport os", {"vae"}),
        ("dpbench.stages.generator", FIRST, FIRST + "\nimport os", {"vae", "gan"}),
        ("dpbench.metrics.frechet", FIRST, FIRST + "\nimport os", {"fid"}),
        # what is said of privacy, what is shown and where things run decide no figure
        ("dpbench.privacy.statement", "protected", "covered", set()),
        ("dpbench.leaderboard.tables", FIRST, FIRST + "\nimport os", set()),
        ("dpbench.executors.local", FIRST, FIRST + "\nimport os", set()),
    ],
)
def test_versions_follow_what_is_imported(
    edited: Callable[[str, str, str], None], name: str, old: str, new: str, changed: set[str]
) -> None:
    before = versions()
    edited(name, old, new)
    after = versions()
    assert {plugin for plugin in before if before[plugin] != after[plugin]} == changed


def test_code_without_source_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = SimpleNamespace(__file__="/somewhere/plugin.so")
    monkeypatch.setattr(importlib, "import_module", lambda _name: compiled)
    assert len(module._digest(frozenset({"compiled"}), frozenset({"compiled"}))) == 12
    forget_code()


def test_a_replay_is_named_by_the_code_of_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = module.stage_version("replay"), module._source
    forget_code()

    def changed(name: str) -> Any:
        found = source(name)
        if name != "dpbench.privacy.replay.tape":
            return found
        return SimpleNamespace(digest="another", imports=found.imports)

    monkeypatch.setattr(module, "_source", changed)
    assert module.stage_version("replay") != before
    module._digest.cache_clear()
