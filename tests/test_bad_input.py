"""Whatever is typed, configured or handed in as data: it works, or one line says why not.

No input may end in a traceback. A few dozen odd ones of each kind are tried here, ten thousand
in all with ``-m slow``.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import TINY, write_npz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from leaderboard.fabricate import control, trial
from odd import places, with_odd
from PIL import Image

from dpbench.cli.main import cli
from dpbench.datasets import idx
from dpbench.datasets.command import SourceFailed
from dpbench.datasets.folder import Folder
from dpbench.datasets.npz import Npz
from dpbench.datasets.sources import read_directory
from dpbench.errors import DpbenchError
from dpbench.planning.config import load_config
from dpbench.planning.toml import to_toml
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugin_files import FILES_VARIABLE
from dpbench.plugins import Registry, registry
from dpbench.results import save_result

FUZZED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[
        HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large,
    ],
)  # fmt: skip
SOME, MANY = 60, 3400

WORDS = [
    "", " ", "x" * 300, "../" * 200, "~nobody/x", "~", "/", "/dev/null", ".", "-", "--",
    "=1+1", "@x",     "$\\frac{1$", "<b>", "[red]", "[/]", "[", "]", "*", "?", "vae[", "vae[x=1]",
    "vae[hidden=1|2]", "a-b-c",     "\x1b[31m", "\u202e", "é\u0301", "\ufeff", "%s", "{0}", "|",
    "a\nb",
    "a\0b", "@", "m@inf", "m@nan", "1e999", "linear-look-MEAN", "linear-look-MEAN@10", "all",
    "tiny", "domain", "fid", "none",
]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 2**31, 2**63, 2**64, 10**30, -(10**30), 0.0, -0.0, 1e-320, 1e308,
           math.inf, -math.inf, math.nan, 0.5, 10.0]  # fmt: skip
ODD: list[Any] = [
    *WORDS, *NUMBERS, True, False, [], {}, [[]], [{}], {"": 1}, {"plugin": 3}, {"plugin": []},
    {"a": {"b": []}}, [1, "a"], [math.nan], {"name": "x"}, ["x"] * 50, [[[[[[[[1]]]]]]]],
    list(range(40)),
]  # fmt: skip
#: What a shell can hand over.
TYPED = [word for word in (*WORDS, *map(str, NUMBERS)) if "\0" not in word]

#: Every kind of table, with something in it.
CONFIGURED = tomllib.loads(
    TINY.replace("packaged = false", "select = 'first'\npackaged = false")
    + """
[limits]
threads = 1
[datasets.own]
plugin = "npz"
path = "own.npz"
public = "tiny"
partition = { by = "class", private_classes = [0, "a"], labelling = 0.2 }
[datasets.pictures]
plugin = "folder"
path = "pictures"
size = [8, 8]
[generators.other]
plugin = "mean"
shift = 1.0
[metrics.kid]
[executors.local]
workers = 1
[grids.mine]
methods = ["linear-look-MEAN", "mean[shift=1|2]"]
noise_multiplier = [1.0]
epsilon = [1, inf]
clip = [1.0]
seeds = [0, 1]
labels = "none"
protocols = ["tiny"]
generators.mean = { shift = 2.0 }
latents = { standardise = "scale" }
axes = { "generators.mean.shift" = [0.0, 1.0] }
"""
)

VERBS: dict[str, list[str]] = {
    "run --dry-run": ["--grid", "--method", "--epsilon", "--clip", "--seed", "--dataset",
                      "--protocol", "--noise-multiplier", "--labels", "--executor", "-x",
                      "--device", "--workers",
                      "--inception-weights"],
    "leaderboard": ["--grid", "--method", "--dataset", "--format", "--protocol", "--metric"],
    "show": ["", "--clip", "--dataset"],
    "status": ["--format"],
    "logs": ["", "--clip", "--dataset"],
    "clean --dry-run": ["--method", "--grid", "--made-with", "--older-than", "--published"],
    "statement": ["", "--grid", "--dataset", "--clip"],
    "explain": ["--dataset", "--protocol"],
    "compare runs": ["", "--metric"],
    "reproduce": ["", "--clip"],
    "data": ["", "--format"],
    "config": ["", "show", "check"],
    "config show": ["", "--format"],
    "plugins": ["", "--format"],
    "check": [""],
    "merge --dry-run": [""],
}  # fmt: skip
COMMON = ["--runs", "--config", "--plugin"]


def bent(data: st.DataObject, sound: bytes) -> bytes:
    """Return bytes after something happened to them."""
    way = data.draw(st.sampled_from(["flip", "flip", "cut", "noise", "twice", "zeros", "insert"]))
    if way == "noise":
        return data.draw(st.binary(max_size=200))
    where = data.draw(st.integers(0, len(sound) - 1))
    part = data.draw(st.binary(min_size=1, max_size=8))
    return {
        "flip": sound[:where] + bytes([sound[where] ^ 0xFF]) + sound[where + 1 :],
        "cut": sound[:where],
        "twice": sound[:where] + sound,
        "zeros": sound[:where] + bytes(len(sound) - where),
        "insert": sound[:where] + part + sound[where + len(part) :],
    }[way]  # fmt: skip


def configuration(data: st.DataObject) -> bytes:
    way = data.draw(st.sampled_from(["odd", "odd", "odd", "named", "nested", "bent"]))
    content: Any = CONFIGURED
    if way == "named":
        section = data.draw(st.sampled_from(["datasets", "generators", "grids", "protocols"]))
        table = data.draw(st.sampled_from(list(content.get(section, {"x": {}}).values())))
        content = {**content, section: {data.draw(st.sampled_from(WORDS)): table}}
    for _ in range(data.draw(st.integers(1, 2)) if way == "odd" else 0):
        at = data.draw(st.sampled_from([place for place in places(content) if place]))
        content = with_odd(content, at, data.draw(st.sampled_from(ODD)))
    text = to_toml(content).encode()
    if way == "nested":
        depth = data.draw(st.sampled_from([20, 200, 5000]))
        deep = [
            "x = " + "[" * depth + "]" * depth, "x = " + "{a=" * depth + "1" + "}" * depth,
            "generators" + ".a" * depth + " = 1", "delta = 1" + "0" * depth,
            "\n".join(f"[grids.g{n}]\nextends = 'g{n + 1}'" for n in range(depth)),
        ]  # fmt: skip
        return (data.draw(st.sampled_from(deep)) + "\n").encode() + text
    return bent(data, text) if way == "bent" else text


def try_configuration(path: Path, known: Registry, data: st.DataObject) -> None:
    path.write_bytes(configuration(data))
    try:
        config = load_config(path, known)
        for grid in config.file.grids:
            plan_trials(config, Request((grid,)))
    except DpbenchError as error:
        assert str(error)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images in all forms that a user may bring."""
    for number in range(8):
        folder = tmp_path / "pictures" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (8, 8), (number, 9, 9))
        suffix = ("png", "gif", "bmp", "tif", "webp", "jpg")[number % 6]
        picture.save(folder / f"{number}.{suffix}")
    write_npz(tmp_path / "own.npz", 40)
    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in (("images", np.zeros((40, 4, 4), "f4")), ("labels", np.arange(40) % 4)):
            stream = io.BytesIO()
            np.save(stream, array)
            archive.writestr(f"{name}.npy", stream.getvalue())
    (tmp_path / "idx").mkdir()
    for name in idx.FILES:
        images = np.zeros((40, 28, 28) if "images" in name else (40,), np.uint8)
        content = idx.encode(images)
        packed = name.startswith("t10k")
        place = tmp_path / "idx" / (f"{name}.gz" if packed else name)
        place.write_bytes(gzip.compress(content) if packed else content)
    return tmp_path


def read_npz(root: Path) -> None:
    for name in ("own.npz", "packed.npz"):
        Npz(Npz.Params(path=root / name, max_gib=0.01)).load(root)


def read_folder(root: Path) -> None:
    Folder(Folder.Params(path=root / "pictures", size=8, max_gib=0.01)).load(root)


def read_idx(root: Path) -> None:
    try:
        idx.labelled(read_directory(root / "idx"))
    except (SourceFailed, ValueError) as error:  # the latter never reaches a user: sums come first
        raise DpbenchError(str(error)) from error


@pytest.mark.filterwarnings("ignore")
def try_files(own: Path, data: st.DataObject) -> None:
    place, read = data.draw(
        st.sampled_from([("*.npz", read_npz), ("pictures/*/*", read_folder), ("idx/*", read_idx)])
    )
    path = data.draw(st.sampled_from(sorted(own.glob(place))))
    sound = path.read_bytes()
    path.write_bytes(bent(data, sound))
    try:
        read(own)
    except DpbenchError as error:
        assert str(error) and "\n" not in str(error)
    finally:
        path.write_bytes(sound)


@pytest.fixture
def ran(dpbench: Callable[..., Any], own: Path) -> Path:
    """A working directory with a configuration, and the rows of a run."""
    dpbench("config", "check", extra="[datasets.own]\nplugin = 'npz'\npath = 'own.npz'\n")
    for row in (trial("linear-look-MEAN"), trial("linear-look-MEAN", seed=1), control("real", 2.0)):
        save_result(Path("runs"), row)
    return own


def try_words(data: st.DataObject) -> None:
    verb = data.draw(st.sampled_from(sorted(VERBS)))
    words = verb.split()
    for option in data.draw(st.lists(st.sampled_from([*VERBS[verb], *COMMON]), max_size=3)):
        value = data.draw(st.sampled_from(TYPED))
        words += [option, value] if option else [value]
    try:
        done = CliRunner().invoke(cli, words)
    finally:
        if os.environ.pop(FILES_VARIABLE, None):
            registry.cache_clear()
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError(f"dpbench {words!r}") from done.exception
    assert done.exit_code in (0, 1, 2), words
    assert "\x1b" not in done.output and "Traceback" not in done.output
    done.output.encode()


@given(data=st.data())
@settings(FUZZED, max_examples=SOME)
def test_configurations(tmp_path: Path, fakes: Registry, data: st.DataObject) -> None:
    try_configuration(tmp_path / "benchmarks.toml", fakes, data)


@given(data=st.data())
@settings(FUZZED, max_examples=SOME)
def test_files_of_images(own: Path, data: st.DataObject) -> None:
    try_files(own, data)


@given(data=st.data())
@settings(FUZZED, max_examples=SOME // 2)
def test_command_lines(ran: Path, data: st.DataObject) -> None:
    try_words(data)


@pytest.mark.slow
@pytest.mark.timeout(3600)
class TestMany:
    @given(data=st.data())
    @settings(FUZZED, max_examples=MANY)
    def test_configurations(self, tmp_path: Path, fakes: Registry, data: st.DataObject) -> None:
        try_configuration(tmp_path / "benchmarks.toml", fakes, data)

    @given(data=st.data())
    @settings(FUZZED, max_examples=MANY)
    def test_files_of_images(self, own: Path, data: st.DataObject) -> None:
        try_files(own, data)

    @given(data=st.data())
    @settings(FUZZED, max_examples=MANY)
    def test_command_lines(self, ran: Path, data: st.DataObject) -> None:
        try_words(data)
