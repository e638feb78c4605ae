"""Profiles of the user: read strictly, told after the persona's text, the nearest wins."""

from datetime import datetime
from pathlib import Path

import pytest

from menny.chat import Instructions
from menny.errors import ConfigError
from menny.personas.avatars import blank_avatar
from menny.personas.files import render, save, text_of
from menny.personas.macros import Draws
from menny.personas.persona import Persona
from menny.personas.profile_files import profiles_from_archive, profiles_to_archive
from menny.personas.profiles import Profile, ProfileFile, load_profiles, nearest
from menny.storage import pack, unpack

BO = Persona(id="bo", name="Bo", system_prompt="You are Bo. {{user}} is your apprentice.")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_profiles_load_in_the_order_of_their_names_and_a_broken_one_is_named(tmp_path: Path) -> None:
    write(
        tmp_path / "profiles",
        zoe="name: Zoe\ndescription: '{{user}} sails.'\npersonas: [bo]\n",
        ada="name: Ada\n",
        bad="name: Cy\nnickname: C\n",
        blank="name: '\u200b'\n",
        outside="name: Di\navatar: ../x.png\n",
        nobody="name: Ed\navatar: images/none.png\n",
    )
    profiles, errors = load_profiles(tmp_path / "profiles")
    assert [profile.id for profile in profiles] == ["ada", "nobody", "zoe"]
    told = "\n".join(map(str, errors))
    for part in (
        "bad.yaml",
        "nickname",
        "blank.yaml",
        "outside.yaml",
        "images/",
        "there is no picture images/none.png",
    ):
        assert part in told
    assert load_profiles(tmp_path / "none") == ([], [])


def test_the_description_stands_after_the_personas_text() -> None:
    ada = Profile(id="ada", name="Ada", description="{{user}} counts with {{char}} on {{weekday}}.")
    about = ada.described("Bo", Draws(at=datetime(2026, 11, 5)))
    told = Instructions.of(["Be kind."], BO.system_text("Ada"), about_user=about)
    assert told.parts == (
        ("guardrails", "Be kind."),
        ("persona", "You are Bo. Ada is your apprentice."),
        ("you", "The user's name is Ada. Ada counts with Bo on Thursday."),
    )
    assert Profile(id="x", name="{{char}}").described("Bo") == "The user's name is {{char}}."
    assert BO.system_text() == "You are Bo. The user is your apprentice."


@pytest.mark.parametrize(
    ("chat", "default", "expected"),
    [("", "", "zoe"), ("", "ada", "zoe"), ("ada", "", "ada"), ("gone", "ada", "zoe")],
)
def test_the_nearest_profile_wins(chat: str, default: str, expected: str) -> None:
    ada, zoe = Profile(id="ada", name="Ada"), Profile(id="zoe", name="Zoe", personas=("bo",))
    found = nearest([ada, zoe], "bo", chat, default)
    assert found is not None
    assert found.id == expected
    assert nearest([ada, zoe], "other", "gone", "ada") is ada
    assert nearest([ada, zoe], "other") is None


def test_a_profile_is_written_with_its_comments_kept_and_its_schema_beside_it(tmp_path: Path) -> None:
    path = save(tmp_path / "profiles", "ada", ProfileFile(name="Ada"))
    assert text_of(path).startswith("# yaml-language-server: $schema=../schemas/profile.json\n")
    assert (tmp_path / "schemas" / "profile.json").is_file()
    edited = render(ProfileFile(name="Ada", description="She counts."), "# mine\nname: Ada # first\n")
    assert edited == "# mine\nname: Ada # first\ndescription: She counts.\n"
    assert load_profiles(tmp_path / "profiles")[0] == [Profile(id="ada", name="Ada")]


def test_profiles_come_back_out_of_an_archive_with_their_comments_and_a_broken_one_brings_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "old"))
    (tmp_path / "old").mkdir()
    text = "name: Ada  # me\navatar: images/a.png\npersonas: [bo]\n"
    write(tmp_path / "old" / "profiles", ada=text, cy="name: Cy\n")
    (tmp_path / "old" / "images").mkdir()
    (tmp_path / "old" / "images" / "a.png").write_bytes(blank_avatar())
    saved = unpack("all.zip", pack([], profiles_to_archive())).files
    monkeypatch.setenv("MENNY_HOME", str(tmp_path / "new"))
    write(tmp_path / "new", unrelated="")
    write(tmp_path / "new" / "profiles", cy="name: Mine\n")
    with profiles_from_archive(saved) as kept:
        assert kept == ["ada"]
    ada, mine = load_profiles()[0]
    assert (ada.name, ada.personas, mine.name) == ("Ada", ("bo",), "Mine")
    assert (path := ada.avatar_path())
    assert path.is_relative_to(tmp_path / "new")
    assert "# me" in (tmp_path / "new" / "profiles" / "ada.yaml").read_text()
    (tmp_path / "new" / "profiles" / "ada.yaml").unlink()
    broken = {**saved, "profiles/di.yaml": b"nickname: D\n"}
    with pytest.raises(ConfigError, match="Nothing was imported"), profiles_from_archive(broken):
        raise AssertionError
    with pytest.raises(ConfigError, match="full"), profiles_from_archive(saved):
        raise ConfigError("full")
    assert [profile.name for profile in load_profiles()[0]] == ["Mine"]
