"""Trained generators in the store, ready to sample: all that scores need of their stage."""

from __future__ import annotations

from dpbench import plugins
from dpbench.api import PrivateGenerator
from dpbench.component import Component
from dpbench.privacy.by_class import make_generator
from dpbench.store import Store

__all__ = ["SNAPSHOTS", "restore_generator"]

#: Name of the tensor that holds samples taken during training, beside a generator's state.
SNAPSHOTS = "harness.snapshots"


def restore_generator(
    store: Store, key: str, component: Component, latent_dim: int, classes: int = 1
) -> PrivateGenerator:
    """Load a trained generator, ready to sample."""
    cls = plugins.registry().get("generator", component.plugin).cls
    params = cls.Params.model_validate(component.params)
    generator = make_generator(cls, params, latent_dim, classes)
    state = dict(store.load("generator", key).tensors)
    state.pop(SNAPSHOTS, None)
    generator.restore(state)
    return generator
