"""What a private generator promises where records have labels."""

from __future__ import annotations

import torch

from dpbench.api import Context
from dpbench.privacy.by_class import draw, make_generator, trained_as
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import ReplayLane, replay
from dpbench.privacy.session import PrivateSession
from dpbench.privacy.status import privacy_problem
from dpbench.testing.checks import NotRun, checking, refusable, require
from dpbench.testing.generator_subject import DELTA, GeneratorSubject, rng
from dpbench.testing.tensors import require_latents, same

CLASSES, COUNT = 3, 12


@checking("generator")
def samples_by_class(subject: GeneratorSubject) -> None:
    """With labels it samples every class within its budget, by itself or trained class by class."""
    dim, context = subject.private.shape[1], Context(11)
    session = PrivateSession(
        subject.private,
        Budget(1.0, DELTA),
        1.0,
        context,
        noise_seed=101,
        labels=_labels(subject),
        classes=CLASSES,
    )
    made, other = (make_generator(subject.cls, subject.params, dim, CLASSES) for _ in range(2))
    with refusable():
        whole = trained_as(subject.cls, CLASSES)
        whole.fit_lanes([made], [session.handle], subject.public.clone(), [context])
    ledger, spent = session.ledger.model_dump(mode="json"), session.spent.model_dump(mode="json")
    problem = privacy_problem(ledger, spent, 1.0)
    require(problem is None, f"with labels: {problem}")
    latents, _ = draw(made, COUNT, rng(5), CLASSES)
    require_latents(latents, COUNT, dim, "a sample of classes")
    other.restore({name: tensor.clone() for name, tensor in made.state().items()})
    again, _ = draw(other, COUNT, rng(5), CLASSES)
    require(same(latents, again, 1e-6), "a restored instance samples other latents of a class")


@checking("generator")
def replays_with_labels(subject: GeneratorSubject) -> None:
    """Labels leave a fit by its releases alone, and a record joins the sums of one class."""
    found = replay(
        subject.cls,
        [ReplayLane(subject.params, Budget(1.0, DELTA), 1.0, 31)],
        subject.public,
        subject.private,
        labels=_labels(subject),
        classes=CLASSES,
        records=300,
    )
    if found.verdict == "not-replayed":
        raise NotRun(found.reason)
    require(found.verdict == "passed", found.reason)


def _labels(subject: GeneratorSubject) -> torch.Tensor:
    return torch.arange(len(subject.private)) % CLASSES
