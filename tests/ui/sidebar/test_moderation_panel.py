"""Moderation as a user meets it on the page: set in the sidebar, told at the message, kept in the store."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from menny.moderation.policy import WITHHELD
from menny.storage import ChatStore
from tests.ui.conftest import Stage, given_back, say, texts
from tests.ui.fake_engine import FakeEngine
from tests.ui.moderated import NAMES, ROUNDS, answered, judged


@pytest.fixture
def strict(stage: Stage) -> Stage:
    stage.engine = FakeEngine(answered, judge=judged)
    return stage


def setting(page: AppTest, side: str, actions: dict[str, str]) -> AppTest:
    for category, action in actions.items():
        page.selectbox(key=f"moderate-{side}-{category}").select(action)
    return page.run()


def plain(text: str) -> str:
    return text.replace("\\", "")


def notices(page: AppTest) -> str:
    return plain("\n".join(warning.value for warning in page.warning))


def kept(stage: Stage) -> str:
    """All that the store has of the chats that are there."""
    store = ChatStore(stage.home / "chats.db")
    said = [entry.text for one in store.conversations() for entry in store.transcript(one.id).entries]
    store.close()
    return "\n".join(said)


@pytest.mark.parametrize("actions", ROUNDS)
def test_every_cell_for_messages(strict: Stage, actions: dict[str, str]) -> None:
    page = setting(strict.open_page(), "messages", actions)
    for category, action in actions.items():
        sent = len(strict.engine.prompts)
        text = f"a message [{category}]"
        say(page, text)
        is_blocked = action == "block"
        assert (len(strict.engine.prompts) == sent) == is_blocked
        assert (text in kept(strict)) == (not is_blocked)
        if is_blocked:
            assert f"This message wasn't sent: to the model it looks like “{NAMES[category]}”" in notices(page)
            assert given_back(page) == [text]
            assert [one for one in texts(page) if text in one] == []
            continue
        assert not page.warning
        question, reply = texts(page)[-2:]
        assert ("Sent with a warning" in question) == (action == "warn")
        assert (NAMES[category] in plain(question)) == (action == "warn")
        assert "A kind word." in reply


@pytest.mark.parametrize("actions", ROUNDS)
def test_every_cell_for_replies(strict: Stage, actions: dict[str, str]) -> None:
    page = setting(strict.open_page(), "replies", actions)
    for category, action in actions.items():
        say(page, f"say {category}")
        bad = f"A nasty word, [{category}]."
        reply = page.chat_message[-1]
        folded = [one.label for one in reply.expander]
        assert (bad in kept(strict)) == (action != "block")
        if action == "block":
            assert NAMES[category] in plain(reply.warning[0].value)
            assert bad not in texts(page)[-1]
            assert not folded
        else:
            assert bad in plain(texts(page)[-1])
            assert [plain(label).startswith("Folded away") and NAMES[category] in plain(label) for label in folded] == (
                [True] if action == "warn" else []
            )
        say(page, "and now?")
        seen = strict.engine.prompts[-1]
        assert (bad in seen) == (action != "block")
        assert WITHHELD in seen or action != "block"


def test_all_is_off_at_first_and_nothing_is_judged(strict: Stage) -> None:
    page = say(strict.open_page(), "say hateful")
    assert strict.engine.judged == []
    assert "A nasty word, [hateful]." in plain(texts(page)[-1])


def test_the_files_defaults_hold_in_a_new_session(strict: Stage) -> None:
    path = strict.configs / "moderation.yaml"
    path.write_text(path.read_text().replace("  - id: hateful\n", "  - id: hateful\n    messages: block\n"))
    page = say(strict.open_page(), "[hateful]")
    assert "wasn't sent" in notices(page)
    assert strict.engine.prompts == []


@pytest.fixture
def spoilers(strict: Stage) -> Stage:
    """With a category of the user's own, first in the file."""
    path = strict.configs / "moderation.yaml"
    own = "{id: spoiler, name: Spoilers, description: how it ends, label: This is a spoiler.}"
    path.write_text(path.read_text().replace("categories:\n", f"categories:\n  - {own}\n", 1))
    strict.engine.judge = lambda text: "spoiler" if "[spoiler]" in text else judged(text)
    return strict


@pytest.mark.parametrize("action", ["off", "warn", "block"])
def test_every_cell_for_a_category_of_the_users_own(spoilers: Stage, action: str) -> None:
    page = setting(spoilers.open_page(), "messages", {"spoiler": action})
    say(page, "The end [spoiler]")
    assert ("The end [spoiler]" in kept(spoilers)) == (action != "block")
    assert ("“Spoilers”" in notices(page)) == (action == "block")
    if action != "block":
        assert ("Sent with a warning" in texts(page)[-2]) == (action == "warn")
    assert (spoilers.engine.prompts == []) == (action == "block")

    page = setting(spoilers.open_page(), "replies", {"spoiler": action})
    say(page, "say spoiler")
    bad, reply = "A nasty word, [spoiler].", page.chat_message[-1]
    assert (bad in kept(spoilers)) == (action != "block")
    assert [plain(one.label).startswith("Folded away") for one in reply.expander] == ([True] * (action == "warn"))
    assert any("“Spoilers”" in plain(one.value) for one in reply.warning) == (action == "block")


def test_a_check_that_fails_holds_a_message_back_and_says_so(strict: Stage) -> None:
    strict.engine.judge = lambda text: "<fail>"
    page = setting(strict.open_page(), "messages", {"illegal": "block"})
    say(page, "hello")
    assert "This message wasn't sent: it couldn't be checked. The model gave no numbers." in notices(page)
    assert strict.engine.prompts == []
    assert "hello" not in kept(strict)


def test_a_check_that_fails_holds_a_reply_back_and_says_so(strict: Stage) -> None:
    strict.engine.judge = lambda text: "<fail>"
    page = setting(strict.open_page(), "replies", {"illegal": "block"})
    say(page, "hello")
    assert "This reply was withheld: it couldn't be checked." in notices(page)
    assert "A kind word." not in kept(strict)


def test_an_unreadable_file_stops_sending_and_is_named(strict: Stage) -> None:
    (strict.configs / "moderation.yaml").write_text("categories: []\n")
    page = strict.open_page()
    assert page.chat_input(key="message").disabled
    told = notices(page) + plain("\n".join(one.value for one in page.markdown))
    assert "the moderation settings can't be read" in told
    assert "moderation.yaml" in told


@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to("nowhere.yaml")])
def test_what_stands_in_the_files_place_is_not_taken_for_none(strict: Stage, put: Callable[[Path], None]) -> None:
    path = strict.configs / "moderation.yaml"
    path.unlink()
    put(path)
    page = strict.open_page()
    assert page.chat_input(key="message").disabled
    assert "the moderation settings can't be read" in plain("\n".join(m.value for m in page.markdown))


def test_without_the_file_there_is_no_moderation_and_all_else_works(strict: Stage) -> None:
    (strict.configs / "moderation.yaml").unlink()
    page = say(strict.open_page(), "hello")
    assert "A kind word." in texts(page)[-1]


def test_what_a_model_believes_of_nothing_is_learnt_once_for_all_messages(strict: Stage) -> None:
    asked: list[str] = []
    score = strict.engine.score

    def counted(prompt_ids: list[int], *rest: object) -> object:
        asked.append(strict.engine.tokenizer.read(prompt_ids))
        return score(prompt_ids, *rest)  # type: ignore[arg-type]

    strict.engine.score = counted  # type: ignore[method-assign]
    page = setting(strict.open_page(), "messages", {"illegal": "block"})
    for text in ("one", "two", "three"):
        say(page, text)
    assert strict.engine.judged == ["one", "two", "three"]
    assert len(asked) == 3 + 6
    assert len(set(asked)) == len(asked)


def test_the_shield_opens_to_the_exact_text_that_the_model_gets(strict: Stage) -> None:
    page = strict.open_page()
    shown = next(code.value for code in page.code if "Always assist with care" in code.value)
    say(page, "hello")
    assert strict.engine.prompts[0].startswith(f"<|im_start|>system\n{shown}<|im_end|>")
    page.selectbox(key="guardrail").select("llama-2").run()
    told = next(code.value for code in page.code if "Always assist with care" in code.value)
    assert told.startswith("You are a helpful, respectful and honest assistant.")
