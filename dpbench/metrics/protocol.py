"""Protocols: everything that makes two scores comparable.

Needs no torch, so that reading ``benchmarks.toml`` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from dpbench.api import Evaluator

__all__ = ["LABELLER", "QUANTISATION", "Protocol"]

#: The evaluator whose classes label images under every protocol, and that of a protocol
#: which names none.
LABELLER = "domain"

QUANTISATION = "clamp to [0, 1], times 255, round to uint8"


class Protocol(BaseModel):
    """A named way to score; scores under different protocols never share a table.

    Attributes:
        name: its key in ``benchmarks.toml``.
        evaluator: the network behind features and logits: a configured name, or a plugin's.
        samples: generated images per trial; Fréchet distances are biased by it.
        reference: what ``fid``, ``kid`` and ``prdc`` compare with.
        metrics: names of the metrics computed for every trial.
        params: hyperparameters per metric, by its name, where not the defaults.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    evaluator: str = LABELLER
    samples: int = Field(default=10_000, ge=2)
    reference: Literal["private-train", "private-test"] = "private-train"
    metrics: tuple[str, ...] = Field(default=("fid", "is", "classes"), min_length=1)
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def identity(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return what is stored with each score, as JSON values.

        Two scores may be compared when their identities are equal. The list of
        metrics is not part of it: a metric more does not change the others.
        """
        return {
            "protocol": self.name,
            "evaluator": evaluator.name,
            "weights_sha256": evaluator.weights_sha256,
            **evaluator.describe(),
            "samples": self.samples,
            "reference": self.reference,
            "quantisation": QUANTISATION,
        }
