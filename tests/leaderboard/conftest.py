"""Made-up results on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dpbench.results import Result, save_result


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Iterable[Result]], Path]:
    """Write results as a run would; return the runs directory."""

    def write(results: Iterable[Result]) -> Path:
        for result in results:
            save_result(tmp_path / "runs", result)
        return tmp_path / "runs"

    return write
