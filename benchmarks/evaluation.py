"""Measure evaluation against pytorch-fid and torch-fidelity, side by side in one run.

    python benchmarks/evaluation.py [--images 48] [--threads 1] [--write benchmarks/evaluation.md]

Weights are random: speed does not depend on them, and nothing is fetched.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpbench.api import Context, LabelledImages, Partition
from dpbench.leaderboard.words import count_text
from dpbench.metrics.evaluators.base import evaluate
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.evaluators.inception import InceptionEvaluator
from dpbench.metrics.evaluators.inception_network import fid_inception
from dpbench.metrics.frechet import Statistics, frechet_distance
from dpbench.metrics.plugin import (
    ClassMetric,
    FidMetric,
    InceptionScoreMetric,
    KidMetric,
    PrdcMetric,
)
from dpbench.metrics.views import References, View

Row = tuple[str, float, float]


def seconds(work: Callable[[], Any], repeats: int = 1) -> float:
    """Least processor time of ``work`` over ``repeats``: other load does not count."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def features(count: int, dim: int, seed: int) -> Tensor:
    """Correlated, rectified features like those of a network, ``[count, dim]``."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng) / dim**0.5
    return (torch.randn(count, dim, generator=rng) @ mixing + 0.1 * seed).relu()


def frechet_rows() -> list[Row]:
    """The distance alone, from means and covariances."""
    from pytorch_fid.fid_score import calculate_frechet_distance

    rows = []
    for dim, count in ((128, 10_000), (2048, 10_000)):
        a, b = (Statistics.of(features(count, dim, seed)) for seed in (1, 2))
        moments = [m.numpy() for s in (a, b) for m in (s.mean, s.covariance)]
        theirs = seconds(lambda moments=moments: calculate_frechet_distance(*moments))
        first = seconds(lambda a=a, b=b: frechet_distance(a, b))
        again = seconds(lambda a=a, b=b: frechet_distance(a, b), 2)
        got, expected = frechet_distance(a, b), calculate_frechet_distance(*moments)
        print(f"D = {dim}: {got:.6f} against {expected:.6f}", file=sys.stderr)
        rows.append((f"Fréchet distance, D = {dim}, first with a reference", theirs, first))
        rows.append((f"Fréchet distance, D = {dim}, each further trial", theirs, again))
    return rows


def other_networks(weights: dict[str, Tensor]) -> tuple[torch.nn.Module, torch.nn.Module]:
    """pytorch-fid's and torch-fidelity's networks, with the same weights as ours."""
    import pytorch_fid.inception
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: weights
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(weights, file.name)
        fidelity = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=file.name
        )
    return pytorch_fid.inception.InceptionV3().eval(), fidelity


def inception_rows(count: int) -> list[Row]:
    """The feature pass; and IS, FID and KID from images to figures."""
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_features_to_statistics
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    torch.manual_seed(0)
    network = fid_inception()
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ours = InceptionEvaluator(InceptionEvaluator.Params()).use(network)
    pytorch_fid_net, fidelity_net = other_networks(weights)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8)
    reference = View(images.flip(0), features=features(2000, 2048, 1), logits=torch.zeros(2000, 8))
    subset = count // 2

    @torch.no_grad()
    def pytorch_fid_pass() -> Tensor:
        parts = [pytorch_fid_net(x.expand(-1, 3, -1, -1) / 255)[0] for x in images.split(50)]
        return torch.cat(parts).flatten(1)

    @torch.no_grad()
    def fidelity_pass() -> tuple[Tensor, Tensor]:
        parts = [fidelity_net(x.expand(-1, 3, -1, -1)) for x in images.split(50)]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def theirs() -> None:
        seen = pytorch_fid_pass().double().numpy()
        known = fid_features_to_statistics(reference.features.double())
        moments = (seen.mean(0), np.cov(seen, rowvar=False), known["mu"], known["sigma"])
        calculate_frechet_distance(*moments)
        found, logits = fidelity_pass()
        isc_features_to_metric(logits)
        kid_features_to_metric(found, reference.features, kid_subset_size=subset, verbose=False)

    references = References(reference, reference, (0,), ours)

    def all_ours() -> None:
        generated = View(images, ours)
        FidMetric(FidMetric.Params()).compute(generated, references, Context(0))
        InceptionScoreMetric(InceptionScoreMetric.Params()).compute(
            generated, references, Context(0)
        )
        KidMetric(KidMetric.Params(subset_size=subset)).compute(generated, references, Context(0))

    evaluate(ours, images[:4])
    mine = seconds(lambda: evaluate(ours, images), 2)
    rows = [
        (
            f"Inception features of {count} grey 28x28 images, pytorch-fid",
            seconds(pytorch_fid_pass, 2),
            mine,
        ),
        (
            f"Inception features of {count} grey 28x28 images, torch-fidelity",
            seconds(fidelity_pass, 2),
            mine,
        ),
    ]
    _ = reference.statistics.sqrt_covariance  # paid once for a grid, not per trial
    both = seconds(theirs)
    rows.append(
        (
            f"FID, IS and KID of {count} images, pytorch-fid then torch-fidelity",
            both,
            seconds(all_ours, 2),
        )
    )
    return rows


def domain_lines(count: int = 10_000) -> list[str]:
    """Seconds per trial of the cheap metrics under the domain evaluator."""
    rng = torch.Generator().manual_seed(0)

    def part(size: int) -> LabelledImages:
        images = torch.randint(0, 256, (size, 1, 28, 28), dtype=torch.uint8, generator=rng)
        return LabelledImages(images, torch.randint(10, (size,), generator=rng))

    classes = (0, 2, 4, 6, 8)
    partition = Partition(part(1000), part(100), part(19_612), part(2000), classes)
    evaluator = DomainEvaluator(DomainEvaluator.Params())
    evaluator.fit(partition.labelling, partition.test, classes, Context(0))
    views = [View(p.images, evaluator) for p in (partition.private, partition.private_test)]
    references = References(*views, classes, evaluator)
    metrics = (FidMetric, InceptionScoreMetric, ClassMetric, KidMetric, PrdcMetric)
    for cls in metrics:  # what all trials share is computed before the clock starts
        cls(cls.Params()).compute(views[0], references, Context(0))
    images = part(count).images
    generated = View(images, evaluator)
    took = {"features": seconds(lambda: evaluate(evaluator, images), 3)}
    _ = generated.features, generated.logits
    for cls in metrics:
        metric = cls(cls.Params())
        took[cls.name] = seconds(
            lambda m=metric: m.compute(
                View(images, evaluator, features=generated.features, logits=generated.logits),
                references,
                Context(0),
            ),
            3,
        )
    lines = ["| per trial, domain protocol, 10,000 images | CPU seconds |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in took.items()]
    return [*lines, f"| together | {sum(took.values()):.3f} |"]


def table(rows: list[Row]) -> list[str]:
    lines = ["| work | theirs, CPU s | ours, CPU s | ratio |", "|---|---|---|---|"]
    return lines + [
        f"| {name} | {theirs:.3f} | {ours:.3f} | {theirs / ours:.1f} |"
        for name, theirs, ours in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=48, help="images through Inception")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(arguments.threads)
    threads = count_text(arguments.threads, "thread")
    machine = f"{platform.machine()}, {threads}, torch {torch.__version__}"
    text = [
        "# Evaluation against pytorch-fid and torch-fidelity",
        "",
        f"`python {' '.join(sys.argv)}` on {machine}. Both sides run in one process,",
        "one after the other, on the same images with the same random weights.",
        "",
        *table(frechet_rows() + inception_rows(arguments.images)),
        "",
        *domain_lines(),
    ]
    print("\n".join(text))
    if arguments.write:
        arguments.write.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
