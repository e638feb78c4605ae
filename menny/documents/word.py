"""The text of a Word document: its paragraphs and tables in their order."""

import io
import zipfile
from collections.abc import Iterator

from docx import Document
from docx.document import Document as WordDocument
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph

from menny.errors import DocumentError

MOST_UNPACKED = 32 * 2**20  # bytes of all but its pictures: a long book has a third of that
DEEPEST = 8  # tables within tables


def word_text(data: bytes, most_characters: int) -> str:
    """Return the text, a blank line between paragraphs and a tab between cells, until it exceeds the bound."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:  # which yields no more than it declares
        if sum(part.file_size for part in file.infolist() if _is_text(part.filename)) > MOST_UNPACKED:
            raise DocumentError("unpacks to far more than a text has. Save it as plain text and attach that.")
    parts: list[str] = []
    length = 0
    for block in _blocks(Document(io.BytesIO(data)), 0):
        parts.append(block)
        length += len(block)
        if length > most_characters:
            break
    return "\n\n".join(parts)


def _is_text(name: str) -> bool:
    return not name.startswith("word/media/")


def _blocks(part: WordDocument | _Cell, depth: int) -> Iterator[str]:
    for block in part.iter_inner_content():
        if isinstance(block, Paragraph):
            if block.text.strip():
                yield block.text
        elif depth < DEEPEST:
            yield "\n".join(_rows(block, depth))


def _rows(table: Table, depth: int) -> Iterator[str]:
    for row in table.rows:
        yield "\t".join(" ".join(" ".join(_blocks(cell, depth + 1)).split()) for cell in row.cells)
