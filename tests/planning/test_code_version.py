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

class Mine(Brightness):
    name = "mine"
    def compute(self, generated, references, context):
        """Another."""
        return {"brightness": 1.0 + 2}
'''
HELPER = "def half(x):\n    return x / 2\n"


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
        module._digest.cache_clear()
        cls: Any = importlib.import_module("their_package.metric").Mine
        cls.version = version
        return code_version(Registered(cls, dist, "0.1"))

    yield of
    module._digest.cache_clear()


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


def test_generators_depend_on_the_privacy_engine(
    forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = plugins.registry()
    generator, metric = registry.get("generator", "vae"), registry.get("metric", "fid")
    before = code_version(generator), code_version(metric)
    digest = module._digest
    changed = lambda name: "changed" if name == "dpbench.privacy" else digest(name)  # noqa: E731
    monkeypatch.setattr(module, "_digest", changed)
    assert code_version(generator) != before[0]
    assert code_version(metric) == before[1]


def test_code_without_source_is_named_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = SimpleNamespace(__file__="/somewhere/plugin.so")
    monkeypatch.setattr(importlib, "import_module", lambda _name: compiled)
    module._digest.cache_clear()
    assert len(module._digest("compiled")) == 12
    module._digest.cache_clear()
