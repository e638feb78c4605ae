"""A trial of a lorebook: what its entries take of the context, and which of them a typed text calls up."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from menny.lorebooks import DEFAULT_BUDGET, Activation, Lorebook, ScanResult, scan
from menny.lorebooks.keys import Fill
from menny.lorebooks.scan import title_of
from menny.ui.chat.turn_mark import AFTER_OTHERS, in_a_sentence, untried_keys
from menny.ui.personas.preview import token_counter
from menny.ui.safe_markdown import as_label
from menny.ui.session import Session
from menny.ui.shared.options import Options
from menny.ui.shared.shared_engine import shared_engine
from menny.ui.shared.you import you_in

MOST_SHOWN = 30  # entries of a trial
MOST_NAMED = 5  # entries in a sentence
NO_LIMIT = 10**9


def draw_budget(book_id: str, book: Lorebook, options: Options, session: Session) -> None:
    """Draw what the constant entries take of the tokens that lore may fill, and which don't fit."""
    constant = tuple(entry for entry in book.entries if entry.is_always_there and entry.enabled)
    if not constant:
        return
    count, budget, name = _counting(options, session)
    constants = book.model_copy(update={"entries": constant})
    found = _scan(book_id, constants, "", count, budget, _filling(book_id, options, session))
    tokens = sum(count(one.text) for one in found.constant)
    if name:
        share = f" of the {budget:,} that lorebooks may fill" if budget < NO_LIMIT else ""
        st.caption(as_label(f"Entries that are always there take {tokens:,} tokens{share}, counted by {name}."))
    if found.over_budget:
        number = len(found.over_budget)
        left = f"{number:,} of the {len(constant):,} entries that are always there" if number > 1 else "1 entry"
        sentence = f"{left} won't fit: {_titles(found.over_budget)}."
        st.warning(as_label(sentence), icon=":material/data_usage:")


def draw_trial(book_id: str, book: Lorebook, options: Options, session: Session) -> None:
    """Draw the box to type into, and what the text calls up."""
    typed = st.text_area("Try it", key="lore_trial", height=100, placeholder="Type a message …")
    if not typed.strip():
        st.caption("Shows which entries a message calls up.")
        return
    count, budget, _ = _counting(options, session)
    found = _scan(book_id, book, typed, count, budget, _filling(book_id, options, session))
    number = len(found.called)
    st.markdown(f"**{'No entry' if not number else '1 entry' if number == 1 else f'{number:,} entries'}**")
    for one in found.called[:MOST_SHOWN]:
        _draw_call(one)
    if number > MOST_SHOWN:
        st.caption(f"And {number - MOST_SHOWN:,} more.")
    if found.constant:
        st.caption(as_label(f"Always there: {_titles(found.constant)}"))
    if found.over_budget:
        st.caption(as_label(f"No room left for: {_titles(found.over_budget)}"))
    if found.slow_keys:
        st.warning(as_label(f"Stopped, as the search takes too long: {', '.join(found.slow_keys)}"))
    if found.untried_keys:
        st.caption(untried_keys(len(found.untried_keys)))


def _draw_call(one: Activation) -> None:
    where = f", in “{one.called_by}”" if one.called_by else ""
    why = f"Key “{one.key}”{where}" if one.key else AFTER_OTHERS
    chance = f" · {one.entry.probability:g}% of the time" if one.entry.probability < 100 else ""
    with st.container(gap=None):
        st.markdown(as_label(title_of(one.entry)[:80]))
        st.caption(as_label(f"{why}{chance}"))


def _scan(book_id: str, book: Lorebook, text: str, count: Callable[[str], int], budget: int, fill: Fill) -> ScanResult:
    return scan({book_id: book}, [text], budget, count, lambda _: 0.0, fill, [fill("{{user}}")])


def _filling(book_id: str, options: Options, session: Session) -> Fill:
    """What expands macros: the names are those of a persona that uses the book, else of the one that is chosen."""
    users = [persona for persona in options.personas if book_id in persona.lorebooks]
    persona = users[0] if users else options.persona(session.chosen.persona)
    you = you_in(session.chosen, persona, options)
    return partial(persona.lore_text, user=you.name, draws=you.draws)


def _counting(options: Options, session: Session) -> tuple[Callable[[str], int], int, str]:
    """How tokens are counted, how many of them lore may fill, and by which model; no limit where that isn't known."""
    counter = token_counter(session, options)
    if counter is None:
        return lambda _: 0, NO_LIMIT, ""
    model, tokenizer = counter
    source = session.place_of(model)
    engine = shared_engine().engine_of(source) if source else None
    context = engine.context_length if engine else model.context_length
    budget = context * DEFAULT_BUDGET // 100 if context else NO_LIMIT
    return lambda text: len(tokenizer.encode(text)), budget, model.name


def _titles(found: tuple[Activation, ...]) -> str:
    return in_a_sentence([title_of(one.entry)[:60] for one in found], MOST_NAMED)
