"""docs/configuration.md tells every key as the code has it, and its snippets are true."""

from __future__ import annotations

import doctest
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from dpbench.planning.config import load_config
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugins import registry

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "configuration_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_code_says(tables: ModuleType, forget: Callable[[], None]) -> None:
    text = (DOCS / "configuration.md").read_text()
    assert tables.page(text) == text, "run: python docs/configuration_tables.py"


def test_no_key_is_left_out(tables: ModuleType) -> None:
    text = tables.page("")
    for entry in registry():
        for key in entry.cls.Params.model_fields:
            assert f"| `{key}` |" in text, f"{entry.cls.name}.{key}"
    for words in (
        "| `clip` | list of number > 0 | required |",
        "`[128]`",
        '| `select` | `"scores"`',
    ):
        assert words in text


def test_every_key_is_explained_by_a_sentence_of_its_own(tables: ModuleType) -> None:
    for table in tables.page("").split("\n## ")[1:]:
        title, *lines = table.splitlines()
        cells = [re.split(r"(?<!\\\\)\|", line)[1:-1] for line in lines if line.startswith("| `")]
        for key, *_, about in cells:
            assert about.strip(), f"{title}: {key}"
        for part in table.split("\n### "):
            said = re.findall(r"(?m)^\| `.* \| (.+) \|$", part)
            assert len(set(said)) == len(said), f"{title}: {said}"


def test_types_are_told_in_words(tables: ModuleType) -> None:
    assert doctest.testmod(tables).failed == 0


def test_the_snippet_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"(?s)```toml\n(.*?)```", (DOCS / "configuration.md").read_text())
    monkeypatch.chdir(tmp_path)
    Path("benchmarks.toml").write_text(snippet)
    config = load_config(None, registry())
    trials = plan_trials(config, Request(("mine",)))
    assert {t.method.name for t in trials} == {
        "ae-enc-GAN", "ae-enc-VAE", "ae-grad-VAE", "wgan-VAE",
    }  # fmt: skip
    rates = {t.method.generator.params["learning_rate"] for t in trials if "VAE" in t.method.name}
    assert rates == {0.01}


def test_selections_in_the_table_are_understood() -> None:
    text = (DOCS / "configuration.md").read_text().partition("## Which plugins")[0]
    cells = re.findall(r"^\| (`.+`) \| (?:that|a|every|those|an|values)", text, re.MULTILINE)
    selections = [s.replace("\\|", "|") for cell in cells for s in re.findall(r"`(.+?)`", cell)]
    assert len(selections) >= 8
    config = load_config(None, registry())
    for selection in selections:
        assert plan_trials(config, Request(methods=(selection,))), selection
