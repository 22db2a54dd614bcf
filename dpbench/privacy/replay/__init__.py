"""The replay check: whether anything but recorded releases leaves a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dpbench.privacy.replay.verdict import ReplayVerdict

if TYPE_CHECKING:
    from dpbench.privacy.replay.check import MOST_RECORDS, replay
    from dpbench.privacy.replay.fits import ReplayLane
    from dpbench.privacy.replay.shorter import MOST_STEPS

__all__ = ["MOST_RECORDS", "MOST_STEPS", "ReplayLane", "ReplayVerdict", "replay"]


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: a row holds a verdict and no more."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dpbench.privacy.replay.check import MOST_RECORDS, replay
    from dpbench.privacy.replay.fits import ReplayLane
    from dpbench.privacy.replay.shorter import MOST_STEPS

    return {
        "MOST_RECORDS": MOST_RECORDS,
        "MOST_STEPS": MOST_STEPS,
        "ReplayLane": ReplayLane,
        "replay": replay,
    }[name]
