"""Prompt lookup: the tokens that followed the last words earlier are a draft of those that follow them now.

Replies quote: a paragraph to repeat, a list to sort, code to fix. A draft costs nothing to make, and one pass of the
model verifies it (Leviathan et al., 2023, with n-grams in place of the small model): decoding waits for the weights to
be read, and several tokens share one reading. A draft is worth its pass or not by the share of guesses like it that
were right in this reply, and by the costs of passes on this machine.
"""

from collections.abc import Callable, Sequence

NGRAM = 3  # tokens that must match before the token after them is a guess
LONGEST = 16  # the longest match that is counted
PASSES = (4, 8, 16)  # tokens of a verifying pass: the last known one, and a draft
WORTH = 1.1  # times the tokens in the same time that a draft must promise

_FIRST_RATES = (0.4, 0.5, 0.7, 0.9)  # shares of right guesses, by classes of match, short to long
_FIRST_WEIGHT = 4.0  # of these shares, in guesses
_FADING = 0.95  # the weight of a class's earlier guesses, at each new one

Cost = Callable[[int], float]  # tokens of a pass → its time, in passes of one token


class Lookup:
    """The tokens of a prompt and of its reply so far, and guesses of the next ones."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self.tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}  # the last position of the token after these
        self._source = 0  # the position of the guess of the next token
        self._matched = 0  # tokens before it that are also the last ones; 0: there is no guess
        self._right = [_FIRST_WEIGHT * rate for rate in _FIRST_RATES]
        self._guesses = [_FIRST_WEIGHT] * len(_FIRST_RATES)
        for token in prompt:
            self._append(token)

    def add(self, token: int) -> None:
        """Add the reply's next token, which shows if its guess was right, drafted or not."""
        if self._matched:
            kind = _kind(self._matched)
            self._right[kind] = _FADING * self._right[kind] + (self.tokens[self._source] == token)
            self._guesses[kind] = _FADING * self._guesses[kind] + 1
        self._append(token)

    def draft(self, cost: Cost, most: int) -> list[int]:
        """Guess the next tokens, `most` at most; none where no draft is worth its pass."""
        likely = expected = 1.0  # the probability that all guesses up to here are right; tokens that a pass yields
        best, length = WORTH, 0
        for count in range(1, min(most, PASSES[-1] - 1) + 1 if self._matched else 0):
            kind = _kind(self._matched + count - 1)
            likely *= self._right[kind] / self._guesses[kind]
            expected += likely
            if count + 1 in PASSES and expected / cost(count + 1) > best:
                best, length = expected / cost(count + 1), count
        drafted: list[int] = []
        for place in range(self._source, self._source + length):
            known = len(self.tokens)
            drafted.append(self.tokens[place] if place < known else drafted[place - known])  # a repeating text
        return drafted

    def _append(self, token: int) -> None:
        was_right = self._matched and self.tokens[self._source] == token
        self.tokens.append(token)
        if was_right:
            self._source, self._matched = self._source + 1, min(self._matched + 1, LONGEST)
        last = tuple(self.tokens[-NGRAM:])
        if not was_right:
            self._source = self._after.get(last, 0)
            self._matched = self._count_matches()
        if len(last) == NGRAM:
            self._after[last] = len(self.tokens)

    def _count_matches(self) -> int:
        """Count the tokens before the source that equal the last ones."""
        count = 0
        while count < min(self._source, LONGEST) and self.tokens[self._source - 1 - count] == self.tokens[-1 - count]:
            count += 1
        return count


def _kind(matched: int) -> int:
    """The class of a match by its length: each is about twice as long as the one before."""
    return min((matched - NGRAM + 1).bit_length() - 1, len(_FIRST_RATES) - 1)
