"""From a request to a plan with everything needed to carry it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from dpbench.errors import DpbenchError
from dpbench.planning.config import Config
from dpbench.planning.plan import Job, Options, Plan
from dpbench.planning.planner import make_plan
from dpbench.planning.trials import Request, Trial, plan_trials
from dpbench.results import load_results
from dpbench.runner.data import load_dataset, with_weights
from dpbench.runner.directory import RunDirectory
from dpbench.runner.withheld import withheld
from dpbench.stages import DataKeys, save_partition
from dpbench.store import ArtifactId, Store

__all__ = ["Prepared", "keep_trained", "prepare"]

#: Stages whose artifacts scoring takes as they are.
TRAINED = ("public", "latents", "generator")


@dataclass
class Prepared:
    """A plan with everything needed to carry it out."""

    config: Config
    trials: list[Trial]
    plan: Plan
    directory: RunDirectory

    @property
    def patience(self) -> float:
        """Seconds to wait for another run: where nothing is to compute, it is soon done."""
        return 0.0 if self.plan.jobs else 10.0

    @property
    def store(self) -> Store:
        return self.directory.store

    def tell(self, job: Job, reason: str) -> str:
        """Return what may be told of why a job failed."""
        secure = self.config.file.secure_rng
        return withheld(self.directory.logs)(job, reason) if secure else reason

    def make_room(self, among: Iterable[ArtifactId]) -> None:
        """Remove those artifacts that are damaged, or to be made again.

        Raises:
            DpbenchError: a released generator is to be made again, and what it spent is lost.
        """
        gone = {*self.plan.stale, *self._lost_releases()}
        for artifact in gone.intersection(among):
            self.directory.discard(artifact, released=self.config.file.secure_rng)

    def released_again(self) -> int:
        """Return how many private generators are to be learnt that were released before."""
        if not self.config.file.secure_rng:
            return 0
        written, stale = self.plan.writers(), set(self.plan.stale)
        return sum(
            artifact in stale or bool(self.directory.releases(artifact.key, trial))
            for artifact, trial in {
                ArtifactId("generator", row.trained): row.trial.identity.identity_key
                for row in self.plan.rows
                if row.trial is not None and row.trained
            }.items()
            if artifact in written
        )

    def _lost_releases(self) -> Iterator[ArtifactId]:
        """Yield the generators that rows show as released, which are neither there nor noted."""
        if not self.config.file.secure_rng:
            return
        for row in load_results(self.directory.root):
            artifact = ArtifactId("generator", row.artifacts.get("generator", ""))
            if row.secure and row.privacy and not self.store.has(*artifact):
                noted = self.directory.releases(artifact.key, row.identity_key)
                if sum(len(one.mechanisms) for one in noted) < len(row.privacy.ledger.mechanisms):
                    yield artifact


def prepare(
    config: Config,
    request: Request,
    directory: RunDirectory,
    options: Options,
    notice: Callable[[str], None] = lambda _text: None,
    keep: bool = True,
) -> Prepared:
    """Fetch the data and plan the run; writes nothing but the data itself, if it is to ``keep``.

    Raises:
        DpbenchError: an unknown name, a bad value, unreachable data, delta >= 1/N,
            weights that are not an evaluator's released ones.
    """
    trials = plan_trials(config, request)
    if not trials:
        raise DpbenchError("no trial matches: widen --grid, or give epsilon and clip values")
    if keep:
        directory.require_writable()
    options = with_weights(config, trials, options)
    data: dict[str, DataKeys] = {}
    for component in {trial.dataset.name: trial.dataset for trial in trials}.values():
        notice(f"data: {component.name}")
        partition = load_dataset(config, component)
        keys = data[component.name] = DataKeys.of(partition)
        _require_small_delta(trials, component.name, len(partition.private))
        if keep and not all(directory.store.check(*part) for part in keys.parts()):
            with directory.lock():
                save_partition(directory.store, keys, partition)
    plan = make_plan(config, trials, data, directory.store, options)
    return Prepared(config, trials, plan, directory)


def _require_small_delta(trials: list[Trial], dataset: str, size: int) -> None:
    for trial in trials:
        if trial.dataset.name == dataset and trial.delta >= 1 / size:
            raise DpbenchError(
                f"delta = {trial.delta:g} is not below 1/N = {1 / size:.2g} "
                f"({size} private images of {dataset}): choose a smaller delta"
            )


def keep_trained(prepared: Prepared) -> int:
    """Drop from a plan every trial that would need training; return how many."""
    plan = prepared.plan
    missing, _ = plan.count("generator")
    untrained = {artifact for artifact in plan.writers() if artifact.stage in TRAINED}
    plan.rows = [
        row
        for row in plan.rows
        if untrained.isdisjoint(map(ArtifactId._make, row.artifacts.items()))
    ]
    shown = (artifact for row in plan.rows for artifact in row.needs)
    # A replay waits for generators that are not there; its verdict is of no use without them.
    plan.jobs = plan.towards(artifact for artifact in shown if artifact.stage != "replay")
    return missing
