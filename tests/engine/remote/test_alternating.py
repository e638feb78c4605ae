"""The messages that a server gets alternate, whatever a chat has come to; servers that know less get less."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menny.engine import SamplingParams
from menny.engine.remote.byte_tokenizer import ByteTokenizer, Spelled
from menny.engine.remote.engine import RemoteEngine, Server
from menny.engine.remote.messages import alternating as made_to_alternate
from menny.engine_protocols import OPENING
from menny.errors import EngineError
from menny.messages import Message
from menny.prompts import encode_chat
from tests.engine.remote.fake_server import FakeServer, alternating, serving, without_system

ROLES = {"s": "system", "u": "user", "a": "assistant"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


@pytest.fixture
def engine(server: FakeServer) -> Iterator[RemoteEngine]:
    with RemoteEngine(Server(server.address), silence=2.0) as connected:
        yield connected


def prompt(*messages: tuple[str, str]) -> list[int]:
    return encode_chat([Message(ROLES[role], text) for role, text in messages], "chatml", ByteTokenizer())


def say(engine: RemoteEngine, *messages: tuple[str, str], **params: Any) -> str:
    return "".join(chunk.text for chunk in engine.stream(prompt(*messages), SamplingParams(**params)))


def spelled(*messages: tuple[str, str]) -> list[Spelled]:
    return [{"role": ROLES[role], "content": text} for role, text in messages]


@pytest.mark.parametrize(
    ("chat", "sent"),
    [
        ([("u", "One"), ("u", "Two")], [("u", "One\n\nTwo")]),
        ([("s", "Be brief."), ("u", "One"), ("u", "Two")], [("s", "Be brief."), ("u", "One\n\nTwo")]),
        ([("u", "1"), ("a", "2"), ("a", "3"), ("u", "4")], [("u", "1"), ("a", "2\n\n3"), ("u", "4")]),
        ([("a", "Hello!"), ("u", "Hi")], [("u", OPENING), ("a", "Hello!"), ("u", "Hi")]),
        ([("s", "S"), ("a", "Hello!"), ("u", "Hi")], [("s", "S"), ("u", OPENING), ("a", "Hello!"), ("u", "Hi")]),
        ([("s", "S"), ("s", "T"), ("u", "Hi")], [("s", "S\n\nT"), ("u", "Hi")]),
        (
            [("s", "S"), ("u", "1"), ("a", "2"), ("s", "T"), ("u", "3")],
            [("s", "S\n\nT"), ("u", "1"), ("a", "2"), ("u", "3")],
        ),
        ([("s", " "), ("u", "1"), ("a", " \n"), ("u", "2")], [("u", "1\n\n2")]),
        ([("u", "1"), ("s", "S"), ("u", "2")], [("s", "S"), ("u", "1\n\n2")]),
    ],
)
def test_neighbours_of_one_role_are_joined_and_the_user_speaks_first(
    engine: RemoteEngine, server: FakeServer, chat: list, sent: list
) -> None:
    server.respond = alternating
    assert say(engine, *chat) == "Hello, you."
    assert server.asked[0]["messages"] == spelled(*sent)


@given(st.lists(st.tuples(st.sampled_from("sua"), st.text(max_size=3)), max_size=12))
def test_any_messages_alternate_and_none_of_their_words_is_lost(chat: list[tuple[str, str]]) -> None:
    sent = made_to_alternate(spelled(*chat))
    assert alternating("", {"messages": sent}) is None
    assert [message["role"] for message in sent].count("system") <= 1
    for role, text in chat:
        if text.strip():
            assert any(message["role"] == ROLES[role] and text in message["content"] for message in sent)


def test_a_server_whose_template_has_no_system_role_gets_the_system_text_in_the_first_question(
    engine: RemoteEngine, server: FakeServer
) -> None:
    server.respond = without_system
    chat = [("s", "Be brief."), ("u", "One")]
    assert say(engine, *chat) == say(engine, *chat) == "Hello, you."
    assert [one["messages"] for one in server.asked] == [
        spelled(*chat),
        spelled(("u", "Be brief.\n\nOne")),
        spelled(("u", "Be brief.\n\nOne")),  # it is remembered
    ]


@pytest.mark.parametrize(
    ("refused", "reason", "status"),
    [
        ("min_p", {"error": {"message": "Unrecognized request argument supplied: min_p"}}, 400),
        (
            "stream_options",
            {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]},
            422,
        ),
        ("top_k", {"message": "property 'top_k' is unsupported"}, 400),
        ("seed", {"error": "unknown field: seed"}, 400),
        ("temperature", {"error": {"message": "`temperature` is deprecated for this model."}}, 400),
        (
            "top_p",
            {"type": "error", "error": {"message": "temperature and top_p cannot both be specified for this model."}},
            400,
        ),
        ("top_p", [{"error": {"code": 400, "message": 'Unknown name "top_p": Cannot find field.'}}], 400),
    ],
)
def test_a_field_that_a_server_does_not_know_is_left_out_from_then_on(
    engine: RemoteEngine, server: FakeServer, refused: str, reason: Any, status: int
) -> None:
    server.respond = lambda path, body: (status, reason) if refused in body else None
    wanted = {"min_p": 0.1, "top_k": 5, "seed": 3, "top_p": 0.9}
    assert say(engine, ("u", "Hi"), **wanted) == say(engine, ("u", "Hi"), **wanted) == "Hello, you."
    first, second, third = server.asked
    assert refused in first
    assert second == third == {name: value for name, value in first.items() if name != refused}


def test_a_server_that_wants_another_name_for_the_length_gets_it(engine: RemoteEngine, server: FakeServer) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.respond = lambda path, body: (400, {"error": {"message": words}}) if "max_tokens" in body else None
    assert say(engine, ("u", "Hi"), max_tokens=9) == "Hello, you."
    assert server.asked[-1]["max_completion_tokens"] == 9


def test_a_server_that_refuses_whatever_it_is_sent_is_a_sentence_after_a_few_attempts(
    engine: RemoteEngine, server: FakeServer
) -> None:
    words = "stream_options, temperature, seed and the system role are not supported, roles must alternate"
    server.respond = lambda path, body: (400, {"error": {"message": words}})
    with pytest.raises(EngineError, match=r"refuses the request \(HTTP 400: stream_options"):
        say(engine, ("s", "S"), ("u", "Hi"), seed=3)
    assert len(server.asked) <= 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "Model is asleep"}, "HTTP 400: Model is asleep"),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "Field required"}]},
            "HTTP 400: messages.0: Field required",
        ),
        ({"error": {"message": "Bad", "code": 3}}, "HTTP 400: Bad"),
        ({"error": "Bad"}, "HTTP 400: Bad"),
        ({"message": "Bad"}, "HTTP 400: Bad"),
        ({"object": "error", "message": "Bad"}, "HTTP 400: Bad"),
        (["Bad"], "HTTP 400: Bad"),
        ("Bad", "HTTP 400: Bad"),
        ({"error": {"message": "x" * 100_000}}, "HTTP 400: " + "x" * 200 + ")"),
        ({"error": {"message": "{address} {0} %s"}}, "HTTP 400: {address} {0} %s"),
        ({}, "HTTP 400: without a reason"),
        (17, "HTTP 400: without a reason"),
        ({"error": {"message": " \ud800"}}, "HTTP 400: without a reason"),
        (json.loads('{"error": ' * 400 + "1" + "}" * 400), "HTTP 400: without a reason"),
        (json.loads("[" * 400 + "]" * 400), "HTTP 400: without a reason"),
    ],
)
def test_a_servers_own_reason_is_in_the_sentence(
    engine: RemoteEngine, server: FakeServer, body: Any, words: str
) -> None:
    server.respond = lambda path, _: (400, body)
    with pytest.raises(EngineError) as refused:
        say(engine, ("u", "Hi"))
    assert words in str(refused.value)
    assert len(str(refused.value)) < 500
