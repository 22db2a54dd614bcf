"""What names a trial: the one place to add an axis to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dpbench.store import content_key

__all__ = ["DEFAULT", "Labels", "TrialIdentity"]

Labels = Literal["none", "private"]

#: Settings of trials whose hyperparameters are all as configured.
DEFAULT = "default"
#: What the trials of one cell have in common; all else, hyperparameters too, is varied within it.
CELL = ("method", "dataset", "labels", "epsilon", "noise_multiplier", "delta")
#: What a method is made of, by the names that a configuration gives its parts.
PARTS = ("public", "extractor", "generator", "settings")


class TrialIdentity(BaseModel):
    """Everything that tells one trial, or one control, from another.

    A field added here is by that part of the result's key, of what an audit is
    of, of what a choice by scores is among, and of every row.

    Attributes:
        dataset: its configured name.
        settings: the hyperparameters: ``default`` where all are as configured,
            else a digest of those that differ.
        labels: ``private`` where a private record is an image with its label, and
            samples have labels too.
        method: ``<public>-<extractor>-<generator>``, or ``control:<name>``.
        epsilon: the target; where the noise was given instead, ``None`` here,
            and in a result the epsilon spent.
        noise_multiplier: set where the noise was given instead of epsilon.
        axes: hyperparameters that the grid sweeps, by their full names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    public: str | None = None
    extractor: str | None = None
    generator: str | None = None
    dataset: str
    settings: str = DEFAULT
    labels: Labels = "none"
    epsilon: float | None = Field(default=None, gt=0)
    noise_multiplier: float | None = Field(default=None, gt=0)
    delta: float | None = Field(default=None, gt=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    seed: int | None = None
    axes: dict[str, Any] = {}

    @field_validator("method", "public", "extractor", "generator", "dataset", "settings")
    @classmethod
    def _is_printable(cls, name: str | None) -> str | None:
        if name is not None and not name.isprintable():
            raise ValueError("holds characters that no name may have")
        return name

    @property
    def identity(self) -> TrialIdentity:
        """What names this trial, and nothing else."""
        return TrialIdentity.model_construct(**self._named())

    def _named(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in FIELDS}
        # With the noise given, epsilon is an outcome and must not name the trial.
        if self.noise_multiplier is not None:
            named["epsilon"] = None
        return named

    @property
    def identity_key(self) -> str:
        """Equal for results of one trial, whatever their protocol."""
        return content_key(self._named())

    @property
    def candidate_key(self) -> str:
        """The :attr:`identity_key` of :attr:`candidate`, without making that."""
        return content_key({**self._named(), "seed": None})

    @property
    def candidate(self) -> TrialIdentity:
        """The trial with any seed: what an audit is of, and what has a mean over seeds."""
        return self.identity.model_copy(update={"seed": None})

    @property
    def cell_key(self) -> str:
        """Equal for trials of one method at one target: among those, one is chosen.

        Hyperparameters that differ make other trials of the same cell: to choose them by
        scores is to choose.
        """
        named = self._named()
        return content_key({name: named[name] for name in CELL})

    @property
    def varied(self) -> dict[str, Any]:
        """What tells a candidate from others of its cell and settings: clip, and what was swept."""
        return {name: value for name in VARIED if (value := getattr(self, name)) not in (None, {})}


FIELDS = tuple(TrialIdentity.model_fields)
VARIED = tuple(name for name in FIELDS if name not in (*CELL, *PARTS, "seed"))
