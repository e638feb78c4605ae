"""What vLLM and llama-server can do beyond a chat: exact counts of tokens, and likelihoods for moderation."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menny.config.paths import CONFIGS
from menny.engine import SamplingParams
from menny.engine.remote.byte_tokenizer import ByteTokenizer, messages_of
from menny.engine.remote.engine import RemoteEngine, Server
from menny.errors import EngineError
from menny.messages import Message
from menny.moderation.categories import load_moderation
from menny.moderation.classifier import SelfReflection
from menny.prompts import encode_chat
from tests.engine.remote.fake_server import FakeServer, serving

ASKED = [1, 30, 31, 4]  # <s> and a question, in the fake's ids


class FakeVllm(FakeServer):
    """Has /tokenize, a token a word, and the log-probabilities of a prompt's tokens: shorter words are likelier."""

    def __init__(self, owner: str = "vllm") -> None:
        super().__init__(models={"data": [{"id": "m", "max_model_len": 4000, "owned_by": owner}]})
        self.tokenized: list[str] = []
        self.respond = self.answer_for

    def answer_for(self, path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
        if path == "/tokenize" and "messages" in body:
            return 200, {"tokens": ASKED, "count": len(ASKED)}
        if path == "/tokenize":
            self.tokenized.append(body["content"])
            assert body["prompt"] == body["content"]
            return 200, {"tokens": list(range(len(body["content"].split())))}
        if "prompt_logprobs" in body:
            words = body["messages"][-1]["content"].split()
            listed = [None, *({str(id_): {"logprob": -9.0}} for id_ in ASKED[1:])]
            listed += [{str(100 + len(word)): {"logprob": -float(len(word)), "rank": 1}} for word in words]
            return 200, {"prompt_logprobs": listed, "choices": []}
        return None


@pytest.fixture
def server() -> Iterator[FakeVllm]:
    fake = FakeVllm()
    with serving(fake):
        yield fake


@pytest.fixture
def engine(server: FakeVllm) -> Iterator[RemoteEngine]:
    with RemoteEngine(Server(server.address), silence=5.0) as connected:
        yield connected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_a_text_is_spelled_in_as_many_ids_as_the_server_has_tokens_for_it(engine: RemoteEngine, text: str) -> None:
    ids = engine.tokenizer.encode(text)
    assert engine.tokenizer.decode(ids) == text
    assert all(token >= 2 for token in ids)
    assert len(ids) == (len(text.split()) or len(ByteTokenizer().encode(text)))


def test_the_messages_come_through_and_no_text_is_counted_twice(engine: RemoteEngine, server: FakeVllm) -> None:
    chat = [Message("system", "Be brief."), Message("user", "How are you today? 😀")]
    first, second = (encode_chat(chat, "chatml", engine.tokenizer) for _ in range(2))
    assert first == second
    assert len(server.tokenized) == len(set(server.tokenized))
    assert messages_of(first) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How are you today? 😀"},
    ]
    reply = "".join(chunk.text for chunk in engine.stream(first, SamplingParams(max_tokens=9)))
    assert reply == "Hello, you."


def test_a_server_that_stops_counting_is_estimated_from_then_on(engine: RemoteEngine, server: FakeVllm) -> None:
    server.respond = lambda path, body: (500, {}) if path == "/tokenize" else None
    assert engine.tokenizer.encode("How are you?") == ByteTokenizer().encode("How are you?")
    assert engine.tokenizer.encode("And now?") == ByteTokenizer().encode("And now?")
    assert server.paths.count("/tokenize") == 1


@pytest.mark.parametrize("answer", [{}, [], {"tokens": None}, {"tokens": 3}, {"tokens": []}])
def test_a_count_that_is_none_is_estimated(engine: RemoteEngine, server: FakeVllm, answer: Any) -> None:
    server.respond = lambda path, body: (200, answer)
    assert engine.tokenizer.encode("How are you?") == ByteTokenizer().encode("How are you?")


def test_the_room_for_a_reply_is_what_the_exact_count_leaves(engine: RemoteEngine, server: FakeVllm) -> None:
    prompt = encode_chat([Message("user", "word " * 3000)], "chatml", engine.tokenizer)
    assert 3000 < len(prompt) < 3020
    list(engine.stream(prompt, SamplingParams(max_tokens=4000)))
    assert 900 < server.asked[-1]["max_tokens"] < 1000


def test_answers_are_scored_by_the_tokens_that_they_add_to_the_prompt(engine: RemoteEngine, server: FakeVllm) -> None:
    prompt = encode_chat([Message("system", "Sort."), Message("user", "Is it?")], "chatml", engine.tokenizer)
    labels = [engine.tokenizer.encode(label) for label in ("Yes it is", "Nonsense")]
    assert engine.can_score
    first, second = engine.score(prompt, labels)
    assert (first.log_likelihood, first.tokens, first.per_token) == (-7.0, 3, pytest.approx(-7 / 3))
    assert (second.log_likelihood, second.tokens) == (-8.0, 1)
    scored = [body for body in server.asked if "prompt_logprobs" in body]
    assert {body["messages"][-1]["content"] for body in scored} == {"Yes it is", "Nonsense"}
    assert all(body["continue_final_message"] and not body["add_generation_prompt"] for body in scored)
    assert all([message["role"] for message in body["messages"]] == ["system", "user", "assistant"] for body in scored)


def test_moderation_runs_over_the_server(engine: RemoteEngine) -> None:
    verdict = SelfReflection(load_moderation(CONFIGS / "moderation.yaml"), engine, "chatml").classify("Hello there.")
    assert math.isclose(sum(verdict.probabilities.values()), 1)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"prompt_logprobs": None},
        {"prompt_logprobs": []},
        {"prompt_logprobs": [None, {"x": {"logprob": 1}}]},
        {"prompt_logprobs": [None, {"5": {"logprob": None}}]},
        {"prompt_logprobs": [None, None, None]},
        {"prompt_logprobs": [None, 3]},
        {"prompt_logprobs": [None]},
        [],
    ],
)
def test_a_score_that_is_none_is_a_sentence(engine: RemoteEngine, server: FakeVllm, answer: Any) -> None:
    server.respond = lambda path, body: (200, {"tokens": ASKED} if path == "/tokenize" else answer)
    prompt = encode_chat([Message("user", "Is it?")], "chatml", ByteTokenizer())
    with pytest.raises(EngineError, match="sends what isn't the protocol"):
        engine.score(prompt, [ByteTokenizer().encode("Yes")])


def test_scoring_can_be_stopped_and_nothing_is_scored_without_an_answer(engine: RemoteEngine, server: FakeVllm) -> None:
    prompt = encode_chat([Message("user", "Is it?")], "chatml", ByteTokenizer())
    for nothing in ([], [[]], [ByteTokenizer().encode(" ")]):
        with pytest.raises(EngineError, match="nothing to score"):
            engine.score(prompt, nothing)

    server.silence = 3

    def stop(_: object) -> None:
        raise EngineError("It was stopped.")

    with pytest.raises(EngineError, match="It was stopped"):
        engine.score(prompt, [ByteTokenizer().encode("Yes")], on_progress=stop)


def test_llama_server_counts_but_does_not_score() -> None:
    with serving(FakeVllm("llamacpp")) as server, RemoteEngine(Server(server.address)) as engine:
        assert len(engine.tokenizer.encode("one two three")) == 3
        assert not engine.can_score
        with pytest.raises(EngineError, match="can't score texts"):
            engine.score([5], [[6]])
