import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from dpbench_tracker import FOLDER, Tracker
from dpbench_tracker.names import row_name
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams import plugin_data_pb2

from dpbench.api.events import RunInfo, TaskInfo
from dpbench.plugins import Registry
from dpbench.results import Result

LATENTS = TaskInfo("latents-1", "latents of mnist: ae, grad", "latents", 30.0)
SCORE = TaskInfo("score-1", "scores of ae-grad-GAN", "score", 5.0)


def result(**fields: Any) -> Result:
    given = {
        "method": "ae-grad-GAN",
        "public": "ae",
        "extractor": "gradient",
        "generator": "gan",
        "dataset": "mnist",
        "epsilon": 10.0,
        "delta": 1e-6,
        "clip": 1.0,
        "seed": 0,
        "status": "ok",
        "epsilon_spent": 9.9,
        "metrics": {"fid": 61.5, "is": 2.1},
        "seconds": {"generator": 12.0},
        "protocol": {"name": "default"},
    }
    return Result(**{**given, **fields})


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Tracker]:
    own = Tracker()
    own.planned(RunInfo(tmp_path, (LATENTS, SCORE), ()))
    yield own
    own.close()


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def tasks(directory: Path) -> EventAccumulator:
    (folder,) = (directory / FOLDER / "tasks").iterdir()
    return read(folder)


def row(directory: Path, of: Result) -> EventAccumulator:
    return read(directory / FOLDER / "rows" / row_name(of))


def values(found: EventAccumulator, tag: str) -> list[float]:
    return [event.value for event in found.Scalars(tag)]


def texts(found: EventAccumulator, tag: str) -> list[str]:
    events = found.Tensors(f"{tag}/text_summary")
    return [event.tensor_proto.string_val[0].decode() for event in events]


def test_the_entry_point_is_registered_by_dpbench() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["tracker"]
    registry = Registry()
    registry.add(metadata.EntryPoint("tracker", entry, "dpbench").load(), "dpbench-tracker", "1")
    (listener,) = registry.listeners
    assert listener.distribution == "dpbench-tracker"


def test_tasks_are_counted_as_they_end(tracker: Tracker, tmp_path: Path) -> None:
    tracker.started(LATENTS)
    tracker.finished(LATENTS, ())
    tracker.started(SCORE)
    tracker.failed(SCORE, "out of memory", ())
    found = tasks(tmp_path)
    assert values(found, "tasks/left") == [2, 1, 0]
    assert values(found, "tasks/finished") == [0, 1, 1]
    assert values(found, "tasks/failed") == [0, 0, 1]
    assert len(values(found, "seconds/latents")) == 1
    assert texts(found, "failed") == ["scores of ae-grad-GAN: out of memory"]
    assert texts(found, "started") == [LATENTS.title, SCORE.title]
    assert "| latents | 1 | 30 |" in texts(found, "plan")[0]


def test_progress_is_drawn_by_per_cent(tracker: Tracker, tmp_path: Path) -> None:
    tracker.started(LATENTS)
    for fraction in (0.1, 0.55, 1.0):
        tracker.progress(LATENTS, fraction)
    tracker.finished(LATENTS, ())
    events = tasks(tmp_path).Scalars("progress/latents/latents_of_mnist_ae_grad")
    assert [event.step for event in events] == [10, 55, 100]
    assert [event.value for event in events] == pytest.approx([0.1, 0.55, 1.0])


def test_a_part_of_a_failed_group_is_counted_once_it_starts(
    tracker: Tracker, tmp_path: Path
) -> None:
    part = TaskInfo("score-1/1", "one of them", "score", 2.0)
    tracker.failed(SCORE, "one trial broke", ())
    tracker.started(part)
    tracker.finished(part, ())
    assert values(tasks(tmp_path), "tasks/left") == [2, 1, 1]


def test_a_row_has_its_figures_and_what_they_are_of(tracker: Tracker, tmp_path: Path) -> None:
    tracker.finished(SCORE, [result()])
    found = row(tmp_path, result())
    assert values(found, "score/fid") == [61.5]
    assert values(found, "epsilon_spent") == pytest.approx([9.9])
    named = _hyperparameters(found)
    assert named["method"] == "ae-grad-GAN"
    assert named["epsilon"] == 10.0
    assert texts(found, "status") == ["ok"]


def _hyperparameters(found: EventAccumulator) -> dict[str, Any]:
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    info = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    return {
        name: value.string_value if value.HasField("string_value") else value.number_value
        for name, value in info.hparams.items()
    }


def test_a_failed_row_says_why_and_infinity_is_text(tracker: Tracker, tmp_path: Path) -> None:
    bad = result(
        status="failed",
        reason="it broke",
        metrics={},
        epsilon=float("inf"),
        epsilon_spent=float("inf"),
    )
    tracker.failed(SCORE, "it broke", [bad])
    found = row(tmp_path, bad)
    assert texts(found, "status") == ["failed: it broke"]
    assert _hyperparameters(found)["epsilon"] == "inf"
    assert "epsilon_spent" not in found.Tags()["scalars"]


def test_a_row_made_anew_replaces_the_old_one_and_a_cached_one_does_not(
    tracker: Tracker, tmp_path: Path
) -> None:
    tracker.finished(SCORE, [result()])
    tracker.finished(SCORE, [result(metrics={"fid": 50.0})])
    assert values(row(tmp_path, result()), "score/fid") == [50.0]
    control = result(method="control:real", generator=None, epsilon=None, clip=None, seed=None)
    tracker.planned(RunInfo(tmp_path, (), (result(metrics={"fid": 1.0}), control)))
    assert values(row(tmp_path, result()), "score/fid") == [50.0]
    assert values(row(tmp_path, control), "score/fid") == [61.5]


def test_tensorboard_lists_one_run_per_row_and_one_for_the_tasks(
    tracker: Tracker, tmp_path: Path
) -> None:
    rows = [result(seed=seed, protocol={"name": name}) for seed in (0, 1) for name in ("a", "b")]
    tracker.finished(SCORE, rows)
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / FOLDER))
    found.Reload()
    assert len(found.Runs()) == 5
    assert {str(Path("rows") / row_name(own)) for own in rows} <= set(found.Runs())


def test_a_listener_outside_a_run_is_silent() -> None:
    own = Tracker()
    own.started(LATENTS)
    own.progress(LATENTS, 0.5)
    own.finished(LATENTS, [result()])
    own.failed(LATENTS, "no", [result()])
    own.close()
