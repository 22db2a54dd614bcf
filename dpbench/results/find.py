"""A trial by the name that a person types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dpbench.errors import DpbenchError, did_you_mean
from dpbench.results.identity import DEFAULT, Labels
from dpbench.results.schema import Result

__all__ = ["UnknownTrial", "find_trial", "trial_name"]


class UnknownTrial(DpbenchError):
    """A name that no trial has, or several."""


def find_trial(
    results: Iterable[Result],
    name: str,
    *,
    clip: float | None = None,
    dataset: str | None = None,
    labels: Labels | None = None,
) -> Result:
    """Return the trial called ``METHOD@EPSILON``, or whose key begins with ``name``.

    Of several seeds the first; of several clips the one that a stated rule or a noisy
    count chose.

    Raises:
        UnknownTrial: none has this name, or several that differ by more than the seed.
    """
    known = [r for r in results if not r.is_control]
    named = [
        r
        for r in known
        if _is_named(r, name)
        and (clip is None or r.clip == clip)
        and (dataset is None or r.dataset == dataset)
        and (labels is None or r.labels == labels)
    ]
    if not named:
        names = sorted({trial_name(result) for result in known})
        raise UnknownTrial(
            f"no trial {name!r} in these runs{did_you_mean(name, names)} "
            "(`dpbench leaderboard` lists them)"
        )
    return _only(name, named)


def trial_name(result: Result) -> str:
    """Return the name of a trial and its like: ``ae-grad-GAN@1``."""
    return f"{result.method}@{'–' if result.epsilon is None else f'{result.epsilon:g}'}"


def _is_named(result: Result, name: str) -> bool:
    method, _, epsilon = name.rpartition("@")
    if method == result.method and result.epsilon is not None:
        return epsilon in (f"{result.epsilon:g}", str(result.epsilon))
    return len(name) >= 6 and result.key.startswith(name)


def _only(name: str, named: Sequence[Result]) -> Result:
    candidates: dict[str, Result] = {}
    for result in sorted(named, key=lambda r: r.seed or 0):
        candidates.setdefault(result.candidate.identity_key, result)
    found = list(candidates.values())
    chosen = [result for result in found if result.choice.chosen] or found
    if len(chosen) > 1:
        telling = ", ".join(sorted({_telling(r) for r in chosen}))
        raise UnknownTrial(
            f"{name!r} names {len(chosen)} trials ({telling}): choose with --clip, --dataset or "
            "--labels, or name one by the digits behind it"
        )
    return chosen[0]


def _telling(result: Result) -> str:
    settings = [] if result.settings == DEFAULT else [f"settings {result.settings}"]
    labelled = [] if result.labels == "none" else ["private labels"]
    axes = [f"{axis.rpartition('.')[2]} = {value}" for axis, value in result.axes.items()]
    noise = [] if result.noise_multiplier is None else [f"noise {result.noise_multiplier:g}"]
    parts = [f"clip {result.clip:g}", result.dataset, *labelled, *settings, *axes, *noise]
    return f"{', '.join(parts)}: {result.key[:8]}"
