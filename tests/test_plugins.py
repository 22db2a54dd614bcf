"""The registry: what is built in, what is installed, what is broken."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import fakes as fake_plugins
import pytest

from dpbench import plugins
from dpbench.api import Metric, Params
from dpbench.errors import DpbenchError, UnknownName
from dpbench.plugins import Registry

Distribution = Callable[..., Path]

GENERATOR = """
    from dpbench import hookimpl
    from fakes import MeanGenerator

    class Another(MeanGenerator):
        name = {name!r}
        label = {name!r}.upper()

    @hookimpl
    def register_generators(register):
        register(Another)
"""
METRIC = """
    from dpbench import hookimpl
    from dpbench.api import Column, Metric

    class Twin(Metric):
        name, columns = "twin", {"fid": Column("lower")}
        def compute(self, view, references, context): return {"fid": 0.0}

    @hookimpl
    def register_metrics(register):
        register(Twin)
"""


def names(registry: Registry) -> dict[str, set[str]]:
    return {kind: set(by_name) for kind, by_name in registry.classes.items()}


def test_built_ins_are_registered_like_anyones(forget: Callable[[], None]) -> None:
    known = names(plugins.registry())
    assert known["dataset"] == {
        "mnist", "fashion-mnist", "npz", "folder", "glyphs", "garments",
    }  # fmt: skip
    assert known["public"] == {"ae", "wgan"}
    assert known["extractor"] == {"encoder", "gradient", "projected-gradient"}
    assert known["generator"] == {"gan", "vae"}
    assert {"fid", "is", "kid", "prdc", "classes", "downstream", "leakage"} <= known["metric"]
    assert known["evaluator"] == {"domain", "inception"}
    assert {entry.distribution for entry in plugins.registry()} == {"dpbench"}


def test_an_installed_distribution_is_found(fakes: Registry) -> None:
    entry = fakes.get("generator", "mean")
    assert entry.cls.__module__ == "fakes"
    assert (entry.distribution, entry.distribution_version) == ("dpbench-fakes", "1.0")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 +", "SyntaxError"),
        ("raise SystemError('no GPU')", "SystemError: no GPU"),
        ("plugin = 1", "registers nothing: implement a hook"),
        (
            """
            from dpbench import hookimpl
            @hookimpl
            def register_metrics(register):
                raise ValueError("two lines\\nof it")
            """,
            "ValueError: two lines",
        ),
        (
            """
            from dpbench import hookimpl
            from dpbench.api import Metric
            class Half(Metric):
                name, columns = "half", {}
            @hookimpl
            def register_metrics(register):
                register(Half)
            """,
            "Half does not implement compute",
        ),
        (
            """
            from dpbench import hookimpl
            from fakes import MeanGenerator
            from dpbench.api import PrivateGenerator
            class Nameless(PrivateGenerator):
                fit = sample = state = restore = None
            @hookimpl
            def register_generators(register):
                register(Nameless)
            """,
            "Nameless lacks the class attribute `name`; Nameless lacks the class attribute `label`",
        ),
        (
            """
            from dpbench import hookimpl
            from fakes import Brightness
            @hookimpl
            def register_generators(register):
                register(Brightness)
            """,
            "Brightness is not a subclass of dpbench.api.PrivateGenerator",
        ),
        (
            """
            from dpbench import hookimpl
            from fakes import Brightness
            class Odd(Brightness):
                name, Params = "odd", dict
            @hookimpl
            def register_metrics(register):
                register(Odd)
            """,
            "Odd.Params is not a subclass of dpbench.api.Params",
        ),
        (
            """
            from dpbench import hookimpl
            from fakes import Brightness, LookExtractor, MeanGenerator
            class Odd(Brightness):
                name, columns, cost = "odd one", ["brightness"], -1
            class Seer(LookExtractor):
                name, label, requires = "seer", "seer", {"see"}
                def extract(self, model): ...
            class Lanes(MeanGenerator):
                name, label, lane_params = "lanes", "LANES", frozenset({"width"})
                state = None
            @hookimpl
            def register_metrics(register):
                register(Odd)
            @hookimpl
            def register_generator(register):
                register(Lanes)
            @hookimpl
            def register_generators(register):
                register(Lanes)
            @hookimpl
            def register_extractors(register):
                register(Seer)
            """,
            "there is no hook 'register_generator'; did you mean 'register_generators'?; "
            "Seer.requires is {'see'}: give a frozenset of encode, decode, prior, pixels; "
            "Seer.extract does not take (self, model, images, context); "
            "Lanes.lane_params is frozenset({'width'}): "
            "give a frozenset of hyperparameters' names; Lanes.state is not a method; "
            "Odd.name is 'odd one': use letters, digits and -_.+; "
            "Odd.columns is not a dict of dpbench.api.Column by name; "
            "Odd.cost is -1: give a positive number of seconds",
        ),
        (
            """
            from dpbench import hookimpl
            from dpbench.api import Evaluator
            class Neither(Evaluator):
                name = "neither"
                def __call__(self, images): ...
                def describe(self): ...
            class Both(Neither):
                name = "both"
                def fit(self, labelling, test, context): ...
                def state(self): ...
                def restore(self, state): ...
                def load(self, weights): ...
            class Unbound(Neither):
                name = "unbound"
                def weights(self, params, given, cache): ...
                def load(self, weights): ...
            @hookimpl
            def register_evaluators(register):
                register(Neither)
                register(Both)
                register(Unbound)
            """,
            "Neither must implement either fit and state and restore, or weights and load; "
            "Both must implement either fit and state and restore, or weights and load; "
            "Both.fit does not take (self, labelling, test, private_classes, context); "
            "Unbound.weights does not take (params, given, cache)",
        ),
        (
            """
            from dpbench import hookimpl
            from dpbench.api import Column
            from fakes import Brightness, LookExtractor, MeanGenerator
            class Ink(Brightness):
                name, columns = "ink", ("ink_gap",)
            class Gap(Brightness):
                name = "gap"
                columns = {"gap": Column("up"), "low": Column("none", low=2, high=1),
                           "red": Column("none", title="<script>")}
            class Wanting(LookExtractor):
                name, label, requires = "wanting", "wanting", ("encode",)
            class Contextless(MeanGenerator):
                name, label, conditional = "contextless", "\\x1b[31m<script>", "yes"
                expected_failures = {"replays": ""}
                def fit(self, private, public): ...
            class Renamed(MeanGenerator):
                name, label = "renamed", "RENAMED"
                @classmethod
                def label_of(cls, params):
                    return "a b"
            @hookimpl
            def register_metrics(register):
                register(Ink)
                register(Gap)
            @hookimpl
            def register_extractors(register):
                register(Wanting)
            @hookimpl
            def register_generators(register):
                register(Contextless)
                register(Renamed)
            """,
            "Wanting.requires is ('encode',): give a frozenset of encode, decode, prior, pixels; "
            "Contextless.label is '\\x1b[31m<script>': use letters, digits and -_.+; "
            "Contextless.expected_failures is not a dict of reasons by the name of a check; "
            "Contextless.conditional is 'yes': give True or False; "
            "Contextless.fit does not take (self, private, public, context); "
            "Renamed.label_of gives what is 'a b': use letters, digits and -_.+; "
            "Ink.columns is not a dict of dpbench.api.Column by name; "
            "Gap.columns has faults: gap: better is 'higher', 'lower' or 'none', "
            "low: low is above high, red: title is one plain line",
        ),
        ("raise SystemExit(0)", "SystemExit: 0"),
        (GENERATOR.format(name="gan"), "the generator name 'gan' is already taken"),
        (GENERATOR.format(name="Gan"), "the generator label 'GAN' is already taken"),
        (METRIC, "the metric column 'fid' is already taken: choose another `column`"),
    ],
)
def test_a_broken_plugin_is_named_and_harms_nobody(
    distribution: Distribution, code: str, reason: str
) -> None:
    distribution("dpbench-broken", code=code)
    distribution("dpbench-fakes", fakes="fakes")
    registry = plugins.registry()
    (broken,) = registry.broken
    assert broken.distribution == "dpbench-broken"
    assert reason in broken.reason
    assert "\n" not in broken.reason
    assert "mean" in registry.classes["generator"]
    assert not any(entry.distribution == "dpbench-broken" for entry in registry)


def test_of_two_plugins_of_one_name_the_first_stays(distribution: Distribution) -> None:
    distribution("dpbench-one", code=GENERATOR.format(name="twin"))
    distribution("dpbench-two", code=GENERATOR.format(name="twin"))
    registry = plugins.registry()
    (broken,) = registry.broken
    owner = registry.get("generator", "twin").distribution
    assert {owner, broken.distribution} == {"dpbench-one", "dpbench-two"}


def test_a_plugin_that_brings_a_finder_of_distributions_breaks_no_other(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = """
    import importlib.machinery, sys
    class Finder(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(cls, *arguments, **more): return None
    sys.meta_path.append(Finder)
    """
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    distribution("dpbench-finder", code=finder + GENERATOR.format(name="found"))
    distribution("dpbench-twin", code=GENERATOR.format(name="twin"))
    registry = plugins.registry()
    assert not registry.broken
    assert {"found", "twin"} <= {entry.cls.name for entry in registry}


def test_a_plugin_with_one_bad_class_registers_none(distribution: Distribution) -> None:
    distribution(
        "dpbench-half",
        code=GENERATOR.format(name="good")
        + """
    @hookimpl
    def register_metrics(register):
        register(Another)
    """,
    )
    registry = plugins.registry()
    assert "good" not in registry.classes["generator"]
    assert registry.broken[0].distribution == "dpbench-half"


def test_plugins_can_be_left_out(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    distribution("dpbench-fakes", fakes="fakes")
    monkeypatch.setenv(plugins.ONLY_VARIABLE, "something-else")
    forget()
    assert "mean" not in plugins.registry().classes["generator"]


def test_an_unknown_name_suggests_the_nearest(fakes: Registry) -> None:
    with pytest.raises(UnknownName, match=r"unknown generator plugin 'vea'; did you mean 'vae'\?"):
        fakes.get("generator", "vea")


def test_objects_can_register_without_an_entry_point() -> None:
    registry = Registry()
    registry.add(fake_plugins, "mine", "0")
    assert registry.get("metric", "brightness").cls is fake_plugins.Brightness
    with pytest.raises(DpbenchError, match="already taken"):
        registry.add(fake_plugins, "mine again", "0")


def test_hyperparameters_are_strict() -> None:
    assert issubclass(Metric.Params, Params)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        fake_plugins.MeanParams.model_validate({"shfit": 1})
    with pytest.raises(ValueError, match="finite"):
        fake_plugins.MeanParams(shift=float("nan"))
