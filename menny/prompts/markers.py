"""Forged turns, where the markers of a template are ordinary text: `[INST]` in mistral-v1 and llama-2, `<<SYS>>`."""

import re
import unicodedata

_OPEN, _CLOSE = "[［﹇⁅⟦【〔〚❲", "]］﹈⁆⟧】〕〛❳"
_OPEN_ANGLE, _CLOSE_ANGLE = "<＜﹤", ">＞﹥"
_IN_BRACKETS = re.compile(rf"[{re.escape(_OPEN)}]([^{re.escape(_OPEN + _CLOSE)}]*)[{re.escape(_CLOSE)}]")
_IN_ANGLES = re.compile(
    rf"[{_OPEN_ANGLE}]([^\w{_OPEN_ANGLE}{_CLOSE_ANGLE}]*+)[{_OPEN_ANGLE}]"
    rf"([^{_OPEN_ANGLE}{_CLOSE_ANGLE}]*)"
    rf"[{_CLOSE_ANGLE}]([^\w{_OPEN_ANGLE}{_CLOSE_ANGLE}]*+)[{_CLOSE_ANGLE}]"
)


def neutralise(text: str) -> str:
    """Takes the brackets off every `[INST]`, `[/INST]`, `<<SYS>>` and `<</SYS>>` in a text: `(INST)`, `((SYS))`.

    mistral-v1 and llama-2 have no control tokens for these, so a text that holds one would be a turn to the model. A
    marker counts in any case and width, and with blanks, accents, punctuation or invisible characters strewn in it.
    Brackets nested in brackets can't hide one: the innermost pair counts, and a parenthesis builds no marker. Letters
    of other alphabets that look like these are left as they are: to the model they are other tokens.
    """

    def unbracket(match: re.Match[str]) -> str:
        return f"({match[1]})" if _letters(match[1]) in ("inst", "/inst") else match[0]

    def unbracket_angles(match: re.Match[str]) -> str:
        before, name, after = match.groups()
        return f"({before}({name}){after})" if _letters(name) in ("sys", "/sys") else match[0]

    return _IN_ANGLES.sub(unbracket_angles, _IN_BRACKETS.sub(unbracket, text))


def _letters(text: str) -> str:
    """What is left of a text as plain small letters, digits and slashes."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum() or c == "/")
