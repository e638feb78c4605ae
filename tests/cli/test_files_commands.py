"""`menny chats` and `menny personas`, run in this process: what they print, write and refuse."""

import json
import zipfile
from pathlib import Path

import pytest

from menny.cli import app
from menny.personas.own import OwnPersonas
from menny.storage import ChatStore, store_file

CHAT = [
    {"user_name": "You", "character_name": "Ann", "create_date": "2024-01-01@00h00m00s", "chat_metadata": {}},
    {"name": "You", "is_user": True, "send_date": "2024-01-01@00h00m02s", "mes": "Where am I?"},
    {"name": "Ann", "is_user": False, "send_date": "2024-01-01@00h00m03s", "mes": "In El\x1bdoria."},
]


class Menny:
    """The command line in this process; each call tells its exit code and what it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        self._patch.setattr("sys.argv", ["/somewhere/bin/menny", *map(str, words)])
        code = app._run()
        told = self._capsys.readouterr()
        return code, told.out, told.err

    def json(self, *words: object) -> dict[str, object]:
        code, out, err = self(*words, "--json")
        assert (code, err, out.count("\n")) == (0, "", 1)
        told = json.loads(out)
        assert isinstance(told, dict)
        return told


@pytest.fixture
def menny(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Menny:
    return Menny(monkeypatch, capsys)


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    file = tmp_path / "ann.jsonl"
    file.write_text("\n".join(map(json.dumps, CHAT)))
    return file


def ids() -> list[str]:
    store = ChatStore(store_file())
    found = [one.id for one in store.conversations()]
    store.close()
    return found


def test_a_chat_is_imported_listed_found_shown_and_exported(menny: Menny, ann: Path, tmp_path: Path) -> None:
    assert menny("chats", "list") == (0, "There are no chats yet.\n", "")
    assert not store_file().exists()
    assert menny("chats", "import", ann) == (0, "1 chat read, 2 new messages.\n", "")
    assert menny("chats", "import", ann) == (0, "1 chat read, 0 new messages.\n", "")
    (chat,) = ids()
    assert menny("chats", "list")[1].split(None, 1)[0] == chat[:8]
    assert "In Eldoria." in menny("chats", "search", "eldoria")[1]
    assert menny("chats", "search", "nothing of it")[1] == "No chat contains “nothing of it”.\n"
    code, shown, _ = menny("chats", "show", chat[:5])
    assert (code, "\x1b" in shown) == (0, False)
    assert "## You\n\nWhere am I?" in shown
    for ending in ("md", "json"):
        assert menny("chats", "export", chat, tmp_path / f"out.{ending}")[0] == 0
    assert (tmp_path / "out.md").read_text().startswith("# Where am I?\n")
    store_file().unlink()
    assert menny("chats", "import", tmp_path / "out.json")[1] == "1 chat read, 2 new messages.\n"
    assert ids() == [chat]


def test_with_json_each_prints_one_object(menny: Menny, ann: Path, tmp_path: Path) -> None:
    told = menny.json("chats", "import", ann)
    (chat,) = ids()
    nothing: dict[str, object] = {"personas": [], "lorebooks": [], "profiles": [], "facts": 0, "left_out": []}
    assert told == {"chats": [chat], "new_messages": 2, **nothing}
    assert menny.json("chats", "list")["chats"][0]["title"] == "Where am I?"  # type: ignore[index]
    assert menny.json("chats", "search", "Eldoria")["chats"][0]["id"] == chat  # type: ignore[index]
    assert [one["text"] for one in menny.json("chats", "show", chat)["messages"]] == ["Where am I?", "In Eldoria."]  # type: ignore[attr-defined]
    file = tmp_path / "out.json"
    assert menny.json("chats", "export", chat, file) == {"chat": chat, "file": str(file)}
    assert menny.json("personas", "list")["problems"] == []
    assert menny.json("personas", "export", "penny", tmp_path / "p.png")["persona"] == "penny"
    assert menny.json("personas", "import", tmp_path / "p.png")["name"] == "Penny 2"


def test_a_persona_goes_out_in_every_form_and_comes_back(menny: Menny, tmp_path: Path) -> None:
    for number, ending in enumerate(("yaml", "png", "json", "charx"), start=2):
        file = tmp_path / f"penny.{ending}"
        assert menny("personas", "export", "pen" if number == 2 else "penny", file)[0] == 0
        code, out, _ = menny("personas", "import", file)
        assert (code, out) == (0, f"Imported: Penny {number}. Talk to it with: {out.split(': ')[-1]}")
        assert out.endswith(f"menny chat --persona penny-{number}\n")
        assert OwnPersonas().own_file(f"penny-{number}")
    with zipfile.ZipFile(tmp_path / "penny.charx") as archive:
        assert archive.namelist() == ["card.json", "assets/icon/main.png"]
    assert "penny-5  Penny 5: Plain answers, no fuss  (yours)" in menny("personas", "list")[1].replace("   ", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("chats", "show", "nobody"), "There is no chat with the id 'nobody': `"),
        (("chats", "show", "-x"), "There is no chat with the id '-x'"),
        (("chats", "import", "nowhere.json"), "There is no file nowhere.json: check the path."),
        (("chats", "import", "FOLDER"), "it isn't a file but a folder"),
        (("chats", "import", "BROKEN"), "broken.json: "),
        (("chats", "export", "x", "chat.pdf"), "chat.pdf must end in .json or .md"),
        (("chats", "export", "x", "/nowhere/chat.md"), "There is no folder /nowhere"),
        (("chats", "export", "x", "THERE"), "already exists: choose another name, or add --overwrite."),
        (("chats", "sing"), "No such command 'sing'"),
        (("personas", "export", "", "p.png"), "There is no persona with the id ''"),
        (("personas", "export", "pennny", "p.png"), "There is no persona with the id 'pennny'; did you mean penny?"),
        (("personas", "export", "penny", "p.txt"), "p.txt must end in .yaml, .png, .json or .charx"),
        (("personas", "import", "BROKEN"), "broken.json "),
    ],
)
def test_a_wrong_input_gets_one_line(menny: Menny, words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "there.md").write_text("mine")
    paths = {"FOLDER": tmp_path, "BROKEN": tmp_path / "broken.json", "THERE": tmp_path / "there.md"}
    code, out, err = menny(*(paths.get(word, word) for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("menny: ")
    assert said in err
    assert (tmp_path / "there.md").read_text() == "mine"


def test_of_several_ids_with_one_beginning_none_is_guessed(menny: Menny, tmp_path: Path) -> None:
    menny("personas", "export", "penny", tmp_path / "penny.yaml")
    menny("personas", "import", tmp_path / "penny.yaml")
    code, _, err = menny("personas", "export", "pen", tmp_path / "other.yaml")
    assert (code, "2 personas have ids that begin with 'pen'" in err) == (2, True)
    assert menny("personas", "export", "penny", tmp_path / "other.yaml")[0] == 0
