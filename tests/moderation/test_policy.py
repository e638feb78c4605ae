"""Every cell of off, warn and block: what is done with a message or a reply, and that no failed check passes unseen."""

import itertools

import pytest

from menny.config.paths import CONFIGS
from menny.moderation.categories import ACCEPTABLE, load_moderation
from menny.moderation.classifier import SelfReflection
from menny.moderation.policy import Moderation, ModerationResult, Policy, Side
from tests.moderation.judges import Judge, failing

SETTINGS = load_moderation(CONFIGS / "moderation.yaml").model_copy(update={"neutral": ()})
CATEGORIES = [category.id for category in SETTINGS.categories]
NAMES = SETTINGS.names
SIDES: list[Side] = ["messages", "replies"]


def by(policy: Policy, moderator: SelfReflection) -> Moderation:
    """A moderation that asks this moderator, whatever the engine."""
    return Moderation(policy, NAMES, lambda engine, template, *text: moderator.classify(*text))


def moderation(policy: Policy, found: str) -> tuple[Moderation, Judge]:
    judge = Judge(failing if found == "failing" else lambda text: f"is {found}.")
    return by(policy, SelfReflection(SETTINGS, judge, "chatml")), judge


@pytest.mark.parametrize(
    ("side", "category", "action"), list(itertools.product(SIDES, CATEGORIES, ["off", "warn", "block"]))
)
def test_each_cell_does_what_it_says_and_nothing_to_the_others(side: Side, category: str, action: str) -> None:
    policy = Policy(**{side: {category: action}})
    for other_side, found in itertools.product(SIDES, [ACCEPTABLE, *CATEGORIES]):
        watching, judge = moderation(policy, found)
        finding = watching.check(other_side, "a text", judge, "chatml")
        if (other_side, found) == (side, category) and action != "off":
            assert finding is not None
            assert (finding.action, finding.category, finding.problem) == (action, NAMES[category], "")
            assert f"“{NAMES[category]}” (80% sure)" in finding.sentence
        else:
            assert finding is None
        assert bool(judge.prompts) == (other_side == side and action != "off")


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (("off", "off", "off"), None),
        (("warn", "off", "off"), "warn"),
        (("off", "warn", "block"), "block"),
        (("block", "warn", "warn"), "block"),
    ],
)
@pytest.mark.parametrize("side", SIDES)
def test_a_check_that_fails_counts_as_the_worst_that_might_have_been_found(
    side: Side, actions: tuple[str, ...], expected: str | None
) -> None:
    policy = Policy(**{side: dict(zip(CATEGORIES, actions, strict=True))})
    watching, judge = moderation(policy, "failing")
    finding, unchecked = watching.check(side, "a text", judge, "chatml"), watching.unchecked(side)
    assert (finding.action if finding else None) == (unchecked.action if unchecked else None) == expected
    if finding:
        assert "couldn't be checked. The model gave no numbers." in finding.sentence


def test_a_text_of_two_categories_is_blocked_for_the_one_though_the_other_is_likelier_and_off() -> None:
    rude, loud = (one.model_copy(update={"threshold": 0.2}) for one in SETTINGS.categories[:2])
    settings = SETTINGS.model_copy(update={"categories": (rude, loud)})
    judge = Judge(lambda text: f"is {rude.id}.")
    judging = SelfReflection(settings, judge, "chatml")
    assert judging.classify("a text").category == rude.id
    loud_too = settings.model_copy(update={"categories": (rude, loud.model_copy(update={"threshold": 0.05}))})
    judging = SelfReflection(loud_too, judge, "chatml")
    for policy, action, category in (
        (Policy(messages={rude.id: "off", loud.id: "block"}), "block", loud),
        (Policy(messages={rude.id: "warn", loud.id: "block"}), "block", loud),
        (Policy(messages={rude.id: "warn", loud.id: "warn"}), "warn", rude),
    ):
        finding = by(policy, judging).check("messages", "a text", judge, "chatml")
        assert finding is not None
        assert (finding.action, finding.category) == (action, category.name)


def test_a_long_text_is_blocked_for_a_piece_that_is_not_its_worst() -> None:
    judge = Judge(lambda text: "is illegal." if "fraud" in text else "is hateful." if "insult" in text else "is acc")
    judge.context_length = 700
    text = "fraud " + "harmless words " * 300 + "insult"
    for blocked in ("illegal", "hateful"):
        policy = Policy(replies={blocked: "block"})
        finding = by(policy, SelfReflection(SETTINGS, judge, "chatml")).check("replies", text, judge, "chatml")
        assert finding is not None
        assert (finding.category, finding.action) == (NAMES[blocked], "block")


def test_a_fault_of_our_own_in_a_check_is_a_failed_check(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise KeyError("secret detail")

    moderation = Moderation(Policy(messages={"illegal": "block"}), NAMES, broken)  # type: ignore[arg-type]
    finding = moderation.check("messages", "x", Judge(failing), None)
    assert finding is not None
    assert (finding.action, finding.problem) == ("block", "it couldn't be checked (KeyError)")
    assert "secret detail" in caplog.text


def test_the_files_defaults_are_a_policy() -> None:
    first, *others = SETTINGS.categories
    changed = SETTINGS.model_copy(
        update={"categories": (first.model_copy(update={"messages": "block", "replies": "warn"}), *others)}
    )
    policy = Policy.of(changed)
    assert (policy.action("messages", "illegal"), policy.action("replies", "illegal")) == ("block", "warn")
    assert (policy.action("messages", "hateful"), policy.action("messages", ACCEPTABLE)) == ("off", "off")


@pytest.mark.parametrize(
    "finding",
    [
        ModerationResult("warn", "Hate", 0.5),
        ModerationResult("block", "Hate", 1.0),
        ModerationResult("block", problem="it failed"),
    ],
)
def test_a_finding_can_be_kept_and_read_again(finding: ModerationResult) -> None:
    assert ModerationResult.from_dict(finding.to_dict()) == finding


@pytest.mark.parametrize("note", [None, "block", {}, {"action": "off"}, {"action": ["block"]}, {"category": "Hate"}])
def test_what_is_no_finding_is_none(note: object) -> None:
    assert ModerationResult.from_dict(note) is None


@pytest.mark.parametrize(
    "note",
    [
        {"action": "block"},
        {"action": "warn", "category": "Hate", "probability": "high"},
        {"action": "block", "category": 3, "probability": 7},
    ],
)
def test_a_note_that_lacks_its_reason_still_holds(note: dict[str, object]) -> None:
    finding = ModerationResult.from_dict(note)
    assert finding is not None
    assert finding.action == note["action"]
    assert finding.sentence == "the reason isn't known."
