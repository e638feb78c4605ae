"""A chat on the page over a server: continued where the server can, else no button and the reason."""

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from menny.config.settings import change_settings
from menny.models.loader import load
from tests.engine.remote.fake_server import FakeServer, Write, alternating, event, serving
from tests.ui.conftest import Stage, say, texts


def cut_short(write: Write) -> None:
    write(event("One, two,", "length"))


def rest(write: Write) -> None:
    write(event(" three.", "stop"))


def strict(path: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """A server whose template wants roles to alternate, and which doesn't know how to continue."""
    if not body.get("stream"):
        return 200, {"usage": {"prompt_tokens": 20}}
    return alternating(path, body)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer(answer=cut_short, respond=strict)) as fake:
        yield fake


@pytest.fixture
def page(stage: Stage, server: FakeServer) -> AppTest:
    stage.load = lambda source: load(source.place, source.options)  # type: ignore[assignment,return-value]
    (stage.configs / "models.yaml").write_text(f"models:\n  - {{id: far, name: Far, server: '{server.address}'}}\n")
    change_settings(titles=False)  # else the last request may be for a title
    page = stage.open_page()
    return page.selectbox(key="model").select("far").run()  # models on this machine come first


def continuing(page: AppTest) -> list[Any]:
    return [button for button in page.button if str(button.key).startswith("continue-")]


def test_a_server_that_cannot_continue_has_no_button_for_it_but_the_reason(page: AppTest, server: FakeServer) -> None:
    say(page, "Count")
    assert "One, two," in texts(page)[1]
    assert not continuing(page)
    assert any(
        "can't continue a reply: regenerate it instead" in caption.value.replace("\\", "") for caption in page.caption
    )


def test_a_server_that_can_continue_joins_what_it_adds(page: AppTest, server: FakeServer) -> None:
    server.models["data"][0]["owned_by"] = "vllm"
    server.respond = lambda path, body: (200, {"tokens": [1] * 5}) if path == "/tokenize" else alternating(path, body)
    say(page, "Count")
    server.answer = rest
    continuing(page)[0].click().run()
    assert "One, two, three." in texts(page)[1]
    generations = [body for body in server.asked if body.get("stream")]
    assert generations[-1]["continue_final_message"] is True


def test_a_chat_goes_on_after_a_reply_without_a_word_and_after_one_that_failed(
    page: AppTest, server: FakeServer
) -> None:
    server.answer = lambda write: write(event(reason="content_filter"))
    say(page, "One")
    assert "filtered this reply" in page.error[0].value

    server.answer = lambda write: write(event(reason="stop"))
    say(page, "Two")
    assert "sent an empty reply" in page.error[1].value

    server.answer = rest
    say(page, "Three")
    assert "three." in texts(page)[-1]
    assert [message["role"] for message in server.asked[-1]["messages"]][-1] == "user"
    assert server.asked[-1]["messages"][-1]["content"] == "One\n\nTwo\n\nThree"
