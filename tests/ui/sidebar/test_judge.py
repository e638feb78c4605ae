"""A judge chosen in the sidebar checks in the place of the model that answers; where it is gone, nothing passes."""

import math
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from menny.config.settings import load_settings
from menny.engine_protocols import Score
from menny.models.loader import ModelSource
from menny.ui.shared import shared_engine
from tests.ui.conftest import Stage, say, texts
from tests.ui.fake_engine import FakeEngine, parrot


class FakeJudge(FakeEngine):
    """Says yes of a category whose id stands in the text in brackets, by the word in its question."""

    def score(self, prompt_ids: list[int], continuations: Any, shared: int = 0, on_progress: Any = None) -> Any:
        asked = self.tokenizer.read(prompt_ids)
        self.judged.append(asked)
        yes = 0.9 if "[bad]" in asked and "illegal activities such as" in asked else 0.1
        return [Score(math.log(share), 1) for share in (yes, 1 - yes)]


@pytest.fixture
def judged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, FakeJudge]:
    """A stage whose catalogue has a judge that is here."""
    (stage.home / "models" / "judge.gguf").write_bytes(b"GGUF")
    with (stage.configs / "models.yaml").open("a") as file:
        file.write("  - {id: judge, name: The Judge, path: judge.gguf, judge: shieldstral}\n")
    judge = FakeJudge(parrot)
    places: list[object] = stage.loaded

    def load(source: ModelSource) -> FakeJudge:
        places.append(source.place)
        return judge

    monkeypatch.setattr(shared_engine, "load_judge", load)
    shared_engine.shared_judge.clear()
    return stage, judge


def plain(text: str) -> str:
    return text.replace("\\", "")


def warned(page: AppTest) -> str:
    return plain("\n".join(one.value for one in page.warning))


def strict(page: AppTest) -> AppTest:
    page.selectbox(key="moderate-messages-illegal").select("block")
    page.selectbox(key="moderate-replies-illegal").select("warn")
    return page.run()


def test_a_judge_is_no_model_to_chat_with_and_its_choice_is_kept(judged: tuple[Stage, FakeJudge]) -> None:
    stage, judge = judged
    page = strict(stage.open_page())
    assert "The Judge" not in page.selectbox(key="model").options
    assert page.selectbox(key="judge").options == ["The model that answers", "The Judge"]
    page.selectbox(key="judge").select("judge").run()
    assert load_settings().moderation.judge == "judge"
    again = stage.open_page()
    assert again.selectbox(key="judge").value == "judge"

    say(again, "hello [bad]")
    assert "This message wasn't sent: to the model it looks like “Illegal activities” (90% sure)" in warned(again)
    assert stage.engine.prompts == []
    assert stage.engine.judged == []
    say(again, "hello")
    assert "You said: hello" in texts(again)[-1]
    assert judge.judged[-1].split("<Document>: ")[1].startswith("[User]\nhello\n\n[Assistant]\nYou said: hello")
    assert [Path(str(place)).name for place in stage.loaded] == ["little.gguf", "judge.gguf"]

    again.selectbox(key="judge").select("").run()
    assert load_settings().moderation.judge is None
    assert judge.closed


def test_where_the_judge_is_gone_nothing_passes_and_the_page_says_so(judged: tuple[Stage, FakeJudge]) -> None:
    stage, _ = judged
    page = strict(stage.open_page())
    page.selectbox(key="judge").select("judge").run()
    (stage.home / "models" / "judge.gguf").unlink()
    page = stage.open_page()
    assert "The Judge isn't on this machine" in warned(page)
    say(page, "hello")
    assert "it couldn't be checked. The Judge isn't on this machine" in warned(page)
    assert stage.engine.prompts == []


def test_without_a_judge_here_the_page_names_the_one_to_get(stage: Stage) -> None:
    with (stage.configs / "models.yaml").open("a") as file:
        file.write("  - {id: judge, name: The Judge, repo: somebody/judge, judge: shieldstral}\n")
    page = stage.open_page()
    assert "The Judge, on the Models page, is made for it." in plain("".join(one.value for one in page.caption))
    assert "judge" not in [one.key for one in page.selectbox]
