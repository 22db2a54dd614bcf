"""Trained generators in the store, ready to sample: all that scores need of their stage."""

from __future__ import annotations

from torch import Tensor

from dpbench import plugins
from dpbench.api import PrivateGenerator
from dpbench.component import Component
from dpbench.privacy.by_class import make_generator
from dpbench.store import Store

__all__ = ["SNAPSHOTS", "generator_of", "restore_generator", "trained_state"]

#: Name of the tensor that holds samples taken during training, beside a generator's state.
SNAPSHOTS = "harness.snapshots"


def restore_generator(
    store: Store, key: str, component: Component, latent_dim: int, classes: int = 1
) -> PrivateGenerator:
    """Load a trained generator, ready to sample."""
    return generator_of(trained_state(store, key), component, latent_dim, classes)


def trained_state(store: Store, key: str) -> dict[str, Tensor]:
    """Load the state of a trained generator alone."""
    state = dict(store.load("generator", key).tensors)
    state.pop(SNAPSHOTS, None)
    return state


def generator_of(
    state: dict[str, Tensor], component: Component, latent_dim: int, classes: int = 1
) -> PrivateGenerator:
    """Make a generator of its state, ready to sample."""
    cls = plugins.registry().get("generator", component.plugin).cls
    params = cls.Params.model_validate(component.params)
    generator = make_generator(cls, params, latent_dim, classes)
    generator.restore(state)
    return generator
