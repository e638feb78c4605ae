"""The text of files that a user attaches: plain text, PDF and Word documents, none of which is trusted."""

from menny.documents.read import MOST_BYTES, read_document

__all__ = ["MOST_BYTES", "read_document"]
