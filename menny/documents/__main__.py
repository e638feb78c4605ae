"""The process that reads one document: `python -m menny.documents KIND MOST_CHARACTERS`, its bytes on standard input.

It prints one JSON object: {"text": …}, or {"error": …} with the rest of a sentence that begins with the file's name.
"""

import json
import sys

from menny.documents.limits import limit_this_process
from menny.documents.pdf import pdf_text
from menny.documents.word import word_text
from menny.errors import DocumentError


def main() -> None:
    """Read the document, within bounds."""
    limit_this_process()
    kind, most = sys.argv[1], int(sys.argv[2])
    data = sys.stdin.buffer.read()
    try:
        text = (pdf_text if kind == "PDF" else word_text)(data, most)
        found = {"text": text[: most + 1]}
    except DocumentError as error:
        found = {"error": str(error)}
    except MemoryError:
        sys.exit(1)
    except Exception:  # the libraries raise whatever a broken file leads them to
        found = {"error": f"is damaged and couldn't be read as a {kind}."}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
