"""Flow matching on latents by DP-SGD, as a plugin of dpbench.

``flow`` spends all of its budget on gradients; ``flow-mixture`` buys a released mixture
first, and the network learns what the mixture does not explain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators.lane_prior import PriorParams, release_prior
from dpbench.generators.mixture import Mixture
from dpbench.privacy.lane_nets import LaneBuffer
from dpbench_flow.params import FlowParams, StartedFlowParams, schedule_for
from dpbench_flow.training import FlowLane, runs, train
from dpbench_flow.velocity import Guide, VelocityNet, integrate

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = ["Flow", "FlowParams", "StartedFlow", "StartedFlowParams", "register_generators"]


class Flow(PrivateGenerator):
    """A flow from N(0, I) to the private latents (Lipman et al. 2023), learned by DP-SGD.

    The network adds to the exact velocity of the start, and starts at zero. The
    gradient of a record is the mean over its draws of noise and time, clipped as one
    (Dockhorn et al. 2023 call it noise multiplicity). With labels the network sees the class.
    """

    name = "flow"
    label = "Flow"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = FlowParams
    conditional = True
    lane_params = frozenset({"batch", "steps", "learning_rate"})
    cost = 10.0
    params: FlowParams

    def __init__(self, params: FlowParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        self.net = VelocityNet(latent_dim, params.hidden, classes=classes if classes > 1 else 0)
        self.start = Mixture.standard(latent_dim)
        self.flat = LaneBuffer.zeros(self.net.mlp.layers, 1).flat

    def release_start(self, private: PrivateLatents, public: Tensor) -> Mixture:
        """Return what the flow starts as; N(0, I), like public latents, is free."""
        return Mixture.standard(self.latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Train one flow."""
        self.fit_lanes([self], [private], public, [context])

    @classmethod
    def fit_lanes(
        cls,
        generators: Sequence[PrivateGenerator],
        privates: Sequence[PrivateLatents],
        public: Tensor,
        contexts: Sequence[Context],
    ) -> None:
        """Train all flows as one batched program."""
        flows = [generator for generator in generators if isinstance(generator, cls)]
        trials = zip(flows, privates, contexts, strict=True)
        lanes = [flow.make_lane(private, public, context) for flow, private, context in trials]
        for run in runs(lanes):
            found = train([lanes[i] for i in run], flows[0].net)
            for i, flat in zip(run, found.cpu(), strict=True):
                flows[i].flat = flat.clone().unsqueeze(0)

    def make_lane(self, private: PrivateLatents, public: Tensor, context: Context) -> FlowLane:
        """Release the start, if any, so that the steps use up exactly what it leaves."""
        start = self.release_start(private, public.to(context.device))
        self.start = start.to("cpu")
        guide = Guide(start.to(context.device))
        schedule = schedule_for(self.params, private)
        return FlowLane(private, context, self.params, guide, schedule)

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Carry ``count`` draws of N(0, I) along the flow of their class, ``[count, d]``."""
        marks = torch.zeros(count, 0)
        if labels is not None:
            marks = torch.nn.functional.one_hot(labels, self.classes).float()
        buffer = LaneBuffer(self.net.mlp.layers, self.flat)
        velocity = self.net.velocity(buffer, Guide(self.start), marks)
        noise = torch.randn(count, self.latent_dim, generator=rng)
        return integrate(velocity, noise, self.params.sample_steps)

    def state(self) -> dict[str, Tensor]:
        """Return the start and the network's parameters."""
        start = self.start
        released = {"weights": start.weights, "means": start.means, "factors": start.factors}
        return {**released, "parameters": self.flat}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        classes = self.classes if len(state["weights"]) > 1 else 1
        self.start = Mixture(state["weights"], state["means"], state["factors"], classes)
        self.flat = state["parameters"]


class StartedFlow(Flow):
    """The same flow after a released mixture, which ``share`` of the budget buys.

    With the network at zero it is the mixture itself.
    """

    name = "flow-mixture"
    label = "Flow+mixture"
    Params: ClassVar[type[Params]] = StartedFlowParams
    params: StartedFlowParams

    def release_start(self, private: PrivateLatents, public: Tensor) -> Mixture:
        """Release a mixture by noisy sums."""
        wanted = PriorParams(
            prior="mixture", components=self.params.components, prior_share=self.params.share
        )
        return release_prior(wanted, private, public)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(Flow)
    register(StartedFlow)
