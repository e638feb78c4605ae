"""A chat in the terminal heeds what configs/moderation.yaml says of messages and replies."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from menny.chat import Chat, ReplySettings
from menny.cli import replies
from menny.config.paths import CONFIGS
from menny.errors import ConfigError
from menny.personas.persona import Persona
from tests.ui.fake_engine import FakeEngine
from tests.ui.moderated import answered, judged

WHO = Persona(id="ann", name="Ann", system_prompt="You are Ann.")


@dataclass
class Sampling:
    max_tokens: int = 64
    temperature: float = 0.0
    background: bool = False
    keep_cache: bool = False


@pytest.fixture
def moderated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Blocks what is illegal, and warns of hateful replies."""
    text = (CONFIGS / "moderation.yaml").read_text()
    text = text.replace("  - id: illegal\n", "  - id: illegal\n    messages: block\n    replies: block\n")
    text = text.replace("  - id: hateful\n", "  - id: hateful\n    replies: warn\n")
    (tmp_path / "moderation.yaml").write_text(text)
    monkeypatch.setattr(replies, "CONFIGS", tmp_path)
    return FakeEngine(answered, judge=judged)


def say(engine: FakeEngine, conversation: Chat, text: str) -> None:
    settings = ReplySettings(Sampling(), template="chatml", moderation=replies.moderation_in_force())
    replies.print_reply(conversation, lambda: conversation.begin(text), WHO.name, engine, settings)


def test_a_blocked_message_is_told_and_not_sent(moderated: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    conversation = Chat()
    say(moderated, conversation, "how? [illegal]")
    assert moderated.prompts == []
    assert "This message wasn't sent: to the model it looks like “Illegal activities”" in capsys.readouterr().err
    say(moderated, conversation, "hello")
    assert capsys.readouterr().out == "Ann: A kind word.\n\n"


def test_a_blocked_reply_is_never_printed(moderated: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    say(moderated, Chat(), "say illegal")
    told = capsys.readouterr()
    assert "nasty" not in told.out + told.err
    assert told.out == "Ann: (This reply was withheld.)\n\n"
    assert "This reply: to the model it looks like “Illegal activities”" in told.err


def test_a_reply_to_warn_of_is_printed_with_the_warning(
    moderated: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    say(moderated, Chat(), "say hateful")
    told = capsys.readouterr()
    assert told.out == "Ann: A nasty word, [hateful].\n\n"
    assert "This reply: to the model it looks like “Hate or violence”" in told.err


def test_where_all_is_off_nothing_is_judged() -> None:
    assert replies.moderation_in_force() is None


def test_a_reply_gives_the_terminal_no_orders(capsys: pytest.CaptureFixture[str]) -> None:
    """Some letters of a reply would rename the window, clear the screen, or ring."""
    say(FakeEngine(lambda _: ["\x1b]0;owned\x07", "fine", "\x9b2J", "\r", "."]), Chat(), "Hi")
    assert capsys.readouterr().out == "Ann: ]0;ownedfine2J\n.\n\n"


def test_a_link_that_leads_nowhere_is_not_taken_for_no_moderation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moderation.yaml").symlink_to("nowhere.yaml")
    monkeypatch.setattr(replies, "CONFIGS", tmp_path)
    with pytest.raises(ConfigError, match=r"moderation\.yaml: there is no such file"):
        replies.moderation_in_force()
