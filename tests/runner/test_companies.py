"""Which trials trained together is known, whatever ended the program that wrote it down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dpbench.runner.companies import bring_companies, company_of, note_company
from dpbench.stages import GeneratorTask

TORN = '["one","two"]\n["three","fo'


def together(*keys: str) -> GeneratorTask:
    return cast(GeneratorTask, SimpleNamespace(lanes=[SimpleNamespace(key=key) for key in keys]))


@pytest.mark.parametrize("before", ["", "\n", '["one","two"]\n', TORN])
def test_half_a_line_swallows_none_that_is_written_after_it(tmp_path: Path, before: str) -> None:
    (tmp_path / "companies.jsonl").write_text(before)
    note_company(tmp_path, together("five", "six"))
    note_company(tmp_path, together("seven"))
    assert company_of(tmp_path, "six") == ("five", "six")
    assert company_of(tmp_path, "seven") == ("seven",)
    assert company_of(tmp_path, "two") == (("one", "two") if "one" in before else ())


@pytest.mark.parametrize(
    ("here", "there"), [(TORN, '["five"]\n'), ('["five"]\n', TORN), (TORN, TORN)]
)
def test_half_a_line_swallows_none_that_is_brought(tmp_path: Path, here: str, there: str) -> None:
    for name, text in (("here", here), ("there", there)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "companies.jsonl").write_text(text)
    bring_companies(tmp_path / "there", tmp_path / "here")
    note_company(tmp_path / "here", together("six"))
    known = [company_of(tmp_path / "here", key) for key in ("one", "five", "six", "three")]
    assert known == [("one", "two"), () if here == there else ("five",), ("six",), ()]
