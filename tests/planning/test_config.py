"""``benchmarks.toml``: where it is looked for, and everything wrong with it at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dpbench.errors import DpbenchError, UnknownName
from dpbench.planning.config import Config, InvalidConfig, load_config
from dpbench.plugins import Registry

Configure = Callable[..., Config]
MINIMAL = "[protocols.default]\n[grids.all]\nepsilon = [1]\nclip = [1]\n"


def test_without_a_file_the_packaged_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: Registry
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(None, fakes)
    assert "packaged" in config.source
    assert {"all", "smoke", "paper"} <= set(config.file.grids)
    assert config.file.grids["all"].epsilon == [0.2, 1, 10, math.inf]
    assert config.file.dataset == "mnist"


def test_a_file_is_laid_over_the_packaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: Registry
) -> None:
    monkeypatch.chdir(tmp_path)
    packaged = load_config(None, fakes).file
    Path("benchmarks.toml").write_text(
        "[generators.gan]\nsteps = 7\n[grids.smoke]\nepsilon = [3]\ngenerators.vae.batch = 9\n"
    )
    file = load_config(None, fakes).file
    assert file.generators == {"gan": {"steps": 7}}
    assert file.grids["smoke"].epsilon == [3]
    assert file.grids["smoke"].generators["vae"] == {"steps": 100, "batch": 9}
    assert file.grids["all"] == packaged.grids["all"]
    assert file.protocols == packaged.protocols
    Path("mine.toml").write_text("[grids.mine]\nextends = 'paper-short'\nclip = [1]\n")
    mine = load_config(Path("mine.toml"), fakes).file.grids["mine"]
    assert (mine.clip, mine.noise_multiplier) == ([1], [0.3, 0.6])
    assert mine.generators["gan"]["steps"] == 48000


def test_a_file_can_stand_alone(configure: Configure) -> None:
    config = configure(base="packaged = false\n" + MINIMAL)
    assert set(config.file.grids) == {"all"}
    assert config.file.protocols["default"].metrics == ("fid", "is", "classes")


def test_grids_that_extend_each_other_are_refused(configure: Configure) -> None:
    with pytest.raises(InvalidConfig, match="a extends b extends a: leave one"):
        configure(base="[grids.a]\nextends = 'b'\n[grids.b]\nextends = 'a'\n")


def test_a_method_that_matches_nothing_is_a_violation(configure: Configure) -> None:
    grid = "[grids.mine]\nepsilon = [1]\nclip = [1]\nmethods = ['ae-*', 'ae-enc-GNA']\n"
    with pytest.raises(InvalidConfig) as caught:
        configure(base=grid)
    assert "line 4, grids.mine.methods[1]: unknown method 'ae-enc-GNA'" in str(caught.value)
    assert "did you mean 'ae-enc-GAN'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[grids.all]\nepsilonn = [1]\n", "epsilon"),
        ("[latents]\npublic_image = 10\n", "public_images"),
        ("[protocols.default]\nsample = 10\n", "samples"),
        ("[grids.all.latents]\naugmented = true\n", "augment"),
        ("[generators.vae]\nlearning_rat = 1\n", "learning_rate"),
    ],
)
def test_a_misspelt_key_is_told_the_right_one(configure: Configure, text: str, meant: str) -> None:
    with pytest.raises(InvalidConfig, match=f"unknown key '.*'; did you mean '{meant}'"):
        configure(base=text)


def test_every_violation_is_reported_with_its_line(configure: Configure) -> None:
    text = """\
dataset = "mnits"
dleta = 1e-6
secure_rng = "maybe"

[protocols.default]
samples = 1

[grids.all]
epsilon = [1, -2]
clip = [0.0]
seeds = []
"""
    with pytest.raises(InvalidConfig) as caught:
        configure(base=text)
    report = str(caught.value)
    assert "has 7 violations:" in report
    assert "line 1, dataset: unknown name 'mnits'; did you mean 'mnist'?" in report
    assert "line 2, dleta: unknown key 'dleta'; did you mean 'delta'?" in report
    assert "line 3, secure_rng: input should be a valid boolean" in report
    assert "line 6, protocols.default.samples: " in report
    assert "line 9, grids.all.epsilon[1]: input should be greater than 0, got -2" in report
    assert "line 10, grids.all.clip[0]: input should be greater than 0, got 0.0" in report
    assert "line 11, grids.all.seeds: " in report


def test_names_are_checked_against_the_registry_all_at_once(configure: Configure) -> None:
    text = """\
dataset = "mnits"
default_protocols = ["defualt"]

[datasets.mine]
plugin = "npzz"

[generators.vae]
learning_rat = 1

[protocols.default]
metrics = ["fid", "iss"]
params = { prdc = { k = 0 }, prcd = { k = 4 } }

[grids.all]
epsilon = [1]
clip = [1]
dataset = "fashion-mnits"
protocols = ["defalt"]
generators.gan = { activation = 3 }

[grids.all.axes]
"generators.vae.activation" = ["tanh", "tahn"]
clip = [1]

[grids.empty]
clip = [1]
"""
    with pytest.raises(InvalidConfig) as caught:
        configure(base=text)
    lines = str(caught.value).splitlines()
    places = {line.strip().split(": ")[0]: line for line in lines[1:]}
    assert "line 1, dataset" in places
    assert "did you mean 'mnist'?" in places["line 1, dataset"]
    assert "did you mean 'default'?" in places["line 2, default_protocols[0]"]
    assert "did you mean 'npz'?" in places["line 4, datasets.mine"]
    assert "line 8, generators.vae.learning_rat" in places
    assert "did you mean 'is'?" in places["line 11, protocols.default.metrics[1]"]
    assert "line 12, protocols.default.params.prdc.k" in places
    assert "did you mean 'prdc'?" in places["line 12, protocols.default.params.prcd"]
    assert "did you mean 'fashion-mnist'?" in places["line 17, grids.all.dataset"]
    assert "did you mean 'default'?" in places["line 18, grids.all.protocols[0]"]
    assert any(place.startswith("line 19, grids.all.generators.gan") for place in places)
    assert any(place.startswith("line 22, grids.all.axes.generators.vae") for place in places)
    assert "line 23, grids.all.axes.clip" in places
    assert "line 25, grids.empty.epsilon" in places


TWICE = """
[metrics.near]
plugin = "prdc"
k = 3
[protocols.both]
metrics = ["fid", "prdc", "near"]
"""


def test_two_metrics_of_one_figure_do_not_fit_in_one_protocol(configure: Configure) -> None:
    with pytest.raises(InvalidConfig, match=r"both\.metrics: 'prdc' and 'near' both give '\w+'"):
        configure(TWICE)
    config = configure(TWICE.replace('"prdc", ', "")).with_metrics(["prdc"])
    assert config.shared_column(config.file.protocols["both"].metrics)
    assert not config.shared_column(["fid", "fid", "near", "unheard-of"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grids.all\n", "is not valid TOML: Expected ']'.*line 1"),
        ("a = 1\na = 2\n", "is not valid TOML: .*line 2"),
        ("protocols = 3\n", "protocols: input should be a valid dictionary"),
        ("[protocols]\ndefault = 3\n", "protocols.default: input should be"),
        ("[grids.all]\nclip = [nan]\nepsilon = [1]\n", r"grids.all.clip\[0\]"),
        ("[grids.all]\nclip = [1]\nepsilon = [nan]\n", r"grids.all.epsilon\[0\]"),
        ("delta = 1\n", "delta: input should be less than 1"),
        ("[limits]\nseconds = 0\n", "limits.seconds: input should be greater than 0"),
    ],
)
def test_malformed_files_give_a_place(configure: Configure, text: str, message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        configure(base=text)


def _report(configure: Configure, text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        configure(base=text)
    return str(caught.value).splitlines()


def test_a_grid_that_extends_an_unknown_one_names_it(configure: Configure) -> None:
    text = "[grids.mine]\nextends = 'al'\n[grids.more]\nextends = 'mine'\nmethods = ['vea']\n"
    head, unknown, method = _report(configure, text)
    assert head.endswith("has 2 violations:")
    assert "line 2, grids.mine.extends: unknown grid 'al'; did you mean 'all'?" in unknown
    assert "line 5, grids.more.methods[0]: unknown method 'vea'; did you mean 'vae'?" in method


def test_one_kind_of_mistake_hides_no_other(configure: Configure) -> None:
    text = """\
dleta = 1e-6

[generators.vae]
learning_rat = 1

[grids.mine]
epsilon = [-1]
clip = [0]
dataset = "mnits"
methods = ["vea", "vae"]

[grids.mine.axes]
"generators.gan.steps" = [10, "many"]
"""
    _, *lines = _report(configure, text)
    places = [line.strip().partition(": ")[0] for line in lines]
    assert places == [
        "line 1, dleta",
        "line 4, generators.vae.learning_rat",
        "line 7, grids.mine.epsilon[0]",
        "line 8, grids.mine.clip[0]",
        "line 9, grids.mine.dataset",
        "line 10, grids.mine.methods[0]",
        "line 13, grids.mine.axes.generators.gan.steps.steps",
    ]


def test_a_wrong_table_is_reported_where_it_is_written(configure: Configure) -> None:
    assert len(_report(configure, "[generators.vae]\nlearning_rat = 1\n")) == 2
    text = """\
[grids.mine]
extends = "paper"
generators.vae = { stepz = 1 }
sed = [1]

[grids.more]
extends = "mine"

[grids.again]
extends = "mine"
sed = [2]
"""
    _, *lines = _report(configure, text)
    assert [line.strip().partition(": ")[0] for line in lines] == [
        "line 3, grids.mine.generators.vae.stepz",
        "line 4, grids.mine.sed",
        "line 11, grids.again.sed",
    ]


def test_a_grids_own_mistake_stands_beside_that_of_the_table(configure: Configure) -> None:
    text = """\
[generators.vae]
steps = "many"
[grids.all]
generators.vae = { steps = "few" }
"""
    _, *lines = _report(configure, text)
    assert {line.strip().partition(",")[0] for line in lines} == {"line 2", "line 4"}


def test_what_is_no_table_is_the_only_mistake_told_of_it(configure: Configure) -> None:
    (_, only) = _report(configure, "[grids]\nmine = 3\n")
    assert "line 2, grids.mine: input should be" in only


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path, fakes: Registry) -> None:
    with pytest.raises(InvalidConfig, match=r"cannot read .*; name another with --config"):
        load_config(tmp_path / "none.toml", fakes)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfig, match="cannot read"):
        load_config(tmp_path / "binary.toml", fakes)


def test_overrides_take_the_place_of_defaults_one_by_one(configure: Configure) -> None:
    config = configure('[generators.mine]\nplugin = "mean"\nshift = 2.0\nflag = "a"\n')
    component = config.component("generators", "mine", {"flag": "b"})
    assert (component.plugin, component.params["shift"], component.params["flag"]) == (
        "mean",
        2.0,
        "b",
    )
    with pytest.raises(DpbenchError, match=r"\[generators.mine\] shfit: unknown key 'shfit'"):
        config.component("generators", "mine", {"shfit": 1})


def test_further_metrics_join_every_protocol(configure: Configure) -> None:
    config = configure().with_metrics(["kid", "fid"])
    assert config.file.protocols["tiny"].metrics == ("fid", "brightness", "kid")
    with pytest.raises(UnknownName, match=r"unknown metric 'kidd'; did you mean 'kid'\?"):
        config.with_metrics(["kidd"])
