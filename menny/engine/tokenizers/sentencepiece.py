"""SentencePiece vocabularies: `tokenizer.model` files, and the same pieces carried by a GGUF.

Mistral's `tokenizer.model` up to v7 are SentencePiece BPE models with byte fallback. The library encodes; decoding
follows its rules (github.com/google/sentencepiece, sentencepiece_processor.cc) by the table of pieces.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from menny.engine.formats.small_files import read_bytes
from menny.engine.tokenizers.vocabulary import CONTROL_NAMES, Vocabulary, broken, library_faults, named_bos, named_ends

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "▁"
BPE = 2


def read_sentencepiece(path: Path) -> Vocabulary:
    """The vocabulary in a SentencePiece model file."""
    return parse_sentencepiece(read_bytes(path), path)


def parse_sentencepiece(data: bytes, source: Path) -> Vocabulary:
    """The vocabulary in the bytes of such a file."""
    proto = _empty_proto()
    with library_faults(source, "reading it as a SentencePiece model"):
        proto.ParseFromString(data)
    return _vocabulary(proto, source)


def sentencepiece_model(
    source: Path,
    pieces: Sequence[str],
    scores: Sequence[float],
    types: Sequence[int],
    *,
    add_space_prefix: bool,
    remove_extra_whitespaces: bool,
) -> bytes:
    """A tokenizer.model file of what a GGUF holds piece by piece, typed by SentencePiece's numbers."""
    proto = _empty_proto()
    for index, (piece, score, kind) in enumerate(zip(pieces, scores, types, strict=True)):
        if kind not in (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE):
            raise broken(source, f"token {index} has the unknown type {kind}")
        proto.pieces.add(piece=piece, score=score, type=kind)
    proto.trainer_spec.model_type = BPE
    proto.trainer_spec.byte_fallback = BYTE in types
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = add_space_prefix
    proto.normalizer_spec.remove_extra_whitespaces = remove_extra_whitespaces
    return bytes(proto.SerializeToString())


def _empty_proto() -> Any:
    return sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # protobuf makes it at import


def _vocabulary(proto: Any, source: Path) -> Vocabulary:
    if not proto.pieces:
        raise broken(source, "it holds no pieces, so it is not a SentencePiece model")
    if proto.trainer_spec.treat_whitespace_as_suffix:
        raise broken(source, "it puts spaces behind words (treat_whitespace_as_suffix), which Menny doesn't read")
    if any(spec.precompiled_charsmap for spec in (proto.normalizer_spec, proto.denormalizer_spec)):
        raise broken(source, "it replaces characters by a table (precompiled_charsmap), which Menny doesn't read")
    proto.DiscardUnknownFields()
    for index, piece in enumerate(proto.pieces):
        if not isinstance(piece.piece, str):
            raise broken(source, f"piece {index} is not UTF-8")
        if piece.piece in CONTROL_NAMES:
            piece.type = CONTROL
    processor = SentencePieceProcessor()
    with library_faults(source, "loading it as a SentencePiece model"):
        processor.LoadFromSerializedProto(proto.SerializeToString())
    controls = {piece.piece: index for index, piece in enumerate(proto.pieces) if piece.type == CONTROL}
    unk_id = next((index for index, piece in enumerate(proto.pieces) if piece.type == UNKNOWN), None)
    normalizer = proto.normalizer_spec
    return Vocabulary(
        source=source,
        pieces=[_piece_bytes(proto, index, source) for index in range(len(proto.pieces))],
        controls=controls,
        encode=processor.EncodeAsIds,
        bos_id=_own_id(processor.bos_id(), controls, named_bos(controls)),
        eos_ids=named_ends(controls) | ({processor.eos_id()} & set(controls.values())),
        unk_id=unk_id,
        leading_space="all"
        if normalizer.remove_extra_whitespaces
        else "one"
        if normalizer.add_dummy_prefix
        else "keep",
        verbatim=frozenset(i for i, piece in enumerate(proto.pieces) if piece.type in (BYTE, UNKNOWN)),
    )


def _own_id(index: int, controls: dict[str, int], otherwise: int | None) -> int | None:
    return index if index in controls.values() else otherwise


def _piece_bytes(proto: Any, index: int, source: Path) -> bytes:
    """What a token stands for; a control token for nothing, an unknown one for the model's own sign of it."""
    piece = proto.pieces[index]
    if piece.type == CONTROL:
        return b""
    if piece.type == UNKNOWN:
        surface = proto.trainer_spec.unk_surface
        return surface if isinstance(surface, bytes) else bytes(surface.encode())
    if piece.type == BYTE:
        byte = byte_of(piece.piece)
        if byte is None:
            raise broken(source, f"piece {index} is typed as a byte, but reads {piece.piece!r}")
        return byte
    return bytes(piece.piece.replace(SPACE, " ").encode())


def byte_of(piece: str) -> bytes | None:
    """The byte that a fallback piece as <0x0A> stands for, None for any other piece."""
    if len(piece) != 6 or not piece.startswith("<0x") or not piece.endswith(">"):
        return None
    try:
        return bytes.fromhex(piece[3:5])
    except ValueError:
        return None
