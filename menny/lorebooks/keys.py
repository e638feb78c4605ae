"""Keys of lorebook entries: plain words and phrases, or regular expressions between slashes, as JavaScript has them.

SillyTavern puts the character U+0001 and “Name:” before each message, so that a regular expression can ask who said
something. Here only those that name this character, as `\\x01`, search such a text: names aren't keys to all others.
"""

import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import regex

REGEX_SECONDS = 0.05  # of a processor, for all regular expressions over one message: what others take doesn't count
AT_ONCE = 50e-6  # seconds of one search that isn't counted: of ten thousand, the counting itself would be too much
FLAGS = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL, "g": 0, "u": 0, "y": 0, "d": 0}
FLAGS["v"] = regex.VERSION1  # sets within sets
ESCAPES = frozenset("bBdDfnprPsStuvwWx")  # letters that mean something after a backslash; others are themselves
MAX_REPEATS = 2_000  # of a part of a pattern, all that it stands in counted
PROBES = (*(letter * 12 for letter in "aZ7!é你"), "a" * 400)
BEGINS_MESSAGE = "\x01"  # before a message's speaker

_SLASHED = regex.compile(r"/(.+)/([a-z]*)", regex.DOTALL)
_BARE_SLASH = regex.compile(r"(?<!\\)(?:\\\\)*/")
_PIECE = regex.compile(
    r"\\.|\[\^?(?:\\.|[^\]\\])*\]|(?P<opens>\()|(?P<closes>\))|(?P<more>\+)|\{(?P<least>\d+)(?P<open>,\d*)?\}|.",
    regex.DOTALL,
)
_NAMES_SPEAKERS = regex.compile(r"\\x01|\\u0001|\x01", regex.IGNORECASE)
_LITERAL = regex.compile(r"(?<!\\)\w+")
_JAVASCRIPT = regex.compile(  # an escape or a set is taken as a whole, so that nothing within it is taken for another
    r"\\u\{(?P<point>[0-9A-Fa-f]{1,6})\}|\\k<(?P<name>\w+)>|\\c(?P<control>[A-Za-z])|\\(?P<letter>[A-Za-z])|\\."
    r"|(?P<any>\[\^\])|(?P<none>\[\])|\[\^?(?:\\.|[^\]\\])+\]|(?P<end>\$)|(?P<brace>\{)(?=,)",
    regex.DOTALL,
)
_WITHOUT_SPACES = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
)


@dataclass(slots=True)
class RegexTime:
    """The time that regular expressions may still take over one message; one of them may take half of it.

    `slow` are the keys that were stopped, `untried` those that weren't looked for any more once the time was used up.
    """

    left: float = REGEX_SECONDS
    slow: dict[str, None] = field(default_factory=dict)
    untried: dict[str, None] = field(default_factory=dict)

    def search(self, key: str, pattern: "regex.Pattern[str]", text: str) -> bool:
        """Search a text, unless the time is used up."""
        if self.left <= 0 or key in self.slow:
            if key not in self.slow:
                self.untried.setdefault(key)
            return False
        began = time.thread_time()
        try:
            return pattern.search(text, timeout=min(self.left, REGEX_SECONDS / 2)) is not None
        except TimeoutError:
            is_slow = time.thread_time() - began > REGEX_SECONDS / 10
            (self.slow if is_slow else self.untried).setdefault(key)
            return False
        finally:
            taken = time.thread_time() - began
            self.left -= taken if taken > AT_ONCE else 0


@lru_cache(maxsize=10_000)  # of a few kilobytes each; the largest takes 300
def pattern_of(key: str) -> "regex.Pattern[str] | None":
    """Compile a key of the form /…/flags; None for a plain key, as one is that can't be compiled."""
    slashed = _SLASHED.fullmatch(unicodedata.normalize("NFC", key))
    if slashed is None or _BARE_SLASH.search(slashed[1]) or not set(slashed[2]) <= set(FLAGS):
        return None
    if repeats_too_much(key):
        return None
    flags = 0
    for letter in slashed[2]:
        flags |= FLAGS[letter]
    try:
        return regex.compile(_in_python(slashed[1], flags), flags)
    except (regex.error, RecursionError, OverflowError, MemoryError, ValueError):
        return None


def _in_python(source: str, flags: int) -> str:
    """A regular expression of JavaScript in Python's words, where those differ."""

    def written(found: "regex.Match[str]") -> str:
        if point := found["point"]:
            return str(regex.escape(chr(int(point, 16))))
        if name := found["name"]:
            return f"(?P={name})"
        if found["any"]:
            return r"[\s\S]"
        if found["none"]:
            return r"(?!)"
        if control := found["control"]:
            return f"\\x{ord(control) % 32:02x}"
        if (letter := found["letter"]) and letter not in ESCAPES:
            return str(letter)
        if found["brace"]:
            return r"\{"
        return r"\Z" if found["end"] and not flags & regex.MULTILINE else found[0]

    return str(_JAVASCRIPT.sub(written, source))


def repeats_too_much(key: str) -> bool:
    """True for a regular expression of such repetitions that compiling it takes too much memory.

    What is repeated is compiled as often as it must stand there, and once more where it may go on: repetitions within
    repetitions multiply.
    """
    if not _SLASHED.fullmatch(key):
        return False
    sizes, last = [0], 0  # of the groups that are open, and of what a repetition would repeat
    for piece in _PIECE.finditer(key):
        if piece["opens"]:
            sizes.append(1)
        elif piece["closes"] and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        elif piece["more"] or piece["least"]:
            least = int((piece["least"] or "1")[:9])
            times = least + bool(piece["more"] or piece["open"]) if least else 1
            sizes[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            sizes[-1] += 1
        if sizes[-1] > MAX_REPEATS:
            return True
    return False


@lru_cache(maxsize=50_000)
def why_never(key: str) -> str:
    """Return why a key never matches; "" for one that can."""
    if not key.strip():
        return "it is empty"
    if repeats_too_much(key):
        return f"it repeats more than {MAX_REPEATS:,} times"
    pattern = pattern_of(key)
    if pattern is None:
        return ""
    words = _LITERAL.findall(key.rpartition("/")[0])  # it may ask that they are absent
    time_left = RegexTime()
    matches_all = all(time_left.search(key, pattern, text) for text in (*PROBES, *words))
    return "it matches every text" if matches_all else ""


class ScanText:
    """The last messages of a chat, and the contents that were called up, for keys to be looked for in.

    `speakers` are the names of who wrote the messages, where they are known. `time` may be shared with other texts.
    """

    def __init__(self, messages: Sequence[str], speakers: Sequence[str] = (), time: RegexTime | None = None) -> None:
        self._messages = messages
        self._named = [
            f"{BEGINS_MESSAGE}{name}: {text}" for name, text in zip(speakers, messages, strict=bool(speakers))
        ]
        self._recursed: list[str] = []
        self._joined: dict[tuple[int, bool, bool, int | None], str] = {}
        self._searched: dict[tuple[str, int, bool, bool], int | None] = {}
        self.time = time or RegexTime()

    def add(self, contents: Sequence[str]) -> None:
        """Add contents that were called up."""
        self._recursed.extend(contents)
        self._joined.clear()

    def has(self, key: str, depth: int, case_sensitive: bool, whole_words: bool) -> bool:
        """True if the key stands in the last `depth` messages, or in what was called up.

        A plain key is searched for in each text once: what was called up since is searched for it alone.
        """
        if why_never(key):
            return False
        if pattern := pattern_of(key):
            return self.time.search(key, pattern, self._text(depth, True, bool(_NAMES_SPEAKERS.search(key))))
        place = key, depth, case_sensitive, whole_words
        since = self._searched.get(place, 0)
        if since is not None and (since < len(self._recursed) or place not in self._searched):
            text = self._text(depth, case_sensitive, since=since if place in self._searched else None)
            self._searched[place] = None if _stands_in(key, text, case_sensitive, whole_words) else len(self._recursed)
        return self._searched[place] is None

    def _text(self, depth: int, case_sensitive: bool, is_named: bool = False, since: int | None = None) -> str:
        """The text to search; with `since`, only what was called up after that many contents."""
        place = depth, case_sensitive, is_named, since
        found = self._joined.get(place)
        if found is None:
            messages = self._named or self._messages if is_named else self._messages
            seen = messages[-depth:] if depth and since is None else ()
            found = self._joined[place] = _plain("\n".join([*seen, *self._recursed[since or 0 :]]), case_sensitive)
        return found


def _plain(text: str, case_sensitive: bool) -> str:
    """A text in the spelling in which it is compared."""
    text = unicodedata.normalize("NFC", text)
    return text if case_sensitive else unicodedata.normalize("NFC", text.casefold())


_plain_key = lru_cache(maxsize=100_000)(_plain)


def _stands_in(key: str, text: str, case_sensitive: bool, whole_words: bool) -> bool:
    """True if a plain key stands in a text in its spelling for comparing."""
    wanted = _plain_key(key, case_sensitive)
    if wanted not in text:
        return False
    is_word = whole_words and " " not in wanted and not _WITHOUT_SPACES.search(wanted)
    return not is_word or _stands_alone(wanted, text)


def _stands_alone(word: str, text: str) -> bool:
    """True if a word stands in a text with no letter, digit or underscore beside it."""
    at = text.find(word)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(word) : at + len(word) + 1]
        if not _is_letter(before) and not _is_letter(after):
            return True
        at = text.find(word, at + 1)
    return False


def _is_letter(character: str) -> bool:
    """True for what a word goes on with; words in scripts without spaces, or with endings, may touch it."""
    if _WITHOUT_SPACES.match(character):
        return False
    return character.isalnum() or character == "_" or unicodedata.category(character or " ").startswith("M")


Fill = Callable[[str], str]
