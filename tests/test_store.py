"""Artifacts are whole or not there, and are what was written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors import SafetensorError

from dpbench import store as store_module
from dpbench.store import (
    Artifact,
    CorruptArtifact,
    Store,
    StoreNotWritable,
    content_key,
    write_json,
)

KEY = "a" * 32
ARTIFACT = Artifact({"name": "one", "n": 1}, {"x": torch.arange(5), "y": torch.rand(2, 3)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def leftovers(store: Store) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_what_is_saved_is_loaded(store: Store) -> None:
    assert not store.has("public", KEY)
    store.save("public", KEY, ARTIFACT)
    loaded = store.load("public", KEY)
    assert loaded.meta == ARTIFACT.meta
    assert set(loaded.tensors) == {"x", "y"}
    assert torch.equal(loaded.tensors["x"], ARTIFACT.tensors["x"])
    assert torch.equal(loaded.tensors["y"], ARTIFACT.tensors["y"])
    assert store.check("public", KEY)


def test_a_disk_that_fills_up_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_tensors: object, _path: Path) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StoreNotWritable, match=r"No space left.*free space.*--runs"):
        store.save("public", KEY, ARTIFACT)
    assert leftovers(store) == []


def test_processes_share_what_they_load_and_cannot_change_it(store: Store) -> None:
    store.save("public", KEY, Artifact({}, {"big": torch.zeros(50_000_000, dtype=torch.uint8)}))
    process = psutil.Process()
    before = process.memory_info().rss
    big = store.load("public", KEY).tensors["big"]
    assert process.memory_info().rss - before < 10e6
    big[:3] = 7
    assert store.load("public", KEY).tensors["big"][:3].tolist() == [0, 0, 0]


def test_tensors_may_be_views_and_meta_may_be_alone(store: Store) -> None:
    square = torch.arange(9.0).view(3, 3)
    store.save("public", KEY, Artifact({}, {"t": square.T, "row": square[1]}))
    assert torch.equal(store.load("public", KEY).tensors["t"], square.T)
    store.save("score", KEY, Artifact({"fid": 1.5}))
    assert store.load("score", KEY) == Artifact({"fid": 1.5})


def test_nothing_is_pickled(store: Store) -> None:
    store.save("public", KEY, ARTIFACT)
    names = {path.name for path in leftovers(store)}
    assert names == {"meta.json", "tensors.safetensors"}
    with pytest.raises(TypeError, match="not JSON serializable"):
        store.save("public", "b" * 32, Artifact({"code": print}))
    assert not store.has("public", "b" * 32)


def test_who_comes_second_changes_nothing(store: Store) -> None:
    store.save("public", KEY, ARTIFACT)
    inode = store.path("public", KEY).stat().st_ino
    store.save("public", KEY, Artifact({"name": "two"}))
    assert store.load("public", KEY).meta["name"] == "one"
    assert store.path("public", KEY).stat().st_ino == inode
    assert len(leftovers(store)) == 2


@pytest.mark.parametrize("writer", ["_write", "_write_tensors"])
def test_a_failed_write_leaves_nothing(
    store: Store, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(path: Path, _data: object) -> None:
        path.write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, writer, breaks)
    with pytest.raises(StoreNotWritable, match=r"No space left.*free space.*--runs"):
        store.save("public", KEY, ARTIFACT)
    assert not store.has("public", KEY)
    assert leftovers(store) == []
    monkeypatch.undo()
    store.save("public", KEY, ARTIFACT)
    assert store.check("public", KEY)


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from dpbench import store
def last_gasp(path, data):
    path.write_bytes(b"half of")
    os.kill(os.getpid(), signal.SIGKILL)
setattr(store, sys.argv[2], last_gasp)
store.Store(Path(sys.argv[1])).save(
    "public", "a" * 32, store.Artifact({"name": "one"}, {"x": torch.arange(5)})
)
"""


@pytest.mark.parametrize("writer", ["_write_tensors", "_write"])
def test_a_killed_write_leaves_no_artifact(store: Store, writer: str) -> None:
    command = [sys.executable, "-c", KILLED, str(store.root), writer]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not store.has("public", KEY)
    assert not store.path("public", KEY).exists()
    store.save("public", KEY, ARTIFACT)
    assert store.check("public", KEY)


def flip_a_byte(directory: Path) -> None:
    path = directory / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(directory: Path) -> None:
    path = directory / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def lose_tensors(directory: Path) -> None:
    (directory / "tensors.safetensors").unlink()


def truncate_meta(directory: Path) -> None:
    path = directory / "meta.json"
    path.write_text(path.read_text()[:10])


def meta_of_another_kind(directory: Path) -> None:
    (directory / "meta.json").write_text("[]")


def binary_meta(directory: Path) -> None:
    (directory / "meta.json").write_bytes(b"\xff\x00")


def change_a_figure(directory: Path) -> None:
    path = directory / "meta.json"
    meta = json.loads(path.read_text())
    path.write_text(json.dumps({**meta, "n": 2}))


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte, truncate, lose_tensors, truncate_meta, meta_of_another_kind, binary_meta,
        change_a_figure,
    ],
)  # fmt: skip
def test_damage_is_noticed_and_left_to_be_looked_at(
    store: Store, damage: Callable[[Path], None]
) -> None:
    store.save("public", KEY, ARTIFACT)
    directory = store.path("public", KEY)
    damage(directory)
    with pytest.raises(CorruptArtifact, match=rf"public/{KEY} is corrupt .*: delete .*again"):
        store.load("public", KEY)
    before = sorted(directory.iterdir())
    assert not store.check("public", KEY)
    assert sorted(directory.iterdir()) == before
    store.remove("public", KEY)
    assert not store.has("public", KEY)


def test_what_is_said_of_tensors_is_read_without_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save("public", KEY, ARTIFACT)
    with monkeypatch.context() as patched:
        patched.setattr(store_module, "_sha256", lambda _path: pytest.fail("hashes tensors"))
        assert store.meta("public", KEY) == ARTIFACT.meta
    change_a_figure(store.path("public", KEY))
    with pytest.raises(CorruptArtifact, match=r"checksum of meta.json"):
        store.meta("public", KEY)


def test_a_missing_artifact_is_named(store: Store) -> None:
    with pytest.raises(CorruptArtifact, match=f"public/{KEY}"):
        store.load("public", KEY)
    assert not store.check("public", KEY)


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreNotWritable, match=r"cannot write to .*--runs") as caught:
        Store(blocked).save("public", KEY, ARTIFACT)
    assert "\n" not in str(caught.value)
    with pytest.raises(StoreNotWritable, match=r"cannot write .*fix permissions"):
        write_json(blocked / "result.json", {})


def test_json_files_are_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"run": 1})
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "I/O error")))
    with pytest.raises(StoreNotWritable, match="I/O error"):
        write_json(path, {"run": 2})
    assert json.loads(path.read_text()) == {"run": 1}


def test_keys_follow_content_not_order() -> None:
    assert content_key({"a": 1, "b": [1.0, None]}) == content_key({"b": [1.0, None], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": "1"})
    assert content_key([1, 2]) != content_key([2, 1])
    assert len(content_key({})) == 32


def test_meta_may_hold_what_json_writes_differently(store: Store) -> None:
    meta = {"counts": {10: 1, 9: 2}, "epsilon": float("inf"), "shape": (1, 2)}
    store.save("score", KEY, Artifact(meta))
    assert store.load("score", KEY).meta == {
        "counts": {"10": 1, "9": 2},
        "epsilon": float("inf"),
        "shape": [1, 2],
    }


def test_tensors_that_share_memory_are_kept_apart(tmp_path: Path) -> None:
    store, whole = Store(tmp_path), torch.arange(6.0)
    store.save("latents", "key", Artifact({}, {"a": whole, "b": whole, "c": whole[2:4]}))
    kept = store.load("latents", "key").tensors
    assert torch.equal(kept["a"], whole) and torch.equal(kept["b"], whole)
    assert torch.equal(kept["c"], whole[2:4])
