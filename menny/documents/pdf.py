"""The text of a PDF, page by page."""

import io

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from menny.errors import DocumentError

MOST_PAGES = 2000


def pdf_text(data: bytes, most_characters: int) -> str:
    """Return the text of the pages, a blank line between them; it ends with the page that exceeds the bound."""
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("is protected with a password. Save it without one and attach that.")
        pages: list[str] = []
        length = 0
        for number, page in enumerate(reader.pages, start=1):
            if number > MOST_PAGES:
                raise DocumentError(f"has more than {MOST_PAGES:,} pages. Attach a part of it.")
            text = page.extract_text().strip()
            pages.append(text)
            length += len(text)
            if length > most_characters:
                break
    except (FileNotDecryptedError, DependencyError):
        raise DocumentError("is protected with a password. Save it without one and attach that.") from None
    return "\n\n".join(page for page in pages if page)
