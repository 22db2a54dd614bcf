"""Why a trial should not be released."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dpbench.results import Result, selection

__all__ = ["objections"]


def objections(result: Result, rivals: Sequence[Result]) -> Iterator[str]:
    """Yield each reason not to share what a trial makes, each with its remedy.

    ``rivals`` are the trained trials of its method and target, itself among them.
    """
    if result.privacy is None or math.isinf(result.privacy.spent.epsilon):
        yield "it has no privacy (epsilon = infinity): choose a trial with a finite epsilon"
        return
    if result.status != "ok":
        yield f"it is {result.status}: {result.reason}"
    yield from _distrust(result)
    yield from _choice(result, rivals)


def _distrust(result: Result) -> Iterator[str]:
    assert result.privacy is not None
    if result.privacy.ledger.trust != "ledger":
        yield (
            "its generator read the private latents itself and declares its own epsilon: nobody "
            "but its author vouches for it"
        )
    if result.audit is not None and result.audit.refuted:
        yield f"an audit refuted its epsilon: {result.audit}"
    replay = result.privacy.replay
    if replay is not None and replay.verdict == "failed":
        yield f"its replay failed: {replay.reason}"


def _choice(result: Result, rivals: Sequence[Result]) -> Iterator[str]:
    seeds = [rival.seed or 0 for rival in rivals if rival.candidate == result.candidate]
    if result.seed is not None and seeds and result.seed != min(seeds):
        yield f"it is one of {len(seeds)} seeds, and not the first: take the first, by its name"
    found = selection([result], (r for r in rivals if r.candidate != result.candidate))
    if found.how == "scores":
        yield (
            f"it is one of {found.among} trials of its method and target, and exact private scores "
            'choose among them: state a choice first (`select = 1.0`, a clip, or "first"), then '
            "run again in a new directory"
        )
    elif found.how == "uncounted":
        yield (
            f"a noisy count chose it, and of {found.among} trials of its method and target some "
            "were in no count: run all of them with one command in a new directory"
        )
    elif found.how == "other":
        rule = result.choice.rule
        yield f"the rule that was stated ({rule}) chose another of {found.among} trials"
    elif found.how == "noisy" and not result.secure:
        yield (
            "it was chosen by a noisy count among seeded trainings: run with `secure_rng = true` "
            "and release what was chosen there"
        )
