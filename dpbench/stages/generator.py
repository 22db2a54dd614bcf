"""Private generators: trained together, checked and kept one by one."""

from __future__ import annotations

import functools
import time
from dataclasses import replace

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, PrivateGenerator, derive_seed
from dpbench.errors import DpbenchError
from dpbench.planning.config import Component
from dpbench.privacy.handle import Budget
from dpbench.privacy.session import PrivateSession
from dpbench.stages.tasks import GeneratorTask
from dpbench.store import Artifact, Store

__all__ = ["SNAPSHOTS", "restore_generator", "run_generator"]

#: Name of the tensor that holds samples taken during training, beside a generator's state.
SNAPSHOTS = "harness.snapshots"


def run_generator(task: GeneratorTask, store: Store, context: Context) -> dict[str, str]:
    """Train all lanes; return the reason by key for each lane that failed."""
    latents = store.load("latents", task.latents).tensors
    private, public = latents["private"], latents["public"]
    cls = plugins.registry().get("generator", task.generator.plugin).cls
    generators: list[PrivateGenerator] = []
    sessions: list[PrivateSession] = []
    contexts: list[Context] = []
    snapshots: dict[str, list[tuple[int, Tensor]]] = {lane.key: [] for lane in task.lanes}
    for lane in task.lanes:
        taken = functools.partial(_take, snapshots[lane.key])
        lane_context = replace(context, seed=lane.seed, on_snapshot=taken)
        budget = Budget(lane.epsilon, lane.delta, lane.noise_multiplier)
        generators.append(cls(cls.Params.model_validate(lane.params), private.shape[1]))
        noise_seed = derive_seed("noise", task.generator.plugin, lane.seed)
        sessions.append(
            PrivateSession(
                private,
                budget,
                lane.clip,
                lane_context,
                noise_seed=noise_seed,
                secure_rng=task.secure_rng,
            )
        )
        contexts.append(lane_context)
    started = time.perf_counter()
    cls.fit_lanes(generators, [session.handle for session in sessions], public, contexts)
    seconds = (time.perf_counter() - started) / len(task.lanes)
    failures: dict[str, str] = {}
    for lane, generator, session in zip(task.lanes, generators, sessions, strict=True):
        try:
            artifact = _trained(task.generator, generator, session, seconds)
            _add_snapshots(artifact, snapshots[lane.key])
        except DpbenchError as error:
            failures[lane.key] = str(error)
        else:
            store.save("generator", lane.key, artifact)
    return failures


def _trained(
    component: Component, generator: PrivateGenerator, session: PrivateSession, seconds: float
) -> Artifact:
    """Check that a fitted generator can sample; gather its state and its ledger."""
    ledger = session.ledger
    if not ledger.mechanisms:
        raise DpbenchError(
            f"generator {component.name!r} used no private data: learn through the handle's "
            "mechanisms, or declare yours with raw()"
        )
    state = generator.state()
    sample = generator.sample(64, torch.Generator().manual_seed(0))
    if sample.shape != (64, generator.latent_dim):
        raise DpbenchError(
            f"generator {component.name!r} sampled shape {tuple(sample.shape)} instead of "
            f"{(64, generator.latent_dim)}: return [count, d]"
        )
    finite = all(bool(torch.isfinite(t).all()) for t in (sample, *state.values()))
    meta = {
        "diverged": not finite,
        "spent": session.spent.model_dump(mode="json"),
        "ledger": ledger.model_dump(mode="json"),
        "rng": ledger.rng,
        "seconds": seconds,
    }
    return Artifact(meta, state if finite else {})


def _take(snapshots: list[tuple[int, Tensor]], step: int, latents: Tensor) -> None:
    snapshots.append((step, latents[:10]))


def _add_snapshots(artifact: Artifact, taken: list[tuple[int, Tensor]]) -> None:
    if taken and not artifact.meta["diverged"]:
        artifact.tensors[SNAPSHOTS] = torch.stack([latents for _, latents in taken])
        artifact.meta["snapshot_steps"] = [step for step, _ in taken]


def restore_generator(
    store: Store, key: str, component: Component, latent_dim: int
) -> PrivateGenerator:
    """Load a trained generator, ready to sample."""
    cls = plugins.registry().get("generator", component.plugin).cls
    generator: PrivateGenerator = cls(cls.Params.model_validate(component.params), latent_dim)
    state = dict(store.load("generator", key).tensors)
    state.pop(SNAPSHOTS, None)
    generator.restore(state)
    return generator
