"""Inception Score (Salimans et al. 2016), by torch-fidelity's procedure."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dpbench.api import MetricUnavailable

__all__ = ["inception_score"]


def inception_score(logits: Tensor, splits: int = 10, seed: int = 2020) -> tuple[float, float]:
    """``exp(E_x KL(p(y|x) || p(y)))``, mean and standard deviation over splits.

    Args:
        logits: ``[N, K]``. They are shuffled with ``seed``, cut into ``splits``
            parts, and turned into probabilities in float64.

    Returns:
        Mean in ``[1, K]`` and population standard deviation (ddof 0) over splits.

    Raises:
        MetricUnavailable: fewer images than splits, or logits that are not finite.
    """
    count = len(logits)
    if count < splits:
        raise MetricUnavailable(f"{splits} splits need at least {splits} images, not {count}")
    if not logits.isfinite().all():
        raise MetricUnavailable("logits are not finite")
    order = np.random.RandomState(seed).permutation(count)
    log_p = logits[torch.from_numpy(order)].double().log_softmax(1)
    scores = []
    for split in range(splits):
        part = log_p[split * count // splits : (split + 1) * count // splits]
        p = part.exp()
        # xlogy gives 0 where p is 0, even where the marginal underflows too.
        divergence = torch.xlogy(p, p) - torch.xlogy(p, p.mean(0))
        scores.append(divergence.sum(1).mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))
