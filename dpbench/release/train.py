"""Learn a trial anew with secret noise: what a benchmark's seed could undo is never released."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dpbench.errors import DpbenchError
from dpbench.metrics.protocol import QUANTISATION
from dpbench.planning.again import request_again
from dpbench.planning.config import Config
from dpbench.planning.plan import Options, Row
from dpbench.release.sampler import Sampler
from dpbench.results import Result
from dpbench.runner.assemble import assemble
from dpbench.runner.directory import RunDirectory
from dpbench.runner.prepare import Prepared, prepare
from dpbench.runner.scheduler import Progress
from dpbench.runner.upstream import compute
from dpbench.stages.data import load_part
from dpbench.stages.score import quantisation
from dpbench.stages.standardise import Standardiser
from dpbench.stages.trained import trained_state
from dpbench.store import ArtifactId, Store

__all__ = ["Released", "train"]


@dataclass(frozen=True)
class Released:
    """A trial learnt with secret noise: what it spent, and what it samples with."""

    result: Result
    sampler: Sampler


def train(
    config: Config,
    chosen: Result,
    directory: RunDirectory,
    device: str,
    notice: Callable[[str], None],
) -> Released:
    """Learn the trial of ``chosen`` with the secure source, unless that is there already.

    The generator stays in the directory: releasing again draws other samples of the
    same generator, at no further cost. Made again, both add up.

    Raises:
        DpbenchError: the configuration has no such trial any more, decodes otherwise than it was
            scored, or a stage failed.
    """
    secure = replace(config, file=config.file.model_copy(update={"secure_rng": True}))
    prepared = prepare(secure, request_again(secure, [chosen]), directory, Options(controls=False))
    row = _row(prepared, chosen)
    assert row.trained is not None
    _require_as_scored(row, chosen)
    with directory.lock():
        compute(prepared, [ArtifactId("generator", row.trained)], device, notice)
        directory.note_release(row.trained, chosen.identity_key)
        earlier = directory.releases(row.trained, chosen.identity_key)
    made = assemble(row, prepared.store, Progress({}), secure=True, earlier=earlier)
    # How it was chosen and what was found out about it hold for the method, not for the noise.
    assert made.privacy is not None and chosen.privacy is not None
    privacy = made.privacy.model_copy(update={"replay": chosen.privacy.replay})
    known = {"choice": chosen.choice, "audit": chosen.audit, "privacy": privacy}
    return Released(made.model_copy(update=known), _sampler(row, prepared.store))


def _row(prepared: Prepared, chosen: Result) -> Row:
    for row in prepared.plan.rows:
        if row.trial is not None and row.trial.identity.identity_key == chosen.identity_key:
            return row
    raise DpbenchError(
        f"the configuration has no trial like this {chosen.method} any more: name the "
        "configuration that the run had with --config"
    )


def _require_as_scored(row: Row, chosen: Result) -> None:
    assert row.trial is not None
    if chosen.protocol.get("quantisation") != quantisation(QUANTISATION, row.trial.sharpen):
        raise DpbenchError(
            f"{chosen.method} was scored when decoded images were sharpened in another way, or "
            "not at all: score it again with the `dpbench run` that made it"
        )


def _sampler(row: Row, store: Store) -> Sampler:
    assert row.trial is not None and row.trained is not None
    public = store.load("public", row.artifacts["public"])
    latents = store.load("latents", row.artifacts["latents"]).tensors
    standardiser = Standardiser.from_state(latents)
    parts = {
        "public": public.tensors,
        "generator": trained_state(store, row.trained),
        "standardiser": standardiser.state(),
    }
    sampler = Sampler(
        tuple(public.meta["image_shape"]),
        len(standardiser.shift),
        row.trial.method.public,
        row.trial.method.generator,
        {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()},
        row.classes,
    )
    if not row.trial.sharpen:
        return sampler
    return sampler.sharpened_like(load_part(store, row.public_images).images)
