"""A small audit, for generators that the ledger has to believe."""

from __future__ import annotations

from dpbench.privacy.audit import run_audit
from dpbench.testing.checks import Figures, NotRun, checking, require
from dpbench.testing.generator_subject import DELTA, GeneratorSubject

RUNS = 200


@checking("generator")
def a_small_audit_does_not_refute_it(subject: GeneratorSubject) -> Figures:
    """What it declares about latents in hand is not refuted by 200 trainings with a canary."""
    if subject.usual.session.ledger.trust != "self-declared":
        raise NotRun("the harness adds its noise, and the replay looks at it")
    found = run_audit(
        subject.cls,
        subject.params,
        subject.public,
        subject.private,
        epsilon=1.0,
        delta=DELTA,
        clip=1.0,
        runs=RUNS,
        records=200,
        samples=50,
    )
    claimed, bound = found.epsilon_claimed, max(found.epsilon_lower, found.epsilon_lower_gdp or 0)
    require(not found.refuted, f"it claims epsilon {claimed:.2g}, and it is at least {bound:.2g}")
    return {"epsilon at least": bound, "epsilon claimed": claimed}
