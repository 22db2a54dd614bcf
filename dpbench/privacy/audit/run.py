"""Train with and without canaries, attack what comes out, bound epsilon from below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dpbench.api import PrivateGenerator, derive_seed
from dpbench.errors import DpbenchError
from dpbench.privacy.audit.bounds import epsilon_from_rates, gdp_epsilon, gdp_mu, one_run_epsilon
from dpbench.privacy.audit.result import AuditKind, AuditResult
from dpbench.privacy.audit.scores import (
    Observation,
    far_latents,
    learned_scores,
    stacked_states,
)
from dpbench.privacy.audit.threshold import Bound, Counts, ThresholdTest, best_test
from dpbench.privacy.audit.trainer import Subject, Trainer
from dpbench.privacy.handle import Budget
from dpbench.privacy.records import Records

__all__ = ["Effort", "run_audit", "run_audits"]

_GUESSED_SHARES = (0.1, 0.25, 0.5, 1.0)
#: Half of the runs choose the test, but of many this many and an eighth will do.
_ENOUGH_TO_CHOOSE = 1000
#: Part of the error that goes to the Gaussian-DP fit: it needs little, Clopper-Pearson needs all.
_FIT_SHARE = 0.2


@dataclass(frozen=True)
class Effort:
    """How hard to try.

    Attributes:
        kind: ``many-run`` or ``one-run``; see :func:`run_audits`.
        runs: trainings of a many-run audit, at least 16; ignored by a one-run audit.
        canaries: canaries of a one-run audit; a many-run audit has one.
        records: private latents kept; fewer leave the canary less to hide behind.
        confidence: of the bound.
        samples: latents drawn from each generator for black-box scores.
        lanes: runs of a trial without company that are trained together; where a plugin's own
            ``fit_lanes`` is refuted so, it is tried again one by one.
    """

    kind: AuditKind = "many-run"
    runs: int = 400
    canaries: int = 200
    records: int = 500
    confidence: float = 0.95
    samples: int = 1000
    lanes: int = 50


def run_audit(
    generator: type[PrivateGenerator],
    params: Any,
    public: Tensor,
    private: Tensor,
    *,
    epsilon: float,
    delta: float,
    clip: float,
    noise_multiplier: float | None = None,
    labels: Tensor | None = None,
    classes: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_run: Callable[[int], None] = lambda _done: None,
    **effort: Any,
) -> AuditResult:
    """Audit one trial by itself; see :func:`run_audits`. ``effort`` is of :class:`Effort`."""
    subject = Subject(params, Budget(epsilon, delta, noise_multiplier), clip)
    (result,) = run_audits(
        generator,
        [subject],
        public,
        private,
        Effort(**effort),
        labels=labels,
        classes=classes,
        seed=seed,
        device=device,
        on_run=on_run,
    )
    return result


def run_audits(
    generator: type[PrivateGenerator],
    company: Sequence[Subject],
    public: Tensor,
    private: Tensor,
    effort: Effort,
    *,
    labels: Tensor | None = None,
    classes: int = 1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_run: Callable[[int], None] = lambda _done: None,
) -> list[AuditResult]:
    """Audit the trials of a ``company``, which are trained together as in a run.

    ``public`` and ``private`` are standardised latents.

    ``many-run``: train everything ``runs`` times, one half on ``records`` private
    latents and one far canary, one half on the same with a null record in the
    canary's place, so that both worlds have equally many records. Some runs choose
    score, threshold and direction; the others count what that test gets right, and
    bound epsilon twice: by Clopper-Pearson, which assumes that runs are independent, and by a
    Gaussian-DP fit, which assumes that the trade-off between the two kinds of error is that
    of two Gaussians (Nasr et al. 2023).

    ``one-run``: train once, with each of ``canaries`` far latents included by a fair
    coin and null records in place of the others; rank them by score, guess the
    extremes, and bound epsilon by Steinke, Nasr and Jagielski (2023). Scores and
    numbers of guesses tried are paid for by Bonferroni.

    A bound above the claim refutes it; a bound below it proves nothing.

    Args:
        labels: classes of ``private`` in ``0..classes-1``, where records have them. A
            canary's class is drawn by chance.
        on_run: told how many trainings of the present world are done.
    """
    if not len(private) or not len(public):
        raise DpbenchError("an audit needs public and private latents")
    if effort.kind == "many-run" and effort.runs < 16:
        raise DpbenchError(f"a many-run audit needs at least 16 runs, got {effort.runs}")
    rng = torch.Generator().manual_seed(derive_seed(seed, "audit-canaries"))
    chosen = torch.randperm(len(private), generator=rng)[: effort.records]
    base = Records(private, labels, classes).of(chosen)
    planted = far_latents(public, 1 if effort.kind == "many-run" else effort.canaries, rng)
    classed = None if labels is None else torch.randint(classes, (len(planted),), generator=rng)
    trainer = Trainer(
        generator,
        company,
        public,
        Records(planted, classed, classes),
        seed,
        effort.lanes,
        effort.samples,
        torch.device(device),
        on_run,
    )
    if effort.kind == "one-run":
        return _one_run(trainer, base, rng, 1 - effort.confidence)
    found = _many_run(trainer, base, effort.runs // 2, 1 - effort.confidence)
    above = generator.__mro__[: generator.__mro__.index(PrivateGenerator)]
    own = any("fit_lanes" in vars(base) for base in above)
    if not (own and len(company) == 1 and effort.lanes > 1 and found[0].refuted):
        return found
    # Runs of one call that share their chance are no independent runs: by itself each is.
    trainer.lanes = 1
    return _many_run(trainer, base, effort.runs // 2, 1 - effort.confidence)


def _many_run(trainer: Trainer, base: Records, runs: int, error: float) -> list[AuditResult]:
    """Train ``runs`` in each world; the first of them learn, more choose, the rest count."""
    canaries, labels = trainer.canaries.latents, trainer.canaries.labels
    worlds = {
        "in": base.and_more(canaries, labels),
        "out": base.and_more(torch.full_like(canaries, torch.nan), labels),
    }
    choosing = max(min(runs // 2, _ENOUGH_TO_CHOOSE), runs // 8)
    learning = choosing // 2
    first = [trainer.train(records, range(learning), w) for w, records in worlds.items()]
    learned = [
        learned_scores(stacked_states(inside), stacked_states(outside))
        for inside, outside in zip(*first, strict=True)
    ]
    later = [
        trainer.train(records, range(learning, runs), w, learned) for w, records in worlds.items()
    ]
    results = []
    for at in range(len(trainer.company)):
        # Learned scores have seen the first runs, so they are chosen by the later ones.
        chosen_by = [_table(first[w][at] + later[w][at][: choosing - learning]) for w in (0, 1)]
        counted_by = [_table(later[w][at][choosing - learning :]) for w in (0, 1)]
        results.append(_bounded(trainer, at, chosen_by, counted_by, 2 * runs, len(base), error))
    return results


def _table(world: Sequence[Observation]) -> dict[str, Tensor]:
    """Return the scores of one canary by name, from those runs that have them."""
    names = dict.fromkeys(name for seen in world for name in seen.scores)
    return {
        name: torch.stack([seen.scores[name][0] for seen in world if name in seen.scores])
        for name in names
    }


def _bounded(
    trainer: Trainer,
    at: int,
    chosen_by: Sequence[dict[str, Tensor]],
    counted_by: Sequence[dict[str, Tensor]],
    runs: int,
    records: int,
    error: float,
) -> AuditResult:
    """Bound one subject's epsilon; its two bounds share the error between them."""
    delta = trainer.company[at].budget.delta
    claimed, ledger = trainer.claims[at]

    def epsilon(counts: Counts) -> Any:
        c = counts
        paid = (1 - _FIT_SHARE) * error
        return epsilon_from_rates(c.hits, c.positives, c.alarms, c.negatives, delta, paid)

    def mu(counts: Counts) -> Any:
        c = counts
        return gdp_mu(c.hits, c.positives, c.alarms, c.negatives, _FIT_SHARE * error)

    name, counts = _count(epsilon, chosen_by, counted_by)
    _, gaussian = _count(mu, chosen_by, counted_by)
    fresh = counts.positives
    perfect = Counts(fresh, fresh, 0, fresh)
    return AuditResult(
        kind="many-run",
        epsilon_claimed=claimed,
        epsilon_lower=float(epsilon(counts)),
        epsilon_lower_gdp=gdp_epsilon(float(mu(gaussian)), delta),
        claim_is_gaussian=all(mechanism.sampling_rate == 1 for mechanism in ledger),
        epsilon_ceiling=float(epsilon(perfect)),
        delta=delta,
        confidence=1 - error,
        runs=runs,
        canaries=1,
        records=records,
        score=name,
        correct=counts.hits + counts.negatives - counts.alarms,
        guesses=counts.positives + counts.negatives,
    )


def _count(
    bound: Bound, chosen_by: Sequence[dict[str, Tensor]], counted_by: Sequence[dict[str, Tensor]]
) -> tuple[str, Counts]:
    """Choose the score and the test that ``bound`` likes best; count on other runs."""
    tests: dict[str, tuple[float, ThresholdTest]] = {
        name: best_test(chosen_by[0][name], chosen_by[1][name], bound) for name in chosen_by[0]
    }
    name = max(tests, key=lambda key: tests[key][0])
    return name, tests[name][1].count(counted_by[0][name], counted_by[1][name])


def _one_run(
    trainer: Trainer, base: Records, rng: torch.Generator, error: float
) -> list[AuditResult]:
    included = torch.rand(len(trainer.canaries), generator=rng) < 0.5
    planted = torch.where(included[:, None], trainer.canaries.latents, torch.nan)
    found = trainer.train(base.and_more(planted, trainer.canaries.labels), range(1), "one")
    return [
        _guessed(trainer, at, observation, included, len(base), error)
        for at, (observation,) in enumerate(found)
    ]


def _guessed(
    trainer: Trainer, at: int, seen: Observation, included: Tensor, records: int, error: float
) -> AuditResult:
    """Guess which canaries were in, and bound one subject's epsilon by what was right."""
    total, delta = len(included), trainer.company[at].budget.delta
    counts = sorted({max(2, 2 * round(share * total / 2)) for share in _GUESSED_SHARES})
    paid = error / (len(seen.scores) * len(counts))
    best = (-1.0, 0, 0, "")
    for name, score in seen.scores.items():
        order = score.argsort()
        for guesses in counts:
            lowest, highest = order[: guesses // 2], order[len(order) - guesses // 2 :]
            correct = int(included[highest].sum() + (~included[lowest]).sum())
            found = one_run_epsilon(total, guesses, correct, delta, paid)
            best = max(best, (found, correct, guesses, name))
    return AuditResult(
        kind="one-run",
        epsilon_claimed=trainer.claims[at][0],
        epsilon_lower=best[0],
        epsilon_ceiling=max(one_run_epsilon(total, g, g, delta, paid) for g in counts),
        delta=delta,
        confidence=1 - error,
        runs=1,
        canaries=total,
        records=records,
        score=best[3],
        correct=best[1],
        guesses=best[2],
    )
