"""Messages that aren't sent yet: those that wait, those that were refused, and files that can't be read."""

from menny.chat import Chat
from menny.storage import ChatStore
from menny.ui.chat.unsent import Unsent, add_unsent, hold_unsent, unsent_of
from tests.ui.conftest import Stage, given_back, say, texts
from tests.ui.fake_engine import FakeEngine, parrot


def test_a_file_becomes_a_chip_with_its_tokens(stage: Stage) -> None:
    page = stage.open_page()
    page.chat_input(key="message").upload("notes.txt", b"At nine.").set_value("When?").run()
    assert "File notes.txt:\n\n```\nAt nine.\n```\n\nWhen?" in stage.engine.prompts[0]
    chip = next(button for button in page.button if str(button.key).startswith("file-"))
    assert chip.label.replace("\\", "") == "notes.txt · 8 tokens"
    chip.click().run()
    assert "At nine." in [code.value for code in page.code]


def test_a_file_that_cannot_be_read_keeps_the_message_and_the_other_files(stage: Stage) -> None:
    page = stage.open_page()
    box = page.chat_input(key="message").upload("a.png", b"\x89PNG\r\n\x1a\n").upload("b.txt", b"Text.")
    box.set_value("What is this?").run()
    assert "can't see pictures" in page.warning[0].value.replace("\\", "")
    assert given_back(page) == ["What is this?"]
    assert stage.engine.prompts == []
    send = next(button for button in page.button if str(button.key).startswith("send-"))
    send.click().run()
    assert "File b.txt" in stage.engine.prompts[0]
    assert given_back(page) == []


def test_a_file_over_the_context_is_refused_with_numbers_and_can_be_removed(stage: Stage) -> None:
    stage.engine = FakeEngine(parrot, context_length=2500)
    page = stage.open_page()
    page.chat_input(key="message").upload("long.txt", b"x" * 5000).set_value("Hm?").run()
    assert "long.txt has 5,000 tokens;" in page.warning[0].value.replace("\\", "")
    remove = next(button for button in page.button if str(button.key).startswith("detach-"))
    remove.click().run()
    next(button for button in page.button if str(button.key).startswith("send-")).click().run()
    assert "You said: Hm?" in texts(page)[-1]


def test_after_a_reply_that_failed_the_next_messages_are_held(stage: Stage) -> None:
    page = say(stage.open_page(), "one")
    session = page.session_state["menny"]
    add_unsent(session.chat, Unsent("two"))
    stage.engine.answer = lambda prompt: ["<fail>"]
    say(page, "three")
    assert [one.text for one in unsent_of(session.chat)] == ["two"]
    assert unsent_of(session.chat)[0].is_held


def test_the_queue_survives_a_restart_and_is_held_then() -> None:
    store = ChatStore()
    chat = Chat(store)
    chat.begin("one")
    add_unsent(chat, Unsent("three"))
    add_unsent(chat, Unsent("two"), first=True)
    again = Chat(store, chat.id)
    assert [one.text for one in unsent_of(again)] == ["two", "three"]
    hold_unsent(again)
    assert all(one.is_held for one in unsent_of(chat))


def test_what_was_typed_survives_a_run_that_ended_before_the_box(stage: Stage) -> None:
    page = stage.open_page()
    session = page.session_state["menny"]
    session.typed.append((session.chat, "still here", []))  # by the box's callback
    page.run()
    assert "You said: still here" in texts(page)[-1]
    assert session.typed == []


def test_what_was_typed_waits_in_its_chat_when_another_is_opened_at_once(stage: Stage) -> None:
    page = say(stage.open_page(), "one")
    session = page.session_state["menny"]
    typed_in = session.chat
    session.typed.append((typed_in, "two", []))
    page.button(key="new_chat").click().run()
    assert [(one.text, one.is_held) for one in unsent_of(typed_in)] == [("two", True)]
    assert not any("two" in text for text in texts(page))
