"""The sentences that a page has to show: an error where something failed, a notice where there is something to know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from menny.errors import MennyError

# Places; a button that can fail is one too, by its own key.
ABOVE_BOX, IMPORT, OWN_MODEL, TOAST = "above_box", "import", "own_model", "toast"


@dataclass(slots=True, eq=False)
class Feedback:
    """A holder of one sentence for each place, until the next attempt there."""

    errors: dict[str, str] = field(default_factory=dict)
    notices: dict[str, str] = field(default_factory=dict)

    def clear(self, place: str) -> None:
        """Forget what is shown at a place."""
        self.errors.pop(place, None)
        self.notices.pop(place, None)

    def error(self, place: str, sentence: str) -> None:
        """Show an error in place of what was there."""
        self.clear(place)
        self.errors[place] = sentence

    def notice(self, place: str, sentence: str) -> None:
        """Show a notice in place of what was there."""
        self.clear(place)
        self.notices[place] = sentence

    def at(self, place: str) -> str:
        """Return the error or notice at a place; empty if nothing is shown there."""
        return self.errors.get(place) or self.notices.get(place, "")

    def pop(self, place: str) -> str:
        """Return the same and forget it, for a sentence that is shown once."""
        sentence = self.at(place)
        self.clear(place)
        return sentence

    @contextmanager
    def attempt(self, place: str, kind: type[MennyError] = MennyError) -> Iterator[None]:
        """Run a block; a MennyError in it becomes the error at this place."""
        self.clear(place)
        try:
            yield
        except kind as error:
            self.error(place, str(error))
