"""A chat over a real OpenAI-compatible server, mlx-lm's on the model that comes along: said, stopped, and outlived."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from menny.chat import Chat, Instructions, ReplySettings
from menny.engine import SamplingParams
from menny.engine.checkpoints.convert import QuantizationConfig, convert
from menny.engine.remote.engine import RemoteEngine
from menny.errors import EngineError
from menny.models.catalogue import ModelSpec, ServerSource
from menny.models.loader import load
from tests.peer_server import mlx_lm_serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("served") / "smollm2"
    convert(smollm2_path, target, QuantizationConfig("float32"))
    return target


@pytest.fixture
def served(folder: Path) -> Iterator:
    with mlx_lm_serving(folder) as (address, process):
        spec = ModelSpec("far", "Far", ServerSource(address, str(folder), None), context_length=2048)
        with load(spec) as engine:
            yield engine, process


def test_a_chat_goes_over_a_real_server_is_stopped_and_outlives_it(served) -> None:
    engine, process = served
    assert isinstance(engine, RemoteEngine)
    conversation, brief = Chat(), Instructions("Answer in one short sentence.")

    settings = ReplySettings(SamplingParams(0, max_tokens=40), brief)
    chunks = list(conversation.reply("What is the capital of France?", engine, settings))
    assert "Paris" in conversation.entries[1].text
    assert chunks[-1].finish_reason in ("stop", "length")
    assert 20 < chunks[-1].prompt_tokens < 60
    assert chunks[-1].decode_tps > 0

    story = conversation.begin("Tell me a long story.")
    told = conversation.answer(story, engine, ReplySettings(SamplingParams(max_tokens=400), brief))
    for number, chunk in enumerate(told):  # noqa: B007 - the last is looked at
        if number == 3:
            story.cancel()
    assert chunk.finish_reason == "cancelled"
    assert conversation.entries[3].text

    reply = conversation.reply("And now another one.", engine, ReplySettings(SamplingParams(max_tokens=400), brief))
    next(reply)
    process.kill()
    with pytest.raises(EngineError, match=r"dropped the connection in the middle|ended the reply in its middle"):
        list(reply)
    assert conversation.entries[5].text
    with pytest.raises(EngineError, match="is the server running"):
        list(conversation.reply("Are you there?", engine, ReplySettings(SamplingParams(max_tokens=4), brief)))
