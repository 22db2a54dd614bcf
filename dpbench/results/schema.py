"""The one schema of results."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dpbench.errors import printable
from dpbench.privacy.accounting import Spent
from dpbench.privacy.audit.result import AuditResult
from dpbench.privacy.ledger import Ledger
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results.identity import TrialIdentity
from dpbench.store import ArtifactId, content_key

__all__ = ["CONTROL", "SCHEMA_VERSION", "Choice", "Privacy", "Result", "Run", "Status"]

CONTROL = "control:"
SCHEMA_VERSION: Final = 2
Status = Literal["ok", "collapsed", "diverged", "over-budget", "failed", "skipped"]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Privacy(Strict):
    """What a trial did with its private data, and what that comes to.

    Attributes:
        spent: the ledger's composition, by both accountants.
        ledger: every mechanism used; also trust and where randomness came from.
        replay: ``None`` where the generator was not replayed.
    """

    spent: Spent
    ledger: Ledger
    replay: ReplayVerdict | None = None


class Choice(Strict):
    """By what rule one trial is chosen among those of its cell.

    Attributes:
        rule: ``scores``: the best by exact private scores, outside any finite
            epsilon; ``first`` or ``named``: a clip stated before any score was
            seen; ``noisy``: by noisy scores, paid for.
        chosen: by a rule other than ``scores``, this is the trial.
        epsilon: with the choice, where that is more than the trial's own.
        among: identity keys of the trials whose ledgers a noisy choice composed.
    """

    rule: Literal["scores", "first", "named", "noisy"] = "scores"
    chosen: bool = False
    epsilon: float | None = Field(default=None, ge=0)
    among: tuple[str, ...] = ()


class _Scored(BaseModel):
    """The fields of a protocol that readers rely on, where it has them."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    evaluator: str = ""
    samples: int = 0
    reference: str = ""
    weights_sha256: str | None = None
    test_accuracy: float = Field(default=0.0, allow_inf_nan=False)


class Result(TrialIdentity):
    """One trial, or one control, under one protocol.

    Attributes:
        schema_version: of this class; older rows are migrated when read.
        grids: names of the grids that mentioned the trial: for titles.
        selectors: names with hyperparameters in brackets that planned it, if any.
        secure: trained and sampled in secure mode, as a release. What was read
            from private images is then not published.
        status: ``ok``; ``collapsed`` (a private class holds under 1% of the
            samples), ``diverged`` (not a number), ``over-budget`` (spent more
            than epsilon), ``failed``, ``skipped`` (something upstream failed).
        reason: one line for every status but ``ok``.
        epsilon_spent: composed from the ledger; the larger of two accountants.
        metrics: figure by column; absent where there is none.
        unavailable: reason by metric, for figures that could not be computed.
        privacy: ``None`` for controls and for what was never trained.
        audit: the most that an audit of the trial found, with any seed.
        choice: how it stands to the other trials of its method and target.
        protocol: everything that makes scores comparable; at least ``name``.
        sharpness: how many times as strong sharpening made the finest detail of decoded images;
            not set: they were not sharpened.
        seconds: compute time by stage; a group's time is shared by its lanes.
        artifacts: keys in the store.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    grids: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    secure: bool = False
    status: Status
    reason: str | None = None
    epsilon_spent: float | None = Field(default=None, ge=0)
    metrics: dict[str, float] = Field(default_factory=dict)
    unavailable: dict[str, str] = Field(default_factory=dict)
    privacy: Privacy | None = None
    audit: AuditResult | None = None
    choice: Choice = Choice()
    protocol: dict[str, Any]
    sharpness: float | None = Field(default=None, ge=0)
    seconds: dict[str, float] = Field(default_factory=dict)
    artifacts: dict[str, str] = Field(default_factory=dict)

    @field_validator("reason")
    @classmethod
    def _reason_is_printable(cls, reason: str | None) -> str | None:
        return None if reason is None else printable(reason)

    @field_validator("grids")
    @classmethod
    def _grids_are_printable(cls, grids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(printable, grids))

    @field_validator("unavailable")
    @classmethod
    def _reasons_are_printable(cls, reasons: dict[str, str]) -> dict[str, str]:
        return {printable(metric): printable(reason) for metric, reason in reasons.items()}

    @field_validator("artifacts")
    @classmethod
    def _artifacts_are_in_the_store(cls, artifacts: dict[str, str]) -> dict[str, str]:
        for artifact in map(ArtifactId._make, artifacts.items()):
            if not artifact.is_plain:
                raise ValueError(f"{str(artifact)!r} is no artifact's name")
        return artifacts

    @field_validator("protocol")
    @classmethod
    def _is_readable(cls, protocol: dict[str, Any]) -> dict[str, Any]:
        _Scored.model_validate(protocol)
        return {
            key: printable(value) if isinstance(value, str) else value
            for key, value in protocol.items()
        }

    @property
    def is_control(self) -> bool:
        return self.method.startswith(CONTROL)

    @property
    def key(self) -> str:
        """Equal for two results of which the later one replaces the earlier."""
        return content_key([self.identity_key, self.protocol["name"]])


class Run(Strict):
    """One command that computed something, as ``history.json`` keeps it.

    Attributes:
        command: as it was typed.
        versions: of this package, what it stands on, and the machine.
        finished: ISO 8601, UTC.
        jobs: how many it computed.
    """

    command: str
    versions: dict[str, str]
    wall_seconds: float = Field(ge=0, allow_inf_nan=False)
    finished: str
    jobs: int | None = None
