"""Captured steps: what a CUDA graph would repeat gives the numbers of steps run one by one.

Without a CUDA device, a stand-in records a step's tensor operations and repeats them
on the same tensors, with every Python number as it was when recorded: as a graph does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dpbench.api import Context, PrivateGenerator
from dpbench.generators.gan import GAN
from dpbench.generators.vae import VAE
from dpbench.privacy import lanes
from dpbench.privacy.capture import OFF_VARIABLE, Body, Replay
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.session import PrivateSession

SETTINGS: dict[str, Any] = {
    "batch": 40, "steps": 70, "hidden": (8,), "learning_rate": 0.01, "prior": "gaussian",
}  # fmt: skip
CASES = [
    (VAE, {"kl_warmup": 0.5}),
    (VAE, {"optimiser": "lamb"}),
    (GAN, {"critic_steps": 2, "fakes": 32, "public_penalty": 0.1}),
    (GAN, {"activation": "tanh", "weight_clip": 0.05, "optimiser": "sgd"}),
]


class Recorder(TorchDispatchMode):
    """Notes every operation; refuses what a graph could not repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        assert "_local_scalar_dense" not in name and "nonzero" not in name, f"{name} waits"
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


def recording(body: Body) -> Body:
    """Stand in for a capture; as the recording has carried the step out, replay that once less."""
    with Recorder() as recorder:
        body()
    fresh = [True]

    def replay() -> None:
        if fresh.pop() if fresh else False:
            return
        for func, args, kwargs, out in recorder.calls:
            for old, new in zip(_tensors(out), _tensors(func(*args, **kwargs)), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return replay


def _tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    return [t for t in out if isinstance(t, Tensor)] if isinstance(out, list | tuple) else []


def _latents(count: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(count)) + 1


def _handle(latents: Tensor, clip: float, context: Context, **options: Any) -> PrivateLatents:
    budget, seed = Budget(5.0, 1e-5), context.seed
    return PrivateSession(latents, budget, clip, context, noise_seed=seed, **options).handle


def _settings(lane: int, clip: float) -> tuple[int, float]:
    """Return a lane's number of steps and clip; later lanes take fewer steps."""
    return SETTINGS["steps"] - 30 * lane, clip


TWO = [_settings(0, 0.5), _settings(1, 1.0)]


def _train(
    cls: type[PrivateGenerator],
    more: dict[str, Any],
    lanes: list[tuple[int, float]],
    device: str = "cpu",
) -> tuple[list[Tensor], list[PrivateLatents]]:
    """Train a lane per number of steps and clip; return parameters and handles."""
    privates, contexts, generators = [], [], []
    for steps, clip in lanes:
        context = Context(10 + int(100 * clip), torch.device(device))
        params = cls.Params.model_validate({**SETTINGS, **more, "steps": steps})
        generators.append(cls(params, latent_dim=3))
        latents = _latents(500).to(device)
        privates.append(_handle(latents, clip, context))
        contexts.append(context)
    cls.fit_lanes(generators, privates, _latents(200), contexts)
    return [g.state()["parameters"] for g in generators], privates


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Replay]]:
    """Make every loop use the given capture; return the replays that loops ask for."""

    def use(how: Any) -> list[Replay]:
        made: list[Replay] = []

        def on(*_: Any) -> Replay:
            made.append(Replay(how))
            return made[-1]

        monkeypatch.setattr(Replay, "on", on)
        return made

    return use


@pytest.mark.parametrize(("cls", "more"), CASES)
def test_captured_steps_give_the_same_numbers(
    cls: type[PrivateGenerator], more: dict[str, Any], capture: Callable[..., list[Replay]]
) -> None:
    capture(lambda body: body)
    expected, _ = _train(cls, more, TWO)
    made = capture(recording)
    found, privates = _train(cls, more, TWO)
    assert made and all(replay.captures for replay in made)
    for a, b in zip(found, expected, strict=True):
        assert a.isfinite().all()
        assert torch.equal(a, b)
    for private in privates:
        assert private.spent.epsilon == pytest.approx(5.0, rel=0.02)
        assert len(private.ledger.inclusions) == 1


@pytest.mark.parametrize(("cls", "more"), CASES[:3])
@pytest.mark.parametrize("how", [None, recording], ids=["plain", "captured"])
def test_a_lane_does_not_depend_on_its_neighbours(
    cls: type[PrivateGenerator],
    more: dict[str, Any],
    how: Any,
    capture: Callable[..., list[Replay]],
) -> None:
    capture(how)
    long, short = _settings(0, 0.5), _settings(1, 1.0)
    together, _ = _train(cls, more, [long, short])
    for lane, settings in enumerate((long, short)):
        alone, _ = _train(cls, more, [settings])
        torch.testing.assert_close(together[lane], alone[0], rtol=1e-4, atol=1e-6)


def test_a_draw_that_exceeds_the_width_widens_it_and_enters_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lanes, "_room", lambda expected, size: math.ceil(expected))
    gradients: list[list[Tensor]] = []
    widths: set[tuple[int, ...]] = set()
    net = LaneMLP((3, 8, 3))
    for fixed in (False, True):
        params = LaneBuffer.zeros(net.layers, 2)
        params.initialise([torch.Generator().manual_seed(lane) for lane in range(2)])
        privates = [_handle(_latents(500), 1.0, Context(i)) for i in range(2)]
        schedules = [LaneSchedule(0.1, 70, 1.0, 0.5), LaneSchedule(0.05, 50, 1.0, 0.5)]
        engine = DPSGDLanes(params, privates, schedules, fixed=fixed)
        own: list[Tensor] = []
        while (active := engine.active) > 0:
            head = params.head(active)

            def traces(x: Tensor, head: LaneBuffer = head) -> list[LinearTrace]:
                tape = net.forward(head, x)
                return net.backward(head, tape, tape.output - x)[0]

            own.append(engine.gradient(traces).flat.clone())
            widths.add(engine.key)
        gradients.append(own)
    assert len(widths) > 3
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("cls", [VAE, GAN])
def test_the_reference_engine_is_never_captured(
    cls: type[PrivateGenerator], capture: Callable[..., list[Replay]]
) -> None:
    made = capture(recording)
    plain = {"output": "fixed"} if cls is VAE else {}
    _train(cls, {"engine": "opacus", **plain}, [(3, 1.0)])
    assert made == []


def test_a_step_that_cannot_be_captured_runs_as_it_is() -> None:
    def refuse(_: Body) -> Body:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    calls: list[int] = []
    replay = Replay(refuse)
    with pytest.warns(UserWarning, match="cannot be captured .operation not permitted."):
        for _ in range(4):
            replay.run("same", lambda: calls.append(1))
    assert len(calls) == 4
    assert not replay.captures


class _Passing:
    """A tape that only listens."""

    def release(self, mechanism: Any, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        return noisy()


def test_only_plain_seeded_runs_on_a_gpu_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, latents, context = torch.device("cuda"), _latents(9), Context(0)
    private = _handle(latents, 1.0, context)
    assert Replay.on(cuda, [private], list).captures
    assert not Replay.on(torch.device("cpu"), [private], list).captures
    for option in ({"canaries": _latents(2)}, {"secure_rng": True}, {"tape": _Passing()}):
        other = _handle(latents, 1.0, context, **option)
        assert not Replay.on(cuda, [private, other], list).captures
    monkeypatch.setenv(OFF_VARIABLE, "1")
    assert not Replay.on(cuda, [private], list).captures


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("cls", "more"), CASES)
def test_a_cuda_graph_gives_the_numbers_of_uncaptured_steps(
    cls: type[PrivateGenerator], more: dict[str, Any], capture: Callable[..., list[Replay]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found, _ = _train(cls, more, TWO, "cuda")
    capture(lambda body: body)
    expected, _ = _train(cls, more, TWO, "cuda")
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
