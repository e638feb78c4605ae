"""Errors between here and the hub, each as one sentence that says what to do."""

import errno
import json
import os
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from menny.errors import MennyError, ModelError

BY_STATUS = {
    401: "The hub doesn't know the token, or wants one for {repo}: give a valid token, then download it again.",
    403: "This token has no access to {repo}: ask for access on its page, or give another token.",
    404: "The hub no longer has all files of {repo}: check its page, or choose another model.",
}
LONGEST_WAIT = 5  # seconds for which huggingface_hub may sleep before it asks again


def describe_error(error: BaseException, repo: str, revision: str | None) -> MennyError:
    """The sentence for an error of a download, which may be the cause of another."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, MennyError):
            return cause
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return ModelError("The disk is full: free some space, then download it again; finished files are kept.")
    for cause in causes:
        if sentence := _sentence(cause, repo, revision):
            return ModelError(sentence)
    return ModelError(f"{repo} can't be downloaded ({type(error).__name__}): start it again, and it goes on.")


def describe_search_error(error: BaseException) -> str:
    """The sentence for an error of a search, which may be the cause of another."""
    for cause in _chain(error):
        match cause:
            case OfflineModeIsEnabled():
                return "Menny is offline (HF_HUB_OFFLINE is set), so the hub can't be searched."
            case httpx2.TransportError() | OSError() if not isinstance(cause, HfHubHTTPError):
                return (
                    f"There is no connection to {_host()}, so it can't be searched. "
                    "Models that are on this machine work without it."
                )
            case HfHubHTTPError() if cause.response is not None:
                return _by_status_of_search(cause.response)
            case MennyError():
                return str(cause)
    return f"{_host()} doesn't answer as the hub does: check HF_ENDPOINT, and whether the network wants a sign-in."


class TroubleError(ModelError):
    """The hub can't be asked at the moment, whatever for."""


def refuse_trouble(response: httpx2.Response) -> None:
    """Raise TroubleError for an answer after which huggingface_hub would ask again."""
    if response.status_code == 429 or response.status_code >= 500:
        raise TroubleError(_by_status_of_search(response))


def _by_status_of_search(response: httpx2.Response) -> str:
    if response.status_code == 401:
        return "The hub doesn't accept the token: save a valid one under Token, or remove it."
    if response.status_code == 429:
        return "The hub has had too many requests from here: wait some minutes, then search again."
    return f"The hub can't be searched at the moment (HTTP {response.status_code}): try again later."


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error and what it came from, the nearest first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _sentence(error: BaseException, repo: str, revision: str | None) -> str:
    page = f"{constants.ENDPOINT}/{repo}"
    match error:
        case OfflineModeIsEnabled():
            return f"Menny is offline (HF_HUB_OFFLINE is set), so {repo} can't be downloaded: unset it, then try again."
        case GatedRepoError():
            return f"{repo} is only for users who agree to its terms: agree at {page}, and give a token here."
        case DisabledRepoError():
            return f"{repo} was disabled on the hub: choose another model."
        case RevisionNotFoundError():
            return f"{repo} no longer has the revision {revision or 'main'}: leave it out of the entry, or update it."
        case RepositoryNotFoundError():
            return f"The hub has no {repo}, or it is private: check the name, or give a token."
        case UnicodeEncodeError():
            return "The token for the hub (HF_TOKEN) has characters that no token has: copy it again."
        case HFValidationError():
            return f"{repo!r} isn't the name of a repository: those look like owner/name."
        case HfHubHTTPError() if error.response is not None:
            return _by_status(error.response, repo)
        case FileMetadataError() | json.JSONDecodeError() | TypeError() | LookupError() | AttributeError():
            return (
                f"{_host()} doesn't answer as the hub does: check HF_ENDPOINT, and whether the network wants a sign-in."
            )
        case httpx2.TooManyRedirects():
            return f"{_host()} redirects in circles: check HF_ENDPOINT, or try later."
        case httpx2.TransportError():
            return f"There is no connection to {_host()}: check the network, then start it again, and it goes on."
        case OSError() if "onsistency check failed" in str(error):
            return f"A file of {repo} arrived incomplete: start it again, and it goes on."
        case OSError() if error.errno is not None and not isinstance(error, HfHubHTTPError):
            return f"A file can't be written ({os.strerror(error.errno)}): check the models folder, then try again."
    return ""


def silence(repo: str, seconds: float) -> str:
    """The sentence for a server that never answers, or stops in the middle of a file."""
    return (
        f"Nothing of {repo} has come from {_host()} for {seconds:.0f} seconds: check the network, then start it again, "
        "and it goes on."
    )


def refuse_long_waits(response: httpx2.Response) -> None:
    """Raise ModelError for an answer after which huggingface_hub would sleep, in silence, for as long as it names."""
    if response.status_code == 429 and (_seconds_to_wait(response) or 0) > LONGEST_WAIT:
        raise ModelError(_too_many(response))


def _too_many(response: httpx2.Response) -> str:
    seconds = _seconds_to_wait(response)
    wait = "some minutes" if seconds is None else "a moment" if seconds < 2 else f"{seconds:,} seconds"
    return f"The hub has had too many requests from here (429): wait {wait}, then download it again; a token helps."


def _seconds_to_wait(response: httpx2.Response) -> int | None:
    limit = parse_ratelimit_headers(response.headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    seconds = response.headers.get("Retry-After", "")
    return int(seconds) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 9 else None


def _by_status(response: httpx2.Response, repo: str) -> str:
    status = response.status_code
    if status == 429:
        return _too_many(response)
    if status in BY_STATUS:
        return BY_STATUS[status].format(repo=repo)
    what = "has an error" if status >= 500 else "refuses"
    return f"The hub {what} (HTTP {status}): try again later."


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT
