"""The check of a prompt's ids before a request, for engines on this machine and on servers."""

from collections.abc import Iterable, Sequence
from operator import index

from menny.errors import EngineError, PromptTooLongError


def checked_prompt(
    prompt_ids: Sequence[int], reserved: int, context_length: int, whose: str = "model", about: str = ""
) -> tuple[list[int], int]:
    """Return a prompt as a list, and the number of tokens that the context leaves after it: `reserved` or more.

    Raises EngineError for what isn't ids, or none of them, and PromptTooLongError, which names the context of `whose`
    it is; `about` stands before a number of tokens that isn't exact.
    """
    try:
        prompt = [index(token) for token in prompt_ids]
    except TypeError as error:
        raise EngineError("The prompt must be a list of token ids: encode the text first.") from error
    room = context_length - len(prompt)
    if not prompt:
        raise EngineError("The prompt is empty: it needs at least one token.")
    if room < reserved:
        raise PromptTooLongError(
            f"The prompt has {about}{len(prompt)} tokens, but the {whose}'s context holds {context_length}: "
            f"shorten it by {reserved - room} or more.",
            tokens=len(prompt),
            limit=context_length - reserved,
        )
    return prompt, room


def check_vocabulary(tokens: Iterable[int], vocab_size: int) -> None:
    """Raise EngineError for an id that isn't the model's."""
    if not all(0 <= token < vocab_size for token in tokens):
        raise EngineError(f"The prompt has a token id outside the model's vocabulary of {vocab_size}.")
