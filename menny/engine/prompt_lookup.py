"""Speculative decoding by prompt lookup: what followed the last words before is a draft of what follows them now.

Replies quote: a paragraph to repeat, a list to sort, code to mend. A draft costs nothing to make, and one pass of the
model verifies it (Leviathan et al., 2023, with n-grams in the small model's place): decoding waits for the weights to
be read, and several tokens share one reading. Whether a draft is worth its pass is decided by how often guesses like it
came true in this reply, and by what passes take on this machine.
"""

from collections.abc import Callable, Sequence

NGRAM = 3  # tokens that must agree before what followed them is a guess
LONGEST = 16  # an agreement beyond it isn't counted
PASSES = (4, 8, 16)  # tokens of a pass that verifies: the last one known, and a draft
WORTH = 1.1  # how many times the tokens in the same time a draft must promise

_FIRST_RATES = (0.4, 0.5, 0.7, 0.9)  # of guesses that come true, by classes of agreement, short to long
_FIRST_WEIGHT = 4.0  # of these, in guesses
_FADING = 0.95  # of a class's earlier guesses, at each new one

Cost = Callable[[int], float]  # tokens of a pass → the time that it takes, in passes of one token


class Lookup:
    """The tokens of a prompt and of its reply so far, and guesses of those to come."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # where the token after these stood the last time
        self._source = 0  # where the guess of the next token stands
        self._agreed = 0  # how many tokens before it are also the last ones; 0: there is no guess
        self._right = [_FIRST_WEIGHT * rate for rate in _FIRST_RATES]
        self._guessed = [_FIRST_WEIGHT] * len(_FIRST_RATES)
        for token in prompt:
            self._append(token)

    def add(self, token: int) -> None:
        """Take in the reply's next token. It shows what its guess was worth, drafted or not."""
        if self._agreed:
            kind = _kind(self._agreed)
            self._right[kind] = _FADING * self._right[kind] + (self.tokens[self._source] == token)
            self._guessed[kind] = _FADING * self._guessed[kind] + 1
        self._append(token)

    def draft(self, cost: Cost, most: int) -> list[int]:
        """The next tokens, at most so many, as they are guessed; none where no draft is worth its pass."""
        likely = expected = 1.0  # all guesses up to here come true; tokens that a pass brings
        best, length = WORTH, 0
        for count in range(1, min(most, PASSES[-1] - 1) + 1 if self._agreed else 0):
            kind = _kind(self._agreed + count - 1)
            likely *= self._right[kind] / self._guessed[kind]
            expected += likely
            if count + 1 in PASSES and expected / cost(count + 1) > best:
                best, length = expected / cost(count + 1), count
        drafted: list[int] = []
        for place in range(self._source, self._source + length):
            known = len(self.tokens)
            drafted.append(self.tokens[place] if place < known else drafted[place - known])  # what repeats itself
        return drafted

    def _append(self, token: int) -> None:
        came_true = self._agreed and self.tokens[self._source] == token
        self.tokens.append(token)
        if came_true:
            self._source, self._agreed = self._source + 1, min(self._agreed + 1, LONGEST)
        last = tuple(self.tokens[-NGRAM:])
        if not came_true:
            self._source = self._after.get(last, 0)
            self._agreed = self._agreement()
        if len(last) == NGRAM:
            self._after[last] = len(self.tokens)

    def _agreement(self) -> int:
        """How many tokens before the source are the last ones."""
        agreed = 0
        while (
            agreed < min(self._source, LONGEST) and self.tokens[self._source - 1 - agreed] == self.tokens[-1 - agreed]
        ):
            agreed += 1
        return agreed


def _kind(agreed: int) -> int:
    """An agreement's class: each is about twice as long as the one before."""
    return min((agreed - NGRAM + 1).bit_length() - 1, len(_FIRST_RATES) - 1)
