"""What a plugin implements: Dataset, PublicModel, Extractor, PrivateGenerator, Metric.

Conventions that hold everywhere:

* images at rest are ``uint8`` tensors of shape ``[N, C, H, W]``;
* images inside models are ``float32`` in ``[0, 1]``, same shape;
* latents are ``float32`` tensors of shape ``[N, d]``;
* every random draw comes from a generator that :class:`Context` hands out.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from dpbench.errors import DpbenchError

if TYPE_CHECKING:
    from dpbench.metrics.views import References, View
    from dpbench.privacy.handle import PrivateLatents

__all__ = [
    "Column",
    "Context",
    "Dataset",
    "Extractor",
    "LabelledImages",
    "Metric",
    "MetricUnavailable",
    "Params",
    "Partition",
    "Plugin",
    "PrivateGenerator",
    "PublicModel",
    "derive_seed",
    "to_float",
    "to_uint8",
]


def to_float(images: Tensor) -> Tensor:
    """Turn ``uint8`` images into ``float32`` in ``[0, 1]``."""
    return images.to(torch.float32).div_(255)


def to_uint8(images: Tensor) -> Tensor:
    """Quantise ``[0, 1]`` images to ``uint8``: clamp, then round to nearest.

    Real and generated images pass through the same rule before any metric.
    """
    return images.clamp(0, 1).mul(255).round().to(torch.uint8)


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from named parts; distinct parts give unrelated seeds."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class Context:
    """What the harness lends a stage: a device, named randomness, progress.

    Args:
        seed: seed of this stage; :meth:`generator` derives streams from it.
        device: where tensors should live.
        on_progress: receives the fraction done, in ``[0, 1]``.
        on_snapshot: receives a step and a few latents ``[n, d]`` sampled at it.
    """

    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    on_progress: Callable[[float], None] = lambda _fraction: None
    on_snapshot: Callable[[int, Tensor], None] = lambda _step, _latents: None

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a fresh generator for ``name``; equal names give equal streams."""
        return torch.Generator(device).manual_seed(derive_seed(self.seed, name))

    def progress(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` units of work are finished."""
        self.on_progress(done / max(total, 1))

    def snapshot(self, step: int, latents: Tensor) -> None:
        """Keep what a generator samples at ``step``, for pictures of its training.

        ``latents`` is ``[n, d]``, n at most 10, from the same input noise each time.
        """
        self.on_snapshot(step, latents.detach().float().cpu())


class Params(BaseModel):
    """Base of a plugin's hyperparameters: validated, immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Plugin:
    """What all plugin classes share.

    Attributes:
        kind: which of the five kinds of plugin this is; set by the base classes.
        name: the name users type; unique per kind.
        version: part of every artifact's hash. Change it when results change.
        Params: the hyperparameters, with defaults, as a :class:`Params` subclass.
        cost: rough seconds of work on one core; the longest chains start first.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[str] = "1"
    Params: ClassVar[type[Params]] = Params
    cost: ClassVar[float] = 30.0


@dataclass(frozen=True)
class LabelledImages:
    """``images`` uint8 ``[N, C, H, W]`` with ``labels`` int64 ``[N]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def of_classes(self, classes: Sequence[int]) -> LabelledImages:
        """Keep only the images whose label is one of ``classes``, in order."""
        keep = torch.isin(self.labels, torch.tensor(list(classes)))
        return LabelledImages(self.images[keep], self.labels[keep])


@dataclass(frozen=True)
class Partition:
    """The four disjoint parts of a data set, and which classes are private.

    ``labelling`` trains the evaluator, ``public`` trains public models,
    ``private`` is what must be protected, ``test`` is held out (all classes).
    """

    labelling: LabelledImages
    public: LabelledImages
    private: LabelledImages
    test: LabelledImages
    private_classes: tuple[int, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``, the same for every part."""
        channels, height, width = self.private.images.shape[1:]
        return channels, height, width

    @property
    def private_test(self) -> LabelledImages:
        """Held-out images of the private classes."""
        return self.test.of_classes(self.private_classes)


class Dataset(Plugin, ABC):
    """A source of labelled images and the rule that partitions them."""

    kind = "dataset"

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def load(self, cache: Path) -> Partition:
        """Return the partition, fetching into ``cache`` what is not there yet.

        Raises:
            DpbenchError: no source answered, or what it sent is not the data.
        """

    def is_cached(self, cache: Path) -> bool:
        """Say whether :meth:`load` would need no network."""
        return True


Capability = Literal["encode", "decode", "prior"]


class PublicModel(Plugin, nn.Module, ABC):
    """A model learned on public images only; a ``torch.nn.Module``.

    Build all modules in ``__init__`` so that ``load_state_dict`` restores a
    fitted model. Declare in ``provides`` what it can do:

    * ``decode``: latents to images, differentiable;
    * ``encode``: images to latents, each image by itself;
    * ``prior``: latents follow N(0, I), so ``decode(randn)`` gives images.
    """

    kind = "public"
    provides: ClassVar[frozenset[Capability]]
    latent_dim: int

    def __init__(self, params: Any, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.params = params
        self.image_shape = image_shape

    @abstractmethod
    def fit(self, images: Tensor, context: Context) -> None:
        """Learn from public ``images`` (uint8 ``[N, C, H, W]``)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Map latents ``[B, d]`` to images ``[B, C, H, W]`` in ``[0, 1]``."""

    def encode(self, x: Tensor) -> Tensor:
        """Map images ``[B, C, H, W]`` in ``[0, 1]`` to latents ``[B, d]``."""
        raise DpbenchError(f"public model {self.name!r} cannot encode")

    def guess(self, x: Tensor) -> Tensor | None:
        """Return where an inversion of images ``x`` may start, ``[B, d]``, or ``None``."""
        return self.encode(x) if "encode" in self.provides else None

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean ``[d]`` and precision ``[d, d]`` of the latents of public images.

        The default is that of the prior N(0, I).
        """
        device = next(self.parameters()).device
        return torch.zeros(self.latent_dim, device=device), torch.eye(
            self.latent_dim, device=device
        )


class Extractor(Plugin, ABC):
    """Turns images into latents through a fitted public model.

    Each latent must depend on its own image alone (no batch statistics, no
    stopping rule over the batch): otherwise one record would move the latents
    of others and the sensitivity the accountant assumes would be wrong.

    Attributes:
        requires: capabilities the public model must provide.
        label: the extractor's part of a method's name (``ae-enc-GAN``); an
            empty label is left out (``wgan-GAN``).
    """

    kind = "extractor"
    requires: ClassVar[frozenset[Capability]]
    label: ClassVar[str]

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        """Map ``images`` (uint8 ``[N, C, H, W]``) to latents ``[N, d]`` on the CPU."""


class PrivateGenerator(Plugin, ABC):
    """Learns the distribution of private latents under (epsilon, delta)-DP.

    :meth:`fit` receives the private latents behind a handle that clips, adds
    noise and keeps the ledger, and public latents as a plain tensor. Both are
    standardised by public statistics: public latents have mean 0 and, by
    default, identity covariance, so radii and learning rates carry over.

    Attributes:
        label: the generator's part of a method's name (``ae-enc-GAN``).
        lane_params: hyperparameters in which trials trained together by
            :meth:`fit_lanes` may differ; all others are equal within a group.
    """

    kind = "generator"
    label: ClassVar[str]
    lane_params: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, params: Any, latent_dim: int) -> None:
        self.params = params
        self.latent_dim = latent_dim

    @abstractmethod
    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Learn from ``private`` through its handle; ``public`` is ``[M, d]``."""

    @abstractmethod
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``count`` latents, ``[count, d]``, on the CPU; no privacy cost."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return everything :meth:`sample` needs, as named CPU tensors."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state` on a fresh instance."""

    @classmethod
    def fit_lanes(
        cls,
        generators: Sequence[PrivateGenerator],
        privates: Sequence[PrivateLatents],
        public: Tensor,
        contexts: Sequence[Context],
    ) -> None:
        """Fit several trials of one architecture; override to train them as one.

        The default fits one after the other. An override must give each lane
        the numbers it would have had alone.
        """
        for generator, private, context in zip(generators, privates, contexts, strict=True):
            generator.fit(private, public, context)


@dataclass(frozen=True)
class Column:
    """One figure of a metric: how to read it and how to print it.

    Args:
        better: ``"higher"``, ``"lower"``, or ``"none"`` where neither is better.
        low, high: the range of possible values.
        digits: decimals shown in tables.
        title: table heading; the key is used when empty.
    """

    better: Literal["higher", "lower", "none"]
    low: float = 0.0
    high: float = float("inf")
    digits: int = 3
    title: str = ""


class MetricUnavailable(DpbenchError):
    """A figure that cannot be computed here; the message becomes the cell's reason."""


class Metric(Plugin, ABC):
    """Scores generated images against references.

    Attributes:
        columns: the figures that :meth:`compute` returns.
    """

    kind = "metric"
    columns: ClassVar[dict[str, Column]]

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        """Return one number per column.

        ``generated`` and each of ``references`` give ``images`` (uint8),
        ``features`` and ``logits`` of the protocol's evaluator; features are
        computed once and shared by all metrics. Of a reference of more than 50,000
        images a view holds a fixed random 50,000; ``view.population`` counts all,
        and ``view.statistics`` is of all.

        Raises:
            MetricUnavailable: with the reason, e.g. too few samples for ``k``.
        """

    def picture(self, generated: View, references: References) -> Tensor | None:
        """Return a picture that explains the figures, ``uint8`` ``[C, H, W]``, or ``None``.

        It is kept beside the score and drawn on the leaderboard's page.
        """
        return None
