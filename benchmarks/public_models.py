"""What each lever of the public models gives, non-privately: an ablation.

Trains a public model per variant, extracts latents of public and private
images, and scores three non-private stand-ins for a private generator, each as
a fraction of the FID (domain) of real public images: the reconstructions
themselves, one Gaussian, and a mixture of ten Gaussians fitted to the private
latents.

    python benchmarks/public_models.py --only ae
    python benchmarks/public_models.py --only wgan

Public models are trained for a part of their default length, and part of the
images is extracted, so that a family takes minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor

from dpbench.api import Context, Extractor, Partition, PublicModel
from dpbench.augment import augment
from dpbench.generators.mixture import MixtureRecipe, release_mixture
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.frechet import frechet_distance
from dpbench.metrics.views import View
from dpbench.planning.config import load_config
from dpbench.planning.keys import evaluator_seed
from dpbench.plugins import registry
from dpbench.privacy.handle import Budget
from dpbench.privacy.session import PrivateSession
from dpbench.runner.data import load_dataset
from dpbench.stages import decode
from dpbench.stages.standardise import Standardiser


@dataclass(frozen=True)
class Variant:
    """A public model and an extractor, with what differs from their defaults."""

    title: str
    model: str = "ae"
    extractor: str = "encoder"
    params: dict[str, Any] = field(default_factory=dict)
    extraction: dict[str, Any] = field(default_factory=dict)


#: Far past the default's twelve steps; an image leaves when four lower it by less than 2%.
TO_THE_END = {"steps": 60, "tolerance": 0.02}

VARIANTS = (
    Variant("ae, encoder"),
    Variant("  gradient (default)", extractor="gradient"),
    Variant("  gradient, to the end", extractor="gradient", extraction=TO_THE_END),
    Variant("  gradient, pulled to the prior", extractor="gradient", extraction={"prior": 0.1}),
    Variant("  encoder, no augmentation", params={"augmentation": "none"}),
    Variant("  encoder, squared error", params={"loss": "squared"}),
    Variant("  encoder, no noise on the latent", params={"noise": 0.0, "prior": 0.0}),
    Variant("  encoder, latent 16", params={"latent": 16}),
    Variant("  encoder, fully connected", params={"architecture": "fc"}),
    Variant("wgan, projected gradient (default)", "wgan", "projected-gradient"),
    Variant("  to the end", "wgan", "projected-gradient", extraction=TO_THE_END),
    Variant("  from near the mean, to the end", "wgan", "projected-gradient",
            extraction={**TO_THE_END, "warm_start": False}),
    Variant("  no inference network, to the end", "wgan", "projected-gradient",
            {"inference": 0.0}, TO_THE_END),
    Variant("  no augmentation", "wgan", "projected-gradient", {"augmentation": "none"}),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--epochs", type=int, default=4, help="of autoencoders")
    parser.add_argument("--gan-steps", type=int, default=1000)
    parser.add_argument("--images", type=int, default=5000, help="private, and as many public")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--only", default="", help="part of a model's name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(None, registry())
    partition = load_dataset(config, config.component("datasets", options.dataset))
    evaluator = DomainEvaluator(DomainEvaluator.Params())
    evaluator.fit(
        partition.labelling,
        partition.test,
        partition.private_classes,
        Context(evaluator_seed(config.component("evaluators", "domain"))),
    )
    reference = View(partition.private.images, evaluator).statistics

    def ratio(images: Tensor) -> float:
        return frechet_distance(View(images, evaluator).statistics, reference) / base

    base = 1.0
    base = ratio(partition.public.images)
    rows: list[Sequence[object]] = []
    fitted: dict[str, tuple[PublicModel, float]] = {}
    for variant in VARIANTS:
        if options.only in variant.model:
            rows.append(measure(variant, partition, fitted, ratio, options))
            print(*rows[-1], flush=True)
    heads = ("variant", "fit s", "extract s", "MSE", "reconstruction", "Gaussian", "mixture")
    digits = ("", ".0f", ".0f", ".4f", ".3f", ".3f", ".3f")
    table = tabulate(rows, heads, tablefmt="github", floatfmt=digits)
    text = (
        f"# Public models and extractors on {options.dataset}\n\n"
        f"`python benchmarks/public_models.py --dataset {options.dataset} --only {options.only!r} "
        f"--epochs {options.epochs} --gan-steps {options.gan_steps} --images {options.images}`; "
        f"torch {torch.__version__}, one thread, CPU seconds. FID (domain) as a fraction of that "
        f"of real public images ({base:.0f} before division); non-private.\n\n{table}\n"
    )
    print(text)
    if options.write:
        options.write.write_text(text)


def measure(
    variant: Variant,
    partition: Partition,
    fitted: dict[str, tuple[PublicModel, float]],
    ratio: Any,
    options: argparse.Namespace,
) -> tuple[object, ...]:
    context = Context(0)
    name = f"{variant.model} {variant.params}"
    if name not in fitted:
        cls = registry().get("public", variant.model).cls
        length = {"ae": {"epochs": options.epochs}, "wgan": {"steps": options.gan_steps}}
        params = {**length[variant.model], **variant.params}
        model = cls(cls.Params.model_validate(params), partition.image_shape)
        started = time.process_time()
        model.fit(partition.public.images, context)
        seconds = time.process_time() - started
        fitted[name] = model.eval().requires_grad_(False), seconds
    model, seconds = fitted[name]
    extractor_cls = registry().get("extractor", variant.extractor).cls
    extractor: Extractor = extractor_cls(extractor_cls.Params.model_validate(variant.extraction))
    public_images = augment(partition.public.images[: options.images], context.generator("augment"))
    started = time.process_time()
    images = partition.private.images[: options.images]
    private = extractor.extract(model, images, context)
    public = extractor.extract(model, public_images, context)
    extraction = time.process_time() - started
    device = torch.device("cpu")
    reconstructed = decode(model, private, device)
    error = (reconstructed - images.float()).div(255).square().mean()
    standardiser = Standardiser.from_public(public, "whiten")
    latents, budget = standardiser.apply(private), Budget(float("inf"), 1e-6)
    handle = PrivateSession(latents, budget, 1.0, context, noise_seed=0).handle
    scores = [ratio(reconstructed)]
    for settings in (MixtureRecipe(1, 0, 0, 0.0), MixtureRecipe(10, 3, 10, 0.0)):
        mixture = release_mixture(handle, standardiser.apply(public), settings)
        sample = mixture.sample(10_000, torch.Generator().manual_seed(0))
        scores.append(ratio(decode(model, standardiser.invert(sample), device)))
    return (variant.title, seconds, extraction, error.item(), *scores)


if __name__ == "__main__":
    main()
