"""What a server can do wrong, each in one sentence that says what to do."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import openai

from menny.errors import EngineError, MennyError

if TYPE_CHECKING:
    from menny.engine.remote.engine import Server

BY_STATUS = {
    401: "{address} refuses the key: check the key that its entry names.",
    403: "{address} refuses the key: check the key that its entry names.",
    404: "{address} doesn't know this model, or this request: its address should end in /v1, the model be its own.",
    413: "{address} finds the conversation too long: begin a new chat.",
    429: "{address} has too much to do: wait {wait}, then ask again.",
}


def describe_error(error: BaseException, server: "Server") -> MennyError:
    """The sentence for an error of a request."""
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else None
    sentence = _sentence(cause if isinstance(cause, httpx2.HTTPError) else error, server.address)
    return EngineError(sentence.replace(server.key, "…") if server.key else sentence)


def _sentence(error: BaseException, address: str) -> str:
    match error:
        case MennyError():
            return str(error)
        case openai.APIStatusError():
            return _by_status(error, address)
        case openai.APITimeoutError() | httpx2.TimeoutException():
            return f"{address} doesn't answer: look whether it is still at work, or ask again."
        case openai.APIConnectionError() | httpx2.ConnectError() | httpx2.ProxyError() | httpx2.UnsupportedProtocol():
            return f"There is no connection to {address}: is the server running, and its address right?"
        case httpx2.TransportError():
            dropped = f"{address} dropped the connection in the middle: what came stays; "
            return f"{dropped}is the server running? Then ask again."
        case openai.APIResponseValidationError() | httpx2.DecodingError() | ValueError():  # no JSON, or no UTF-8
            return f"{address} sends what isn't the protocol: it may not be an OpenAI-compatible server."
        case openai.APIError():
            return f"{address} reports a fault ({_short(error.message)}): ask again, or look into its log."
    return f"{address} sends what isn't the protocol ({type(error).__name__}): is it an OpenAI-compatible server?"


def _by_status(error: openai.APIStatusError, address: str) -> str:
    status = error.status_code
    if 300 <= status < 400:
        host = urlsplit(error.response.headers.get("Location", "")).netloc or "elsewhere"
        return f"{address} sends on to {_short(host)}, where Menny doesn't follow: give the server's own address."
    if status in BY_STATUS:
        return BY_STATUS[status].format(address=address, wait=_wait(error.response.headers.get("Retry-After", "")))
    whose, todo = ("has a fault", "ask again later") if status >= 500 else ("refuses the request", "change the request")
    return f"{address} {whose} (HTTP {status}: {_short(_told(error))}): {todo}, or look into its log."


def _wait(told: str) -> str:
    """How long, by what the server says of it: seconds, or a date, which isn't read."""
    is_number = told.isascii() and told.isdecimal() and len(told) < 9
    return f"{int(told):,} seconds" if is_number and int(told) > 1 else "a little"


def _told(error: openai.APIStatusError) -> str:
    """The server's own words."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        told = inner.get("message", "") if isinstance(inner, dict) else inner
        return str(told) or "without a word"
    return "without a word"


def _short(text: object) -> str:
    return " ".join(str(text).split())[:200]
