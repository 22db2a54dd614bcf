"""The script that recomputes epsilon without dpbench."""

from __future__ import annotations

import ast
import json
import math
import sys
from pathlib import Path

import pytest

from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.statement import make_statement
from dpbench.release import recompute_epsilon as tool
from dpbench.results import Privacy, Result, selection, to_json

SCRIPT = Path(tool.__file__)
DELTA = 1e-6
SUBSAMPLED = [(e, q, t) for e in (0.2, 1.0, 10.0) for q, t in ((0.01, 100), (0.1, 30), (1.0, 20))]


def row(mechanisms: list[Mechanism]) -> Result:
    ledger = Ledger(mechanisms=mechanisms)
    privacy = Privacy(spent=compose(mechanisms, DELTA), ledger=ledger)
    return Result(
        method="m", dataset="d", status="ok", delta=DELTA, privacy=privacy, protocol={"name": "p"}
    )


def step(sigma: float, rate: float = 1.0, count: int = 1) -> Mechanism:
    return Mechanism(name="m", noise_multiplier=sigma, sampling_rate=rate, count=count)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), SUBSAMPLED)
def test_every_ledger_comes_to_what_was_stated(
    tmp_path: Path, epsilon: float, rate: float, steps: int
) -> None:
    sigma = noise_multiplier_for(epsilon, DELTA, rate, steps)
    result = row([step(sigma, rate, steps)])
    statement = make_statement(result, selection([result], ()))
    assert statement is not None
    path = tmp_path / "exported.json"
    path.write_text(json.dumps([to_json(result), to_json(statement)]))
    assert tool.main([str(path)]) == 0


def test_unlike_mechanisms_compose() -> None:
    ledger = [step(6.0), step(2.0, 0.05, 60), step(40.0), step(2.0, 0.05, 60)]
    ((_, stated, delta, uses),) = tool.read(to_json(row(ledger)))
    assert tool.recompute(uses, delta) == pytest.approx(stated, rel=0.01)


def test_a_false_figure_is_noticed(tmp_path: Path) -> None:
    content = to_json(row([step(4.0)]))
    content["privacy"]["spent"]["epsilon"] *= 0.9
    path = tmp_path / "false.json"
    path.write_text(json.dumps(content))
    assert tool.main([str(path)]) == 1


def test_no_noise_is_no_privacy() -> None:
    ((_, stated, delta, uses),) = tool.read(json.loads(json.dumps(to_json(row([step(0.0)])))))
    assert stated == tool.recompute(uses, delta) == math.inf


@pytest.mark.parametrize("stated", [0.5, 1.0, 1e6])
def test_a_finite_figure_without_noise_is_false(tmp_path: Path, stated: float) -> None:
    content = to_json(row([step(0.0)]))
    content["privacy"]["spent"]["epsilon"] = stated
    path = tmp_path / "none.json"
    path.write_text(json.dumps(content))
    assert tool.main([str(path)]) == 1


def test_it_is_short_and_needs_dp_accounting_alone() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 100
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"dp_accounting"}
