import math

import pytest
import torch

from dpbench.api import Context
from dpbench.privacy.audit import AuditResult
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.session import PrivateSession
from dpbench.privacy.statement import make_statement, rounded_up
from dpbench.results import Choice, Privacy, Result, selection

Z = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
AUDIT = AuditResult(
    kind="one-run",
    epsilon_claimed=1.0,
    epsilon_lower=1.5,
    epsilon_ceiling=3.0,
    delta=1e-6,
    confidence=0.95,
    runs=1,
    canaries=100,
    records=100,
    score="nearest",
    correct=40,
    guesses=50,
)


def used(epsilon: float = 1.0) -> PrivateLatents:
    private = PrivateSession(Z, Budget(epsilon, 1e-6), 1.0, Context(0), noise_seed=1).handle
    sigma = private.noise_multiplier()
    private.release_sum(lambda z: z, clip=2.0, noise_multiplier=sigma, name="moments")
    return private


def result(private: PrivateLatents, **fields) -> Result:
    privacy = Privacy(spent=private.spent, ledger=private.ledger)
    values = {"status": "ok", "method": "ae-enc-X", "dataset": "mnist", "clip": 1.0, "seed": 0}
    return Result(**(values | fields), delta=1e-6, privacy=privacy, protocol={"name": "default"})


def privacy_statement(trial: Result) -> str:
    statement = make_statement(trial, selection([trial], ()))
    assert statement is not None
    return statement.markdown()


def test_it_states_guarantee_unit_adjacency_and_both_accountants() -> None:
    private = used()
    text = privacy_statement(result(private))
    assert f"({rounded_up(private.spent.epsilon)}, 1e-06)-differentially private" in text
    for words in ("one private image", "zero-out", "Opacus (PRV)", "(PLD)", "moments"):
        assert words in text


def test_a_seeded_run_is_a_benchmark_and_a_secure_one_is_not() -> None:
    seeded = result(used())
    assert "benchmark, not a release" in privacy_statement(seeded)
    assert seeded.privacy is not None
    seeded.privacy.ledger.rng = "secure"
    text = privacy_statement(seeded)
    assert "ChaCha20" in text
    assert "not a release" not in text


def test_what_an_audit_looked_at_is_not_covered() -> None:
    text = privacy_statement(result(used(), audit=AUDIT))
    assert "What an audit or a replay found" in text.partition("## Not covered")[2]


def test_without_noise_there_is_no_guarantee() -> None:
    assert "**None.**" in privacy_statement(result(used(math.inf)))


def test_self_declared_mechanisms_are_called_that() -> None:
    private = PrivateSession(Z, Budget(1.0, 1e-6), 1.0, Context(0), noise_seed=1).handle
    private.raw([Mechanism(name="own", noise_multiplier=2.0, sampling_rate=0.1, count=10)])
    text = privacy_statement(result(private))
    assert "Self-declared" in text
    assert "not observed" in text


def test_it_says_over_budget_and_what_an_audit_found() -> None:
    text = privacy_statement(result(used(), status="over-budget", reason="spent", audit=AUDIT))
    assert "Not as configured" in text
    assert "REFUTED: epsilon >= 1.5" in text


KEYS = tuple(result(used(), clip=clip).identity_key for clip in (1.0, 2.0, 4.0))
FIRST = Choice(rule="first", chosen=True)
COUNTED = Choice(rule="noisy", chosen=True, epsilon=1.9, among=KEYS)


@pytest.mark.parametrize(
    ("choice", "other", "epsilon", "words"),
    [
        (Choice(), None, 1.0, "nothing was chosen"),
        (Choice(), Choice(), math.inf, "one image can turn"),
        (FIRST, Choice(rule="first"), 1.0, "stated before"),
        (FIRST, FIRST, math.inf, "can turn"),
        (COUNTED, Choice(rule="noisy"), 1.9, "noisy count"),
        (Choice(rule="noisy"), COUNTED, None, "Not the one"),
        (Choice(rule="noisy"), Choice(rule="noisy"), math.inf, "can turn"),
        (COUNTED.model_copy(update={"among": KEYS[:2]}), Choice(), math.inf, "in no count"),
    ],
)
def test_what_a_choice_costs_follows_its_rule(choice, other, epsilon, words) -> None:
    trial = result(used(), choice=choice)
    rivals = [result(used(), clip=clip, choice=other) for clip in (2.0, 4.0)] if other else []
    statement = make_statement(trial, selection([trial], rivals))
    assert statement is not None
    assert words in statement.selection
    if epsilon is None:
        assert statement.epsilon_with_selection is None
    else:
        assert statement.epsilon_with_selection == pytest.approx(epsilon, rel=0.01)


@pytest.mark.parametrize("secure", [False, True])
def test_pictures_of_private_images_are_named(secure: bool) -> None:
    trial = result(used(), secure=secure)
    statement = make_statement(trial, selection([trial], ()))
    assert statement is not None
    assert ("not written" in statement.unprotected[-1]) is secure


@pytest.mark.parametrize("method", ["control:real", "control:public-prior"])
def test_a_control_has_nothing_to_state(method: str) -> None:
    control = Result(method=method, dataset="mnist", status="ok", protocol={"name": "default"})
    assert make_statement(control, selection([control], ())) is None
