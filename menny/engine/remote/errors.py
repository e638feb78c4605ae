"""Sentences for what goes wrong with a server: each says what to do."""

from itertools import groupby
from operator import itemgetter
from typing import Any
from urllib.parse import urlsplit

import httpx2

from menny.errors import EngineError, MennyError

BAD_ADDRESS = "This server address isn't valid: one looks like http://127.0.0.1:8000/v1."
BAD_KEY = "The key for {address} has characters that no key has: copy it once more."
BAD_PROXY = (
    "The proxy that this machine's environment names can't be used: HTTP_PROXY, HTTPS_PROXY and ALL_PROXY have to look "
    "like http://proxy:8080 or socks5://proxy:1080. Correct or unset them, and NO_PROXY, then start Menny again."
)
BAD_CERTIFICATES = (
    "The certificates that this machine's environment names can't be read: correct or unset SSL_CERT_FILE, then start "
    "Menny again."
)
NO_CONNECTION = "There is no connection to {address}: is the server running, and is the address right?"
NO_ANSWER = "{address} doesn't answer: check that it is still working, or ask again."
NOT_THE_PROTOCOL = (
    "{address} sends what isn't the protocol: it may not be an OpenAI-compatible server, or is /v1 missing?"
)
DROPPED = "{address} dropped the connection in the middle: what came stays; is the server running? If it is, ask again."
CUT_OFF = "The connection to {address} broke off; what arrived is kept. Ask again."
TOO_MUCH = "{address} sends more than was asked for, so the reply ends here."
NO_TEXT = "{address} sends something else than text: it may not be a server for chats."
FILTERED = "{address} filtered this reply: ask in other words, or choose another model."
EMPTY = "{address} sent an empty reply: ask again, or choose another model."
ONLY_THOUGHTS = "{address} thought until the reply's length was used up, and wrote no answer: allow a longer reply."
ONLY_TOOLS = "{address} called a tool instead of answering, and Menny has none: ask in other words."
REPORTED = "{address} reports an error ({reason}): ask again, or look into its log."
NO_LIST = "{address} answers with an error ({reason}) in place of its models: is /v1 missing?"
NO_CONTINUING = "{address} can't continue a reply: regenerate it instead."
NO_SCORING = "{address} can't score texts, so it can't moderate: choose a model on this machine, or on vLLM."
CLOSED = "The connection to {address} was closed: choose the model again."

LONGEST_REASON = 200  # characters
SHORTEST_ECHO = 4  # characters of a key that are hidden wherever they appear
NO_REASON = "without a reason"
DEEPEST = 8  # levels of an error's body

BY_STATUS = {
    401: "{address} refuses the key: check the key that its entry names.",
    403: "{address} refuses the key: check the key that its entry names.",
    404: "{address} doesn't have this model, or isn't a server for chats: its address should end in /v1.",
    413: "{address} finds the conversation too long: begin a new chat.",
    429: "{address} has too much to do: wait {wait}, then ask again.",
}


class NotTheProtocolError(Exception):
    """An answer that no OpenAI-compatible server gives."""


class RefusedError(Exception):
    """An answer with an HTTP error's status."""

    def __init__(self, status: int, headers: dict[str, str], body: object) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.reason = reason_of(body)


def describe_error(error: BaseException, address: str, key: str | None) -> MennyError:
    """Return the sentence for an error of a request."""
    if isinstance(error, MennyError):
        return error
    return EngineError(_sentence(error, key).format(address=address))


def _sentence(error: BaseException, key: str | None) -> str:
    """Return a sentence in which the address has yet to be filled in."""
    match error:
        case RefusedError():
            return _by_status(error, key)
        case httpx2.TimeoutException():
            return NO_ANSWER
        case httpx2.ConnectError() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
            return NO_CONNECTION
        case httpx2.InvalidURL():
            return BAD_ADDRESS
        case httpx2.TransportError():
            return DROPPED
        case NotTheProtocolError() | httpx2.DecodingError() | ValueError():
            return NOT_THE_PROTOCOL
    return _literal(f" failed in a way that Menny doesn't know ({type(error).__name__}): ask again.", "{address}")


def _by_status(error: RefusedError, key: str | None) -> str:
    status, reason = error.status, without_key(error.reason, key)
    if 300 <= status < 400:
        host = short(urlsplit(error.headers.get("location", "")).netloc) or "elsewhere"
        sentence = f" redirects to {without_key(host, key)}, and Menny doesn't follow: give the server's own address."
        return _literal(sentence, "{address}")
    if status in BY_STATUS and not (status == 404 and reason not in (NO_REASON, "Not Found")):
        return BY_STATUS[status].replace("{wait}", _wait(error.headers.get("retry-after", "")))
    failed, todo = ("failed", "ask again later") if status >= 500 else ("refuses the request", "change the request")
    return _literal(f" {failed} (HTTP {status}: {reason}): {todo}, or look into its log.", "{address}")


def reported(reason: str, address: str, key: str | None) -> EngineError:
    """Return the error of a server that reports one in the middle of an answer."""
    return EngineError(REPORTED.format(address=address, reason=without_key(reason, key)))


def reason_of(body: Any, depth: int = 0) -> str:
    """Return a server's own words for an error: OpenAI's `error`, FastAPI's `detail`, or a plain `message`."""
    if depth > DEEPEST:
        return NO_REASON
    for name in ("error", "detail", "message", "msg"):
        if isinstance(body, dict) and body.get(name):
            return reason_of(body[name], depth + 1)
    if isinstance(body, list) and body:
        return short("; ".join(_with_place(one, depth + 1) for one in body[:3]))
    return (short(body) if isinstance(body, str) else "") or NO_REASON


def _with_place(entry: Any, depth: int) -> str:
    """Return one of FastAPI's complaints, with the field that it is about."""
    place = entry.get("loc") if isinstance(entry, dict) else None
    field = ".".join(str(part) for part in place if part != "body") if isinstance(place, list) else ""
    return f"{field}: {reason_of(entry, depth)}" if field else reason_of(entry, depth)


def without_key(text: str, key: str | None) -> str:
    """Return a server's words with an ellipsis in place of the key, and of every part of it from four characters on."""
    if not key:
        return text
    width, folded, searched = min(SHORTEST_ECHO, len(key)), key.casefold(), text.casefold()
    if len(searched) != len(text):  # a letter that folds to several: then compare as written
        folded, searched = key, text
    parts = {folded[start : start + width] for start in range(len(folded) - width + 1)}
    hidden = [False] * len(text)
    for start in range(len(text) - width + 1):
        if searched[start : start + width] in parts:
            hidden[start : start + width] = [True] * width
    runs = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    return "".join("…" if is_hidden else "".join(letter for letter, _ in run) for is_hidden, run in runs)


def short(text: object) -> str:
    """Return a text on one line, with what can be shown of it only."""
    line = " ".join(str(text)[: 10 * LONGEST_REASON].split())
    return "".join(letter for letter in line if letter.isprintable())[:LONGEST_REASON]


def _literal(text: str, before: str) -> str:
    """Return a text that `format` leaves as it is, after one that it fills in."""
    return before + text.replace("{", "{{").replace("}", "}}")


def _wait(stated: str) -> str:
    """Return how long to wait, as the server states it in seconds; a date isn't read."""
    is_number = stated.isascii() and stated.isdecimal() and len(stated) < 9
    return f"{int(stated):,} seconds" if is_number and int(stated) > 1 else "a little"
