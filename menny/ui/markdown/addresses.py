"""Find the addresses of a message that are written without brackets, as GitHub does:
https://github.github.com/gfm/#autolinks-extension-.
"""

import re

from markdown_it.rules_inline import StateInline

_SCHEME = re.compile(r"(?<![a-z0-9])https?\Z", re.IGNORECASE)
_NO_PART = r"\s<>\"`|\\\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2018-\u201f\u2026"
_REST = re.compile(rf"://[a-z0-9\[](?:(?!\*\*|~~)[^{_NO_PART}])*", re.IGNORECASE)
_WWW = re.compile(rf"(?<![\w/@.:-])www\.[a-z0-9](?:(?!\*\*|~~)[^{_NO_PART}])*", re.IGNORECASE)
_MAILBOX = re.compile(r"[a-z0-9][a-z0-9._+-]*\Z", re.IGNORECASE)
_MAIL_HOST = re.compile(r"@[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]*[a-z0-9])+(?![\w@-])", re.IGNORECASE)
_ENTITY = re.compile(r"&[a-z0-9]+;\Z", re.IGNORECASE)
_PAIRS = {")": "(", "]": "[", "}": "{"}
_LONGEST_SCHEME = 5
_LONGEST_ENTITY = 33
_LONGEST_MAILBOX = 64


def web_address(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: an address that begins with http:// or https://."""
    if silent or state.linkLevel or state.src[state.pos] != ":":
        return False
    scheme = _SCHEME.search(state.src[max(0, state.pos - _LONGEST_SCHEME - 1) : state.pos])
    rest = _REST.match(state.src, state.pos, state.posMax)
    if scheme is None or rest is None or not state.pending.endswith(scheme[0]):
        return False
    return _push_link(state, scheme[0], without_end(rest[0]), "")


def mail_address(state: StateInline, silent: bool) -> bool:
    """A rule of markdown-it: somebody@example.org."""
    if silent or state.linkLevel or state.src[state.pos] != "@":
        return False
    mailbox = _MAILBOX.search(state.src[max(0, state.pos - _LONGEST_MAILBOX) : state.pos])
    host = _MAIL_HOST.match(state.src, state.pos, state.posMax)
    if mailbox is None or host is None or not state.pending.endswith(mailbox[0]):
        return False
    before = state.src[: state.pos - len(mailbox[0])][-1:]
    if before and (before.isalnum() or before in "_./:@+-"):
        return False
    return _push_link(state, mailbox[0], host[0], "mailto:")


def split_www(text: str) -> list[tuple[str, str]]:
    """Return a text as parts with their addresses, which are empty for what is no address."""
    parts: list[tuple[str, str]] = []
    at = 0
    for match in _WWW.finditer(text):
        shown = without_end(match[0])
        parts += [(text[at : match.start()], ""), (shown, f"http://{shown}")]
        at = match.start() + len(shown)
    return [part for part in [*parts, (text[at:], "")] if part[0]]


def without_end(address: str) -> str:
    """Return an address without the marks at its end that belong to the sentence around it."""
    surplus = {close: address.count(close) - address.count(start) for close, start in _PAIRS.items()}
    end = len(address)
    while end:
        last = address[end - 1]
        if surplus.get(last, 0) > 0:
            surplus[last] -= 1
            end -= 1
        elif last in "?!.,:*_~'":
            end -= 1
        elif last == ";":
            entity = _ENTITY.search(address[max(0, end - _LONGEST_ENTITY) : end])
            end -= len(entity[0]) if entity else 1
        else:
            break
    return address[:end]


def _push_link(state: StateInline, start: str, rest: str, scheme: str) -> bool:
    """Make a link of what stands before this place, and of what follows."""
    href = state.md.normalizeLink(scheme + start + rest)
    if not state.md.validateLink(href):
        return False
    state.pending = state.pending[: -len(start)]
    state.push("link_open", "a", 1).attrs = {"href": href}
    state.push("text", "", 0).content = start + rest
    state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True
