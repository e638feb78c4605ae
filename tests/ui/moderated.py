"""A model whose judgement is fixed: a text is of the category whose id it holds in brackets."""

from menny.moderation.categories import ACCEPTABLE
from tests.ui.fake_engine import last_question

NAMES = {"illegal": "Illegal activities", "hateful": "Hate or violence", "unqualified": "Unqualified advice"}
ACTIONS = ("off", "warn", "block")

# Three rounds in which every category meets every action, on either side.
ROUNDS = [dict(zip(NAMES, ACTIONS[turn:] + ACTIONS[:turn], strict=True)) for turn in range(3)]


def judged(text: str) -> str:
    return next((category for category in NAMES if f"[{category}]" in text), ACCEPTABLE)


def answered(prompt: str) -> list[str]:
    """To `say hateful`, a reply of that category; to everything else, a kind one."""
    verb, _, category = last_question(prompt).partition(" ")
    return ["A nasty word, ", f"[{category}]."] if verb == "say" else ["A kind ", "word."]
