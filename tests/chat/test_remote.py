"""A chat over a real OpenAI-compatible server, mlx-lm's on the model that comes along: said, stopped, and outlived."""

import json
import shutil
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
    with pytest.raises(EngineError, match=r"dropped the connection in the middle|broke off"):
        list(reply)
    assert conversation.entries[5].text
    with pytest.raises(EngineError, match="is the server running"):
        list(conversation.reply("Are you there?", engine, ReplySettings(SamplingParams(max_tokens=4), brief)))


STRICT = (  # as the first chat template of Mistral's models on Hugging Face raises, which knows no system role either
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] not in ['user', 'assistant'] %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture
def strict(folder: Path, tmp_path: Path) -> Iterator[RemoteEngine]:
    """The same server with a template that wants roles to alternate."""
    model = shutil.copytree(folder, tmp_path / "strict")
    (model / "chat_template.jinja").write_text(STRICT, encoding="utf-8")
    config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": STRICT}), encoding="utf-8")
    with mlx_lm_serving(model) as (address, _):
        yield from connected(ModelSpec("far", "Far", ServerSource(address, str(model), None), context_length=2048))


def connected(spec: ModelSpec) -> Iterator[RemoteEngine]:
    with load(spec) as engine:
        assert isinstance(engine, RemoteEngine)
        yield engine


def test_a_chat_over_a_template_that_wants_roles_to_alternate_is_never_stuck(strict: RemoteEngine) -> None:
    chat, settings = Chat(), ReplySettings(SamplingParams(0, max_tokens=5), Instructions("Answer in one sentence."))

    stopped = chat.begin("What is the capital of France?")
    stopped.cancel()
    assert list(chat.answer(stopped, strict, settings)) == []
    assert [(entry.role, entry.text) for entry in chat.entries][1] == ("assistant", "")

    list(chat.reply("I mean the city.", strict, settings))
    cut_short = chat.entries[-1]
    assert cut_short.text
    assert cut_short.can_go_on

    with pytest.raises(EngineError, match="can't continue a reply: regenerate it instead"):
        list(chat.answer(chat.resume(cut_short.id), strict, settings))
    assert chat.entries[-1].text == cut_short.text  # nothing is glued on
    assert "can't continue a reply" in strict.why_no_continuing()

    list(chat.answer(chat.regenerate(cut_short.id), strict, settings))
    assert chat.entries[-1].text == cut_short.text
    list(chat.reply("Thank you.", strict, settings))
    assert [entry.error for entry in chat.entries] == [""] * 6
