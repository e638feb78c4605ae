"""Lorebook: entries of knowledge with the keys that call them up; names and meanings are those of SillyTavern."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from menny.config.yaml_models import Line, StrictModel, Text

Logic = Literal["and any", "and all", "not any", "not all"]

MAX_ENTRIES = 20_000
MAX_KEYS = 500  # of an entry
MAX_KEY = 1_000  # characters
MAX_CONTENT = 200_000  # characters
SCAN_DEPTH = 2  # messages

Key = Annotated[Text, Field(min_length=1, max_length=MAX_KEY)]


class LoreEntry(StrictModel):
    """A piece of knowledge, and when it is called up."""

    name: Line = Field(default="", max_length=200, description="A title for the list; the model doesn't see it.")
    keys: tuple[Key, ...] = Field(
        default=(), max_length=MAX_KEYS, description="Words, phrases or /regular expressions/ that call it up."
    )
    content: Text = Field(max_length=MAX_CONTENT, description="The text that the model gets.")
    secondary_keys: tuple[Key, ...] = Field(
        default=(), max_length=MAX_KEYS, description="Further keys that decide, once one of the first has matched."
    )
    selective_logic: Logic = Field(
        default="and any", description="How the secondary keys decide: any or all of them there, or any or all absent."
    )
    enabled: bool = True
    constant: bool = Field(default=False, description="Always there, in the system text, in every chat.")
    probability: float = Field(default=100, ge=0, le=100, description="Percent of the matches that call it up.")
    order: int = Field(
        default=100, ge=-(10**9), le=10**9, description="Higher ones come first into the budget, and last in the text."
    )
    scan_depth: int | None = Field(default=None, ge=0, le=1000, description="Messages to look at; else the book's.")
    case_sensitive: bool = False
    match_whole_words: bool = Field(
        default=True, description="A key of one word matches whole words only; not in scripts without spaces."
    )
    exclude_recursion: bool = Field(default=False, description="Other entries can't call it up.")
    prevent_recursion: bool = Field(default=False, description="Its content can't call up other entries.")
    delay_until_recursion: bool = Field(default=False, description="Only other entries can call it up.")
    recursion_level: int = Field(
        default=1, ge=1, le=1000, description="Of entries that others call up: higher levels wait for lower ones."
    )
    extensions: dict[str, JsonValue] = Field(default={}, description="What other programs keep in it.")

    @property
    def is_always_there(self) -> bool:
        """True if it stands in the system text; a constant one that waits for others joins a turn after them."""
        return self.constant and not self.delay_until_recursion


class Lorebook(StrictModel):
    """A file of entries."""

    name: Line = Field(min_length=1, max_length=200)
    description: Text = Field(default="", max_length=20_000)
    scan_depth: int = Field(default=SCAN_DEPTH, ge=0, le=1000, description="How many of the last messages are read.")
    token_budget: int | None = Field(
        default=None, ge=0, le=10**7, description="Tokens that its entries may take in one turn, within the whole."
    )
    recursive_scanning: bool = Field(default=True, description="Entries can call up one another by their content.")
    everywhere: bool = Field(default=False, description="For all chats, not only those of personas that name it.")
    entries: tuple[LoreEntry, ...] = Field(default=(), max_length=MAX_ENTRIES)
    extensions: dict[str, JsonValue] = Field(default={}, description="What other programs keep in it.")
