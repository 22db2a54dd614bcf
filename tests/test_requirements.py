"""The oldest versions that are tested are those that are promised."""

from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    promised = {
        requirement.name.lower(): Version(next(iter(requirement.specifier)).version)
        for requirement in map(Requirement, wanted)
    }
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    tested = {name.lower(): Version(version) for name, version in pins.items()}
    assert tested.keys() >= promised.keys()
    for name, version in promised.items():
        assert tested[name].release[: len(version.release)] == version.release, name
