"""One Tokenizer over SentencePiece, tokenizer.json, Tekken and GGUF vocabularies.

Encoding is the vocabulary's own; decoding is one table of bytes and an incremental UTF-8 decoder for all of them.
"""

import codecs
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from menny.engine.formats.gguf import MAGIC, read_gguf
from menny.engine.formats.small_files import read_config, read_json
from menny.engine.tokenizers.gguf import gguf_vocabulary
from menny.engine.tokenizers.sentencepiece import read_sentencepiece
from menny.engine.tokenizers.tekken import tekken_vocabulary
from menny.engine.tokenizers.tokenizer_json import added_ids, json_vocabulary
from menny.engine.tokenizers.vocabulary import Vocabulary, broken, checked_id, library_faults
from menny.errors import ModelError
from menny.model_files import find_model, gguf_parts, is_gguf

MOST_TEMPLATE = 1 << 20  # characters
SENTENCEPIECE_NAME = re.compile(r"\.model(?:\.v(\d+)(?:m\d+)?)?$")


class Decoder:
    """Turns token ids into text one by one, holding back a character until all its bytes are there."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = vocabulary.leading_space != "keep"

    def add(self, token: int) -> str:
        """The text that this token completes; bytes that are no UTF-8 become U+FFFD."""
        pieces = self._vocabulary.pieces
        if not 0 <= token < len(pieces):
            raise ModelError(
                f"The token {token} is not in the vocabulary {self._vocabulary.source}, which has the ids 0 to "
                f"{len(pieces) - 1}. The model and its vocabulary don't belong together."
            )
        piece = pieces[token]
        if self._at_start and piece:
            piece = self._first(token, piece)
        return self._utf8.decode(piece)

    def finish(self) -> str:
        """Return the rest at the end, which is empty: an incomplete character is dropped."""
        self._utf8.reset()
        return ""

    def _first(self, token: int, piece: bytes) -> bytes:
        stripped = piece if token in self._vocabulary.verbatim else piece.removeprefix(b" ")
        self._at_start = self._vocabulary.leading_space == "all" and not stripped
        return stripped


class Tokenizer:
    """A vocabulary at work: text to token ids and back. It has no state, so threads may share it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._never = frozenset(vocabulary.controls.values()) - {vocabulary.unk_id}

    @property
    def bos_id(self) -> int | None:
        """The token that opens a prompt; `encode` never adds it."""
        return self._vocabulary.bos_id

    @property
    def opening(self) -> Sequence[int]:
        """The ids before a text outside any template: BOS, where the model was trained with it."""
        return [self.bos_id] if self.bos_id is not None and self._vocabulary.adds_bos else []

    @property
    def eos_ids(self) -> frozenset[int]:
        """The tokens that end a reply, the end of a turn among them."""
        return self._vocabulary.eos_ids

    @property
    def vocab_size(self) -> int:
        """The number of ids, control tokens included."""
        return len(self._vocabulary.pieces)

    @property
    def template_version(self) -> str | None:
        """Mistral's version of the prompt format that the vocabulary was made for, such as v13; None where unknown."""
        return self._vocabulary.template_version

    @property
    def chat_template(self) -> str:
        """The Jinja text of the prompt's format, where one came along; "" where none did. It is a hint, never run."""
        return self._vocabulary.chat_template

    @property
    def control_ids(self) -> frozenset[int]:
        """The ids of all control tokens, which have no text."""
        return self._never

    def control_id(self, piece: str) -> int | None:
        """The id of the control token of this name, None where the vocabulary has none."""
        return self._vocabulary.controls.get(piece)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without BOS and never a control token, whatever the text says."""
        if not text:
            return []
        with library_faults(self._vocabulary.source, "encoding a text"):
            ids = self._vocabulary.encode(_well_formed(text))
        if self._never.isdisjoint(ids):
            return ids
        return [token for token in ids if token not in self._never]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; control tokens and an incomplete character at the end yield nothing."""
        decoder = self.decoder()
        return "".join([decoder.add(token) for token in ids]) + decoder.finish()

    def decoder(self) -> Decoder:
        """A decoder of its own for one stream of tokens."""
        return Decoder(self._vocabulary)


def _well_formed(text: str) -> str:
    """The text with surrogates paired where they make a character, and U+FFFD for those alone."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a model folder, a .gguf, or a vocabulary file; raises ModelError for one that can't be used."""
    path = Path(os.path.expanduser(path))
    try:
        is_folder = path.is_dir()
    except ValueError as error:
        raise ModelError(f"The path {str(path)!r} can't be read: {error}.") from error
    return Tokenizer(_read_folder(path) if is_folder else _read_file(path))


def _read_file(path: Path) -> Vocabulary:
    """The vocabulary in one file, by its name, or by its first bytes where the name is no help."""
    if path.suffix == ".json":
        spec = read_json(path)
        is_tekken = path.name.startswith("tekken") or ("vocab" in spec and "model" not in spec)
        return tekken_vocabulary(spec, path) if is_tekken else json_vocabulary(spec, path)
    if SENTENCEPIECE_NAME.search(path.name):
        return read_sentencepiece(path)
    if path.suffix == ".gguf" or _starts_as_gguf(path):
        return gguf_vocabulary(read_gguf(gguf_parts(path)[0]))
    raise ModelError(
        f"{path} is not a vocabulary that Menny reads: choose a model folder, a .gguf, tokenizer.model, tokenizer.json "
        "or tekken.json."
    )


def _starts_as_gguf(path: Path) -> bool:
    try:
        if not path.is_file():
            raise ModelError(f"The vocabulary {path} is not there, or not a regular file. Choose another model.")
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise ModelError(f"The vocabulary {path} can't be read: {error.strerror or error}.") from error


def _read_folder(folder: Path) -> Vocabulary:
    """The folder's vocabulary, with the ids that its configuration adds."""
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ModelError(f"The model folder {folder} can't be read: {error.strerror or error}.") from error
    return _with_configured_ids(_pick(folder, names), folder)


def _pick(folder: Path, names: list[str]) -> Vocabulary:
    """The vocabulary of the original files first, which name the ids; tokenizer.json where it has tokens they lack.

    A fine-tuned model often carries the original tokenizer.model beside a tokenizer.json that adds the tokens of
    another template: then only the latter is the whole vocabulary.
    """
    hub = folder / "tokenizer.json"
    tekken = [name for name in names if name.startswith("tekken") and name.endswith(".json")]
    sentencepiece = [name for name in names if SENTENCEPIECE_NAME.search(name)]
    if tekken or sentencepiece:
        original = _read_file(folder / (tekken[-1] if tekken else max(sentencepiece, key=_preference)))
        if hub.name not in names:
            return _with_added_tokens(original, folder)
        spec = read_json(hub)
        return original if _covers(original, added_ids(spec, hub)) else json_vocabulary(spec, hub)
    if hub.name in names:
        return _read_file(hub)
    if any(map(is_gguf, names)):
        return _read_file(find_model(folder))
    raise ModelError(
        f"The model folder {folder} has no vocabulary: none of tekken.json, tokenizer.model, tokenizer.json is there. "
        "Download the model again with its tokenizer files."
    )


def _preference(name: str) -> tuple[bool, int, str]:
    """The folder's own tokenizer.model before files of other names, and a later version before an earlier one."""
    match = SENTENCEPIECE_NAME.search(name)
    return name.startswith("tokenizer."), int(match[1] or 0) if match else 0, name


def _covers(vocabulary: Vocabulary, added: dict[str, int]) -> bool:
    """Return True where the vocabulary has these tokens at these ids."""
    pieces = vocabulary.pieces
    return all(
        vocabulary.controls.get(name) == index or (index < len(pieces) and pieces[index] == name.encode())
        for name, index in added.items()
        if index != vocabulary.unk_id
    )


def _with_added_tokens(vocabulary: Vocabulary, folder: Path) -> Vocabulary:
    """Return the vocabulary with the control tokens that an added_tokens.json puts behind the others."""
    path = folder / "added_tokens.json"
    if not path.is_file():
        return vocabulary
    added = read_config(path)
    size = len(vocabulary.pieces)
    new = {
        name: checked_id(index, size + len(added), path, repr(name))
        for name, index in added.items()
        if name not in vocabulary.controls
    }
    new = {name: index for name, index in new.items() if index >= size}
    if sorted(new.values()) != list(range(size, size + len(new))):
        raise broken(path, f"its ids don't continue the {size} tokens of {vocabulary.source.name}")
    return replace(
        vocabulary,
        pieces=[*vocabulary.pieces, *[b""] * len(new)],
        controls={**vocabulary.controls, **new},
    )


def _with_configured_ids(vocabulary: Vocabulary, folder: Path) -> Vocabulary:
    """Return the vocabulary with the ends of a reply and the start of a prompt that the folder's configs name.

    A token named in tokenizer_config.json is what its authors meant. An id in the others may be a library's default
    that means a letter here, so beside the vocabulary's own ids it counts only where it is a control token.
    """
    size, controls = len(vocabulary.pieces), set(vocabulary.controls.values())
    bos, ends = vocabulary.bos_id, set(vocabulary.eos_ids)
    named = _read_config(folder / "tokenizer_config.json")
    adds_bos = named.get("add_bos_token")
    bos = vocabulary.controls.get(_token_name(named.get("bos_token")), bos)
    ends |= {vocabulary.controls.get(_token_name(named.get("eos_token")), -1)} - {-1}
    for path in (folder / "generation_config.json", folder / "config.json"):
        config = _read_config(path)
        found = set(_listed_ids(config, "eos_token_id", size, path))
        ends |= found & controls if ends else found
        bos = next(iter(_listed_ids(config, "bos_token_id", size, path)), None) if bos is None else bos
    return replace(
        vocabulary,
        bos_id=bos,
        eos_ids=frozenset(ends),
        adds_bos=adds_bos if isinstance(adds_bos, bool) else vocabulary.adds_bos,
        chat_template=_chat_template(named, folder) or vocabulary.chat_template,
    )


def _chat_template(named: dict[str, Any], folder: Path) -> str:
    """The folder's chat template: in tokenizer_config.json, which may list several, or in a file of its own."""
    found = named.get("chat_template")
    if isinstance(found, list):
        listed = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = listed.get("default", next(iter(listed.values()), None))
    if isinstance(found, str):
        return found
    try:
        with (folder / "chat_template.jinja").open(encoding="utf-8") as file:
            return file.read(MOST_TEMPLATE)
    except (OSError, ValueError):
        return ""


def _read_config(path: Path) -> dict[str, Any]:
    return read_config(path) if path.is_file() else {}


def _token_name(value: Any) -> str:
    """The text of a token that a tokenizer_config.json gives as such or within a description."""
    name = value.get("content") if isinstance(value, dict) else value
    return name if isinstance(name, str) else ""


def _listed_ids(config: dict[str, Any], key: str, size: int, path: Path) -> list[int]:
    """The ids under a key that holds one, a list of them, or nothing."""
    value = config.get(key)
    listed = value if isinstance(value, list) else [] if value is None else [value]
    return [checked_id(item, size, path, f"'{key}'") for item in listed]
