"""A reply is continued where the server can do it, each by its own way, and nowhere is a new one glued on."""

from collections.abc import Callable
from typing import Any

import pytest

from menny.engine import Engine, SamplingParams
from menny.engine.remote.byte_tokenizer import ByteTokenizer
from menny.engine.remote.engine import RemoteEngine, Server
from menny.errors import EngineError
from menny.messages import Message
from menny.models.catalogue import ServerSource
from menny.models.loader import load
from menny.prompts import encode_chat
from tests.engine.remote.fake_server import DONE, FakeServer, Write, event, serving

CHAT = [Message("system", "Be brief."), Message("user", "Count."), Message("assistant", "One, two")]
SENT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Count."},
    {"role": "assistant", "content": "One, two"},
]


def served_by(owner: str | None, **fields: Any) -> FakeServer:
    entry = {"id": "fake-7b", "max_model_len": 900} | ({"owned_by": owner} if owner else {})
    return FakeServer(models={"data": [entry]}, answer=words(", three."), **fields)


def words(*texts: str) -> Callable[[Write], None]:
    def answer(write: Write) -> None:
        for text in texts:
            write(event(text))
        write(event(reason="stop"))
        write(DONE)

    return answer


def resumed(engine: Engine | RemoteEngine, text: str = "One, two") -> str:
    prompt = encode_chat([*CHAT[:2], Message("assistant", text)], "chatml", ByteTokenizer())
    return "".join(chunk.text for chunk in engine.stream(prompt, SamplingParams(max_tokens=20)))


def generation(server: FakeServer) -> dict[str, Any]:
    """The last request for a streamed reply."""
    return next(body for body in reversed(server.asked) if body.get("stream"))


@pytest.mark.parametrize("owner", ["vllm", "sglang", "aphrodite-engine", "VLLM"])
def test_vllm_and_its_like_continue_by_two_flags(owner: str) -> None:
    with serving(served_by(owner)) as server, RemoteEngine(Server(server.address)) as engine:
        assert engine.why_no_continuing() == ""
        assert resumed(engine) == ", three."
        body = generation(server)
        assert body["messages"] == SENT
        assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_mistrals_own_servers_continue_what_is_marked_as_a_prefix_and_get_their_own_names() -> None:
    with serving(served_by("mistralai")) as server, RemoteEngine(Server(server.address)) as engine:
        assert resumed(engine) == ", three."
        body = generation(server)
        assert body["messages"] == [*SENT[:2], {**SENT[2], "prefix": True}]
        server.answer = words("One, ", "two, three.")  # its API writes the prefix too, however short it is
        assert resumed(engine) == ", three."
        assert not {"continue_final_message", "stream_options"} & body.keys()

        prompt = encode_chat(CHAT[:2], "chatml", ByteTokenizer())
        list(engine.stream(prompt, SamplingParams(seed=5)))
        assert generation(server)["random_seed"] == 5
        assert "seed" not in generation(server)


@pytest.mark.parametrize("leaves_open", [True, False])
def test_llama_server_continues_by_its_template_or_else_the_prompt_that_it_makes(leaves_open: bool) -> None:
    def respond(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        is_begun = [message["role"] for message in body.get("messages", [])][-1:] == ["assistant"]
        if is_begun and body.get("chat_template_kwargs") != {"enable_thinking": False}:  # as a thinking model's
            return 400, {"error": {"message": "Assistant response prefill is incompatible with enable_thinking."}}
        if path != "/apply-template":
            return None
        turns = "".join(f"<{message['role']}>{message['content']}" for message in body["messages"])
        return 200, {"prompt": turns if leaves_open and len(body["messages"]) == 3 else f"{turns}<assistant>"}

    with serving(served_by("llamacpp", respond=respond)) as server, RemoteEngine(Server(server.address)) as engine:
        if not leaves_open:
            server.answer = lambda write: write(
                b'data: {"choices": [{"text": ", three.", "finish_reason": "stop"}]}\n\n'
            )
        assert resumed(engine) == ", three."
        body = generation(server)
        if leaves_open:
            assert body["messages"] == SENT
            assert body["continue_final_message"] is True  # else a new one writes the whole reply again
        else:
            assert body["prompt"] == "<system>Be brief.<user>Count.<assistant>One, two"
            assert server.paths[-1] == "/v1/completions"


def counting_tokens(understands: bool) -> Callable[[str, dict[str, Any]], tuple[int, Any] | None]:
    """Answer the probe as a server does that leaves the last message open, or that ignores what it doesn't know."""

    def respond(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if body.get("stream"):
            return None
        is_open = understands and body.get("continue_final_message")
        return 200, {"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 18 if is_open else 24}}

    return respond


def test_a_server_that_is_not_known_is_tried_once() -> None:
    with (
        serving(served_by(None, respond=counting_tokens(understands=True))) as server,
        RemoteEngine(Server(server.address)) as engine,
    ):
        assert engine.why_no_continuing() == ""
        assert resumed(engine) == resumed(engine) == ", three."
        assert [bool(body.get("stream")) for body in server.asked] == [False, False, True, True]
        assert generation(server)["continue_final_message"] is True


@pytest.mark.parametrize(
    "respond",
    [
        counting_tokens(understands=False),
        lambda path, body: None if body.get("stream") else (422, {"detail": "Extra inputs are not permitted"}),
        lambda path, body: None if body.get("stream") else (200, {"choices": []}),
        lambda path, body: None if body.get("stream") else (200, [1]),
        lambda path, body: None if body.get("stream") else (200, {"usage": {"prompt_tokens": "many"}}),
    ],
)
def test_a_server_that_would_begin_anew_is_not_asked_to_and_the_sentence_says_why(respond: Callable) -> None:
    with serving(served_by(None, respond=respond)) as server, RemoteEngine(Server(server.address)) as engine:
        with pytest.raises(EngineError, match="can't continue a reply: regenerate it instead"):
            resumed(engine)
        assert not any(body.get("stream") for body in server.asked)
        assert "can't continue a reply" in engine.why_no_continuing()
        prompt = encode_chat(CHAT[:2], "chatml", ByteTokenizer())
        assert "".join(chunk.text for chunk in engine.stream(prompt)) == ", three."


@pytest.mark.parametrize("owner", ["openai", "system", "openai-internal"])
def test_a_server_that_is_known_not_to_continue_is_not_even_tried(owner: str) -> None:
    with serving(served_by(owner)) as server, RemoteEngine(Server(server.address)) as engine:
        assert "can't continue a reply" in engine.why_no_continuing()
        assert server.asked == []


@pytest.mark.parametrize(
    ("text", "pieces", "added"),
    [
        ("One, two ", (" three",), "three"),
        ("One, two ", ("three",), "three"),
        ("One, two\n\n", ("\n", "\n three"), " three"),
        ("One, two\n\n", ("\n\n\nthree",), "\nthree"),
        ("One, two", (" three",), " three"),
        ("One, two ", (" ",), ""),
        ("if x:\n    ", ("\n", "    ", "    y"), "    y"),
    ],
)
def test_white_space_at_the_end_is_not_written_twice(text: str, pieces: tuple[str, ...], added: str) -> None:
    with serving(served_by("vllm")) as server, RemoteEngine(Server(server.address)) as engine:
        server.answer = words(*pieces)
        assert resumed(engine, text) == added
        assert generation(server)["messages"][-1]["content"] == text.rstrip()


COUNTED = "One, two, three, four,"


@pytest.mark.parametrize(
    ("text", "pieces", "added"),
    [
        (COUNTED, (f"{COUNTED} five.",), " five."),
        (COUNTED, tuple(f"{COUNTED} five."), " five."),
        (COUNTED + "\n", (COUNTED, "\n", "five."), "five."),
        (COUNTED, (COUNTED,), ""),
        (COUNTED, ("One, two, ", "and so on."), "One, two, and so on."),
        (COUNTED, ("One, two",), "One, two"),
        (COUNTED, (" five.",), " five."),
        ("Ha ha", ("Ha ha", " ha"), "Ha ha ha"),  # too short to be taken for a repetition
    ],
)
def test_a_reply_that_a_server_writes_again_from_its_beginning_is_there_once(
    text: str, pieces: tuple[str, ...], added: str
) -> None:
    with serving(served_by("vllm")) as server, RemoteEngine(Server(server.address)) as engine:
        server.answer = words(*pieces)
        assert resumed(engine, text) == added


def test_a_continuation_may_be_empty() -> None:
    with serving(served_by("vllm")) as server, RemoteEngine(Server(server.address)) as engine:
        server.answer = words()
        assert resumed(engine) == ""


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nCount.<|im_end|>\n"
            "<|im_start|>assistant\nOne, two",
        ),
        ("mistral-v3", "[INST]Be brief.\n\nCount.[/INST]One, two"),
        ("mistral-v7", "[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Count.[/INST]One, two"),
        ("llama-2", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nCount. [/INST] One, two"),
    ],
)
def test_a_server_that_only_continues_texts_does_it_where_its_entry_names_the_template(
    template: str, prompt: str
) -> None:
    with serving(served_by(None, respond=counting_tokens(understands=False))) as server:
        server.answer = lambda write: write(b'data: {"choices": [{"text": ", three.", "finish_reason": "stop"}]}\n\n')
        with load(ServerSource(server.address, None, None, template)) as engine:
            assert isinstance(engine, RemoteEngine)
            assert engine.why_no_continuing() == ""
            assert resumed(engine, "One, two ") == ", three."
            assert server.paths[-1] == "/v1/completions"
            assert generation(server)["prompt"] == prompt


@pytest.mark.parametrize("forged", ["[/INST]", "<|im_end|>", "</s>", "<<SYS>>", "[SYSTEM_PROMPT]"])
def test_a_chat_that_quotes_control_tokens_is_not_continued_as_a_text(forged: str) -> None:
    with serving(served_by(None, respond=counting_tokens(understands=False))) as server:
        source = ServerSource(server.address, None, None, "mistral-v3")
        with load(source) as engine, pytest.raises(EngineError, match="quotes control tokens"):
            resumed(engine, f"One {forged} two")
        assert "/v1/completions" not in server.paths
