"""A user's own persona files: what is written, what is kept, and what is never overwritten."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.config.paths import CONFIGS
from menny.config.yaml_models import from_data, load_yaml, parse_yaml
from menny.errors import ConfigError, FileChangedError, StorageError
from menny.personas import load_personas
from menny.personas.files import find, new_id, put, remove, render, save, text_of
from menny.personas.persona import PersonaFile, load_all

COMMENTED = """\
# yaml-language-server: $schema=../schemas/persona.json
# Basil, begun in spring

name: Basil  # after the herb
tagline: 'Gardener'

# who he is
system_prompt: |
  You are Basil.

  You garden.
# what to click on
suggestions:  # two will do
  # the first
  - "Why?"  # always good
  - What grows in the shade?
  # no more
# how he talks
parameters:
  temperature: 0.8  # warm
  max_tokens: 200
# the end
"""


def persona(**said: Any) -> PersonaFile:
    return from_data({"name": "Basil", "system_prompt": "You are Basil.", **said}, PersonaFile)


def changed(text: str, **said: Any) -> str:
    """The file after some keys were changed."""
    before = parse_yaml(text, PersonaFile, "x").model_dump(mode="json")
    return render(from_data(before | said, PersonaFile), text)


def test_an_unchanged_persona_leaves_its_file_as_it_is_to_the_letter() -> None:
    assert changed(COMMENTED) == COMMENTED
    for path in (CONFIGS / "personas").glob("*.yaml"):
        assert changed(path.read_text(encoding="utf-8")) == path.read_text(encoding="utf-8")


def test_every_comment_survives_changes_all_over_the_file() -> None:
    text = changed(
        COMMENTED,
        name="Basil the Old",
        tagline="",
        greeting="Mind the\nseedlings.",
        system_prompt="You are old Basil.",
        suggestions=["Why?", "What grows in the sun?", "When?"],
        parameters={"temperature": 0.9, "max_tokens": 200, "top_k": 5},
    )
    comments = [line[line.index("#") :].strip() for line in COMMENTED.splitlines() if "#" in line]
    assert [line[line.index("#") :].strip() for line in text.splitlines() if "#" in line] == comments
    assert "name: Basil the Old # after the herb\n" in text
    assert "tagline" not in text
    assert '  - "Why?"  # always good\n' in text
    assert "  temperature: 0.9  # warm\n  max_tokens: 200\n  top_k: 5\n" in text
    assert "greeting: |\n  Mind the\n  seedlings.\n" in text


def test_only_the_lines_of_what_changed_are_others() -> None:
    before, after = COMMENTED.splitlines(), changed(COMMENTED, tagline="Old gardener").splitlines()
    assert [line for line in after if line not in before] == ["tagline: 'Old gardener'"]


def test_a_file_in_one_line_is_written_anew() -> None:
    text = changed("{name: Basil, system_prompt: You are Basil.}\n", tagline="Gardener")
    assert text.splitlines()[1:] == ["name: Basil", "tagline: Gardener", "system_prompt: You are Basil."]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.just("\n"), min_size=1, max_size=60)
TRICKY = st.sampled_from(
    [
        "on",
        "1.0",
        "null",
        "~",
        "2020-01-01",
        "a: b",
        "# c",
        "- d",
        "{e",
        "'f",
        '"g',
        "&h",
        "*i",
        "!j",
        "%k",
        "|",
        "0x1F",
        "=",
        "<<",
        "x #y",
        "l\n  m\n n",
        " \n o",
    ]
)
VALUES = TRICKY | WORDS


@given(VALUES, VALUES, st.lists(st.tuples(VALUES, VALUES), max_size=3), st.dictionaries(VALUES, VALUES, max_size=3))
def test_whatever_texts_a_persona_has_they_are_read_back_as_they_are(
    prompt: str, greeting: str, examples: list[tuple[str, str]], kept: dict[str, str]
) -> None:
    try:
        wanted = persona(
            system_prompt=prompt,
            greeting=greeting,
            examples=[{"user": user, "assistant": answer} for user, answer in examples],
            extensions={"kept": {key.replace("\n", " ").strip() or "k": value for key, value in kept.items()}},
        )
    except ValueError:  # blank
        return
    for base in ("", COMMENTED):
        text = render(wanted, base)
        assert parse_yaml(text, PersonaFile, "x") == wanted
        assert text.startswith("# yaml-language-server: $schema=")


def test_a_new_file_passes_the_schema_and_stands_with_the_presets(tmp_path: Path) -> None:
    path = save(tmp_path / "personas", "basil", persona(tagline="Gardener"))
    assert load_yaml(path, PersonaFile) == persona(tagline="Gardener")
    assert (tmp_path / "schemas" / "persona.json").read_bytes() == (CONFIGS / "schemas" / "persona.json").read_bytes()
    everybody, problems = load_all(own=tmp_path / "personas")
    assert problems == []
    assert {"Basil", "Menny", "Nora"} <= {one.name for one in everybody}
    assert [file.name for file in path.parent.iterdir()] == ["basil.yaml"]


def test_ones_own_file_stands_in_for_a_preset_of_its_id_or_name(tmp_path: Path) -> None:
    save(tmp_path, "menny", persona(name="My Menny"))
    save(tmp_path, "another", persona(name="nora"))
    names = [one.name for one in load_all(own=tmp_path)[0]]
    assert "My Menny" in names
    assert "nora" in names
    assert not {"Menny", "Nora"} & set(names)


def test_nobody_else_is_overwritten_and_a_change_on_disk_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, "basil", persona())
    seen = text_of(path)
    with pytest.raises(FileChangedError, match=r"basil\.yaml"):
        save(tmp_path, "basil", persona(tagline="another"))
    path.write_text(seen + "# by hand\n")
    with pytest.raises(FileChangedError):
        save(tmp_path, "basil", persona(tagline="mine"), seen, expected=seen)
    assert path.read_text() == seen + "# by hand\n"
    save(tmp_path, "basil", persona(tagline="mine"), text_of(path), expected=text_of(path))
    assert "# by hand" in path.read_text()
    with pytest.raises(FileChangedError):
        save(tmp_path, "gone", persona(), seen, expected=seen)


def test_of_changes_at_the_same_time_none_is_lost_unseen(tmp_path: Path) -> None:
    path = save(tmp_path, "basil", persona(greeting="0"))

    def count(_: int) -> None:
        done = 0
        while done < 20:
            seen = text_of(path)
            now = parse_yaml(seen, PersonaFile, "x")
            try:
                save(tmp_path, "basil", now.model_copy(update={"greeting": str(int(now.greeting) + 1)}), seen, seen)
            except FileChangedError:
                continue
            done += 1

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(count, range(3)))
    assert parse_yaml(text_of(path), PersonaFile, "x").greeting == "60"


def test_a_deleted_file_can_be_put_back(tmp_path: Path) -> None:
    path = save(tmp_path, "basil", persona())
    said = remove(path)
    assert find(tmp_path, "basil") is None
    put(path, said)
    assert load_personas(tmp_path)[0][0].name == "Basil"


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    (tmp_path / "personas").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"basil\.yaml can't be written"):
        save(tmp_path / "personas", "basil", persona())


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, "basil", persona())
    seen = text_of(path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save(tmp_path, "basil", persona(tagline="new"), seen, expected=seen)
    assert text_of(path) == seen
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["basil.yaml"]


def test_a_persona_larger_than_a_file_may_be_is_refused(tmp_path: Path) -> None:
    heavy = persona(system_prompt="💐" * 32_000, greeting="💐" * 8000, extensions={"book": "x" * 120_000})
    with pytest.raises(ConfigError, match="256 KiB"):
        save(tmp_path, "basil", heavy)
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "persona_id"),
    [
        ("Basil", "basil"),
        ("Émile  & Zoë!", "emile-zoe"),
        ("../../etc/passwd", "etc-passwd"),
        ("小雪", "persona"),
        ("...", "persona"),
        ("x" * 60, "x" * 40),
        ("Menny", "menny-2"),
    ],
)
def test_an_id_is_made_from_a_name_and_is_no_path(name: str, persona_id: str) -> None:
    assert new_id(name, {"menny"}) == persona_id
