"""The archive of everything: what it holds comes back in a home that has nothing, and a bad one changes nothing."""

import io
import unicodedata
import zipfile
from pathlib import Path

import pytest

from menny.config.paths import home
from menny.errors import ConfigError, StorageError
from menny.personas import load_personas
from menny.personas.avatars import as_avatar, blank_avatar, keep_avatar
from menny.personas.persona import own_folder
from menny.storage import ChatStore, pack, unpack
from menny.ui.personas.persona_store import own_personas
from menny.ui.sidebar.chat_files import file_stem
from tests.ui.conftest import Stage, say

BASIL = """\
name: Basil
avatar: {avatar}
# he has seen it all wilt
system_prompt: You are Basil, an old gardener.
"""


def plant_basil() -> Path:
    """A persona of one's own, with a picture and a comment."""
    avatar = keep_avatar(home() / "images", as_avatar(blank_avatar()))
    own_folder().mkdir(parents=True)
    file = own_folder() / "basil.yaml"
    file.write_text(BASIL.format(avatar=avatar))
    return file


def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the home is another."""
    monkeypatch.setenv("MENNY_HOME", str(folder / "elsewhere"))


def test_a_persona_comes_back_with_its_comments_and_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plant_basil()
    text, saved = file.read_text(), unpack("all.zip", pack([], own_personas().to_archive())).files
    elsewhere(tmp_path, monkeypatch)
    with own_personas().from_archive(saved) as kept:
        assert kept == ["basil"]
    personas, problems = load_personas(own_folder(), home())
    assert not problems
    assert personas[0].avatar_path(home())
    assert (own_folder() / "basil.yaml").read_text() == text
    assert own_folder() != file.parent


def test_a_persona_that_is_there_stays_as_it_is() -> None:
    file = plant_basil()
    saved = own_personas().to_archive()
    file.write_text(file.read_text().replace("old", "very old"))
    with own_personas().from_archive(saved) as kept:
        assert kept == []
    assert "very old" in file.read_text()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("personas/bad.yaml", b"name: Bad\nsystem_prompt: You are bad.\nsecret: 1\n"),
        ("personas/bad.yaml", b"name: [\n"),
        ("personas/bad.yaml", b"name: \xff\n"),
        ("personas/bad.yaml", b""),
        ("personas/.hidden.yaml", b"name: Bad\nsystem_prompt: You are bad.\n"),
        ("personas/deep/bad.yaml", b"name: Bad\nsystem_prompt: You are bad.\n"),
        ("personas/bad.sh", b"name: Bad\nsystem_prompt: You are bad.\n"),
        ("personas/bad.yaml", b"name: Bad\nsystem_prompt: You are bad.\n#" + b"x" * (1 << 20)),
    ],
)
def test_one_bad_persona_keeps_all_of_them_out(name: str, content: bytes) -> None:
    good = b"name: Good\nsystem_prompt: You are good.\n"
    both = {"personas/good.yaml": good, name: content}
    with pytest.raises(ConfigError, match="Nothing was imported"), own_personas().from_archive(both):
        pass
    assert not list(own_folder().glob("*"))


def test_personas_leave_again_where_the_chats_beside_them_are_refused() -> None:
    files = {"personas/good.yaml": b"name: Good\nsystem_prompt: You are good.\n"}

    def bring_back() -> None:
        with own_personas().from_archive(files) as kept:
            assert kept == ["good"]
            raise StorageError

    with pytest.raises(StorageError):
        bring_back()
    assert not list(own_folder().glob("*"))


def test_a_picture_that_is_none_keeps_its_persona_out() -> None:
    text = BASIL.format(avatar="images/basil.png").encode()
    both = {"personas/basil.yaml": text, "images/basil.png": b"<svg onload='alert(1)'/>"}
    with pytest.raises(ConfigError, match="Nothing was imported"), own_personas().from_archive(both):
        pass


def test_an_archive_restored_in_the_page_brings_chats_and_personas_back(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_basil()
    say(stage.open_page(), "Remember me")
    with zipfile.ZipFile(io.BytesIO(kept := archive_of(stage.home))) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {
            *("menny-archive.json", "chats", "personas", "images")
        }
    elsewhere(tmp_path, monkeypatch)
    page = stage.open_page()
    page.file_uploader(key="import").set_value([("all.zip", kept, "application/zip")]).run()
    told = [one.value.replace("\\", "") for one in page.caption]
    assert "1 chat read, 2 new messages, 1 persona brought back." in told
    assert "Basil" in page.selectbox(key="persona").options


def test_an_archive_whose_chats_are_refused_brings_no_persona(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_basil()
    say(stage.open_page(), "Remember me")
    with zipfile.ZipFile(packed := io.BytesIO(archive_of(stage.home)), "a") as archive:
        archive.writestr("chats/bad.json", "{}")
    elsewhere(tmp_path, monkeypatch)
    page = stage.open_page()
    page.file_uploader(key="import").set_value([("all.zip", packed.getvalue(), "application/zip")]).run()
    assert page.error
    assert not own_folder().exists()


def archive_of(folder: Path) -> bytes:
    store = ChatStore(folder / "chats.db")
    try:
        return pack(store.transcripts(), own_personas().to_archive())
    finally:
        store.close()


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("A plan: 3/4", "A-plan-3-4"),
        ("हिन्दी भाषा", "हिन्दी-भाषा"),
        ("ภาษาไทยที่นี่", "ภาษาไทยที่นี่"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("e\u0301te\u0301", "été"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u200d👩\u200d👧 \u200c", "chat"),
        ("../../etc/passwd", "etc-passwd"),
        ("snake_case\nline", "snake_case-line"),
        ("", "chat"),
    ],
)
def test_a_files_name_keeps_the_letters_of_a_title_with_their_marks(title: str, stem: str) -> None:
    assert file_stem(title) == unicodedata.normalize("NFC", stem)
