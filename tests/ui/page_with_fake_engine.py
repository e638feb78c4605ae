"""The page over an engine that says what a browser test wants: slowly, and with whatever a model might write."""

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import menny.ui.engines
from menny.config import home
from menny.ui.page import main
from tests.ui.fake_engine import FakeEngine, last_question
from tests.ui.moderated import answered, judged

WORDS = int(os.environ.get("MENNY_TEST_WORDS", "60"))
ELSEWHERE = os.environ.get("MENNY_TEST_ELSEWHERE", "http://127.0.0.1:9")

HOSTILE = f"""Look: ![a picture]({ELSEWHERE}/markdown.png) and ![by reference][there]
<img src="{ELSEWHERE}/html.png"> <script>fetch("{ELSEWHERE}/script")</script>
![in code]({ELSEWHERE}/fenced.png)

```mermaid
graph TD; A["<img src='{ELSEWHERE}/diagram.png'>"]-->B
```

[there]: {ELSEWHERE}/reference.png

It costs $5 and $10 :red[in red] :tada: a -> b. The end."""


def answer(prompt: str) -> Iterable[str]:
    """The hostile text to who asks for it, a summary, a word to moderate; to all others, the question and a count.

    A question that ends with "until" and a name is answered until there is a file of that name in the home.
    """
    question = last_question(prompt)
    if "Sum up the conversation" in prompt:
        return ["They spoke ", "of this ", "and that."]
    if question.startswith("say ") or "[" in question:
        return answered(prompt)
    if "hostile" in question:
        return re.findall(r"\S+\s*", HOSTILE)
    count = range(WORDS) if "until " not in question else _until(home() / question.split("until ")[1])
    return itertools.chain([f"You said {question}. "], (f"word{number} " for number in count), ["The end."])


def _until(file: Path) -> Iterator[int]:
    return itertools.takewhile(lambda _: not file.exists(), itertools.count())


def load(path: Path) -> FakeEngine:
    return FakeEngine(answer, pause=0.03, judge=judged)


menny.ui.engines.load_engine = load

if __name__ == "__main__":
    main()
