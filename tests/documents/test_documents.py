"""Files that a user attaches: their text, or one sentence on why there is none; hostile ones cost a bounded time."""

import io
import subprocess
import time
import zipfile
import zlib
from collections.abc import Sequence

import pytest
from docx import Document
from pypdf import PdfWriter

from menny.documents import extraction, read_document
from menny.errors import DocumentError


def refusal(name: str, data: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        read_document(name, data)
    return str(caught.value)


def word_file(*paragraphs: str) -> bytes:
    document, file = Document(), io.BytesIO()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.add_paragraph("after the table")
    document.save(file)
    return file.getvalue()


def pdf_file(content: bytes, kids: bytes = b"3 0 R") -> bytes:
    """A PDF of one page, by hand."""
    packed = zlib.compress(content)
    font = b"<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count 1>>" % kids,
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources%b>>" % font,
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(packed), packed),
    ]
    file, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, part)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 5\n0000000000 65535 f \n%btrailer<</Size 5/Root 1 0 R>>\n" % rows
    return file + table + b"startxref\n%d\n%%%%EOF" % len(file)


def locked_pdf(algorithm: str) -> bytes:
    writer, file = PdfWriter(), io.BytesIO()
    writer.add_blank_page(99, 99)
    writer.encrypt("secret", algorithm=algorithm)
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("notes.txt", "Größe\r\nzwei".encode(), "Größe\nzwei"),
        ("marked.csv", b"\xef\xbb\xbfa;b", "a;b"),
        ("wide.txt", "Größe".encode("utf-16"), "Größe"),
        ("Makefile", b"all:\n\techo\n", "all:\n\techo\n"),
        ("data.json", b'{"a": 1}', '{"a": 1}'),
        ("named.txt", pdf_file(b"BT /F1 12 Tf (Hello there) Tj ET"), "Hello there"),
        ("real.pdf", pdf_file(b"BT /F1 12 Tf (Hello there) Tj ET"), "Hello there"),
        ("real.docx", word_file("One ü", "Two"), "One ü\n\nTwo\n\nleft\tright\n\nafter the table"),
    ],
    ids=["utf-8", "a mark", "utf-16", "no ending", "json", "a pdf named txt", "pdf", "docx"],
)
def test_a_file_gives_its_text(name: str, data: bytes, text: str) -> None:
    attachment = read_document(name, data)
    assert (attachment.name, attachment.text) == (name, text)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.md", b"", "a.md is empty."),
        ("a.md", b" \n", "a.md has no text in it."),
        ("a.txt", "Größe".encode("latin-1"), "isn't in UTF-8"),
        ("a.txt", bytes(range(256)) * 9, "isn't a text file"),
        ("a.txt", b"x" * (10 * 2**20 + 1), "at most 10 MB"),
        ("a.txt", b"x " * 1_000_001, "more than 2,000,000 characters"),
        ("a.png", b"anything", "can't see pictures"),
        ("a.txt", b"\x89PNG\r\n\x1a\n0000", "can't see pictures"),
        ("a.doc", b"\xd0\xcf\x11\xe0", "old format"),
        ("a.zip", b"PK\x03\x04", "is an archive"),
        ("a.docx", b"PK\x03\x04", "is damaged"),
        ("a.docx", word_file("One")[:2000], "is damaged"),
        ("a.pdf", b"%PDF-1.7\n" + b"x" * 99, "is damaged"),
        ("a.pdf", pdf_file(b"", kids=b"2 0 R"), "is damaged"),
        ("a.pdf", pdf_file(b""), "scanned pages"),
        ("a.pdf", locked_pdf("AES-256"), "protected with a password"),
        ("a.pdf", locked_pdf("RC4-128"), "protected with a password"),
    ],
)
def test_a_file_that_cannot_be_attached_says_why(name: str, data: bytes, words: str) -> None:
    sentence = refusal(name, data)
    assert words in sentence
    assert sentence.startswith(f"{name} ")
    assert len(sentence) < 200


def test_a_word_file_that_unpacks_to_much_is_refused_before_it_is_unpacked() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("word/document.xml", b"0" * (64 * 2**20))
    started = time.monotonic()
    assert "unpacks to far more" in refusal("bomb.docx", file.getvalue())
    assert time.monotonic() - started < 20


def test_entities_of_a_word_file_are_not_expanded() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(word_file("x"))) as good, zipfile.ZipFile(file, "w") as bad:
        for name in good.namelist():
            body = good.read(name)
            if name == "word/document.xml":
                head, rest = body.split(b"\n", 1)
                entity = b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
                body = head + entity + rest.replace(b">x<", b">x&e;<")
            bad.writestr(name, body)
    try:
        assert "root" not in read_document("a.docx", file.getvalue()).text
    except DocumentError as error:
        assert "is damaged" in str(error)  # noqa: PT017 - either will do


def test_a_document_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        """A process that answers nobody."""

        returncode: int | None = None

        def __init__(self, command: Sequence[str], **options: object) -> None:
            self.killed = False

        def __enter__(self) -> "Endless":
            return self

        def __exit__(self, *reason: object) -> None:
            assert self.killed

        def communicate(self, data: bytes, timeout: float) -> tuple[bytes, bytes]:
            raise subprocess.TimeoutExpired("python", timeout)

        def kill(self) -> None:
            self.killed = True

    monkeypatch.setattr(extraction.subprocess, "Popen", Endless)
    assert refusal("a.pdf", pdf_file(b"")).startswith("a.pdf takes too long or too much memory to read.")
