"""Which files of a repository are taken, and the sentences for what goes wrong on the way."""

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter
from hypothesis import given
from hypothesis import strategies as st

from menny.errors import ConfigError, ModelError
from menny.models.hub import forget_token, has_token, keep_token
from menny.models.hub.errors import describe_error
from menny.models.hub.fetch import State, bar_of
from menny.models.hub.files import RemoteFile, chosen, is_intact, is_safe
from tests.models.hub.fake_hub import digest_of

INDEX = "model.safetensors.index.json"


def choose(tmp_path: Path, *names: str, index: bytes = b"{}", size: int = 9) -> list[str]:
    (tmp_path / INDEX).write_bytes(index)
    files = {name: RemoteFile(name, size, "0" * 40) for name in names}
    return [file.name for file in chosen(files, lambda name: tmp_path / name)]


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["model.safetensors", "consolidated.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["weights.npz", "consolidated.00.pth"], ["weights.npz"]),
        (["weights.00.safetensors", "weights.01.safetensors"], ["weights.00.safetensors", "weights.01.safetensors"]),
        (["consolidated.00.pth"], ["consolidated.00.pth"]),
        (["consolidated.00.pt", "consolidated.01.pt"], ["consolidated.00.pt", "consolidated.01.pt"]),
    ],
)
def test_one_set_of_weights_is_taken_with_what_belongs_to_it(tmp_path: Path, names, weights) -> None:
    others = ["params.json", "tokenizer.model.v3", "tokenizer_config.json", "chat_template.jinja"]
    found = choose(tmp_path, *names, *others, "run.py", "README.md", ".gitattributes", "sub/config.json", "x.sh")

    assert found == [*sorted(others), *weights]


def test_a_single_gguf_needs_nothing_else_and_of_several_none_is_guessed(tmp_path: Path) -> None:
    assert choose(tmp_path, "a.gguf", "README.md") == ["a.gguf"]
    with pytest.raises(ModelError, match=r"holds 2 \.gguf files"):
        choose(tmp_path, "a.gguf", "b.gguf")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["config.json", "pytorch_model.bin"], "no weights that Menny reads"),
        (["model.safetensors"], "no config.json"),
        (["config.json", "../model.safetensors"], "no weights that Menny reads"),
        ([], "no weights"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        choose(tmp_path, *names)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "original/model", "..\\\\evil", ".hidden", "a/../b", 3, ""]
)
def test_an_index_that_leaves_the_folder_is_refused(tmp_path: Path, name: object) -> None:
    index = json.dumps({"weight_map": {"a": name}}).encode()
    with pytest.raises(ModelError, match="names files that a model's folder can't have"):
        choose(tmp_path, "config.json", INDEX, index=index)


@pytest.mark.parametrize("index", [b"[" * 100_000, b"{", b"[]", b'{"weight_map": {}}', b'{"weight_map": 3}', b"\xff"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, index: bytes) -> None:
    with pytest.raises(ModelError, match="names files that"):
        choose(tmp_path, "config.json", INDEX, index=index)


def test_an_index_of_what_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"lacks a\.safetensors, which model\.safetensors\.index\.json lists"):
        choose(tmp_path, "config.json", INDEX, index=b'{"weight_map": {"a": "a.safetensors"}}')
    with pytest.raises(ModelError, match="too large to be one"):
        choose(tmp_path, "config.json", INDEX, size=1 << 30)


@given(st.text(max_size=30))
def test_a_safe_name_is_a_file_of_its_folder(name: str) -> None:
    if is_safe(name):
        assert Path("/models/folder", name).resolve().parent == Path("/models/folder")


@pytest.mark.parametrize("content", [b"short", b"long" * 2000])
def test_a_changed_byte_is_seen(tmp_path: Path, content: bytes) -> None:
    file = RemoteFile("a", len(content), digest_of(content))
    (tmp_path / "a").write_bytes(content)
    assert is_intact(tmp_path / "a", file)

    (tmp_path / "a").write_bytes(content[:-1] + b"!")
    assert not is_intact(tmp_path / "a", file)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "give a valid token"),
        (403, "ask for access on its page"),
        (404, "choose another model"),
        (429, "wait some minutes"),
        (418, "The hub refuses (HTTP 418)"),
        (503, "The hub has an error (HTTP 503)"),
    ],
)
def test_every_status_has_a_sentence(status: int, words: str) -> None:
    response = httpx2.Response(status, request=httpx2.Request("GET", "http://hub/x"))
    sentence = str(describe_error(HfHubHTTPError("no", response=response), "a/b", None))

    assert words in sentence
    assert sentence.endswith(".")


def test_a_full_disk_is_told_whatever_it_was_wrapped_in() -> None:
    error = RuntimeError("xet failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")

    assert str(describe_error(error, "a/b", None)).startswith("The disk is full: free some space")
    assert "HTTP" not in str(describe_error(ValueError("x"), "a/b", None))


def test_a_token_is_kept_where_the_hubs_programs_look_and_nowhere_else(tmp_path: Path, monkeypatch) -> None:
    place = tmp_path / "hf" / "token"
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(place))
    monkeypatch.delenv("HF_TOKEN", raising=False)

    for wrong in ("", "nothing", "hf_a b", "hf_ü"):
        with pytest.raises(ConfigError, match="valid Hugging Face token") as refused:
            keep_token(wrong)
        assert not wrong or wrong not in str(refused.value)
    assert not has_token()

    keep_token(" hf_abc\n")
    assert has_token()
    assert place.read_text() == "hf_abc"
    assert place.stat().st_mode & 0o777 == 0o600
    forget_token()
    assert not has_token()


def test_a_file_that_comes_by_xet_is_counted_once_and_what_is_received_is_a_sign_of_life() -> None:
    """By huggingface_hub's own teller, which has two bars for a class that doesn't know of transfers."""
    state, counted = State(), list[int]()
    with XetDownloadProgressReporter(
        reconstruction_desc="a", total=100, log_level=30, name="b", tqdm_class=bar_of(counted.append, state)
    ) as teller:
        for received, written in ((30, 0), (60, 50), (80, 100)):
            report = SimpleNamespace(total_bytes_completed=written, total_transfer_bytes_completed=received)
            report.total_bytes, report.total_bytes_completion_rate = 100, None
            report.total_transfer_bytes_completion_rate = None
            teller.update_progress(report)

    assert counted == [50, 50]
    assert state.alive == 80
