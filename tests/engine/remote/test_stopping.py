"""Stop strings over a server: they end a reply also where the server ignores or refuses them."""

from collections.abc import Iterator

import pytest

from menny.engine import Chunk, SamplingParams
from menny.engine.remote.engine import RemoteEngine, Server
from menny.messages import Message
from menny.prompts import encode_chat, guess_template
from tests.engine.remote.fake_server import FakeServer, event, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as fake:
        yield fake


@pytest.fixture
def engine(server: FakeServer) -> Iterator[RemoteEngine]:
    with RemoteEngine(Server(server.address), silence=1.0) as connected:
        yield connected


def chunks_of(engine: RemoteEngine, stop: list[str]) -> list[Chunk]:
    prompt = encode_chat([Message("user", "Hi")], guess_template(engine.tokenizer), engine.tokenizer)
    return list(engine.stream(prompt, SamplingParams(stop=stop)))


@pytest.mark.parametrize("pieces", [["one STOP two"], ["one S", "TO", "P two"], ["one ", "STOP"], list("one STOP two")])
def test_a_stop_string_ends_a_reply_also_where_the_server_ignores_it(
    engine: RemoteEngine, server: FakeServer, pieces: list[str]
) -> None:
    server.answer = lambda write: [write(event(piece)) for piece in [*pieces, " and more"]]

    chunks = chunks_of(engine, stop=["STOP", "never"])

    assert "".join(chunk.text for chunk in chunks) == "one "
    assert chunks[-1].finish_reason == "stop"
    assert server.asked[-1]["stop"] == ["STOP", "never"]


def test_what_only_looks_like_a_stop_string_stays(engine: RemoteEngine, server: FakeServer) -> None:
    server.answer = lambda write: (
        [write(event(piece)) for piece in ("one ST", "ORM and ST")] + [write(event(reason="stop"))]
    )

    assert "".join(chunk.text for chunk in chunks_of(engine, stop=["STOP"])) == "one STORM and ST"


@pytest.mark.parametrize(
    "reason",
    [
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got one with 5.",
        "stop: at most 4 sequences are allowed",
        "Too many stop sequences: stop takes up to 4",
    ],
)
def test_more_stop_strings_than_a_server_takes_still_end_the_reply(
    engine: RemoteEngine, server: FakeServer, reason: str
) -> None:
    server.respond = lambda _, body: (400, {"error": {"message": reason}}) if len(body.get("stop", [])) > 4 else None
    server.answer = lambda write: [write(event(piece)) for piece in ("one e", "nd two")]

    chunks = chunks_of(engine, stop=["a#", "b#", "c#", "d#", "end"])

    assert "".join(chunk.text for chunk in chunks) == "one "
    assert "stop" not in server.asked[-1]
