"""The replay check: whether anything but recorded releases leaves a fit."""

from dpbench.privacy.replay.check import MOST_RECORDS, replay
from dpbench.privacy.replay.fits import ReplayLane
from dpbench.privacy.replay.shorter import MOST_STEPS
from dpbench.privacy.replay.verdict import ReplayVerdict

__all__ = ["MOST_RECORDS", "MOST_STEPS", "ReplayLane", "ReplayVerdict", "replay"]
