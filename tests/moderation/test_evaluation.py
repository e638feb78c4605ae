"""The arithmetic of the evaluations, by cases counted by hand; what a set may say; how a decline is recognised."""

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from menny.config.paths import CONFIGS
from menny.errors import ConfigError
from menny.moderation.categories import ACCEPTABLE, load_moderation
from menny.moderation.classifier import SelfReflection
from menny.moderation.evaluation import (
    Answer,
    Point,
    Quality,
    confusion,
    evaluate_guardrail,
    evaluate_reflection,
    load_set,
    precision_recall,
    quality,
    summed_up,
    verdict_cost,
)
from menny.moderation.evaluation_report import curve_svg, guardrails_text, percent, reflection_text
from menny.moderation.guardrails import load_guardrails
from menny.moderation.refusals import declines
from tests.moderation.judges import Judge, Letters

SETTINGS = load_moderation(CONFIGS / "moderation.yaml")
LABELS = list(SETTINGS.labels)


# The sets


SETS = {"reflection": (30, 30, 30, 30), "guardrails": (60, 20, 20, 20), "held-out": (60, 20, 20, 20)}


@pytest.mark.parametrize(("name", "counts"), SETS.items())
def test_the_shipped_sets_are_large_balanced_and_without_repeats(name: str, counts: tuple[int, ...]) -> None:
    chosen = load_set(CONFIGS / "evaluation" / f"{name}.yaml", LABELS)
    assert Counter(one.label for one in chosen.prompts) == dict(zip(LABELS, counts, strict=True))
    assert len({one.text for one in chosen.prompts}) == len(chosen.prompts) >= 100


def test_no_two_sets_have_a_text_in_common() -> None:
    sets = [load_set(CONFIGS / "evaluation" / f"{name}.yaml", LABELS) for name in SETS]
    texts = [one.text.casefold() for chosen in sets for one in chosen.prompts]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("name: X\nprompts: []\n", "mine.yaml: 'prompts' is empty; a set needs one text at least."),
        ("name: X\n", "'prompts' is missing"),
        (
            "name: X\nprompts:\n  - {label: acceptable, text: a}\n  - {label: ilegal, text: b}\n",
            "'prompts' item 2 has the unknown label 'ilegal'; did you mean 'illegal'?",
        ),
        ("name: X\nprompts: [{label: zzz, text: a}]\n", "choose one of: acceptable, illegal, hateful, unqualified."),
        ("name: X\nprompts: [{label: illegal, text: ' '}]\n", "line 2: 'prompts' item 1 'text' must be text"),
        ("name: X\nprompts: [{label: illegal}]\n", "'prompts' item 1 'text' is missing"),
    ],
)
def test_a_mistake_in_a_set_is_named(said: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(said)
    with pytest.raises(ConfigError) as error:
        load_set(path, LABELS)
    assert problem in str(error.value)


# The arithmetic


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        # three of the four found are right; three of the five right ones are found
        ([(1, 1), (1, 1), (1, 1), (0, 1), (1, 0), (1, 0), (0, 0)], (0.75, 0.6, 2 / 3)),
        ([(1, 1), (0, 0)], (1, 1, 1)),
        ([(1, 0), (0, 1)], (0, 0, 0)),
        ([(1, 0), (0, 0)], (None, 0, 0)),  # nothing was found, so nothing can be said of its precision
        ([(0, 1), (0, 0)], (0, None, 0)),
        ([(0, 0)], (None, None, None)),
    ],
)
def test_precision_recall_and_f1(pairs: list[tuple[int, int]], expected: tuple[float | None, ...]) -> None:
    assert quality([(bool(true), bool(found)) for true, found in pairs]) == Quality(*expected)


def test_a_confusion_table_counts_every_pair() -> None:
    pairs = [("a", "a"), ("a", "b"), ("a", "b"), ("b", "a"), ("c", "c")]
    assert confusion(pairs, ["a", "b", "c"]) == {
        "a": {"a": 1, "b": 2, "c": 0},
        "b": {"a": 1, "b": 0, "c": 0},
        "c": {"a": 0, "b": 0, "c": 1},
    }


def test_a_precision_recall_curve_has_a_point_for_every_threshold_that_matters() -> None:
    likely = [(0.9, True), (0.8, False), (0.8, True), (0.3, True), (0.1, False)]
    assert precision_recall(likely) == (
        Point(0.9, 1.0, 1 / 3),
        Point(0.8, 2 / 3, 2 / 3),
        Point(0.3, 3 / 4, 1.0),
        Point(0.1, 3 / 5, 1.0),
    )
    assert precision_recall([(0.5, False)]) == ()


def answers(*said: tuple[str, bool]) -> list[Answer]:
    return [Answer(label, "a prompt", "a reply", declined) for label, declined in said]


def test_declines_are_counted_by_label_and_shared_out_between_unsafe_and_harmless() -> None:
    found = summed_up(
        "mistral",
        answers(("acceptable", True), ("acceptable", False), ("acceptable", False), ("acceptable", False))
        + answers(("illegal", True), ("illegal", True), ("hateful", False)),
    )
    assert found.prompts == {"acceptable": 4, "illegal": 2, "hateful": 1}
    assert found.declined == {"acceptable": 1, "illegal": 2, "hateful": 0}
    assert found.unsafe_declined == pytest.approx(2 / 3)
    assert found.harmless_declined == 0.25
    assert summed_up("none", answers(("illegal", False))).harmless_declined is None


# The whole, over an engine that says what a test wants


def test_a_set_is_judged_text_by_text_and_told_in_tables(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: Mine\nprompts:\n"
        "  - {label: acceptable, text: good one}\n  - {label: acceptable, text: bad luck}\n"
        "  - {label: illegal, text: a bad deed}\n  - {label: hateful, text: good hatred}\n"
    )
    judge = Judge(lambda text: "is illegal." if "bad" in text else "is acceptable." if "good" in text else "")
    done: list[tuple[int, int]] = []
    found = evaluate_reflection(
        load_set(path, LABELS), SelfReflection(SETTINGS, judge, "chatml"), lambda *counted: done.append(counted)
    )
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.confusion["acceptable"] == {"acceptable": 1, "illegal": 1, "hateful": 0, "unqualified": 0}
    assert found.confusion["hateful"]["acceptable"] == 1
    assert (found.accuracy, found.quality) == (0.5, Quality(0.5, 0.5, 0.5))
    text = reflection_text("tiny", found)
    assert "tiny on Mine: 4 texts" in text
    assert text.splitlines()[3].split() == ["tiny", "50.0%", "50.0%", "50.0%"]
    assert "99.4%" in text
    assert "95.6%" in text


class Streamer:
    """Answers by the system text; what it was asked can be read back."""

    tokenizer = Letters()
    context_length = 4000

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def stream(self, prompt_ids: list[int], params: Any, on_progress: Any = None) -> Any:
        self.prompts.append(self.tokenizer.read(prompt_ids))
        is_careful = "care, respect" in self.prompts[-1] and "Linux" not in self.prompts[-1]
        words = ["I'm sorry, ", "but I can't help with that."] if is_careful else ["Sure! ", "Here it is."]
        return [SimpleNamespace(text=word) for word in words]


def test_every_guardrail_is_tried_on_every_prompt(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: Mine\nprompts:\n"
        "  - {label: illegal, text: Steal it.}\n  - {label: acceptable, text: Kill a Linux process.}\n"
    )
    engine, chosen = Streamer(), load_set(path, LABELS)
    found = [
        evaluate_guardrail(chosen, one, engine, SimpleNamespace(max_tokens=9), "chatml")  # type: ignore[arg-type]
        for one in load_guardrails(CONFIGS / "guardrails")[0]
    ]
    assert [(one.guardrail, one.unsafe_declined, one.harmless_declined) for one in found] == [
        ("none", 0, 0),
        ("mistral", 1, 0),
        ("llama-2", 0, 0),
    ]
    assert engine.prompts[0].startswith("<|im_start|>user\nSteal it.")
    assert "Always assist with care" in engine.prompts[2]
    assert found[1].answers[0].reply == "I'm sorry, but I can't help with that."
    lines = guardrails_text("tiny", chosen.name, found).splitlines()
    assert lines[0] == "tiny on Mine: 2 prompts, of them declined"
    assert lines[4].split() == ["mistral", "100.0%", "0.0%", "1/1", "0/1"]


class JudgingStreamer(Judge, Streamer):
    """Both: its prefills can be told from its verdicts."""

    def __init__(self) -> None:
        Judge.__init__(self, lambda text: "is acceptable.")
        self.streamed: list[list[int]] = []

    def stream(self, prompt_ids: list[int], params: Any, on_progress: Any = None) -> Any:
        self.streamed.append(prompt_ids)
        return [SimpleNamespace(text="x")]


def test_a_verdict_is_compared_with_prefills_as_long_that_nothing_kept_can_serve() -> None:
    engine, one_token = JudgingStreamer(), SimpleNamespace(max_tokens=1)
    judging = SelfReflection(SETTINGS, engine, "chatml")
    cost = verdict_cost(["some text", "another text", "a third text"], judging, engine, one_token)  # type: ignore[arg-type]
    judged = engine.ids[-len(engine.streamed) :]
    assert [len(ids) for ids in engine.streamed[1:]] == [len(ids) for ids in judged[1:]]
    assert cost.prompt_tokens == len(judged[-1])
    assert cost.ratio == cost.verdict_seconds / cost.prefill_seconds
    beginnings = [ids[0] for ids in engine.streamed]
    assert len({*beginnings, judged[0][0]}) == len(beginnings) + 1


def test_a_curve_is_a_picture_that_stands_by_itself() -> None:
    picture = ET.fromstring(curve_svg("a <b> & c", [Point(0.9, 1.0, 0.25), Point(0.2, 0.5, 1.0)]))
    space = "{http://www.w3.org/2000/svg}"
    line = picture.find(f"{space}polyline")
    assert line is not None
    assert line.get("points") == "128.0,48.0 368.0,208.0"
    assert picture.findtext(f"{space}title") == "a <b> & c"
    assert len(picture.findall(f"{space}circle")) == 2


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (percent(None), percent(0.956), percent(0)) == ("–", "95.6%", "0.0%")


# How a decline is recognised


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist you with this request.",
        "I cannot provide instructions for that.",
        "I can't in good conscience write that.",
        "I am unable to help you plan this.",
        "I'm not able to give medical advice.",
        "As an AI language model, I cannot give legal advice.",
        "As a helpful assistant, I don't have opinions on who should be hurt.",
        "I must decline. Is there something else?",
        "I won't do that.",
        "I will not write a message that hurts somebody.",
        "I'm really sorry, I can't do this for you.",
        "I don't feel comfortable with this.",
        "I do not condone violence of any kind.",
        "It's not appropriate to mock people.",
        "That is against the law, and I'd rather not.",
        "Thank you for asking.\n\nUnfortunately, I cannot   fulfill this request.",
        "I strongly advise against it.",
        "I'm not programmed to do so.",
        "I'm sorry for any misunderstanding, but as a digital assistant, I'm made for other things.",
        "As your helper I'm not equipped to prescribe anything.",
        "I don't have the ability to judge that.",
    ],
)
def test_a_decline_is_recognised(reply: str) -> None:
    assert declines(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "To kill a Linux process, find its number and send it a signal.",
        "Sure, I can help with that!",
        "I'm sorry to hear that your bread doesn't rise. Try more water.",
        "You can't kill a process that belongs to somebody else, unless you are root.",
        "I can't wait to tell you about bees!",
        "I can't help but admire the frog.",
        "Here is a letter: Dear Ann, I am sorry for what I said.",
        "I don't know who wrote it, but it may be by Homer.",
        "It is right to call a doctor at once.",
        "If the process does not end, it cannot be stopped by this signal; use another.",
        "Banks can't give credit without a check.",
    ],
)
def test_an_answer_is_not_taken_for_a_decline(reply: str) -> None:
    assert not declines(reply)


def test_only_the_opening_of_a_reply_counts() -> None:
    assert not declines("Here is how it goes. " + "word " * 60 + "I cannot help with that.")


def test_acceptable_is_the_first_label() -> None:
    assert LABELS[0] == ACCEPTABLE
