"""The lorebook of a character card: taken out of it into a file of its own, which has room for any size."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from menny.errors import ConfigError
from menny.lorebooks.convert import lorebook_of
from menny.lorebooks.files import import_lorebook
from menny.lorebooks.lorebook import Lorebook
from menny.personas.card_fields import shortened
from menny.personas.card_files import read_card_file, why_unreadable

BOOK = "character_book"
READABLE = "JSON, YAML, and pictures and zips with a character card"


def without_book(
    card: Mapping[str, Any], fallback_name: str, notices: list[str]
) -> tuple[dict[str, Any], Lorebook | None]:
    """A card whose lorebook is taken out, and the lorebook; `notices` grows by what of it was left out.

    Its place in the card is kept by an empty value. A lorebook without entries, or one that can't be read, stays in
    the card as it is, and None comes back.
    """
    inner = card.get("data")
    data: Mapping[str, Any] = inner if isinstance(inner, dict) else card
    raw = data.get(BOOK)
    if not isinstance(raw, dict) or not raw.get("entries"):
        return dict(card), None
    name = data.get("name")
    try:
        book, left_out = lorebook_of(raw, name if isinstance(name, str) else fallback_name)
    except ConfigError:
        return dict(card), None
    if not book.entries:
        return dict(card), None
    notices += [f"in its lorebook, {notice}" for notice in left_out]
    emptied = {**data, BOOK: None}
    return ({**card, "data": emptied} if data is inner else emptied), book


def read_lorebook(name: str, data: bytes) -> tuple[Lorebook, tuple[str, ...]]:
    """The lorebook in a file: of Menny, of SillyTavern, or in a card; and a sentence for all that was left out.

    Raises ConfigError, in one sentence that names the file, where there isn't one.
    """
    try:
        card = read_card_file(data)
        if card is None and (why := why_unreadable(name, data, READABLE)):
            raise ConfigError(why)
        book, notices = import_lorebook(name, card.cards[0] if card else data)
    except ConfigError as error:
        sentence = re.sub(rf"^{re.escape(PurePath(name).name)}[,:] ", "", str(error).rstrip("."))
        raise ConfigError(f"{shortened(name, 60) or 'The file'} couldn't be imported: {sentence}.") from None
    return book, tuple(f"{book.name}: {notice}." for notice in notices)
