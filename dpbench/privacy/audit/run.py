"""Train with and without canaries, attack what comes out, bound epsilon from below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator, derive_seed
from dpbench.errors import DpbenchError
from dpbench.privacy.audit.bounds import epsilon_from_rates, one_run_epsilon
from dpbench.privacy.audit.result import AuditKind, AuditResult
from dpbench.privacy.audit.scores import Observation, far_latents, learned_scores, observe
from dpbench.privacy.handle import Budget
from dpbench.privacy.session import PrivateSession

__all__ = ["run_audit"]

_GUESSED_SHARES = (0.1, 0.25, 0.5, 1.0)


@dataclass
class _Trainer:
    """Trains generators on given records and observes them."""

    cls: type[PrivateGenerator]
    params: Any
    public: Tensor
    budget: Budget
    clip: float
    canaries: Tensor
    seed: int
    lanes: int
    samples: int
    device: torch.device
    on_run: Callable[[int], None]
    epsilon: float = 0.0

    def train(self, records: Tensor, runs: int, world: str) -> list[Observation]:
        """Train ``runs`` generators on the same records, ``lanes`` at a time."""
        seeds = [derive_seed(self.seed, "audit", world, run) for run in range(runs)]
        done: list[Observation] = []
        for start in range(0, runs, self.lanes):
            done += self._group(records, seeds[start : start + self.lanes])
            self.on_run(len(done))
        return done

    def _group(self, records: Tensor, seeds: Sequence[int]) -> list[Observation]:
        contexts = [Context(seed, self.device) for seed in seeds]
        generators = [self.cls(self.params, records.shape[1]) for _ in seeds]
        sessions = [self._session(records, context) for context in contexts]
        handles = [session.handle for session in sessions]
        self.cls.fit_lanes(generators, handles, self.public, contexts)
        self.epsilon = max(self.epsilon, *(session.spent.epsilon for session in sessions))
        centre = self.public.mean(0)
        return [
            observe(
                generator,
                session,
                self.canaries,
                centre,
                self.samples,
                context.generator("audit-samples"),
            )
            for generator, session, context in zip(generators, sessions, contexts, strict=True)
        ]

    def _session(self, records: Tensor, context: Context) -> PrivateSession:
        return PrivateSession(
            records,
            self.budget,
            self.clip,
            context,
            noise_seed=derive_seed("audit-noise", context.seed),
            canaries=self.canaries,
        )


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
    kind: AuditKind = "many-run",
    runs: int = 400,
    canaries: int = 200,
    records: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
    samples: int = 1000,
    lanes: int = 50,
    device: torch.device | str = "cpu",
    on_run: Callable[[int], None] = lambda _done: None,
) -> AuditResult:
    """Audit a private generator; ``public`` and ``private`` are standardised latents.

    ``many-run``: train ``runs`` generators, half of them on ``records`` private
    latents, half on the same and one far canary. One half of the runs chooses
    score, threshold and direction, the other bounds epsilon by Clopper-Pearson.

    ``one-run``: train once, with each of ``canaries`` far latents included by a
    fair coin; rank them by score, guess the extremes, and bound epsilon by
    Steinke, Nasr and Jagielski (2023). Scores and numbers of guesses tried are
    paid for by Bonferroni.

    A bound above the claim refutes it; a bound below it proves nothing.

    Args:
        runs: trainings of a many-run audit, at least 16; ignored by a one-run audit.
        canaries: canaries of a one-run audit; a many-run audit has one.
        records: private latents kept; fewer leave the canary less to hide behind.
        samples: latents drawn from each generator for black-box scores.
        lanes: generators trained together.
        on_run: told how many trainings of the present world are done.
    """
    if not len(private) or not len(public):
        raise DpbenchError("an audit needs public and private latents")
    rng = torch.Generator().manual_seed(derive_seed(seed, "audit-canaries"))
    base = private[torch.randperm(len(private), generator=rng)[:records]]
    planted = far_latents(public, 1 if kind == "many-run" else canaries, rng)
    budget = Budget(epsilon, delta, noise_multiplier)
    trainer = _Trainer(
        generator,
        params,
        public,
        budget,
        clip,
        planted,
        seed,
        lanes,
        samples,
        torch.device(device),
        on_run,
    )
    error = 1 - confidence
    if kind == "one-run":
        return _one_run(trainer, base, rng, error)
    if runs < 16:
        raise DpbenchError(f"a many-run audit needs at least 16 runs, got {runs}")
    return _many_run(trainer, base, runs // 2, error)


def _many_run(trainer: _Trainer, base: Tensor, runs: int, error: float) -> AuditResult:
    inside = trainer.train(torch.cat([base, trainer.canaries]), runs, "in")
    outside = trainer.train(base, runs, "out")
    scores = {name: (_fixed(inside, name), _fixed(outside, name)) for name in inside[0].fixed}
    states = tuple(torch.stack([o.state for o in world]) for world in (inside, outside))
    learn = runs // 4
    for name, score in learned_scores(states[0][:learn], states[1][:learn]).items():
        scores[name] = (score(states[0]), score(states[1]))
    half = runs // 2
    delta = trainer.budget.delta

    def choose(name: str) -> tuple[float, float, float]:
        # Learned scores have seen their first runs; they are chosen by later ones.
        first = learn if "learned" in name else 0
        present, absent = (world[first:half] for world in scores[name])
        return _best_test(present, absent, delta, error)

    chosen = {name: choose(name) for name in scores}
    name = max(chosen, key=lambda key: chosen[key][0])
    _, threshold, sign = chosen[name]
    present, absent = (world[half:] for world in scores[name])
    found, hits, alarms = _bound(present, absent, threshold, sign, delta, error)
    fresh = runs - half
    # sign +1 bets on "in" above the threshold, -1 on "out" below it
    correct = hits + fresh - alarms
    return AuditResult(
        kind="many-run",
        epsilon_claimed=trainer.epsilon,
        epsilon_lower=found,
        epsilon_ceiling=epsilon_from_rates(fresh, fresh, 0, fresh, delta, error),
        delta=delta,
        confidence=1 - error,
        runs=2 * runs,
        canaries=1,
        records=len(base),
        score=name,
        correct=correct,
        guesses=2 * fresh,
    )


def _fixed(world: Sequence[Observation], name: str) -> Tensor:
    return torch.stack([observation.fixed[name][0] for observation in world])


def _best_test(
    present: Tensor, absent: Tensor, delta: float, error: float
) -> tuple[float, float, float]:
    """Return (bound, threshold, sign) of the test that bounds epsilon best on these runs.

    Thresholds lie midway between neighbouring scores. With sign +1 the event is
    "score above", likelier with the canary; with -1 it is "score below",
    likelier without. Ties go to the threshold nearest the middle of the scores.
    """
    values = torch.cat([present, absent]).double().sort().values
    middle = values.median()
    cuts = sorted(
        {float(cut) for cut in (values[1:] + values[:-1]) / 2}, key=lambda c: abs(c - middle)
    )
    options = (
        (_bound(present, absent, cut, sign, delta, error)[0], cut, sign)
        for cut in cuts
        for sign in (1.0, -1.0)
    )
    return max(options, key=lambda option: option[0])


def _bound(
    present: Tensor, absent: Tensor, threshold: float, sign: float, delta: float, error: float
) -> tuple[float, int, int]:
    """Return the bound on epsilon of one test, its hits and its false alarms."""
    likely, unlikely = (present, absent) if sign > 0 else (absent, present)
    hits = int((sign * (likely.double() - threshold) > 0).sum())
    alarms = int((sign * (unlikely.double() - threshold) > 0).sum())
    return epsilon_from_rates(hits, len(likely), alarms, len(unlikely), delta, error), hits, alarms


def _one_run(trainer: _Trainer, base: Tensor, rng: torch.Generator, error: float) -> AuditResult:
    total = len(trainer.canaries)
    included = torch.rand(total, generator=rng) < 0.5
    (observation,) = trainer.train(torch.cat([base, trainer.canaries[included]]), 1, "one")
    counts = sorted({max(2, 2 * round(share * total / 2)) for share in _GUESSED_SHARES})
    delta = trainer.budget.delta
    paid = error / (len(observation.fixed) * len(counts))
    best = (-1.0, 0, 0, "")
    for name, score in observation.fixed.items():
        order = score.argsort()
        for guesses in counts:
            lowest, highest = order[: guesses // 2], order[len(order) - guesses // 2 :]
            correct = int(included[highest].sum() + (~included[lowest]).sum())
            found = one_run_epsilon(total, guesses, correct, delta, paid)
            best = max(best, (found, correct, guesses, name))
    return AuditResult(
        kind="one-run",
        epsilon_claimed=trainer.epsilon,
        epsilon_lower=best[0],
        epsilon_ceiling=max(one_run_epsilon(total, g, g, delta, paid) for g in counts),
        delta=delta,
        confidence=1 - error,
        runs=1,
        canaries=total,
        records=len(base),
        score=best[3],
        correct=best[1],
        guesses=best[2],
    )
