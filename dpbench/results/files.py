"""The one schema of results, and where they are kept."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from dpbench.store import content_key, write_json

__all__ = ["AUDITED", "CONTROL", "Result", "Status", "load_results", "save_audit", "save_result"]

CONTROL = "control:"
#: Which commands made the results under a runs directory.
HISTORY = "history.json"
#: What an audit is of: it covers all seeds of these.
AUDITED = ("dataset", "settings", "method", "epsilon", "noise_multiplier", "clip")
Status = Literal["ok", "collapsed", "diverged", "over-budget", "failed", "skipped"]


def _plain(value: float | None) -> float | str | None:
    """JSON has no infinity; ``"inf"`` is what ``float()`` reads back."""
    return value if value is None or math.isfinite(value) else str(value)


Number = Annotated[float, BeforeValidator(float), PlainSerializer(_plain, when_used="json")]


class Result(BaseModel):
    """One trial, or one control, under one protocol.

    Attributes:
        schema_version: of this class; readers refuse what they do not know.
        method: ``<public>-<extractor>-<generator>``, or ``control:<name>``.
        settings: ``default``, or the grid whose hyperparameters were used.
        epsilon: the target; where noise was given instead, the epsilon spent.
        noise_multiplier: set where the noise was given instead of epsilon.
        epsilon_spent: composed from the ledger; the larger of two accountants.
        status: ``ok``; ``collapsed`` (a private class holds under 1% of the
            samples), ``diverged`` (not a number), ``over-budget`` (spent more
            than epsilon), ``failed``, ``skipped`` (something upstream failed).
        reason: one line for every status but ``ok``.
        metrics: figure by column; absent where there is none.
        unavailable: reason by metric, for figures that could not be computed.
        privacy: accountants, ledger, trust, randomness; see docs/privacy.md.
        protocol: everything that makes scores comparable.
        seconds: compute time by stage; a group's time is shared by its lanes.
        artifacts: keys in the store.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    method: str
    public: str | None = None
    extractor: str | None = None
    generator: str | None = None
    dataset: str
    settings: str = "default"
    epsilon: Number | None = None
    noise_multiplier: float | None = None
    delta: float | None = None
    clip: float | None = None
    seed: int | None = None
    axes: dict[str, Any] = {}
    status: Status
    reason: str | None = None
    epsilon_spent: Number | None = None
    metrics: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    privacy: dict[str, Any] = {}
    audit: dict[str, Any] | None = None
    protocol: dict[str, Any]
    seconds: dict[str, float] = {}
    artifacts: dict[str, str] = {}

    @property
    def is_control(self) -> bool:
        return self.method.startswith(CONTROL)

    @property
    def key(self) -> str:
        """Equal for two results of which the later one replaces the earlier."""
        named = self.model_dump(
            mode="json",
            include={
                "method", "dataset", "settings", "noise_multiplier", "delta",
                "clip", "seed", "axes", "public", "extractor",
            },
        )  # fmt: skip
        # With the noise given, epsilon is an outcome and must not name the trial.
        named["epsilon"] = None if self.noise_multiplier else _plain(self.epsilon)
        return content_key([named, self.protocol["name"]])


def save_result(runs: Path, result: Result) -> None:
    """Write a result, replacing the one of the same trial and protocol.

    Figures of the same images that the new result does not have are kept: they
    were asked for by name, after the run.
    """
    path = runs / "results" / f"{result.key}.json"
    for old in _read([path] if path.exists() else []):
        if old.artifacts.get("features") == result.artifacts.get("features") and result.metrics:
            result = result.model_copy(
                update={
                    "metrics": {**old.metrics, **result.metrics},
                    "unavailable": {**old.unavailable, **result.unavailable},
                    "artifacts": {**old.artifacts, **result.artifacts},
                }
            )
    write_json(path, result.model_dump(mode="json"))


def load_results(runs: Path) -> list[Result]:
    """Read all results under ``runs``, audits beside them; unreadable files are left out."""
    results = _read(sorted((runs / "results").glob("*.json")))
    return sorted(_with_audits(runs, results), key=_order)


def read_history(runs: Path) -> list[dict[str, Any]]:
    """Return the runs that computed something, oldest first; empty where none was recorded."""
    try:
        history = json.loads((runs / HISTORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return history if isinstance(history, list) else []


def save_audit(runs: Path, audited: dict[str, Any], audit: dict[str, Any]) -> None:
    """Keep what an audit found; ``audited`` holds the fields :data:`AUDITED`."""
    named = {k: _plain(v) if isinstance(v, float) else v for k, v in audited.items()}
    path = runs / "audits" / f"{content_key(named)}.json"
    write_json(path, {"trial": named, "audit": audit})


def _with_audits(runs: Path, results: Iterable[Result]) -> Iterator[Result]:
    kept: dict[str, dict[str, Any]] = {}
    for path in sorted((runs / "audits").glob("*.json")):
        with contextlib.suppress(ValueError, KeyError):  # an audit of another version
            content = json.loads(path.read_text())
            kept[content_key(content["trial"])] = content["audit"]
    for result in results:
        named = result.model_dump(mode="json", include=set(AUDITED))
        if result.noise_multiplier:
            named["epsilon"] = None  # with the noise given, epsilon is an outcome
        yield result.model_copy(update={"audit": kept.get(content_key(named))})


def _read(paths: Iterable[Path]) -> Iterator[Result]:
    for path in paths:
        try:
            yield Result.model_validate(json.loads(path.read_text()))
        except (ValidationError, ValueError):
            continue  # another schema version, or not a result


def _order(result: Result) -> tuple[Any, ...]:
    return (
        result.dataset,
        result.settings,
        result.protocol["name"],
        not result.is_control,
        result.method,
        -(result.epsilon if result.epsilon is not None else math.inf),
        result.clip or 0.0,
        result.seed or 0,
        repr(result.axes),
    )
