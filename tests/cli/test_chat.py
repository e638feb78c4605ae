"""What can be typed into a chat in the terminal besides messages."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from menny.cli import chat as chat_command
from menny.cli.chat import ChatOptions, TerminalChat
from menny.errors import ConfigError, ModelError
from menny.storage import unpack
from tests.ui.fake_engine import FakeEngine, last_question, parrot

OPTIONS = ChatOptions("mistral", {"max_tokens": 20}, None, None, None, None, False, None)


def answer(prompt: str) -> list[str]:
    return ["- They have a cat."] if "List lasting facts" in prompt else parrot(prompt)


class Terminal:
    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: ChatOptions = OPTIONS
    ) -> None:
        self.engines: list[FakeEngine] = []
        self._capsys = capsys
        monkeypatch.setattr(chat_command, "open_engine", self._open)
        monkeypatch.setattr(chat_command, "is_judge", lambda name: name == "judge")
        monkeypatch.setattr(chat_command, "thinking_of", lambda *_: None)
        self.talk = TerminalChat(options, "menny")
        self.talk.load("little")
        self.talk.greet()

    @contextmanager
    def _open(self, name: str, *_: Any) -> Iterator[tuple[FakeEngine, str]]:
        if name == "absent":
            raise ModelError("There is no model 'absent'.")
        engine = FakeEngine(answer, name=name)
        self.engines.append(engine)
        yield engine, "chatml"
        engine.close()

    def take(self, *lines: str) -> tuple[str, str]:
        self._capsys.readouterr()
        for line in lines:
            self.talk.take(line)
        return self._capsys.readouterr()

    @property
    def asked(self) -> str:
        return self.engines[-1].prompts[-1]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/hep", "There is no command /hep; did you mean /help?"),
        ("/", "There is no command /: /help lists all of them."),
        ("/q", "There is no command /q: /help lists all of them."),
        ("/retry", "There is nothing to answer again yet"),
        ("/save", "/save needs a file"),
        ("/save chat.md", "There is nothing to save yet"),
        ("/persona nobody", "There is no persona 'nobody'"),
        ("/model absent", "There is no model 'absent'."),
        ("/model judge", "judge judges texts and can't chat"),
    ],
)
def test_what_can_t_be_done_gets_one_line_and_the_chat_goes_on(terminal: Terminal, line: str, said: str) -> None:
    out, err = terminal.take(line)
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert terminal.take("hello")[0] == "Menny: You said: hello \n\n"
    assert [engine.closed for engine in terminal.engines].count(False) == 1


def test_help_lists_every_command(terminal: Terminal) -> None:
    out, _ = terminal.take("/HELP")
    for word in ("help", "retry", "new", "persona", "model", "system", "save", "bye"):
        assert f"/{word} " in out


def test_a_path_and_two_slashes_are_messages(terminal: Terminal) -> None:
    for line, asked in (("/etc/passwd is what?", "/etc/passwd is what?"), ("//help me", "/help me"), ("1/2", "1/2")):
        terminal.take(line)
        assert last_question(terminal.asked) == asked


def test_retry_answers_the_last_message_again_in_the_replys_place(terminal: Terminal) -> None:
    out, _ = terminal.take("kumquat", "/retry")
    assert out == "Menny: You said: kumquat \n\n" * 2
    terminal.take("two")
    assert terminal.asked.count("kumquat") == 2  # the question and one reply to it


def test_another_persona_answers_on_and_its_text_comes_back_after_system(terminal: Terminal) -> None:
    assert "Penny: Hello, I'm Penny." in terminal.take("/persona penny")[0]
    assert "Penny answers. The personas are: menny, penny," in terminal.take("/persona")[0]
    terminal.take("hi", "/system You are Zorg.", "hello")
    assert "fairness and positivity.\n\nYou are Zorg.<|im_end|>" in terminal.asked  # the guardrail stays
    assert terminal.take("/system")[0].endswith("You are Zorg.\n\n")
    assert terminal.take("/persona menny")[0] == "Menny answers from here on.\n\n"
    terminal.take("hello")
    assert "Zorg" not in terminal.asked
    assert "You are Menny" in terminal.asked


def test_another_model_takes_the_others_place(terminal: Terminal) -> None:
    terminal.take("one", "/model other", "two")
    little, other = terminal.engines
    assert (little.closed, other.closed, "one" in other.prompts[0]) == (True, False, True)
    assert "other answers. `" in terminal.take("/model")[0]


def test_a_chat_is_saved_and_again_where_it_was_saved_but_nowhere_else(terminal: Terminal, tmp_path: Path) -> None:
    mine, target = tmp_path / "mine.md", tmp_path / "chat.json"
    mine.write_text("mine")
    terminal.take("one", f"/save {target}", "two", f"/save {target}")
    (saved,) = unpack("chat.json", target.read_bytes()).transcripts
    greeting = "Ugh. Fine. What do you want?"
    assert [entry.text for entry in saved.entries] == [greeting, "one", "You said: one ", "two", "You said: two "]
    assert {(entry.persona, entry.model) for entry in saved.entries[1:] if entry.role == "assistant"} == {
        ("menny", "little")
    }
    assert "already exists: choose another name." in terminal.take(f"/save {mine}")[1]
    assert mine.read_text() == "mine"
    assert terminal.take("/new")[0] == "A new chat.\n\nMenny: Ugh. Fine. What do you want?\n\n"
    terminal.take("three")
    assert "already exists" in terminal.take(f"/save {target}")[1]


def test_a_new_chat_draws_anew_and_tells_the_model_the_same(
    temporary_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = temporary_home / "menny" / "personas"
    folder.mkdir(parents=True)
    roll = "{{roll:1d1000000}}"
    (folder / "menny.yaml").write_text(f"name: Menny\nsystem_prompt: 'Code {roll}.'\ngreeting: 'Hello {roll}'\n")
    terminal = Terminal(monkeypatch, capsys)
    terminal.take("hi")
    first = terminal.asked
    greeting = terminal.take("/new")[0]
    terminal.take("hi")
    second = terminal.asked
    codes = [re.findall(r"\d+", prompt[prompt.index("Code") :])[0] for prompt in (first, second)]
    assert codes[0] != codes[1]
    assert re.findall(r"Hello \d+", greeting) == re.findall(r"Hello \d+", second) != re.findall(r"Hello \d+", first)


def test_the_user_is_who_was_chosen(
    temporary_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = temporary_home / "menny" / "profiles"
    folder.mkdir(parents=True)
    (folder / "ada.yaml").write_text("name: Ada\ndescription: '{{user}} counts.'\n")
    terminal = Terminal(monkeypatch, capsys, replace(OPTIONS, you="ADA"))
    terminal.take("hello")
    assert "The user's name is Ada. Ada counts." in terminal.asked
    with pytest.raises(ConfigError, match=r"There is no profile 'bob': choose one of ada\."):
        TerminalChat(replace(OPTIONS, you="bob"), "menny")


def test_a_persona_remembers_in_the_terminal_what_it_was_told_there(
    temporary_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (temporary_home / "menny").mkdir()
    (temporary_home / "menny" / "settings.yaml").write_text("remembering: [menny]\n")
    first = Terminal(monkeypatch, capsys)
    assert first.take("Remember that I sing.")[1] == "(Remembered: I sing.)\n\n"
    first.take("I have a cat.")
    first.talk.end()
    assert "(Remembered: They have a cat.)" in capsys.readouterr().err
    first.talk.__exit__()
    second = Terminal(monkeypatch, capsys)
    second.take("hello")
    assert "What you remember about the user:\n- I sing.\n- They have a cat." in second.asked
    assert second.take("/system")[0].endswith("- I sing.\n- They have a cat.\n\n")
    second.talk.__exit__()
    off = Terminal(monkeypatch, capsys, replace(OPTIONS, remember=False))
    assert off.take("Remember that I dance.")[1] == ""
    off.talk.end()
    assert "remember about the user" not in off.asked
    assert [len(engine.prompts) for terminal in (first, second, off) for engine in terminal.engines] == [3, 1, 1]


def test_a_terminal_where_nothing_is_remembered_makes_no_store(terminal: Terminal, temporary_home: Path) -> None:
    terminal.take("Remember that I sing.")
    terminal.talk.end()
    assert not (temporary_home / "menny" / "chats.db").exists()
