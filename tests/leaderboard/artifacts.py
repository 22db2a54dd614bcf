"""Made-up images and the artifacts that hold them."""

from __future__ import annotations

import torch

from dpbench.results import Result
from dpbench.store import Artifact, Store

__all__ = ["images", "with_artifacts"]


def images(count: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 12, 12), generator=rng).to(torch.uint8)


def with_artifacts(results: list[Result], store: Store) -> list[Result]:
    """Give every result a preview, every set of latents its reconstructions."""
    found = []
    for number, result in enumerate(results):
        tensors = {"preview": images(12)}
        if not result.is_control:
            tensors["snapshots"] = images(30).reshape(3, 10, 1, 12, 12)
        artifact = Artifact({"snapshot_steps": [1, 10, 100]}, tensors)
        store.save("features", f"f{number}", artifact)
        keys = {"features": f"f{number}"}
        if result.public:
            keys["latents"] = f"{result.public}{result.extractor}"
            shown = {"shown": images(32), "reconstructed": images(32, 1)}
            store.save("latents", keys["latents"], Artifact({"reconstruction_mse": 0.01}, shown))
        if not result.is_control:
            keys["score.leakage"] = f"leakage{number}"
            picture = {"picture": images(1)[0]}
            store.save("score", keys["score.leakage"], Artifact({}, picture))
        found.append(result.model_copy(update={"artifacts": keys}))
    return found
