"""The benchmark scripts start, and what they compute from their measurements is right."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
SHARED = ("common", "lane_training")
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)
#: A process that fills 48 MiB and starts another that does, then waits to be told to end.
HOLDER = """
import subprocess, sys
held = bytearray(b"x") * (48 << 20)
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    child.stdout.readline()
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import as a script does: its own folder comes first."""
    monkeypatch.syspath_prepend(FOLDER)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script(name)
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--write" in shown
    assert module.__doc__ is not None
    assert f"python benchmarks/{name}.py" in module.__doc__


def test_every_script_has_its_line_in_the_overview() -> None:
    overview = (FOLDER / "README.md").read_text()
    assert [name for name in SCRIPTS if f"benchmarks/{name}.py" not in overview] == []


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 2.3])
def test_a_power_law_has_its_exponent(power: float) -> None:
    common = script("common")
    sizes = [1, 4, 16, 256]
    costs = [3.0 * size**power for size in sizes]
    assert common.exponent(sizes, costs) == pytest.approx(power)
    assert common.last_exponent(sizes, costs) == pytest.approx(power)


def test_the_last_exponent_shows_what_the_fit_averages_out() -> None:
    common = script("common")
    sizes, costs = [1, 10, 100, 1000], [1.0, 1.0, 1.0, 10.0]  # flat, then linear
    assert common.last_exponent(sizes, costs) == pytest.approx(1)
    # least squares by hand: deviations of log size -1.5 .. 1.5, of log cost 0, 0, 0, 1
    assert common.exponent(sizes, costs) == pytest.approx(1.5 / 5)


@pytest.mark.parametrize(("sizes", "costs"), [([4], [1.0]), ([1, 2], [0.0, 1.0])])
def test_no_exponent_without_two_positive_costs(sizes: list[int], costs: list[float]) -> None:
    assert math.isnan(script("common").exponent(sizes, costs))


def test_tables_keep_figures_as_they_are_written() -> None:
    lines = script("common").table(("size", "ms"), [("1,000", "0.10"), ("all", "")])
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]] == [
        ["1,000", "0.10"],
        ["all", ""],
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="proportional set sizes are Linux's")
def test_the_peak_covers_the_whole_tree_of_processes() -> None:
    common = script("common")
    if common.tree_memory(os.getpid())[0] == 0:
        pytest.skip("this system does not tell proportional set sizes")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        with common.PeakWatcher(process.pid, interval=0.01) as peak:
            assert process.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + 30
            while peak.total < 96 * common.MIB and time.monotonic() < deadline:
                time.sleep(0.01)  # both hold their share by now; the watcher has yet to look
        process.communicate(b"\n")
    assert 96 <= peak.total / common.MIB < 250
    assert 45 < peak.largest / common.MIB < 150
    assert common.tree_memory(process.pid) == (0, 0)


PLAN = """6 trials of 6 methods: ae-enc-GAN
plan
┏━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━━━┓
┃ stage              ┃ to compute ┃ cached ┃
┡━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━━━┩
│ evaluators         │ 0          │ 1      │
│ public models      │ 2          │ 0      │
│ private generators │ 4          │ 12     │
└────────────────────┴────────────┴────────┘
│ scores             │ ok         │ 7      │
"""


def test_the_plan_of_a_run_is_read_from_what_it_prints() -> None:
    planned, cached = script("grid").plan_of(PLAN)
    assert planned == {"evaluator": 0, "public": 2, "generator": 4}
    assert cached == {"evaluator": 1, "public": 0, "generator": 12}


def artifact(runs: Path, name: str) -> Path:
    path = runs / "artifacts" / name / "meta.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    return path


def test_artifacts_that_were_replaced_or_removed_are_found(tmp_path: Path) -> None:
    grid = script("grid")
    paths = [artifact(tmp_path, f"public/{key}") for key in "abc"]
    before = grid.stamps(tmp_path)
    assert sorted(before) == ["public/a", "public/b", "public/c"]
    artifact(tmp_path, "score/d")
    assert grid.rewritten(before, grid.stamps(tmp_path)) == []
    other = paths[0].with_name("other")
    other.write_text("{}")
    other.replace(paths[0])
    paths[1].unlink()
    assert sorted(grid.rewritten(before, grid.stamps(tmp_path))) == ["public/a", "public/b"]


def result(method: str, fid: float | None, status: str = "ok") -> dict[str, object]:
    return {"method": method, "status": status, "metrics": {} if fid is None else {"fid": fid}}


def test_half_of_the_trials_does_not_count_controls(tmp_path: Path) -> None:
    reached = script("grid").half_of(tmp_path, 3)
    folder = tmp_path / "results"
    folder.mkdir()
    for number, method in enumerate(["control:real", "control:real", "a-b"]):
        (folder / f"{number}.json").write_text(json.dumps(result(method, 1.0)))
    assert not reached()
    (folder / "3.json").write_text(json.dumps(result("a-c", 1.0)))
    assert reached()


def test_result_tables_are_compared_row_by_row() -> None:
    difference = script("grid").difference
    a = {"1": result("m", 10.0), "2": result("n", 20.0), "3": result("o", None, "failed")}
    assert difference(a, a) == (3, 0.0)
    b = {**a, "2": result("n", 21.0)}
    assert difference(a, b) == (2, pytest.approx(0.05))
    assert difference(a, {"1": a["1"], "3": a["3"]}) == (2, math.inf)


def test_the_papers_time_is_told_per_trial() -> None:
    trials = [
        {"generator": name, "seconds": {"generator": seconds}}
        for name, seconds in (("vae", 1.0), ("vae", 3.0), ("gan", 5.0))
    ]
    lines = "\n".join(script("grid").beside_the_paper(6.0, trials))
    assert "under 100" in lines  # 10 minutes over 6 seconds
    assert "1200 to 1800" in lines  # 2 to 3 hours
    assert "2.0" in lines  # mean of the VAE's own training


def test_memory_is_extrapolated_by_the_last_exponent() -> None:
    expected = script("scaling").expected_peak
    assert expected([], [], 16) == expected([16], [100], 32) == 0
    assert expected([8, 16, 32], [100, 100, 400], 128) == pytest.approx(6400)


def test_scaling_measures_every_figure_of_a_tiny_case() -> None:
    scaling = script("scaling")
    case = scaling.Case(lanes=2, records=64, dim=4)
    costs = scaling.medians([case], steps=50, rounds=1)[case]
    assert min(costs.step, costs.block, costs.prior) > 0
    lines = list(scaling.section(scaling.SWEEPS["lanes"], {scaling.Case(2): costs}, {2: 5}, []))
    assert sum(line.startswith("- step ~ trials^") for line in lines) == 1


def test_what_is_outside_operators_lies_between_two_figures() -> None:
    share = script("startup").Share
    # 10 ms a step, 12 under the profiler, of which 9 in operators: at most 3, at least 1
    assert share(10.0, 12.0, 0.75, 100).outside == (pytest.approx(0.1), pytest.approx(0.25))
    assert share(10.0, 15.0, 0.9, 100).outside[0] == 0


def test_help_is_measured_to_load_no_torch() -> None:
    torch_too, modules = script("startup").loads_torch()
    assert not torch_too
    assert modules < 400


def test_planning_is_measured_on_at_least_the_trials_asked_for() -> None:
    planned = script("startup").planning(60, repeats=1)
    assert planned.trials == 72  # one seed of the default grid
    assert planned.jobs > planned.trials
    assert planned.planning > 0
