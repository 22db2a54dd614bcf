from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dpbench.datasets import idx
from dpbench.datasets.command import SourceFailed
from dpbench.datasets.fetch import DataUnavailable, complete, obtain, origin
from dpbench.datasets.sources import Source

Files = dict[str, bytes]


def failing(title: str, reason: str) -> Source:
    def fetch(_scratch: Path) -> Mapping[str, bytes]:
        raise SourceFailed(reason)

    return Source(title, fetch)


def leftovers(raw: Path) -> set[str]:
    return {path.name for path in raw.iterdir()} - {".lock", "origin.txt"}


def test_first_source_that_answers(tmp_path: Path, files: Files, md5: dict[str, str]) -> None:
    chain = [failing("one", "down"), Source("two", lambda _: files), failing("three", "unused")]
    assert obtain("X", tmp_path / "raw", md5, chain) == files
    assert leftovers(tmp_path / "raw") == set(idx.FILES)
    assert origin(tmp_path / "raw") == "two"
    assert obtain("X", tmp_path / "raw", md5, []) == files


def test_relative_cache(
    tmp_path: Path, files: Files, md5: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(scratch: Path) -> Mapping[str, bytes]:
        assert scratch.is_absolute()
        return files

    monkeypatch.chdir(tmp_path)
    obtain("X", Path("cache"), md5, [Source("mirror", fetch)])
    assert leftovers(tmp_path / "cache") == set(idx.FILES)


@pytest.mark.parametrize("packed", [True, False])
def test_files_put_there_by_hand(
    tmp_path: Path, files: Files, md5: dict[str, str], put: Callable[..., Path], packed: bool
) -> None:
    raw = put(tmp_path / "raw", files, packed=packed)
    assert obtain("X", raw, md5, []) == files


def test_wrong_bytes_are_refused(tmp_path: Path, files: Files, md5: dict[str, str]) -> None:
    wrong = {**files, idx.TRAIN_LABELS: files[idx.TEST_LABELS]}
    with pytest.raises(DataUnavailable, match=r"train-labels-idx1-ubyte has MD5 [0-9a-f]{32}, not"):
        obtain("X", tmp_path, md5, [Source("mirror", lambda _: wrong)])
    assert leftovers(tmp_path) == set()


def test_corrupt_cache_is_replaced(
    tmp_path: Path, files: Files, md5: dict[str, str], put: Callable[..., Path]
) -> None:
    raw = put(tmp_path, {**files, idx.TEST_IMAGES: b"cut"})
    assert obtain("X", raw, md5, [Source("mirror", lambda _: files)]) == files
    assert (raw / idx.TEST_IMAGES).read_bytes() == files[idx.TEST_IMAGES]


def test_all_failures_in_one_line(tmp_path: Path, md5: dict[str, str]) -> None:
    chain = [failing("mirror", "no\nnetwork"), failing("index", "no pip")]
    with pytest.raises(DataUnavailable) as caught:
        obtain("X", tmp_path / "raw", md5, chain, remedy=", or pray")
    message = str(caught.value)
    assert message == (
        "cannot obtain X (cache: no files; mirror: no network; index: no pip); put the files "
        f"{', '.join(idx.FILES)} (plain or .gz) in {tmp_path / 'raw'}, or pray"
    )


def test_interrupted_download_leaves_nothing(tmp_path: Path, md5: dict[str, str]) -> None:
    def fetch(scratch: Path) -> Mapping[str, bytes]:
        (scratch / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        obtain("X", tmp_path, md5, [Source("mirror", fetch)])
    assert leftovers(tmp_path) == set()


def test_interrupted_write_leaves_only_whole_files(
    tmp_path: Path, files: Files, md5: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = Path.replace, []

    def interrupted(source: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            obtain("X", tmp_path, md5, [Source("mirror", lambda _: files)])
    left = leftovers(tmp_path)
    assert len(left) == 2
    assert all((tmp_path / name).read_bytes() == files[name] for name in left)
    assert not complete(tmp_path)
    assert obtain("X", tmp_path, md5, [Source("mirror", lambda _: files)]) == files


def test_scratch_of_a_killed_process_is_removed(
    tmp_path: Path, files: Files, md5: dict[str, str]
) -> None:
    (tmp_path / ".fetch-dead").mkdir()
    (tmp_path / ".fetch-dead" / "half").write_bytes(b"half")
    obtain("X", tmp_path, md5, [Source("mirror", lambda _: files)])
    assert leftovers(tmp_path) == set(idx.FILES)


def test_concurrent_fetches_happen_once(tmp_path: Path, files: Files, md5: dict[str, str]) -> None:
    calls: list[Path] = []
    together = threading.Barrier(4)

    def fetch(scratch: Path) -> Mapping[str, bytes]:
        calls.append(scratch)
        return files

    def work() -> None:
        together.wait()
        obtain("X", tmp_path, md5, [Source("mirror", fetch)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_cache_that_cannot_be_written(tmp_path: Path, files: Files, md5: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnavailable, match="choose a cache directory that can be written"):
        obtain("X", tmp_path / "file" / "raw", md5, [Source("mirror", lambda _: files)])


def test_complete_looks_at_sizes_only(tmp_path: Path) -> None:
    for name, size in idx.FILES.items():
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(size)
    assert complete(tmp_path)
    with (tmp_path / idx.TEST_LABELS).open("wb") as stream:
        stream.truncate(9)
    assert not complete(tmp_path)
    assert not complete(tmp_path / "absent")
