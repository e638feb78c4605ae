"""A vocabulary, whatever its format: a table of bytes per token id, the control tokens by name, and a way to encode.

The four readers beside this file (SentencePiece, tokenizer.json, Tekken, GGUF) each end in a `Vocabulary`, so that
decoding is one mechanism for all of them. What they share stands here too: checked ids, and faults of the tokenizing
libraries turned into sentences.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from menny.errors import ModelError

MAX_VOCABULARY = 1 << 21
MAX_PIECE_BYTES = 1024  # that a token stands for; the longest known have 512

BOS_NAMES = ("<s>", "<|begin_of_text|>")
EOS_NAMES = ("</s>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>")
# Control tokens whatever a file calls them: converted files list some of these as ordinary text, which would let a
# user's message forge a turn.
CONTROL_NAMES = frozenset(
    (
        *BOS_NAMES,
        *EOS_NAMES,
        *("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        *("[THINK]", "[/THINK]", "[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"),
        *("<|im_start|>", "<start_of_turn>", "<|start_header_id|>", "<|end_header_id|>"),
    )
)


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary of any format.

    `pieces[id]` are the bytes that a token stands for, none for a control token. `leading_space` is what decoding
    does about the space that encoding put before the text: "keep" (none was put), strip "one", or strip "all"; tokens
    in `verbatim` are never stripped. `encode` is given well-formed text and yields no control token. `adds_bos`
    is True where the model was trained with texts that begin with BOS.
    """

    source: Path
    pieces: Sequence[bytes]
    controls: Mapping[str, int]
    encode: Callable[[str], list[int]]
    bos_id: int | None = None
    adds_bos: bool = True
    eos_ids: frozenset[int] = frozenset()
    unk_id: int | None = None
    leading_space: Literal["keep", "one", "all"] = "keep"
    verbatim: frozenset[int] = frozenset()
    template_version: str | None = None  # of Mistral's prompt formats, such as v13, where the file says it
    chat_template: str = ""  # the Jinja text beside it: a hint at the prompt's format, never run

    def __post_init__(self) -> None:
        longest = max(map(len, self.pieces), default=0)
        if longest > MAX_PIECE_BYTES:  # a reply would grow by as much with every token
            raise broken(self.source, f"a token stands for {longest} bytes, more than {MAX_PIECE_BYTES}")


def broken(source: Path, what: str) -> ModelError:
    """The error for a vocabulary file that can't be used; `what` names the key and what is wrong there."""
    return ModelError(
        f"The vocabulary {source} can't be used: {what}. Download it again or choose another model.", file=source
    )


def named_ends(controls: Mapping[str, int]) -> frozenset[int]:
    """Return the ids that end a reply, by the control tokens' names."""
    return frozenset(controls[name] for name in EOS_NAMES if name in controls)


def named_bos(controls: Mapping[str, int]) -> int | None:
    """Return the id that opens a prompt, by the control tokens' names."""
    return next((controls[name] for name in BOS_NAMES if name in controls), None)


def checked_id(value: Any, size: int, source: Path, key: str) -> int:
    """Return a token id within the vocabulary. Raises ModelError, which names the key."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise broken(source, f"{key} is not a whole number")
    if not 0 <= value < size:
        raise broken(source, f"{key} is {value}, but the vocabulary has the ids 0 to {size - 1}")
    return value


@contextmanager
def library_faults(source: Path, doing: str) -> Iterator[None]:
    """Turn what a tokenizing library raises into a ModelError; a panic in Rust comes as a BaseException."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise broken(source, f"{doing} failed ({reason})") from error
