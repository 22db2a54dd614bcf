import hashlib
import io
import urllib.error
from pathlib import Path

import pytest
import torch

from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators import weights as module
from dpbench.metrics.evaluators.inception import InceptionEvaluator
from dpbench.metrics.evaluators.inception_network import fid_inception
from dpbench.metrics.evaluators.weights import WEIGHTS_NAME, WEIGHTS_URL, WeightsError

GENUINE = b"released"


def refuse(url: str) -> bytes:
    raise AssertionError(f"fetched {url}")


@pytest.fixture(autouse=True)
def known_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let GENUINE pass for the release: its real bytes are 92 MB."""
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(GENUINE).hexdigest())


def test_fetches_once_into_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "not" / "yet"
    urls: list[str] = []

    def get(url: str) -> bytes:
        urls.append(url)
        return GENUINE

    path, sha256 = module.inception_weights_file(None, cache, get=get)
    assert path.read_bytes() == GENUINE
    assert urls == [WEIGHTS_URL]
    assert module.inception_weights_file(None, cache, get=refuse) == (path, sha256)
    assert [p.name for p in cache.iterdir()] == [WEIGHTS_NAME]


def test_a_named_file_comes_first(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(GENUINE)
    path, _ = module.inception_weights_file(mine, tmp_path / "cache", get=refuse)
    assert path == mine


def test_a_named_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"not the released Inception weights.*--inception-w"):
        module.inception_weights_file(mine, tmp_path, get=refuse)


def test_the_first_digits_of_the_hash_are_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"forged")
    sha256 = hashlib.sha256(b"forged").hexdigest()
    monkeypatch.setattr(module, "SHA256", sha256[:8] + "0" * 56)
    with pytest.raises(WeightsError, match="not the released Inception weights"):
        module.inception_weights_file(mine, tmp_path, get=refuse)


def test_a_missing_file_is_named_with_its_source(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no Inception weights at .*6726825d\.pth"):
        module.inception_weights_file(tmp_path / "absent", tmp_path, get=refuse)


def test_a_corrupt_cache_says_delete_it(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_NAME).write_bytes(b"half a downl")
    with pytest.raises(WeightsError, match="delete it"):
        module.inception_weights_file(None, tmp_path, get=refuse)


def test_a_wrong_download_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="served something else"):
        module.inception_weights_file(None, tmp_path, get=lambda _: b"<html>log in</html>")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [urllib.error.URLError("Name or service not known"), TimeoutError("timed out")]
)
def test_no_network_is_one_line_with_the_remedy(tmp_path: Path, error: OSError) -> None:
    def get(url: str) -> bytes:
        raise error

    with pytest.raises(
        WeightsError, match=r"cannot be fetched.*--inception-weights PATH"
    ) as caught:
        module.inception_weights_file(None, tmp_path, get=get)
    assert "\n" not in str(caught.value)


def test_fetching_can_be_forbidden(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="--inception-weights"):
        module.inception_weights_file(None, tmp_path, fetch=False, get=refuse)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot keep"):
        module.inception_weights_file(None, tmp_path / "file" / "cache", get=lambda _: GENUINE)


def test_loads_the_network_from_what_it_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    torch.save(fid_inception().state_dict(), buffer)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    monkeypatch.setattr(module, "SHA256", sha256)
    path, _ = module.inception_weights_file(None, tmp_path, get=lambda _: buffer.getvalue())
    params = InceptionEvaluator.Params()
    assert InceptionEvaluator.weights(params, None, tmp_path) == (path, sha256)
    evaluator = InceptionEvaluator(params)
    evaluator.load(path)
    assert evaluator.weights_sha256 == sha256
    features, logits = evaluator(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    assert (features.shape, logits.shape) == ((1, 2048), (1, 1008))


def test_a_file_of_other_tensors_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.ones(2)}, path)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DpbenchError, match="cannot be read as weights") as caught:
        InceptionEvaluator(InceptionEvaluator.Params()).load(path)
    assert "\n" not in str(caught.value)
