"""Hostile plugins, wherever their code runs: each costs its own trials or cells, and no other's."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch
from fakes import TINY, InProcess
from torch import nn

from dpbench.api import Workplace
from dpbench.component import Component
from dpbench.executors import local, worker
from dpbench.executors.log import KEPT
from dpbench.executors.worker import execute
from dpbench.plugin_files import FILES_VARIABLE
from dpbench.results import Result, load_results
from dpbench.runner.execute import execute as execute_plan
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared
from dpbench.runner.withheld import WITHHELD
from dpbench.stages import EvaluatorTask

Run = Callable[..., dict[str, Result]]
BASE = TINY
FEW = ("exits", "interrupts", "unspeakable")
#: Every way of raising where a generator learns and a metric computes, a few everywhere else.
POINTS: dict[str, dict[str, tuple[str, ...]]] = {
    "generators": {"fit": tuple(hostile.RAISES), "sample": FEW, "state": FEW, "restore": FEW},
    "public": {"fit": FEW, "encode": FEW, "decode": ("exits",)},
    "extractors": {"extract": FEW},
}
METRICS = {
    "compute": tuple(hostile.RAISES),
    "picture": FEW,
    "returns": tuple(hostile.RETURNS),
    "shows": tuple(hostile.PICTURES),
}


@pytest.fixture(autouse=True)
def _installed(distribution: Callable[..., Path]) -> None:
    distribution("dpbench-hostile", hostile="hostile")


@pytest.fixture
def run(_installed: None, carry_out: Callable[..., Any]) -> Run:
    """Run the tiny grid, and methods more, in this process; return the rows by method."""

    def by_method(*names: str, extra: str = "", base: str = BASE, **more: Any) -> dict[str, Result]:
        grids = ("linear-look-MEAN", *names)
        results, _ = carry_out(extra, base=base, grids=grids, **more)
        return {result.method: result for result in results}

    return by_method


def name_of(point: str, how: str) -> str:
    return f"{point}-{how}".replace(" ", "_")


def tables(section: str, points: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Yield the name and the configuration of a hostile component for each point and way."""
    for point, ways in points.items():
        for how in ways:
            name = name_of(point, how)
            table = f'[{section}.{name}]\nplugin = "hostile"\nat = "{point}"\nhow = "{how}"\n'
            yield name, table


def assert_told(reason: str | None) -> None:
    """Whatever was raised, the reason is one line that can be shown anywhere."""
    assert reason
    assert len(reason) < 1300
    assert reason.isprintable()
    reason.encode()


METHOD = {
    "generators": "linear-look-{}",
    "public": "{}-look-MEAN",
    "extractors": "linear-{}-MEAN",
}


def test_whatever_is_raised_costs_its_own_trials(run: Run, tmp_path: Path) -> None:
    alone = run()["linear-look-MEAN"]
    assert alone.status == "ok"
    extra, hostile_methods = "", []
    for section, points in POINTS.items():
        for name, table in tables(section, points):
            extra += table
            hostile_methods.append(METHOD[section].format(name))
    rows = run(*hostile_methods, extra=extra, fresh=True)
    assert rows.keys() == {"linear-look-MEAN", *hostile_methods}
    assert rows["linear-look-MEAN"].metrics == alone.metrics
    for method in hostile_methods:
        assert rows[method].status in ("failed", "skipped"), method
        assert_told(rows[method].reason)
    assert len(load_results(tmp_path / "runs")) == len(rows)


def test_whatever_a_metric_does_costs_its_own_cell(run: Run) -> None:
    alone = run()["linear-look-MEAN"]
    # Each in a protocol of its own: all would fill one column.
    for name, table in tables("metrics", METRICS):
        base = BASE.replace('["fid",', f'["fid", "{name}",')
        assert base != BASE
        (row,) = run(extra=table, base=base).values()
        assert row.status == "ok"
        assert row.metrics == alone.metrics
        assert row.unavailable.keys() == {name}
        assert_told(row.unavailable[name])


@pytest.mark.parametrize("point", ["fit", "call", "describe"])
def test_an_evaluator_costs_the_rows_of_its_protocols(run: Run, point: str) -> None:
    extra = f'[evaluators.bad]\nplugin = "hostile"\nat = "{point}"\nhow = "exits"\n'
    extra += '[protocols.bad]\nsamples = 64\nmetrics = ["fid"]\nevaluator = "bad"\n'
    row = run(extra=extra, protocols=("bad",))["linear-look-MEAN"]
    assert row.status in ("failed", "skipped")
    assert_told(row.reason)
    assert run(extra=extra, protocols=("tiny",))["linear-look-MEAN"].status == "ok"


def computed() -> list[Any]:
    """Return what a task would find, and figure out."""
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        out = nn.Linear(36, 4)(layer(torch.rand(2, 1, 8, 6)).flatten(1)[:, :36])
    return [
        out.tolist(),
        torch.tensor([0.1]).mean().item(),
        torch.tensor(1e-310, dtype=torch.float64).mul(1).item(),
        float(np.mean([1.0, 2.0])) + random.random() + round(2.6),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
        sys.getrecursionlimit(),
        [signal.getsignal(number) for number in signal.valid_signals()],
        dict(os.environ),
        Path.cwd(),
    ]


LEAKS = [how for how in hostile.LEAKS if how != "inference"]  # which nothing here could end


@pytest.mark.parametrize("how", LEAKS)
def test_whatever_a_task_changes_is_not_there_for_the_next(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def do(body: Callable[[], object]) -> Any:
        found: list[object] = []

        def stage(*_: object) -> dict[str, str]:
            found.append(body())
            return {}

        monkeypatch.setattr(EvaluatorTask, "run", stage)
        task = EvaluatorTask("key", "labelling", "test", (0,), Component("", "", "", {}), 11)
        place = Workplace(tmp_path / "artifacts", tmp_path)
        assert execute("log", task, place, "cpu") == ({}, None)
        return found[0]

    expected, filters = do(computed), list(warnings.filters)
    do(hostile.LEAKS[how])
    assert do(computed) == expected
    assert warnings.filters == filters
    print("and it can still be said")


def test_a_worker_beyond_repair_is_replaced_and_output_has_an_end(
    prepare: Callable[..., Prepared], tmp_path: Path
) -> None:
    """Inference mode for good, a child that goes on as if it were the task, 100 MB of output."""
    ways = {"inference": "fit", "doubles": "sample", "prints": "fit"}
    extra = "".join(
        f'[generators.{how}]\nplugin = "hostile"\nat = "{point}"\nhow = "{how}"\n'
        for how, point in ways.items()
    )
    grids = tuple(f"linear-look-{how}" for how in (*ways, "MEAN"))
    prepared = prepare(extra, base=BASE, grids=grids)
    executor = make_executor(prepared.config, prepared.directory, "local", "cpu", workers=1)
    results = execute_plan(prepared, executor)
    assert [result.status for result in results] == ["ok"] * len(grids), results
    logs = [path.read_text() for path in (tmp_path / "runs" / "logs").iterdir()]
    assert any("so that this process ends: inference mode" in one for one in logs)
    long = [one for one in logs if "xxx" in one]
    assert long and all(len(one) < 10 * KEPT for one in long)
    assert any("bytes of output were dropped here" in one for one in long)


WIPER = """
    from dpbench import hookimpl
    from fakes import LinearModel, LookExtractor

    class Blank(LinearModel):
        name = "blank"
        def fit(self, images, context):
            super().fit(images, context)
            images.zero_()

    class Wipe(LookExtractor):
        name = label = "wipe"
        def extract(self, model, images, context):
            z = super().extract(model, images, context)
            model.centre.zero_()
            images.zero_()
            return z

    @hookimpl
    def register_public_models(register):
        register(Blank)

    @hookimpl
    def register_extractors(register):
        register(Wipe)
"""


def test_what_a_stranger_changes_in_place_is_read_anew_by_the_next(
    dpbench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILES_VARIABLE, "")  # --plugin is for this test alone

    def fid(runs: str, *more: str) -> float:
        one = ("--no-controls", "--grid", "linear-look-MEAN", "--runs", runs)
        ran = dpbench("run", *one, *more)
        assert ran.exit_code == 0, ran.output
        rows = load_results(Path(runs))
        return next(row.metrics["fid"] for row in rows if row.method == "linear-look-MEAN")

    alone = fid("alone")
    (tmp_path / "wiper.py").write_text(textwrap.dedent(WIPER))
    grids = ("blank-look-MEAN", "linear-wipe-MEAN", "blank-wipe-MEAN")
    named = [part for grid in grids for part in ("--grid", grid)]
    extra = TINY.replace('methods = ["linear-look-MEAN"]', 'methods = ["*-MEAN"]')
    Path("benchmarks.toml").write_text(extra)
    assert fid("beside", *named, "--plugin", "wiper.py") == alone


def test_a_task_that_leaves_its_directory_is_kept_with_the_others(
    dpbench: Callable[..., Any],
) -> None:
    extra = '[generators.bad]\nplugin = "hostile"\nat = "fit"\nhow = "directory"\n'
    done = dpbench("run", "--no-controls", "--grid", "linear-look-bad", extra=extra)
    assert done.exit_code == 0, done.output
    assert [row.status for row in load_results(Path("runs"))] == ["ok"]


def test_what_is_no_message_of_a_worker_ends_it() -> None:
    ours, theirs = multiprocessing.Pipe()
    worker = types.SimpleNamespace(pipe=ours, process=multiprocessing.Process())
    killed: list[bool] = []
    worker.process = types.SimpleNamespace(kill=lambda: killed.append(True))
    task: Any = None
    running = local._Running(task, worker)  # type: ignore[arg-type]
    theirs.send_bytes(b"not a pickle")
    assert local._hear(running) is None
    assert killed == [True]


@pytest.mark.parametrize("fraction", [float("nan"), 7, -1, torch.tensor(0.5), np.float64(0.5)])
def test_whatever_is_reported_as_progress_is_a_fraction(
    fraction: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpbench.executors.worker.REPORT_EVERY", 0.0)
    reported: list[float] = []
    worker._sometimes(reported.append)(fraction)
    assert all(type(each) is float and 0 <= each <= 1 for each in reported)


def test_a_metric_that_ends_its_process_costs_its_own_cell(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run()["linear-look-MEAN"]
    base = BASE.replace('"brightness"', '"brightness", "bad"')
    submit = InProcess.submit

    def dies(self: Any, job_id: str, task: Any) -> None:
        names = [component.name for component, _ in getattr(task, "metrics", ())]
        self.dies_on = {"score": "its process died"} if "bad" in names else {}
        submit(self, job_id, task)

    monkeypatch.setattr(InProcess, "submit", dies)
    extra = '[metrics.bad]\nplugin = "hostile"\n'
    row = run(extra=extra, base=base, fresh=True)["linear-look-MEAN"]
    assert row.status == "ok"
    assert row.metrics == alone.metrics
    assert row.unavailable == {"bad": "its process died"}


@pytest.mark.parametrize("how", ["surrogate", "lines"])
def test_what_a_plugin_says_of_private_images_stays_out_of_a_release(
    how: str, run: Run, tmp_path: Path
) -> None:
    extra = f'[generators.bad]\nplugin = "hostile"\nat = "fit"\nhow = "{how}"\n'
    row = run("linear-look-bad", extra=extra, base="secure_rng = true\n" + BASE)["linear-look-bad"]
    assert (row.status, row.reason) == ("failed", WITHHELD)
    logs = "".join(path.read_text() for path in (tmp_path / "runs" / "logs").iterdir())
    assert ("one" if how == "lines" else "half a character") in logs
