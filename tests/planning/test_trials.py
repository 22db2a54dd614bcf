"""From configuration to trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dpbench import plugins
from dpbench.datasets.rule import PartitionRule
from dpbench.errors import DpbenchError
from dpbench.planning.config import Config, Latents, load_config
from dpbench.planning.plan import Options, Plan
from dpbench.planning.planner import make_plan
from dpbench.planning.trials import Request, Trial, plan_trials
from dpbench.stages import DataKeys, GeneratorTask, ScoreTask
from dpbench.store import Store

SIX = ["ae-enc-GAN", "ae-enc-VAE", "ae-grad-GAN", "ae-grad-VAE", "wgan-GAN", "wgan-VAE"]

GRID = """
[protocols.default]
[grids.all]
epsilon = [1, inf]
clip = [0.5]
"""
EXTRA_GENERATOR = """
    from dpbench import hookimpl
    from fakes import MeanGenerator

    @hookimpl
    def register_generators(register):
        register(MeanGenerator)
"""
ABLE_MODEL = """
    from dpbench import hookimpl
    from fakes import AbleModel

    @hookimpl
    def register_public_models(register):
        register(AbleModel)
"""

WANTING = """
    from dpbench import hookimpl
    from dpbench.api import Params
    from fakes import MeanGenerator

    class Needs(Params):
        need: int

    class Holds(Params):
        what: object = print

    class Wanting(MeanGenerator):
        name, label, Params, lane_params = "wanting", "WANTING", Needs, frozenset()

    class Odd(MeanGenerator):
        name, label, Params, lane_params = "odd", "ODD", Holds, frozenset()

    @hookimpl
    def register_generators(register):
        register(Wanting)
        register(Odd)
"""

PICKY = """
    from dpbench import hookimpl
    from fakes import LinearModel, LookExtractor, MeanGenerator

    class Flat(LinearModel):
        name, provides = "flat", frozenset({"decode", "pixels"})

    class Own(LookExtractor):
        name, label, requires = "own", "own", frozenset({"pixels"})

    class Picky(MeanGenerator):
        name, label, requires = "picky", "PICKY", frozenset({"pixels"})

    @hookimpl
    def register_public_models(register):
        register(Flat)

    @hookimpl
    def register_extractors(register):
        register(Own)

    @hookimpl
    def register_generators(register):
        register(Picky)
"""

DATA = DataKeys("labelling", "public", "private", "test", (0, 2))


@pytest.fixture
def grid(tmp_path: Path, forget: Callable[[], None]) -> Callable[..., Config]:
    """Load a configuration against what is installed now."""

    def load(text: str = GRID) -> Config:
        path = tmp_path / "grid.toml"
        path.write_text(text)
        return load_config(path, plugins.registry())

    return load


def methods(config: Config, *grids: str) -> list[str]:
    trials = plan_trials(config, Request(grids or ("all",)))
    return sorted({trial.method.name for trial in trials})


def planned(config: Config, tmp_path: Path, **selection: tuple[object, ...]) -> Plan:
    trials = plan_trials(config, Request(**selection))  # type: ignore[arg-type]
    return make_plan(config, trials, {"mnist": DATA}, Store(tmp_path / "store"), Options())


def test_the_six_methods_fall_out_of_capabilities(grid: Callable[..., Config]) -> None:
    assert methods(grid()) == SIX


@pytest.mark.parametrize("name", ["all", "smoke", "paper"])
def test_the_packaged_grids_hold_the_six(name: str, grid: Callable[..., Config]) -> None:
    text = (Path(__file__).parents[2] / "benchmarks.toml").read_text()
    assert methods(grid(text), name) == SIX


def test_the_packaged_priors_stand_beside_their_starts(grid: Callable[..., Config]) -> None:
    text = (Path(__file__).parents[2] / "benchmarks.toml").read_text()
    named = methods(grid(text), "priors")
    starts = {name for name in named if name.endswith(" (start)")}
    assert {f"{name} (start)" for name in named if name not in starts} == starts
    assert {"ae-grad-GAN+mixture", "wgan-VAE+gaussian"} <= set(named)
    assert not set(SIX) & set(named)  # they start from nothing: no start to stand beside


def test_the_packaged_swapped_data_have_the_classes_the_other_way_round(
    grid: Callable[..., Config],
) -> None:
    config = grid((Path(__file__).parents[2] / "benchmarks.toml").read_text())
    for name in ("mnist", "fashion-mnist"):
        swapped = config.component("datasets", f"{name}-swapped")
        usual = PartitionRule(**config.component("datasets", name).params["partition"])
        rule = PartitionRule(**swapped.params["partition"])
        assert swapped.plugin == name
        assert rule.classes(range(10)) == usual.classes(range(10))[::-1]
        assert rule.labelling == usual.labelling


def test_a_generator_adds_one_row_for_each_pair(
    grid: Callable[..., Config], distribution: Callable[..., Path]
) -> None:
    distribution("dpbench-mean", code=EXTRA_GENERATOR)
    added = {"ae-enc-MEAN", "ae-grad-MEAN", "wgan-MEAN"}
    assert set(methods(grid())) - set(SIX) == added


def test_a_plugin_that_wants_to_be_told_something_stands_in_nobodys_way(
    grid: Callable[..., Config], distribution: Callable[..., Path]
) -> None:
    distribution("dpbench-wanting", code=WANTING)
    assert methods(grid()) == SIX
    told = grid(GRID + "[generators.wanting]\nneed = 3\n")
    assert {"ae-enc-wanting", "ae-enc-WANTING"} & set(methods(told))
    for name, why in (("wanting", "need"), ("odd", "none that a file can hold")):
        with pytest.raises(DpbenchError, match=why):
            plan_trials(grid(), Request(methods=(name,)))
        with pytest.raises(DpbenchError, match=why):
            plan_trials(grid(), Request((name,)))
    with pytest.raises(DpbenchError, match="need"):
        plan_trials(grid(GRID + "[generators.wanting]\n"), Request())


def test_a_file_with_a_mark_of_its_bytes_order_is_read(
    grid: Callable[..., Config],
) -> None:
    assert methods(grid("\ufeff" + GRID)) == SIX


def test_a_model_that_can_do_all_joins_every_extractor(
    grid: Callable[..., Config], distribution: Callable[..., Path]
) -> None:
    distribution("dpbench-able", code=ABLE_MODEL)
    added = {
        f"able{extractor}-{generator}"
        for extractor in ("-enc", "-grad", "")
        for generator in ("GAN", "VAE")
    }
    assert set(methods(grid())) - set(SIX) == added


def test_a_generator_that_asks_for_pixels_runs_on_no_other_latents(
    grid: Callable[..., Config], distribution: Callable[..., Path]
) -> None:
    distribution("dpbench-picky", code=PICKY)
    assert set(methods(grid())) - set(SIX) == {
        "flat-own-GAN",
        "flat-own-VAE",
        "flat-own-PICKY",
    }


def test_an_alias_is_a_component_of_its_own(grid: Callable[..., Config]) -> None:
    config = grid(GRID + '[generators.wide]\nplugin = "vae"\n')
    assert set(methods(config)) - set(SIX) == {"ae-enc-wide", "ae-grad-wide", "wgan-wide"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ae-enc-GAN", ["ae-enc-GAN"]),
        ("AE-ENC-gan", ["ae-enc-GAN"]),
        ("wgan-*", ["wgan-GAN", "wgan-VAE"]),
        ("*-VAE", ["ae-enc-VAE", "ae-grad-VAE", "wgan-VAE"]),
        ("all", SIX),
    ],
)
def test_methods_are_chosen_by_name_or_glob(
    grid: Callable[..., Config], pattern: str, expected: list[str]
) -> None:
    assert methods(grid(), pattern) == expected


def test_methods_are_chosen_by_a_component(grid: Callable[..., Config]) -> None:
    assert methods(grid(), "vae") == [name for name in SIX if name.endswith("VAE")]
    assert methods(grid(), "projected-gradient") == ["wgan-GAN", "wgan-VAE"]


def test_methods_narrow_each_grid(grid: Callable[..., Config]) -> None:
    trials = plan_trials(grid(), Request(("smoke",), methods=("ae-enc-*",)))
    assert {t.method.name for t in trials} == {"ae-enc-GAN", "ae-enc-VAE"}
    assert {(t.grids, t.method.generator.params["steps"]) for t in trials} == {(("smoke",), 100)}
    with pytest.raises(DpbenchError, match=r"unknown method 'wgan-VAE\+'; did you mean 'wgan-VAE'"):
        plan_trials(grid(), Request(methods=("ae-*", "wgan-VAE+")))


def test_hyperparameters_in_brackets_are_settings_of_their_own(
    grid: Callable[..., Config],
) -> None:
    config = grid()
    plain = plan_trials(config, Request(("vae",), epsilon=(1.0,)))
    named = plan_trials(config, Request(("VAE[hidden=64, kl_weight=0.5]",), epsilon=(1.0,)))
    assert [t.method.name for t in named] == [t.method.name for t in plain]
    for trial in named:
        params = trial.method.generator.params
        assert (params["hidden"], params["kl_weight"], trial.identity.axes) == ([64], 0.5, {})
        assert trial.settings not in {t.settings for t in plain}
    same = "[grids.same]\nextends = 'all'\n[grids.same.generators.vae]\nhidden = [64]\n"
    config = grid(GRID + same + "kl_weight = 0.5\n")
    from_file = plan_trials(config, Request(("same",), methods=("vae",), epsilon=(1.0,)))
    assert {t.settings for t in from_file} == {t.settings for t in named}


def test_several_values_in_brackets_are_an_axis(grid: Callable[..., Config]) -> None:
    request = Request(("smoke",), methods=("ae-enc-VAE[hidden=64|[128, 64]]",))
    trials = plan_trials(grid(), request)
    assert [t.identity.axes for t in trials] == [
        {"generators.vae.hidden": [64]},
        {"generators.vae.hidden": [128, 64]},
    ]


def test_brackets_reach_the_component_that_is_named(grid: Callable[..., Config]) -> None:
    trials = plan_trials(grid(), Request(("ae[latent=8]", "ae-enc-*[public.latent=8]")))
    assert {t.method.public.params["latent"] for t in trials} == {8}
    assert len({t.identity.identity_key for t in trials}) == len(trials) == 8
    (found,) = plan_trials(grid(), Request(methods=("ae-enc-GAN[prior=mixture]",), epsilon=(1.0,)))
    assert found.method.name == "ae-enc-GAN+mixture"


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("vae[hiden=64]", r"hiden: unknown key 'hiden'; did you mean 'hidden'\? \(set it"),
        ("vae[kl_weight=much]", "kl_weight: input should be a valid number"),
        ("vae[latent=]", "write NAME"),
        ("ea-enc-VAE[latent=3]", "did you mean 'ae-enc-VAE'"),
        ("vae[privat.x=1]", "write public.KEY"),
    ],
)
def test_wrong_brackets_say_what_is_wrong(
    grid: Callable[..., Config], selector: str, message: str
) -> None:
    with pytest.raises(DpbenchError, match=message):
        plan_trials(grid(), Request(methods=(selector,)))


def test_several_selections_join_without_repeats(grid: Callable[..., Config]) -> None:
    trials = plan_trials(grid(), Request(("wgan-GAN", "wgan-*")))
    assert len(trials) == 4
    assert len({trial.method.name for trial in trials}) == 2


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (
            Request(("al",)),
            r"unknown grid or method 'al'; did you mean 'all'\? \(grids: all, .*; methods: ae-enc",
        ),
        (Request(("wgan-VEA",)), "did you mean 'wgan-VAE'"),
        (Request(dataset="mnits"), "unknown dataset 'mnits'; did you mean 'mnist'"),
        (Request(protocols=("defualt",)), "unknown protocol 'defualt'; did you mean 'default'"),
        (Request(epsilon=(-1.0,)), "epsilon must be positive"),
        (Request(epsilon=(float("nan"),)), "epsilon must be positive"),
        (Request(clip=(0.0,)), "clip must be positive and finite, got 0.0"),
        (Request(clip=(float("inf"),)), "clip must be positive and finite"),
    ],
)
def test_wrong_selections_say_what_is_wrong(
    grid: Callable[..., Config], selection: Request, message: str
) -> None:
    with pytest.raises(DpbenchError, match=message):
        plan_trials(grid(), selection)


def test_the_command_line_takes_the_place_of_the_grids_axes(grid: Callable[..., Config]) -> None:
    selection = Request(
        ("wgan-GAN",), "fashion-mnist", epsilon=(2.0, 3.0), clip=(1.0,), seeds=(5, 6)
    )
    trials = plan_trials(grid(), selection)
    assert {(t.dataset.name, t.epsilon, t.clip, t.seed) for t in trials} == {
        ("fashion-mnist", epsilon, 1.0, seed) for epsilon in (2.0, 3.0) for seed in (5, 6)
    }


def test_noise_can_drive_a_trial_instead_of_epsilon(grid: Callable[..., Config]) -> None:
    config = grid(
        GRID + "[grids.noise]\nmethods = ['wgan-GAN']\nnoise_multiplier = [2]\nclip = [1]\n"
    )
    (trial,) = plan_trials(config, Request(("noise",)))
    assert (trial.epsilon, trial.noise_multiplier) == (None, 2.0)
    (trial,) = plan_trials(config, Request(("noise",), epsilon=(3.0,)))
    assert (trial.epsilon, trial.noise_multiplier) == (3.0, None)


def test_an_axis_multiplies_only_methods_with_its_component(grid: Callable[..., Config]) -> None:
    axis = '[grids.all.axes]\n"generators.vae.activation" = ["tanh", "leaky_relu"]\n'
    trials = plan_trials(grid(GRID + axis), Request(epsilon=(1.0,)))
    by_method: dict[str, list[Trial]] = {}
    for trial in trials:
        by_method.setdefault(trial.method.name, []).append(trial)
    for name, several in by_method.items():
        if name.endswith("VAE"):
            values = [trial.identity.axes["generators.vae.activation"] for trial in several]
            assert values == ["tanh", "leaky_relu"]
            assert several[0].method.generator.params != several[1].method.generator.params
        else:
            assert [trial.identity.axes for trial in several] == [{}]


def test_noise_given_on_the_command_line_takes_the_place_of_epsilon(
    grid: Callable[..., Config],
) -> None:
    given = Request(("wgan-GAN",), noise_multiplier=(0.3,))
    assert [(t.epsilon, t.noise_multiplier) for t in plan_trials(grid(), given)] == [(None, 0.3)]
    both = Request(("wgan-GAN",), epsilon=(3.0,), noise_multiplier=(0.3,))
    noises = [(t.epsilon, t.noise_multiplier) for t in plan_trials(grid(), both)]
    assert noises == [(3.0, None), (None, 0.3)]


def settings(config: Config, *grids: str) -> set[str]:
    return {trial.settings for trial in plan_trials(config, Request(grids or ("all",)))}


WIDE = "epsilon = [1]\nclip = [0.5]\npublic.ae = { width = 3 }\n"


def test_settings_are_the_hyperparameters_and_not_the_name_of_a_grid(
    grid: Callable[..., Config],
) -> None:
    config = grid(
        GRID
        + f"[grids.wide]\n{WIDE}[grids.broad]\n{WIDE}"
        + f"[grids.narrow]\n{WIDE.replace('3', '2')}"
        + "[grids.same]\nepsilon = [1]\nclip = [0.5]\npublic.ae = {}\n"
        + f"latents = {{ public_images = {Latents().public_images} }}\n"
    )
    assert settings(config) == settings(config, "same") == {"default"}
    (wide,), (narrow,) = settings(config, "wide"), settings(config, "narrow")
    assert len({wide, narrow, "default"}) == 3
    trials = plan_trials(config, Request(("wide", "broad")))
    assert len(trials) == 6
    assert {(trial.settings, trial.grids) for trial in trials} == {(wide, ("wide", "broad"))}
    assert trials[0].method.public.params["width"] == 3


def test_a_sweep_of_hyperparameters_has_settings_of_its_own(grid: Callable[..., Config]) -> None:
    axis = '[grids.swept]\nepsilon = [1]\nclip = [1]\naxes = { "generators.vae.prior" = [%s] }\n'
    config = grid(GRID + axis % '"mixture", "normal"')
    assert "default" not in settings(config, "swept")


def test_protocols_of_two_grids_are_joined(grid: Callable[..., Config]) -> None:
    other = '[protocols.other]\n[grids.two]\nepsilon = [1]\nclip = [0.5]\nprotocols = ["other"]\n'
    config = grid(GRID + other)
    trials = plan_trials(config, Request(("all", "two")))
    at_one = [t for t in trials if t.epsilon == 1]
    assert {(t.protocols, t.grids) for t in at_one} == {(("default", "other"), ("all", "two"))}


def lanes(plan: Plan) -> dict[str, tuple[int, float, float]]:
    """Return seed, epsilon and clip of every lane by its artifact's key."""
    return {
        lane.key: (lane.seed, lane.epsilon, lane.clip)
        for job in plan.jobs.values()
        if isinstance(job.task, GeneratorTask)
        for lane in job.task.lanes
    }


def score_seeds(plan: Plan) -> dict[str, int]:
    tasks = [job.task for job in plan.jobs.values()]
    return {t.samples: t.seed for t in tasks if isinstance(t, ScoreTask)}


def test_adding_trials_never_changes_those_there_are(
    grid: Callable[..., Config], distribution: Callable[..., Path], tmp_path: Path
) -> None:
    few = planned(grid(), tmp_path, seeds=(1,))
    assert len(set(lanes(few).values())) == 12
    distribution("dpbench-mean", code=EXTRA_GENERATOR)
    distribution("dpbench-able", code=ABLE_MODEL)
    epsilons = (0.5, 1, float("inf"), 2)  # a whole number is the same epsilon as its float
    many = planned(grid(), tmp_path, seeds=(0, 1, 2), epsilon=epsilons, clip=(0.5, 3))
    assert len(lanes(many)) > 100
    assert lanes(few).items() <= lanes(many).items()
    assert score_seeds(few).items() <= score_seeds(many).items()
    upstream = {
        job_id for job_id, job in few.jobs.items() if job.task.stage in ("public", "latents")
    }
    assert upstream < set(many.jobs)
    for job_id in upstream:
        assert few.jobs[job_id].task == many.jobs[job_id].task


def test_brackets_set_what_a_component_that_only_a_grid_has_is_given(
    grid: Callable[..., Config],
) -> None:
    own = '[grids.mine]\nepsilon = [1]\nclip = [0.5]\n[grids.mine.generators.own]\nplugin = "vae"\n'
    config = grid(GRID + own)
    trials = plan_trials(config, Request(("mine",), methods=("own[steps=5]",)))
    assert trials and all(trial.method.generator.params["steps"] == 5 for trial in trials)
