"""Every promise of a private generator, as dpbench's own kit tries it."""

from __future__ import annotations

from dpbench_flow import Flow, StartedFlow

from dpbench.testing import GeneratorKit

SMALL = {"hidden": (16,), "draws": 2, "batch": 200, "steps": 4, "sample_steps": 5}


class TestFlow(GeneratorKit):
    plugin, params = Flow, SMALL


class TestStartedFlow(GeneratorKit):
    plugin, params = StartedFlow, {**SMALL, "batch": 600}  # all records: quick to account for
