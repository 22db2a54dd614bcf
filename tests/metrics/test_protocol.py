import subprocess
import sys

import pytest
from pydantic import ValidationError

from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.protocol import Protocol


def test_identity_names_all_that_moves_a_score(evaluator: DomainEvaluator) -> None:
    identity = Protocol(name="default").identity(evaluator)
    assert identity["protocol"] == "default"
    assert identity["evaluator"] == "domain"
    assert identity["weights_sha256"] == evaluator.weights_sha256
    assert identity["samples"] == 10_000
    assert identity["reference"] == "private-train"
    assert identity["quantisation"] == "clamp to [0, 1], times 255, round to uint8"
    assert {"resize", "batch_size", "seed", "test_accuracy", "feature_dim"} <= identity.keys()


def test_identity_differs_with_samples_reference_and_name_but_not_with_metrics(
    evaluator: DomainEvaluator,
) -> None:
    base = Protocol(name="p")
    known = base.identity(evaluator)
    assert known == Protocol(name="p", metrics=("fid",)).identity(evaluator)
    for change in ({"samples": 2048}, {"reference": "private-test"}, {"name": "q"}):
        assert base.model_copy(update=change).identity(evaluator) != known


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 1},
        {"reference": "test"},
        {"metrics": []},
        {"sample": 9},
    ],
)
def test_mistakes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Protocol.model_validate({"name": "p", **wrong})


@pytest.mark.parametrize("module", ["protocol", "uncertainty"])
def test_reading_protocols_and_results_loads_no_torch(module: str) -> None:
    code = f"import sys, dpbench.metrics.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
