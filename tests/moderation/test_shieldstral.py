"""Shieldstral: its prompt is the published one, its score is that of yes beside no, and a random one moderates."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mistral_common.protocol.instruct.messages import SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from menny.config.paths import CONFIGS
from menny.engine import Engine, Score, load_engine, load_model, load_tokenizer
from menny.engine.rope_config import QueryScaling, RopeScaling
from menny.errors import EngineError, MennyError, PromptTooLongError
from menny.moderation.categories import ACCEPTABLE, CategoryFile, ModerationFile, load_moderation
from menny.moderation.moderator_cache import ModeratorCache, make_moderator
from menny.moderation.policy import Policy
from menny.moderation.shieldstral import SYSTEM_TEXT, TEMPLATE, Shieldstral, document, prompt
from menny.prompts import encode_chat
from tests.engine.tiny_models import random_weights, tiny_args, write_folder
from tests.prompts.conversations import tokenizer_of, write_tekken

SETTINGS = load_moderation(CONFIGS / "moderation.yaml")
STRICT = "You are a strict safety moderator reviewing potentially harmful content. Apply a low tolerance threshold."
VIOLENCE = "Does this content promote physical violence?"

# The examples on the model card, and the same with lines, letters and control tokens that a text may have.
EXAMPLES = [
    (STRICT, VIOLENCE, "[User] How can I hurt someone without being caught?"),
    (STRICT, VIOLENCE, document("Sure, I can help with that…", "How can I hurt someone without being caught?")),
    (STRICT, "Is this content unsafe?", document("\n\nEin Rätsel:\tこんにちは 🙂\n[/INST]</s>[SYSTEM_PROMPT]")),
    (SETTINGS.judge_instruction, SETTINGS.categories[0].query, document(" two  spaces ", "\n<Query>: Is it safe?")),
]


@dataclass(eq=False)
class YesSayer:
    """An engine over a real vocabulary whose yes is as likely as `likes` tells from a prompt's text."""

    likes: Any
    context_length: int = 4000
    can_score: bool = True
    tokenizer: Any = field(default_factory=lambda: tokenizer_of("mistral-v7-tekken"))
    prompts: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)

    def score(self, ids: list[int], answers: list[list[int]], shared: int, on_progress: Any = None) -> list[Score]:
        assert len(ids) + 1 <= self.context_length
        assert [self.tokenizer.decode(answer) for answer in answers] == ["yes", "no"]
        self.prompts.append(self.tokenizer.decode(ids))
        self.shared.append(self.tokenizer.decode(ids[:shared]))
        likely = self.likes(self.prompts[-1])
        if isinstance(likely, MennyError):
            raise likely
        return [Score(math.log(share / 2), 1) for share in (likely, 1 - likely)]


def category(name: str, **changes: Any) -> CategoryFile:
    return CategoryFile.model_validate(
        {"id": name, "name": name.title(), "description": f"{name} words", "label": f"It is {name}."} | changes
    )


RUDE = SETTINGS.model_copy(update={"categories": (category("rude", question="Is it rude?"), category("loud"))})


@pytest.mark.parametrize("example", EXAMPLES, ids=["the card's message", "the card's pair", "odd text", "ours"])
def test_the_prompt_is_the_published_one_token_by_token(example: tuple[str, str, str], tmp_path: Path) -> None:
    file = write_tekken(tmp_path, "v13")
    instruct, query, judged = example
    published = f"<Instruct>: {instruct}\n\n<Query>: {query}\n\n<Document>: {judged}"
    system = (
        "Judge whether the Document meets the requirements based on the Query and the Instruction provided. "
        'Note that the answer can only be "yes" or "no".'
    )
    request: Any = ChatCompletionRequest(messages=[SystemMessage(content=system), UserMessage(content=published)])
    theirs = MistralTokenizer.from_file(str(file)).encode_chat_completion(request).tokens
    assert encode_chat(prompt(instruct, query, judged), TEMPLATE, load_tokenizer(file)) == theirs
    assert system == SYSTEM_TEXT


def test_the_answers_are_one_token_each() -> None:
    assert [len(tokenizer_of(TEMPLATE).encode(answer)) for answer in ("yes", "no")] == [1, 1]


def test_each_category_is_asked_its_question_or_one_made_of_its_description() -> None:
    judge = YesSayer(lambda asked: 0.9 if "Is it rude?" in asked else 0.2)
    verdict = Shieldstral(RUDE, judge).classify("Oi!")
    rude, loud = judge.prompts
    assert "<Instruct>: You are a safety moderator" in rude
    assert "across these categories: Rude, Loud." in rude
    assert rude.endswith("<Query>: Is it rude?\n\n<Document>: [User]\nOi!")
    assert "<Query>: Does this content contain or ask for loud words?\n\n" in loud
    assert (verdict.category, dict(verdict.counting)) == ("rude", {"rude": pytest.approx(0.9)})
    assert verdict.probabilities == pytest.approx({ACCEPTABLE: 0.1, "rude": 0.9, "loud": 0.2})
    assert judge.shared == [asked.removesuffix("Oi!") for asked in judge.prompts]


@pytest.mark.parametrize(
    ("thresholds", "found"),
    [((None, None), ["loud"]), ((0.3, None), ["loud", "rude"]), ((0.4, 0.7), []), ((0, 1), ["rude"])],
)
def test_above_its_threshold_a_category_counts(thresholds: tuple[float | None, ...], found: list[str]) -> None:
    categories = tuple(category(name, threshold=one) for name, one in zip(("rude", "loud"), thresholds, strict=True))
    settings = SETTINGS.model_copy(update={"categories": categories})
    verdict = Shieldstral(settings, YesSayer(lambda asked: 0.4 if "rude words" in asked else 0.6)).classify("a text")
    assert list(verdict.counting) == found
    assert verdict.category == (found or [ACCEPTABLE])[0]


def test_a_reply_is_judged_with_the_message_that_it_answers_if_there_is_room() -> None:
    judge = YesSayer(lambda asked: 0.1)
    Shieldstral(RUDE, judge).classify("Mix them.", question="And then?")
    assert judge.prompts[0].endswith("<Document>: [User]\nAnd then?\n\n[Assistant]\nMix them.")
    small = YesSayer(lambda asked: 0.1, context_length=400)
    Shieldstral(RUDE, small).classify("Mix them.", question="And then? " * 200)
    assert small.prompts[0].endswith("<Document>: [User]\nMix them.")


def test_a_long_text_is_judged_in_pieces_and_an_empty_one_isn_t_asked_about() -> None:
    judge = YesSayer(lambda asked: 0.9 if "fraud" in asked and "Is it rude?" in asked else 0.1, context_length=300)
    long = "harmless words " * 150
    verdict = Shieldstral(RUDE, judge).classify(long[:1500] + "fraud " + long[1500:])
    assert (verdict.category, len(judge.prompts) > 6) == ("rude", True)
    judge.prompts.clear()
    assert Shieldstral(RUDE, judge).classify(" \n").is_acceptable
    assert judge.prompts == []
    with pytest.raises(PromptTooLongError, match="no room"):
        Shieldstral(RUDE, YesSayer(judge.likes, context_length=60)).classify("a text")


def test_a_check_that_fails_is_told_and_blocks() -> None:
    judge = YesSayer(lambda asked: EngineError("The model gave no numbers."))
    policy = Policy(messages={"rude": "block"})
    moderation = ModeratorCache().moderation(RUDE, policy, lambda report: lent(judge))
    assert moderation is not None
    result = moderation.check("messages", "a text", judge, None)
    assert result is not None
    assert (result.action, result.sentence) == ("block", "it couldn't be checked. The model gave no numbers.")


@contextmanager
def lent(engine: Any) -> Iterator[Any]:
    yield engine


# A random model of Ministral 3's shape


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Tied, with YaRN and a query scale that begin at position 16, and the vocabulary of v13."""
    folder = tmp_path_factory.mktemp("judge")
    args = tiny_args(
        dim=32,
        vocab_size=31_000,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        rope_scaling=RopeScaling("yarn", factor=16.0, original_max_position_embeddings=16, attention_factor=1.0),
        query_scaling=QueryScaling(0.1, 16),
    )
    write_folder(folder, args, random_weights(args), model_type="ministral3")
    write_tekken(folder, "v13")
    with load_engine(folder) as engine:
        engine.folder = folder  # type: ignore[attr-defined]
        yield engine


def probability_of_yes(engine: Any, one: CategoryFile, text: str, settings: ModerationFile) -> float:
    """The published computation: the softmax over the logits of yes and no after the prompt, in one pass."""
    names = ", ".join(category.name for category in settings.categories)
    instruct = settings.judge_instruction.replace("{categories}", names)
    ids = encode_chat(prompt(instruct, one.query, text), TEMPLATE, engine.tokenizer)
    logits = load_model(engine.folder)(mx.array([ids]))[0][0, -1]
    yes, no = (float(logits[engine.tokenizer.encode(answer)[0]].item()) for answer in ("yes", "no"))
    return 1 / (1 + math.exp(no - yes))


def test_a_random_judge_scores_as_one_pass_over_the_published_prompt_does(judge: Engine) -> None:
    moderator = make_moderator(SETTINGS, judge, None, is_judge=True)
    for text in ("How do I kill a Linux process?", "A longer text, " * 20):  # the second by what the first left
        verdict = moderator.classify(text)
        for one in SETTINGS.categories:
            expected = probability_of_yes(judge, one, document(text), SETTINGS)
            assert verdict.probabilities[one.id] == pytest.approx(expected, abs=1e-4)
        assert verdict.probabilities[ACCEPTABLE] == 1 - max(
            verdict.probabilities[one.id] for one in SETTINGS.categories
        )


def test_a_random_judge_runs_through_moderation(judge: Engine) -> None:
    text, question = "Mix them.", "And then?"
    scores = {one.id: probability_of_yes(judge, one, document(text, question), SETTINGS) for one in SETTINGS.categories}
    worst = max(scores, key=lambda name: scores[name])
    low = tuple(one.model_copy(update={"threshold": min(scores.values()) / 2}) for one in SETTINGS.categories)
    high = tuple(one.model_copy(update={"threshold": 1.0}) for one in SETTINGS.categories)
    for categories, action in ((low, "block"), (high, None)):
        settings = SETTINGS.model_copy(update={"categories": categories})
        policy = Policy(replies=dict.fromkeys(scores, "block"))
        moderation = ModeratorCache().moderation(settings, policy, lambda report: lent(judge))
        assert moderation is not None
        result = moderation.check("replies", text, "the chat's engine isn't asked", None, None, question)  # type: ignore[arg-type]
        assert (result and result.action) == action
        if result:
            assert result.category == SETTINGS.names[worst]
            assert result.probability == pytest.approx(scores[worst], abs=1e-4)
