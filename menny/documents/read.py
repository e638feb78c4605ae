"""From a file to an Attachment, or to one sentence on why it can't be one.

What a file is, its content says. Text is decoded here; PDF and Word documents are read in a process of its own, whose
time and memory are bounded: their libraries can be kept busy for ever by a file that is made for it.
"""

from pathlib import PurePath

from menny.attachments import MOST_CHARACTERS, Attachment, plain_name
from menny.documents.extraction import extract
from menny.documents.kinds import Kind, kind_of
from menny.errors import DocumentError
from menny.text import is_blank, sanitize, size

MOST_BYTES = 10 * 2**20
PARSED: tuple[Kind, ...] = ("PDF", "Word document")
REFUSALS = {
    "picture": "is a picture, and the model can't see pictures. Describe it in words instead.",
    "recording": "is a sound or film recording, and the model reads text only.",
    "old Word document": "is in Word's old format. Save it as .docx or PDF and attach that.",
    "spreadsheet": "is a spreadsheet. Save the sheet as CSV and attach that.",
    "presentation": "is a presentation. Save it as PDF and attach that.",
    "OpenDocument file": "is an OpenDocument file. Save it as .docx or PDF and attach that.",
    "archive": "is an archive. Unpack it and attach the text files in it.",
    "rich text": "is in rich text format. Save it as .docx, PDF or plain text and attach that.",
    "e-book": "is an e-book. Save it as PDF or plain text and attach that.",
}


def read_document(name: str, data: bytes) -> Attachment:
    """Return a file's text under its name. Raises DocumentError, a sentence that begins with the name."""
    shown = plain_name(name)
    if not data:
        raise DocumentError(f"{shown} is empty.")
    if len(data) > MOST_BYTES:
        raise DocumentError(f"{shown} has {size(len(data))}; at most {MOST_BYTES >> 20} MB can be attached.")
    kind = kind_of(PurePath(shown).suffix.lower(), data)
    if kind in REFUSALS:
        raise DocumentError(f"{shown} {REFUSALS[kind]}")
    try:
        text = extract(kind, data, MOST_CHARACTERS) if kind in PARSED else decoded(data)
    except DocumentError as error:
        raise DocumentError(f"{shown} {error}") from None
    if len(text) > MOST_CHARACTERS:
        raise DocumentError(f"{shown} has more than {MOST_CHARACTERS:,} characters of text. Attach a part of it.")
    text = sanitize(text)
    if is_blank(text):
        why = "no text in it: it may be scanned pages, which the model can't see" if kind == "PDF" else "no text in it"
        raise DocumentError(f"{shown} has {why}.")
    return Attachment(shown, text)


def decoded(data: bytes) -> str:
    """Return the text of a file in UTF-8, or in UTF-16 with its mark. Raises DocumentError for any other."""
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        if b"\0" in data or not _looks_like_letters(data):
            raise DocumentError("isn't a text file. Text files, PDF and .docx can be attached.") from None
        raise DocumentError("isn't in UTF-8. Save it again with the encoding UTF-8 and attach that.") from None
    if "\0" in text:
        raise DocumentError("isn't a text file. Text files, PDF and .docx can be attached.")
    return text


def _looks_like_letters(data: bytes) -> bool:
    """True for what may be text in another encoding: hardly any control characters."""
    controls = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in data[:10_000])
    return controls * 100 <= len(data[:10_000])
