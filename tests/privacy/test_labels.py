"""Records with labels: what one of them moves, and what releases by class cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from dpbench.api import Context, Params, PrivateGenerator
from dpbench.errors import DpbenchError
from dpbench.privacy.by_class import balanced_labels, class_indices, draw, make_generator
from dpbench.privacy.dp_sgd import PrivateGradient
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.ledger import Mechanism, check_inclusions
from dpbench.privacy.session import PrivateSession

SIZE, DIM, CLASSES, CLIP = 90, 3, 3, 0.7
Z = torch.randn(SIZE, DIM, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(SIZE) % CLASSES
PUBLIC = torch.randn(200, DIM, generator=torch.Generator().manual_seed(1))


def session(
    latents: Tensor = Z, labels: Tensor | None = LABELS, epsilon: float = 1.0, **options: Any
) -> PrivateSession:
    classes = 1 if labels is None else CLASSES
    return PrivateSession(
        latents,
        Budget(epsilon, 1e-5),
        CLIP,
        Context(seed=1),
        noise_seed=2,
        labels=labels,
        classes=classes,
        **options,
    )


def sums(private: PrivateLatents, by_class: bool = True, noise: float = 0.0) -> Tensor:
    return private.release_sum(
        lambda z: z, clip=CLIP, noise_multiplier=noise, name="sum", by_class=by_class
    )


def without(record: int) -> Tensor:
    latents = Z.clone()
    latents[record] = math.nan
    return latents


def test_a_sum_by_class_is_the_clipped_sum_of_each_class() -> None:
    clipped = Z * (CLIP / Z.norm(dim=1, keepdim=True)).clamp_max(1)
    expected = torch.stack([clipped[LABELS.eq(k)].sum(0) for k in range(CLASSES)])
    torch.testing.assert_close(sums(session().handle), expected)
    assert session().handle.classes == CLASSES


@pytest.mark.parametrize("record", [0, 40, 89])
def test_replacing_a_record_by_null_moves_its_class_alone_by_at_most_the_clip(record: int) -> None:
    moved = sums(session().handle) - sums(session(without(record)).handle)
    norms = moved.norm(dim=1)
    own = int(LABELS[record])
    assert 0 < norms[own] <= CLIP * 1.001
    assert norms.sum() == norms[own]


@pytest.mark.parametrize("record", [3, 41])
def test_grouped_sums_by_class_move_in_one_class_by_at_most_the_clip(record: int) -> None:
    def contribution(z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.stack([z[:, 0].sigmoid(), 1 - z[:, 0].sigmoid()], 1), 5 * z

    def released(latents: Tensor) -> Tensor:
        return release_grouped_sum(
            session(latents).handle,
            contribution,
            clip=CLIP,
            noise_multiplier=0,
            name="g",
            by_class=True,
        )

    whole = released(Z)
    assert whole.shape == (CLASSES, 2, DIM)
    moved = (whole - released(without(record))).flatten(1).norm(dim=1)
    assert 0 < moved[LABELS[record]] <= CLIP * 1.001
    assert (moved > 0).sum() == 1


def test_a_release_by_class_costs_what_one_release_costs_and_the_ledger_says_why() -> None:
    plain, labelled = session(), session()
    sums(plain.handle, by_class=False, noise=4.0)
    sums(labelled.handle, noise=4.0)
    assert labelled.spent == plain.spent
    (entry,) = labelled.ledger.mechanisms
    assert (entry.classes, entry.count, entry.sensitivity) == (CLASSES, 1, CLIP)


def test_without_labels_there_is_one_class_and_nothing_changes() -> None:
    plain = session(labels=None)
    assert plain.handle.classes == 1
    assert torch.equal(sums(plain.handle)[0], sums(plain.handle, by_class=False))
    assert [handle is plain.handle for handle in plain.handle.by_class()] == [True]


def test_a_record_with_an_undeclared_label_is_a_null_record() -> None:
    odd = LABELS.clone()
    odd[7], odd[8] = CLASSES, -1
    gone = session(Z, odd)
    assert gone.present.sum() == SIZE - 2
    latents = without(7)
    latents[8] = math.nan
    assert torch.equal(sums(gone.handle), sums(session(latents).handle))


def test_a_view_of_one_class_holds_null_records_for_all_others() -> None:
    views = session().handle.by_class()
    assert [view.size for view in views] == [SIZE // CLASSES] * CLASSES
    for number, view in enumerate(views):
        assert torch.equal(view._session.present, LABELS.eq(number))
        assert not view._latents[LABELS.ne(number)].any()
        assert view._session.table is Z  # however many classes, one table
    together = torch.cat([sums(view) for view in views])
    assert torch.equal(together, sums(session().handle))


def test_what_is_done_class_by_class_is_accounted_once() -> None:
    whole = session()
    first = whole.handle.noise_multiplier(share=0.5)
    sums(whole.handle, by_class=False, noise=first)
    noises = set()
    for view in whole.handle.by_class():
        noises.add(view.noise_multiplier())  # what the whole has spent counts
        sums(view, noise=view.noise_multiplier())
    assert len(noises) == 1
    entries = whole.ledger.mechanisms
    assert [entry.classes for entry in entries] == [1, CLASSES]
    assert 0.97 < whole.spent.epsilon <= 1.0


def test_classes_that_meet_different_mechanisms_are_refused() -> None:
    whole = session()
    for number, view in enumerate(whole.handle.by_class()):
        sums(view, noise=1.0 + number)
    with pytest.raises(DpbenchError, match="do not compose in parallel"):
        _ = whole.ledger


def test_classes_may_differ_in_sensitivity_for_noise_is_in_proportion_to_it() -> None:
    whole = session()
    for number, view in enumerate(whole.handle.by_class()):
        for clip in (CLIP, 2.0 + number):
            view.release_sum(lambda z: z, clip=clip, noise_multiplier=3.0, name="sum")
    (entry,) = whole.ledger.mechanisms
    assert (entry.count, entry.sensitivity, entry.classes) == (2, 1.0 + CLASSES, CLASSES)


def test_noise_differs_from_class_to_class() -> None:
    views = session(torch.zeros_like(Z)).handle.by_class()
    released = [sums(view, noise=1.0) for view in views]
    assert len({tuple(map(float, row[0])) for row in released}) == CLASSES


def test_raw_latents_have_labels_beside_them_and_are_not_to_be_had_of_one_class() -> None:
    promise = [Mechanism(name="own", noise_multiplier=1.0)]
    rows = session().handle.raw(promise, labelled=True)
    assert rows.shape == (SIZE, DIM + CLASSES)
    assert torch.equal(rows[:, DIM:].argmax(1), LABELS)
    view = session().handle.by_class()[0]
    with pytest.raises(DpbenchError, match="conditional = True"):
        view.raw(promise)


class Mean(PrivateGenerator):
    """Samples around a noisy mean; the harness trains it class by class."""

    name = label = "mean"

    def __init__(self, params: Any, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.mean = torch.zeros(latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        noise = private.noise_multiplier()
        total = private.release_sum(
            lambda z: torch.cat([z, torch.ones_like(z[:, :1])], 1),
            clip=20.0,
            noise_multiplier=noise,
            name="mean",
        )
        self.mean = total[:-1] / total[-1].clamp_min(1)
        context.snapshot(0, self.sample(10, context.generator("shown")))

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        return self.mean + 0.1 * torch.randn(count, self.latent_dim, generator=rng)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.mean = state["mean"]


def trained(latents: Tensor, **options: Any) -> tuple[PrivateGenerator, PrivateSession]:
    whole = session(latents, **options)
    generator = make_generator(Mean, Params(), DIM, CLASSES)
    generator.fit_lanes([generator], [whole.handle], PUBLIC, [whole.context])
    return generator, whole


APART = Z + 10 * torch.nn.functional.one_hot(LABELS, DIM)


def test_a_generator_that_knows_no_labels_is_trained_once_for_each_class() -> None:
    generator, whole = trained(APART, epsilon=math.inf)
    latents, labels = draw(generator, 30, torch.Generator().manual_seed(0), CLASSES)
    assert labels is not None
    assert labels.bincount().tolist() == [10] * CLASSES
    assert torch.equal((latents / 10).round().argmax(1), labels)
    assert [entry.classes for entry in whole.ledger.mechanisms] == [CLASSES]


def test_class_by_class_the_whole_budget_is_spent_once() -> None:
    _, whole = trained(APART)
    alone = session(labels=None)
    Mean(Params(), DIM).fit(alone.handle, PUBLIC, alone.context)
    assert whole.spent == alone.spent
    assert 0.98 < whole.spent.epsilon <= 1.0


def test_a_generator_of_every_class_is_restored_from_its_state() -> None:
    generator, _ = trained(APART)
    copy = make_generator(Mean, Params(), DIM, CLASSES)
    copy.restore(generator.state())
    first, _ = draw(generator, 9, torch.Generator().manual_seed(3), CLASSES)
    again, _ = draw(copy, 9, torch.Generator().manual_seed(3), CLASSES)
    assert torch.equal(first, again)


def test_snapshots_of_classes_make_one_picture() -> None:
    taken: list[tuple[int, Tensor]] = []
    whole = session(APART)
    context = Context(1, on_snapshot=lambda step, latents: taken.append((step, latents)))
    whole.context = context
    generator = make_generator(Mean, Params(), DIM, CLASSES)
    generator.fit_lanes([generator], [whole.handle], PUBLIC, [context])
    assert [(step, len(latents)) for step, latents in taken] == [(0, 9)]


def test_samples_of_dp_sgd_are_checked_class_by_class() -> None:
    def traces(batch: Tensor) -> Sequence[LinearTrace]:
        for number, rows in enumerate(batch):
            known = torch.cat([Z[LABELS.eq(number)], torch.zeros(1, DIM)])
            assert torch.cdist(rows, known).amin(1).max() < 1e-3  # no other class is to be seen
        return [LinearTrace(0, batch, torch.ones(*batch.shape[:2], 1))]

    whole = session()
    views = whole.handle.by_class()
    schedule = LaneSchedule(0.2, 8, CLIP, 3.0)
    engine = DPSGDLanes(LaneBuffer.zeros([(DIM, 1)], CLASSES), views, [schedule] * CLASSES)
    while engine.active:
        engine.gradient(traces)
    ledger = whole.ledger
    assert [(m.count, m.classes) for m in ledger.mechanisms] == [(8, CLASSES)]
    assert len(ledger.inclusions) == CLASSES
    assert check_inclusions(ledger) == []


def test_places_of_labels_among_the_private_classes() -> None:
    assert class_indices(torch.tensor([4, 0, 2, 9]), (0, 4, 2)).tolist() == [1, 0, 2, -1]
    assert balanced_labels(5, 2).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("engine", ["lanes", "functorch"])
def test_a_gradient_of_one_class_is_a_mean_over_as_many_records_as_it_should_have(
    engine: str,
) -> None:
    view = session(epsilon=math.inf).handle.by_class()[1]
    expected = Z[LABELS.eq(1)].mean(0)
    if engine == "lanes":
        params = LaneBuffer.zeros([(DIM, 1)], 1)
        lanes = DPSGDLanes(params, [view], [LaneSchedule(1.0, 1, 100.0, 0.0)])
        ones = torch.ones(1, SIZE, 1)
        found = lanes.gradient(lambda batch: [LinearTrace(0, batch, ones)]).flat[0, :DIM]
    else:
        module = torch.nn.Linear(DIM, 1, bias=False)
        gradient = PrivateGradient(
            view, module, lambda net, z: net(z).sum(-1), sampling_rate=1.0, steps=1, clip=100.0
        )
        gradient.step()
        assert module.weight.grad is not None
        found = module.weight.grad[0]
    torch.testing.assert_close(found, expected)
