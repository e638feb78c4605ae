"""How likely a model on vLLM finds texts, from the log-probabilities that vLLM gives for the tokens of a prompt."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from menny.engine.remote.byte_tokenizer import Spelled
from menny.engine.remote.connection import Call, Connection
from menny.engine.remote.dialect import FLAGS, Dialect
from menny.engine.remote.errors import NotTheProtocolError
from menny.engine_protocols import Score

SCORE_SECONDS = 300.0
AT_ONCE = 8  # requests; vLLM computes them as one batch


class RemoteScorer:
    """Scores the answers to one conversation; `calls` are its requests, for another thread to end."""

    def __init__(self, connection: Connection, dialect: Dialect, model: str, messages: Sequence[Spelled]) -> None:
        self.calls: list[Call] = []
        self._connection, self._dialect = connection, dialect
        self._model, self._messages = model, list(messages)

    def score(self, answers: Sequence[str]) -> list[Score]:
        """Return the score of each answer, in order. Raises RefusedError, NotTheProtocolError and httpx2's errors."""
        asked = self._prompt_ids()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda answer: self._score(answer, asked), answers))

    def _prompt_ids(self) -> list[int]:
        """Return the ids of the conversation, up to where the model would begin its answer."""
        fields = {"model": self._model, "messages": self._messages, "add_generation_prompt": True}
        tokens = self._fetch("/tokenize", fields, root=True).get("tokens")
        if not isinstance(tokens, list):
            raise NotTheProtocolError("it has no tokens")
        return [int(token) for token in tokens]

    def _score(self, answer: str, asked: Sequence[int]) -> Score:
        """Sum the likelihoods of the tokens that an answer adds to the conversation."""
        messages = [*self._messages, {"role": "assistant", "content": answer.strip()}]
        fields = {"model": self._model, "messages": messages, **FLAGS, "max_tokens": 1, "temperature": 0.0}
        listed = self._fetch("/chat/completions", fields | {"prompt_logprobs": 0}).get("prompt_logprobs")
        if not isinstance(listed, list) or not listed:
            raise NotTheProtocolError("it has no prompt_logprobs")
        tokens = [_token(entry) for entry in listed]
        tokens[0] = (asked[0], 0.0) if asked else tokens[0]  # nothing is before it, so it has no likelihood
        same = next((at for at, (one, (id_, _)) in enumerate(zip(asked, tokens, strict=False)) if one != id_), None)
        begin = min(len(asked), len(tokens)) if same is None else same
        likelihoods = [likelihood for _, likelihood in tokens[begin:]]
        if not likelihoods or not all(map(math.isfinite, likelihoods)):
            raise NotTheProtocolError("an answer has no likelihood")
        return Score(sum(likelihoods), len(likelihoods))

    def _fetch(self, path: str, fields: dict[str, Any], root: bool = False) -> dict[str, Any]:
        call = Call()
        self.calls.append(call)
        answer = self._connection.fetch(
            "POST", path, self._dialect.body(fields), seconds=SCORE_SECONDS, root=root, call=call
        )
        if not isinstance(answer, dict):
            raise NotTheProtocolError("it is no object")
        return answer


def _token(entry: Any) -> tuple[int, float]:
    """Return a token's id and log-likelihood; vLLM lists the prompt's own token first."""
    if entry is None:
        return -1, math.nan
    try:
        id_, value = next(iter(entry.items()))
        return int(id_), float(value["logprob"])
    except (AttributeError, StopIteration, ValueError, KeyError, TypeError):
        raise NotTheProtocolError("it has other prompt_logprobs") from None
