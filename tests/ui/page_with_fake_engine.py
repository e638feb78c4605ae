"""The page over an engine that says what a browser test wants: slowly, and with whatever a model might write."""

import itertools
import os
import re
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import menny.ui.chat.quiet_job
import menny.ui.shared.shared_engine
from menny.config.paths import home
from menny.ui.page import main
from tests.ui.fake_engine import FakeEngine, last_question
from tests.ui.moderated import answered, judged

WORDS = int(os.environ.get("MENNY_TEST_WORDS", "8"))
CONTEXT = int(os.environ.get("MENNY_TEST_CONTEXT", "4000"))  # letters
ROWS = 3  # replies at once
ELSEWHERE = os.environ.get("MENNY_TEST_ELSEWHERE", "http://127.0.0.1:9")

HOSTILE = f"""Look: ![a picture]({ELSEWHERE}/markdown.png) and ![by reference][there]
<img src="{ELSEWHERE}/html.png"> <script>fetch("{ELSEWHERE}/script")</script>
![in code]({ELSEWHERE}/fenced.png)

```mermaid
graph TD; A["<img src='{ELSEWHERE}/diagram.png'>"]-->B
```

[there]: {ELSEWHERE}/reference.png

It costs $5 and $10 :red[in red] :tada: a -> b. The end."""

CODE = """# How it is done

It takes `one` [function](https://example.org):

```python
@cache
def area(radius: float = 2.5) -> float:
    # pi comes from elsewhere
    return math.pi * radius**2 if radius else "nothing"
```"""
TABLE = "\n".join(["| a column with a title " * 6 + "|", "| --- " * 6 + "|", "| 93.4 gigabytes " * 6 + "|"])
RIGHT_TO_LEFT = """# כותרת עם API

שלום, אני עונה ב-`print("a b")` כאן.

1. ראשון
2. second

> ציטוט קצר

| עמודה | b |
| --- | --- |
| תא | cell |

```python
print("left")
```

An English paragraph."""
SHOWN = {"show right to left": RIGHT_TO_LEFT, "show code": CODE, "show table": TABLE, "hostile": HOSTILE}


def answer(prompt: str) -> Iterable[str]:
    """Texts to who asks for them, a summary, a word to moderate; to all others, the question and a count.

    A question that ends with "until" and a name is answered until there is a file of that name in the home; one for
    excuses, a suggestion, until it is stopped. One that begins with "think" is thought about first.
    """
    question = last_question(prompt)
    if question.startswith("think"):
        return _thinking(question, prompt.rsplit("<|im_start|>assistant\n", 1)[-1])
    if question.startswith("[Write the next message"):
        return ["And you, ", "what do ", "you think?"]
    if question.startswith("List lasting facts"):
        return ["- They have a cat."] if "I have a cat" in prompt else ["none"]
    if "Sum up the conversation" in prompt:
        return ["They spoke ", "of this ", "and that."]
    if question.startswith("say ") or "[" in question:
        return answered(prompt)
    if asked := next((text for name, text in SHOWN.items() if name in question), ""):
        return re.findall(r"\s*\S+\s*", asked)
    count: Iterable[int] = range(WORDS)
    if "until " in question:
        count = _until(home() / question.split("until ")[1])
    elif "excuses" in question:
        count = itertools.count()
    return itertools.chain([f"You said {question}. "], (f"word{number} " for number in count), ["The end."])


def _thinking(question: str, begun: str) -> Iterator[str]:
    """A thought, then an answer; after what there is of both. "until" is about the answer where it asks for one."""
    until, words = [home() / name for name in question.split("until ")[1:]], iter(range(20))
    if until and "answer" in question:
        words = itertools.chain(words, _until(until.pop(), 20))
    if "</think>" not in begun:
        yield from () if begun else ("<think>", "\n")
        first = begun.count("\n- ")
        steps = _until(until.pop(), first) if until else iter(range(first, WORDS))
        for number in steps:
            yield f"\n- Step {number}: is $n = {number}$ what they **want**?"
        yield "\n</think>\n\n"
    yield from ("The ", "answer ", "is ", "forty-two. ")
    yield from (f"word{number} " for number in words)
    yield "The end."


def _until(file: Path, first: int = 0) -> Iterator[int]:
    return itertools.takewhile(lambda _: not file.exists(), itertools.count(first))


def load(path: Path) -> FakeEngine:
    rows = threading.Semaphore(ROWS)
    return FakeEngine(answer, pause=0.03, judge=judged, context_length=CONTEXT, turn=rows)


menny.ui.shared.shared_engine.load_engine = load
menny.ui.chat.quiet_job.QUIET_SECONDS = 1.0

if __name__ == "__main__":
    main()
