"""Damaged artifacts and odd files in a runs directory: made again, or told in one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
from fakes import TINY

from dpbench.errors import DpbenchError
from dpbench.results import Result
from dpbench.runner.directory import RunDirectory
from dpbench.store import Artifact, Store, StoreNotWritable

Carry = Callable[..., tuple[list[Result], fake_plugins.InProcess]]
QUICK = TINY


def _replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(artifact: Path) -> None:
        (artifact / name).unlink(missing_ok=True)
        make(artifact / name)

    return damage


def _as_file(artifact: Path) -> None:
    shutil.rmtree(artifact)
    artifact.touch()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "meta deleted, tensors kept": lambda artifact: (artifact / "meta.json").unlink(),
    "meta a pipe": _replaced("meta.json", os.mkfifo),
    "meta a directory": _replaced("meta.json", Path.mkdir),
    "meta nested": _replaced("meta.json", lambda path: path.write_text("[" * 10**5)),
    "meta of another type": _replaced("meta.json", lambda path: path.write_text("3")),
    "tensors deleted": lambda artifact: (artifact / "tensors.safetensors").unlink(missing_ok=True),
    "tensors a pipe": _replaced("tensors.safetensors", os.mkfifo),
    "a file in place of all": _as_file,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_artifacts_are_made_again(kind: str, carry_out: Carry, tmp_path: Path) -> None:
    (first,), _ = carry_out(base=QUICK)
    store = tmp_path / "runs" / "artifacts"
    for artifact in [path.parent for path in store.glob("*/*/meta.json")]:
        DAMAGE[kind](artifact)
    (second,), _ = carry_out(base=QUICK)
    assert (second.status, second.metrics) == ("ok", first.metrics)
    assert carry_out(base=QUICK)[1].ran == []


def test_the_wreck_of_an_artifact_does_not_stand_in_its_way(tmp_path: Path) -> None:
    store = Store(tmp_path)
    wreck = store.path("generator", "key")
    wreck.mkdir(parents=True)
    (wreck / "tensors.safetensors").write_text("half")
    store.save("generator", "key", Artifact({"whole": True}))
    assert store.meta("generator", "key") == {"whole": True}


def test_where_nobody_may_look_there_is_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert not Store(tmp_path).has("generator", "key")
    assert not Store(tmp_path).check("generator", "key" * 1000)


def test_an_odd_lock_is_one_line_and_what_it_links_to_is_kept(tmp_path: Path) -> None:
    precious, lock = tmp_path / "precious", tmp_path / "runs" / ".lock"
    precious.write_text("kept")
    lock.parent.mkdir()
    lock.symlink_to(precious)
    with (
        pytest.raises(StoreNotWritable, match=r"cannot be locked .*symbolic link.*remove it"),
        RunDirectory(lock.parent).lock(),
    ):
        pass
    assert precious.read_text() == "kept"
    lock.unlink()
    lock.mkdir()
    with (
        pytest.raises(StoreNotWritable, match="cannot be locked"),
        RunDirectory(lock.parent).lock(),
    ):
        pass


@pytest.mark.parametrize("content", ["{", "3", "[3]", '[{"generator": 1}]', '[{"ledger": {}}]', ""])
def test_releases_that_cannot_be_read_are_never_passed_over(tmp_path: Path, content: Any) -> None:
    (tmp_path / "releases.json").write_text(content)
    with pytest.raises(DpbenchError, match="says what was released before; mend it"):
        RunDirectory(tmp_path).releases("key", "")
