"""Labelled samples from any generator: what is not conditional learns class by class."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.privacy.handle import PrivateLatents

__all__ = [
    "ClassByClass",
    "balanced_labels",
    "class_indices",
    "draw",
    "make_generator",
    "sample_of",
    "trained_as",
]

_SHOWN = 10
"""Latents of a snapshot."""


def class_indices(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the place of each label ``[N]`` among ``classes``; -1 where it has none."""
    found = labels.unsqueeze(1) == torch.tensor(list(classes), device=labels.device)
    return torch.where(found.any(1), found.long().argmax(1), -1)


def balanced_labels(count: int, classes: int) -> Tensor:
    """Return ``count`` classes, each as often as another: how often is private in the data."""
    return torch.arange(count) % classes


def trained_as(cls: type[PrivateGenerator], classes: int) -> type[PrivateGenerator]:
    """Return what is trained where ``cls`` is asked for and records are of so many classes."""
    return cls if classes == 1 or cls.conditional else _class_by_class(cls)


def make_generator(
    cls: type[PrivateGenerator], params: Any, latent_dim: int, classes: int = 1
) -> PrivateGenerator:
    """Return a fresh generator; with labels it is one that samples by class."""
    if classes == 1:
        return cls(params, latent_dim)
    return cast(Any, trained_as(cls, classes))(params, latent_dim, classes)  # type: ignore[no-any-return]


def draw(
    generator: PrivateGenerator, count: int, rng: torch.Generator, classes: int = 1
) -> tuple[Tensor, Tensor | None]:
    """Sample ``count`` latents, as many of each class, and return them with their classes."""
    if classes == 1:
        return generator.sample(count, rng), None
    labels = balanced_labels(count, classes)
    return cast(Any, generator).sample(count, rng, labels=labels), labels


def sample_of(
    generator: PrivateGenerator, count: int, rng: torch.Generator, label: int | Tensor
) -> Tensor:
    """Sample ``count`` latents of one class."""
    labels = torch.full((count,), int(label))
    return cast(Any, generator).sample(count, rng, labels=labels)  # type: ignore[no-any-return]


class ClassByClass(PrivateGenerator):
    """One generator a class, each trained on a view in which other classes are null records.

    A record is in one class, so that the classes' budgets compose in parallel. All
    classes of all trials are lanes of one call.

    Attributes:
        inner: the class of each of them.
    """

    conditional = True
    inner: ClassVar[type[PrivateGenerator]]

    def __init__(self, params: Any, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        self.generators = [self.inner(params, latent_dim) for _ in range(classes)]

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Fit one generator a class."""
        self.fit_lanes([self], [private], public, [context])

    @classmethod
    def fit_lanes(
        cls,
        generators: Sequence[PrivateGenerator],
        privates: Sequence[PrivateLatents],
        public: Tensor,
        contexts: Sequence[Context],
    ) -> None:
        """Fit all classes of all trials together."""
        single = [one for whole in generators if isinstance(whole, cls) for one in whole.generators]
        views: list[PrivateLatents] = []
        own: list[Context] = []
        for private, context in zip(privates, contexts, strict=True):
            parts = private.by_class()
            views += parts
            own += _contexts(context, parts)
        cls.inner.fit_lanes(single, views, public, own)

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw each class's latents from its generator, ``[count, d]``."""
        labels = balanced_labels(count, self.classes) if labels is None else labels
        latents = torch.empty(count, self.latent_dim)
        for number, generator in enumerate(self.generators):
            rows = labels == number
            if wanted := int(rows.sum()):
                latents[rows] = generator.sample(wanted, rng)
        return latents

    def state(self) -> dict[str, Tensor]:
        """Return the states of all classes."""
        return {
            f"{number}.{name}": tensor
            for number, generator in enumerate(self.generators)
            for name, tensor in generator.state().items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        parts: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for full, tensor in state.items():
            place, _, name = full.partition(".")
            parts[int(place)][name] = tensor
        for number, generator in enumerate(self.generators):
            generator.restore(parts[number])


@functools.cache
def _class_by_class(cls: type[PrivateGenerator]) -> type[PrivateGenerator]:
    fields = {"inner": cls, "name": cls.name, "label": cls.label, "__module__": cls.__module__}
    return type(f"{cls.__qualname__}ByClass", (ClassByClass,), fields)


def _contexts(context: Context, views: Sequence[PrivateLatents]) -> list[Context]:
    """Return each class's context; their snapshots make one of the trial."""
    classes = len(views)
    taken: dict[int, dict[int, Tensor]] = defaultdict(dict)

    def take(number: int, step: int, latents: Tensor) -> None:
        taken[step][number] = latents[: max(1, _SHOWN // classes)]
        if len(taken[step]) == classes:
            context.on_snapshot(step, torch.cat([taken[step][k] for k in range(classes)]))

    return [
        replace(view.context, on_snapshot=functools.partial(take, number))
        for number, view in enumerate(views)
    ]
