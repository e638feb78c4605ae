"""A chat that is kept: asked again, edited, continued, taken back; and what becomes of it where it can't be kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from menny.chat import Chat, Reply, ReplySettings
from menny.engine.tokenizers.tokenizer import Tokenizer
from menny.errors import EngineError, PromptError, PromptTooLongError, StorageError
from menny.storage import ChatStore, Conversation, MessageNode, Transcript, new_id
from tests.chat.test_conversation import Piece, Sampling, Scripted, saying
from tests.prompts.conversations import tokenizer_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ChatStore]:
    opened = ChatStore(tmp_path / "chats.db", busy_seconds=0.05)
    yield opened
    opened.close()


def texts(chat: Chat) -> list[str]:
    return [entry.text for entry in chat.entries]


def answer(chat: Chat, reply: Reply, *pieces: str | Exception, **engine: Any) -> Scripted:
    script = [piece if isinstance(piece, Exception) else Piece(piece) for piece in pieces]
    asked = Scripted([[*script, Piece("", "stop")]], **engine)
    list(chat.answer(reply, asked, ReplySettings(Sampling())))
    return asked


def full(store: ChatStore) -> None:
    """From here on the disk is full, as far as this store knows."""
    db = store._database._writer
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")


def make_room(store: ChatStore) -> None:
    store._database._writer.execute("PRAGMA max_page_count = 1000000")


LONG = "A long story. " * 3000


def test_what_was_said_is_the_same_chat_for_who_comes_by_its_id(store: ChatStore) -> None:
    chat = Chat(store)
    answer(chat, chat.begin("Hi", "menny", "little"), "Hello")
    assert texts(Chat(store, chat.id)) == ["Hi", "Hello"]
    assert (chat.entries[1].persona, chat.entries[1].model) == ("menny", "little")


def test_the_settings_of_a_new_chat_are_kept_with_its_first_message(store: ChatStore) -> None:
    chat = Chat(store)
    chat.set_settings(temperature=0.2, note="Be brief.")
    chat.set_settings(note=None)
    assert chat.settings == {"temperature": 0.2}
    assert store.conversation(chat.id) is None
    answer(chat, chat.begin("Hi"), "Hello")
    chat.set_settings(seed=7)
    assert Chat(store, chat.id).settings == chat.settings == {"temperature": 0.2, "seed": 7}


def test_a_question_is_kept_before_the_model_is_asked(store: ChatStore) -> None:
    chat = Chat(store)
    chat.begin("Hi")
    assert texts(Chat(store, chat.id)) == ["Hi", ""]


def test_a_reply_is_kept_while_it_grows(store: ChatStore) -> None:
    chat = Chat(store)
    chunks = chat.reply("Hi", Scripted([saying("One ", "two")]), ReplySettings(Sampling()))
    next(chunks)
    assert store.path(chat.id)[1].status == "growing"
    next(chunks)
    assert store.path(chat.id)[1].text.startswith("One")
    chunks.close()  # type: ignore[attr-defined]
    assert (store.path(chat.id)[1].text, store.path(chat.id)[1].status) == ("One two", "interrupted")


def test_an_edited_question_is_answered_without_what_followed_it(store: ChatStore) -> None:
    chat = Chat(store)
    answer(chat, chat.begin("First"), "one")
    answer(chat, chat.begin("Second"), "two")
    engine = answer(chat, chat.edit(chat.entries[2].id, "Other"), "three")
    assert texts(chat) == ["First", "one", "Other", "three"]
    assert "Second" not in engine.prompts[0]
    assert "First <|im_end|> <|im_start|> assistant one" in engine.prompts[0]
    chat.choose(chat.entries[2].alternatives[0])
    assert texts(chat) == ["First", "one", "Second", "two"]


def test_a_regenerated_reply_is_asked_for_like_the_first(store: ChatStore) -> None:
    chat = Chat(store)
    first = answer(chat, chat.begin("Hi"), "one")
    again = answer(chat, chat.regenerate(chat.entries[1].id, "nora", "big"), "two")
    assert again.prompts == first.prompts
    assert (texts(chat), chat.entries[1].persona) == (["Hi", "two"], "nora")
    answer(chat, chat.regenerate(chat.entries[0].id), "three")
    assert len(chat.entries[1].alternatives) == 3


def test_a_reply_that_broke_off_goes_on_where_it_ended(store: ChatStore) -> None:
    chat = Chat(store)
    with pytest.raises(EngineError):
        answer(chat, chat.begin("Count"), "One, two,", EngineError("It broke."))
    assert chat.entries[1].can_go_on
    engine = answer(chat, chat.resume(chat.entries[1].id), " three.")
    assert engine.prompts == ["<|im_start|> user Count <|im_end|> <|im_start|> assistant One, two,"]
    assert (texts(chat), chat.entries[1].error, chat.entries[1].can_go_on) == (["Count", "One, two, three."], "", False)


@pytest.mark.parametrize("template", ["mistral-v1", "mistral-v3", "mistral-v3-tekken", "mistral-v7", "llama-2"])
@pytest.mark.parametrize("text", ["The quick brown fox.", "Eine Kö…\n\n- eins\n- zwei", "日本語 and 🙂 more"])
def test_a_reply_cut_after_any_token_goes_on_as_if_it_had_not_been(template: str, text: str) -> None:
    tokenizer = tokenizer_of(template)
    ids = tokenizer.encode(text)
    for cut in range(1, len(ids)):
        chat, said = Chat(), tokenizer.decode(ids[:cut])
        if "\ufffd" in tokenizer.decode(ids[cut:]):
            continue  # within a character, of which the text alone can't tell: see test_seam.py
        answer(chat, chat.begin("Hi"), said)
        asked = Scripted([spoken(tokenizer, ids[cut:])], tokenizer=tokenizer)
        chunks = list(chat.answer(chat.resume(chat.entries[1].id), asked, ReplySettings(Sampling(), template=template)))
        assert texts(chat)[1] == said + "".join(chunk.text for chunk in chunks) == text


def spoken(tokenizer: Tokenizer, ids: list[int]) -> list[Piece]:
    """A stream of tokens as the engine has it: a text of its own."""
    decoder = tokenizer.decoder()
    return [*(Piece(decoder.add(token), token=token) for token in ids), Piece("", "stop")]


def test_a_reply_without_a_word_goes_on_from_its_question(store: ChatStore) -> None:
    chat = Chat(store)
    reply = chat.begin("Count")
    reply.cancel()
    answer(chat, reply)
    engine = answer(chat, chat.resume(reply.id), "One.")
    assert engine.prompts == ["<|im_start|> user Count <|im_end|> <|im_start|> assistant"]


def test_a_reply_that_grows_elsewhere_is_not_written_twice(store: ChatStore) -> None:
    chat = Chat(store)
    reply = chat.begin("Count")
    with pytest.raises(PromptError, match="still being written"):
        chat.resume(reply.id)


@pytest.mark.parametrize("ask", [lambda chat: chat.begin(LONG), lambda chat: chat.edit(chat.entries[0].id, LONG)])
def test_a_refused_question_leaves_the_chat_as_it_was(store: ChatStore, ask: Any) -> None:
    chat = Chat(store)
    answer(chat, chat.begin("Hi"), "Hello")
    chat.choose(answer_twice(chat))
    before = texts(chat)
    reply = ask(chat)
    with pytest.raises(PromptTooLongError):
        answer(chat, reply, context_length=60)
    assert (texts(chat), reply.typed) == (before, LONG)


def answer_twice(chat: Chat) -> str:
    """Have another version made; gives the first."""
    first = chat.entries[1].id
    answer(chat, chat.regenerate(first), "Good day")
    return first


def test_a_refused_first_question_leaves_no_chat_behind(store: ChatStore) -> None:
    chat = Chat(store)
    with pytest.raises(PromptTooLongError):
        answer(chat, chat.begin(LONG), context_length=60)
    assert (list(chat.entries), store.conversations()) == ([], [])


def test_a_full_disk_stops_no_chat_and_is_told(store: ChatStore) -> None:
    chat = Chat(store)
    answer(chat, chat.begin("Hi"), "Hello")
    full(store)
    answer(chat, chat.begin(LONG), "So it ends.", context_length=100_000)
    assert texts(chat) == ["Hi", "Hello", LONG, "So it ends."]
    assert chat.unkept.startswith("This chat isn't being saved at the moment. The disk is full")
    assert [entry.text for entry in store.path(chat.id)] == ["Hi", "Hello"]


def test_a_disk_that_fills_up_in_mid_reply_keeps_the_reply_on_screen(store: ChatStore) -> None:
    chat = Chat(store)
    reply = chat.begin("Tell me a story")
    full(store)
    answer(chat, reply, LONG, "The end.")
    assert texts(chat) == ["Tell me a story", LONG + "The end."]
    assert "The disk is full" in chat.unkept


def test_once_there_is_room_again_everything_is_kept(store: ChatStore) -> None:
    chat = Chat(store)
    reply = chat.begin("Tell me a story")
    full(store)
    answer(chat, reply, LONG)
    answer(chat, chat.begin("Another"), "Once")
    make_room(store)
    answer(chat, chat.begin("And now?"), "Kept.")
    assert chat.unkept == ""
    assert [entry.text for entry in store.path(chat.id)] == [
        "Tell me a story",
        LONG,
        "Another",
        "Once",
        "And now?",
        "Kept.",
    ]
    assert {entry.status for entry in store.path(chat.id)} == {"whole"}


def test_a_chat_without_a_store_is_kept_when_one_is_there(store: ChatStore) -> None:
    chat = Chat()
    answer(chat, chat.begin("Hi"), "Hello")
    chat.keep_in(store)
    answer(chat, chat.begin("Again"), "Yes")
    assert [entry.text for entry in store.path(chat.id)] == ["Hi", "Hello", "Again", "Yes"]


def test_what_is_gone_is_told_and_no_reason_to_leave_the_store(store: ChatStore) -> None:
    chat = Chat(store)
    answer(chat, chat.begin("Hi"), "Hello")
    with pytest.raises(StorageError, match="isn't here any more"):
        chat.edit("nothing", "Hello?")
    assert chat.unkept == ""


def test_a_reply_that_stands_first_in_an_imported_chat_can_be_answered_only(store: ChatStore) -> None:
    first = MessageNode(new_id(), None, "assistant", "Once upon a", status="interrupted", created=1.0)
    store.merge([Transcript(Conversation(new_id(), "Imported", created=1.0, updated=1.0), (first,), (first.id,))])
    chat = Chat(store, store.conversations()[0].id)
    for go_on in (chat.resume, chat.regenerate):
        with pytest.raises(PromptError, match="no message that it answers"):
            go_on(first.id)
    answer(chat, chat.begin("Time!"), "Yes.")
    assert texts(chat) == ["Once upon a", "Time!", "Yes."]
