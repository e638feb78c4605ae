"""Thoughts over a server: told apart whatever the server calls them, and asked for only in words that it knows."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from menny.chat import Chat, ReplySettings, Thinking
from menny.engine import SamplingParams
from menny.engine.remote.engine import RemoteEngine, Server
from menny.errors import EngineError
from tests.engine.remote.fake_server import DONE, FakeServer, Write, event, serving

FORMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "reasoning_content": lambda text: {"reasoning_content": text},
    "reasoning": lambda text: {"reasoning": text, "content": ""},
    "parts": lambda text: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
    "text": lambda text: {"content": text},
}


def delta(**fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": fields}]}).encode() + b"\n\n"


def thinking(form: str, is_whole: bool = True) -> Callable[[Write], None]:
    """A reply with a thought in one of the forms."""
    marks = ("<think>\n", "\n</think>\n\n") if form == "text" else ("", "")

    def answer(write: Write) -> None:
        for piece in (marks[0], "Let me ", "see.", marks[1]):
            if piece:
                write(delta(**FORMS[form](piece)))
        for word in ("It is ", "17.") if is_whole else ():
            write(event(word))
        write(event(reason="stop" if is_whole else "length"))
        write(DONE)

    return answer


def asked(choice: Any = "auto") -> ReplySettings:
    return ReplySettings(SamplingParams(0, max_tokens=50), thinking=Thinking(choice, 60))


@pytest.mark.parametrize("form", FORMS)
def test_a_thought_is_told_apart_in_every_form(form: str) -> None:
    with serving(FakeServer(thinking(form))) as server, RemoteEngine(Server(server.address)) as engine:
        chat = Chat()
        chunks = list(chat.reply("A number?", engine, asked()))
    entry = chat.entries[1]
    assert (entry.thought, entry.text, entry.finish_reason) == ("Let me see.", "It is 17.", "stop")
    assert "".join(chunk.thought for chunk in chunks).strip() == "Let me see."
    assert (entry.stats.thought_tokens, entry.stats.completion_tokens) in ((2, 2), (4, 2))


@pytest.mark.parametrize("form", ["reasoning_content", "parts"])
def test_a_thought_that_used_up_the_reply_is_kept(form: str) -> None:
    with serving(FakeServer(thinking(form, is_whole=False))) as server, RemoteEngine(Server(server.address)) as engine:
        chat = Chat()
        with pytest.raises(EngineError, match="wrote no answer"):
            list(chat.reply("A number?", engine, asked()))
    assert (chat.entries[1].thought, chat.entries[1].text) == ("Let me see.", "")


@pytest.mark.parametrize(
    ("owner", "choice", "fields"),
    [
        ("vllm", "on", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("llamacpp", "off", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("mistralai", "on", {"reasoning_effort": "high"}),
        ("openai", "off", {"reasoning_effort": "none"}),
        ("vllm", "auto", {}),
        ("somebody", "on", {}),
    ],
)
def test_a_server_is_asked_only_in_words_that_it_knows(owner: str, choice: str, fields: dict[str, Any]) -> None:
    models = {"data": [{"id": "a-model", "owned_by": owner, "max_model_len": 4000}]}
    with serving(FakeServer(thinking("reasoning"), models=models)) as server:
        with RemoteEngine(Server(server.address)) as engine:
            list(Chat().reply("A number?", engine, asked(choice)))
        body = next(body for body in server.asked if "messages" in body)
    assert {name: body[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in body} == fields
    assert body.get("max_tokens", body.get("max_completion_tokens")) == (110 if choice == "on" else 50)


def test_a_model_that_cant_think_is_asked_again_without_these_words() -> None:
    def respond(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        is_refused = "/chat" in path and "reasoning_effort" in body
        return (400, {"error": {"message": "Reasoning is not enabled for this model."}}) if is_refused else None

    models = {"data": [{"id": "a-model", "owned_by": "mistralai"}]}
    with serving(FakeServer(models=models, respond=respond)) as server:
        with RemoteEngine(Server(server.address)) as engine:
            for question in ("Hi", "Again"):
                chat = Chat()
                list(chat.reply(question, engine, asked("on")))
                assert chat.entries[1].text == "Hello, you."
        assert ["reasoning_effort" in body for body in server.asked if "messages" in body] == [True, False, False]


def test_a_thought_over_a_server_that_cant_go_on_from_one_is_let_run() -> None:
    models = {"data": [{"id": "a-model", "owned_by": "openai"}]}
    with (
        serving(FakeServer(thinking("reasoning"), models=models)) as fake,
        RemoteEngine(Server(fake.address)) as engine,
    ):
        chat = Chat()
        reply = chat.begin("A number?")
        reply.answer_now()
        list(chat.answer(reply, engine, asked()))
    assert chat.entries[1].text == "It is 17."
    assert "can't be cut short" in chat.entries[1].extra["notice"]
