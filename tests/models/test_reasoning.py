"""Which models think before they answer, and the words that come with them."""

from pathlib import Path

import pytest

from menny.config.paths import CONFIGS
from menny.models.catalogue import load_catalogue, local_spec
from menny.models.hub.files import RemoteFile, chosen
from menny.models.reasoning import MOST_WORDS, is_reasoner, own_words, words_of

OWN = "Think first.[THINK]Your thoughts.[/THINK]Then answer."


def model(folder: Path, words: str | bytes | None = None) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "mistral"}')
    (folder / "model.safetensors").write_bytes(b"")
    if words is not None:
        (folder / "SYSTEM_PROMPT.txt").write_bytes(words if isinstance(words, bytes) else words.encode())
    return folder


@pytest.mark.parametrize(
    ("name", "thinks"),
    [
        ("Magistral-Small-2509-4bit", True),
        ("Ministral-3-8B-Reasoning-2512-8bit", True),
        ("DeepSeek-R1-Distill-Llama-8B", True),
        ("Ministral-3-8B-Instruct-2512", False),
        ("Mistral-Small-3.2-24B-Instruct-2506", False),
        ("Mixtral-8x7B", False),
        ("gr1ffin-7b", False),
    ],
)
def test_a_reasoning_model_is_known_by_its_name(tmp_path: Path, name: str, thinks: bool) -> None:
    assert is_reasoner(local_spec(model(tmp_path / name))) == thinks


@pytest.mark.parametrize(
    ("words", "thinks"),
    [
        (OWN, True),
        ("Think.\n<think>\nThoughts.\n</think>\nAnswer.", True),
        ("You are Mistral-Small-3.2, made by Mistral AI.", False),
        ("Say [/THINK] before [THINK].", False),
        (b"\xff\xfe[THINK] [/THINK]", False),
        (OWN + "x" * MOST_WORDS, False),
        (None, False),
    ],
)
def test_or_by_the_words_that_come_with_it(tmp_path: Path, words: str | bytes | None, thinks: bool) -> None:
    folder = model(tmp_path / "model", words)
    assert is_reasoner(local_spec(folder)) == thinks
    assert own_words(folder) == (str(words) if thinks else "")
    assert own_words(folder / "model.safetensors") == own_words(folder)


def test_or_by_its_entry(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "models:\n"
        "  - {id: one, name: One, path: one, thinks: true}\n"
        "  - {id: two, name: Magistral, path: two, thinks: false}\n"
    )
    specs, errors = load_catalogue(file, tmp_path, tmp_path)
    assert errors == []
    assert [is_reasoner(spec) for spec in specs] == [True, False]


def test_no_model_of_the_catalogue_thinks_unless_it_says_so(tmp_path: Path) -> None:
    specs, _ = load_catalogue(CONFIGS / "models.yaml", tmp_path, tmp_path)
    assert all("agistral" in spec.name or "easoning" in spec.name for spec in specs if is_reasoner(spec))


@pytest.mark.parametrize(
    ("served", "marks"),
    [("mistralai/Magistral-Small-2509", "[THINK]"), ("Magistral-Small-2506", ""), ("Qwen3-Thinking", "")],
)
def test_a_family_on_a_server_is_asked_with_its_own_marks(tmp_path: Path, served: str, marks: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(f"models:\n  - {{id: one, name: One, server: 'http://127.0.0.1:9/v1', served: {served}}}\n")
    (spec,), _ = load_catalogue(file, tmp_path, tmp_path)
    assert is_reasoner(spec)
    assert (marks in words_of(spec)) if marks else words_of(spec) == ""


def test_the_words_are_downloaded_with_a_model() -> None:
    names = ["config.json", "model.safetensors", "SYSTEM_PROMPT.txt", "README.md", "OTHER.txt"]
    files = {name: RemoteFile(name, 10, "0" * 64) for name in names}
    picked = [file.name for file in chosen(files, Path)]
    assert picked == ["SYSTEM_PROMPT.txt", "config.json", "model.safetensors"]
