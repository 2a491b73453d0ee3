"""PDF, DOCX and PPTX: their text, titles and pages, and every trap that such files have been made into."""

import zipfile
import zlib
from io import BytesIO

import docx
import pptx
import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.errors import DependencyError

from instructsearch.errors import ReadError
from instructsearch.readers import File, Limits, read
from instructsearch.readers.pdf import read_pdf


@pytest.fixture
def reading(tmp_path):
    """Write a file and return what reading it gives, errors as (what follows the path, reason)."""

    def write(name, content, limits=None):
        path = tmp_path / name
        path.write_bytes(content)
        results = list(read(File(str(path), str(tmp_path), 0, 0), limits))
        return [
            (result.where.removeprefix(str(path)), result.reason) if isinstance(result, ReadError) else result
            for result in results
        ]

    return write


def pdf(*pages, title=None, filtered=""):
    """Return a PDF whose pages have these content streams, or these lines of text."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for page in pages:
        if isinstance(page, str):
            lines = ") Tj T* (".join(page.replace("(", "\\(").replace(")", "\\)").split("\n"))
            page = f"BT /F1 12 Tf 14 TL 72 720 Td ({lines}) Tj ET".encode("cp1252")
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        fonts = "/Resources<</Font<</F1 3 0 R>>>>"
        objects.append(f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents {number + 1} 0 R{fonts}>>")
        objects.append((f"<</Length {len(page)}{filtered}>>stream\n", page, "\nendstream"))
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>"
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        parts = content if isinstance(content, tuple) else (content,)
        out += f"{number} 0 obj\n".encode()
        out += b"".join(part if isinstance(part, bytes) else part.encode() for part in parts) + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    out += f"trailer<</Size {len(places) + 1}/Root 1 0 R>>\nstartxref\n{start}\n%%EOF".encode()
    if title is None:
        return bytes(out)
    writer = PdfWriter(clone_from=BytesIO(bytes(out)))
    writer.add_metadata({"/Title": title})
    return written(writer)


def written(writer):
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def locked(content, **passwords):
    writer = PdfWriter(clone_from=BytesIO(content))
    writer.encrypt(**passwords, algorithm="RC4-128")
    return written(writer)


def test_a_pdf_is_its_pages_each_marked_by_its_number(reading):
    [document] = reading("a.pdf", pdf("First page\nof an inter-\nnational text", "", "Third", title="A title"))
    assert document.text == "First page\nof an international text\n\nThird"
    assert (document.title, document.format, document.metadata) == ("A title", "text", {"type": "pdf", "pages": 3})
    assert [(mark.field, mark.value, document.text[mark.start :][:5]) for mark in document.marks] == [
        ("page", 1, "First"),
        ("page", 3, "Third"),
    ]


@pytest.mark.parametrize(
    ("stated", "title"),
    [("Untitled", ""), ("x.docx", ""), ("Microsoft Word - A b", "A b"), ("\x00A\n b", "A b"), ("", "")],
)
def test_titles_that_programs_leave_behind_are_none(reading, stated, title):
    assert reading("a.pdf", pdf("text", title=stated))[0].title == title


def test_a_pdf_of_pictures_gives_nothing(reading):
    assert reading("a.pdf", pdf("", "")) == []


def test_a_pdf_behind_a_password_is_refused(reading):
    content = locked(pdf("secret"), user_password="x")
    assert reading("a.pdf", content) == [("", "encrypted: save it without its password")]


def test_a_pdf_that_anyone_may_open_is_read_though_encrypted(reading):
    [document] = reading("a.pdf", locked(pdf("open"), user_password="", owner_password="x"))
    assert document.text == "open"


def test_a_pdf_whose_cipher_is_not_there_says_what_to_install(monkeypatch):
    def decrypt(self, password):
        raise DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr(PdfReader, "decrypt", decrypt)
    with pytest.raises(ReadError, match="encrypted with AES: save it without, or pip install cryptography"):
        next(read_pdf(locked(pdf("x"), user_password="x"), "a.pdf", Limits()))


@pytest.mark.parametrize(
    "content",
    [b"", b"%PDF-1.4", b"no pdf at all", pdf("text")[:200], pdf("text").replace(b"/Pages", b"/Pagan")],
    ids=["empty", "header", "prose", "cut short", "no pages"],
)
def test_a_broken_pdf_is_refused(reading, content):
    [(where, reason)] = reading("a.pdf", content)
    assert where == ""
    assert reason.startswith("broken PDF: ")


def test_a_page_that_cannot_be_read_is_named_and_the_others_read(reading):
    content = pdf("One", b"\x78\x9c broken", "Three").replace(b"/Length 9>>", b"/Length 9/Filter/Nonesuch>>")
    document, (where, reason) = reading("a.pdf", content)
    assert document.text == "One\n\nThree"
    assert where == ":page 2"
    assert reason.startswith("broken PDF: ")


def test_a_pdf_bomb_is_left_alone(reading):
    bomb = zlib.compress(b" " * 100_000_000)
    assert reading("a.pdf", pdf(bomb, filtered="/Filter/FlateDecode")) == [
        ("", "holds a stream that expands beyond all measure, as only a bomb does")
    ]


def test_a_bomb_within_a_bomb_is_left_alone(reading):
    bomb = zlib.compress(zlib.compress(zlib.compress(b" " * 200_000_000)))
    [(_, reason)] = reading("a.pdf", pdf(bomb, filtered="/Filter[/FlateDecode/FlateDecode/FlateDecode]"))
    assert "as only a bomb does" in reason


def test_pages_over_the_limit_refuse_the_file(reading):
    assert reading("a.pdf", pdf("a", "b", "c"), Limits(pages=2)) == [
        ("", "has 3 pages, more than the limit of 2 (pages)")
    ]


def test_text_of_pages_over_the_limit_refuses_the_file(reading):
    assert reading("a.pdf", pdf("word " * 9, "more"), Limits(characters=30)) == [
        ("", "holds more text than the limit of 30 characters (characters)")
    ]


def word(build):
    document = docx.Document()
    document.core_properties.title = ""
    build(document)
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def sample(document):
    document.add_heading("Guide", 0)
    document.add_paragraph("Some\ttext\nand more")
    document.add_heading("Use it", 1)
    document.add_paragraph("one", style="List Bullet")
    document.add_heading("Deeper", 2)
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "k\nl", "v"


def test_a_docx_is_its_paragraphs_headings_and_tables(reading):
    [document] = reading("a.docx", word(sample))
    assert document.text == "# Guide\n\nSome\ttext\nand more\n\n# Use it\n\none\n\n## Deeper\n\nk l | v"
    assert (document.title, document.format, document.metadata) == ("Guide", "markdown", {"type": "docx"})
    assert [mark.value for mark in document.marks] == ["Guide", "Use it", "Use it > Deeper"]
    assert [document.text[mark.start :].split("\n")[0] for mark in document.marks] == [
        "# Guide",
        "# Use it",
        "## Deeper",
    ]


def test_a_docx_goes_by_the_title_in_its_properties(reading):
    def build(document):
        document.core_properties.title = "Stated"
        document.add_heading("Shown", 1)

    assert reading("a.docx", word(build))[0].title == "Stated"


def repacked(content, changes):
    """Return a package with parts added or replaced."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, data in changes.items():
            new.writestr(name, data)
    return out.getvalue()


DTD = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><w:document xmlns:w="x">&a;</w:document>'


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"word/media/zeros": b"\0" * 60_000_000}, "expands to 60,"),
        ({"../../evil": b"x"}, "names a part outside of itself: '../../evil'"),
        ({"/etc/evil": b"x"}, "names a part outside of itself: '/etc/evil'"),
        ({"a\\..\\evil": b"x"}, "names a part outside of itself: "),
        ({"word/document.xml": DTD}, "its word/document.xml declares entities, which Office never does"),
        ({"word/document.xml": b"<w:doc"}, "broken DOCX: "),
        ({"[Content_Types].xml": b"<x/>"}, "broken DOCX: "),
        ({f"part{number}": b"" for number in range(10_001)}, "holds 10,0"),
    ],
    ids=["zip bomb", "up", "absolute", "backslash", "entities", "broken xml", "no types", "parts"],
)
def test_a_hostile_docx_is_refused(reading, changes, reason):
    [(where, said)] = reading("a.docx", repacked(word(sample), changes))
    assert where == ""
    assert said.startswith(reason)


@pytest.mark.parametrize("name", ["a.docx", "a.pptx"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken: file is not a zip file"),
        (b"PK\3\4 cut short", "broken: "),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "protected by a password, or of the old binary format"),
    ],
    ids=["empty", "broken", "old"],
)
def test_what_is_no_package_is_refused(reading, name, content, reason):
    [(where, said)] = reading(name, content)
    assert where == ""
    assert said.startswith(reason)


def test_a_package_with_a_wrong_checksum_is_refused(reading):
    content = bytearray(word(sample))
    place = content.index(b"word/document.xml") + 200
    content[place : place + 8] = b"\0" * 8
    [(where, said)] = reading("a.docx", bytes(content))
    assert (where, said[:6]) == ("", "broken")


def slides(build):
    show = pptx.Presentation()
    show.core_properties.title = ""
    build(show)
    out = BytesIO()
    show.save(out)
    return out.getvalue()


def three(show):
    for title, body, notes in (("Start", "one\ntwo", ""), ("", "", ""), ("End", "three", "a note")):
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, body
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    table = show.slides[2].shapes.add_table(1, 2, 0, 0, 9, 9).table
    table.cell(0, 0).text, table.cell(0, 1).text = "k", "v"


def test_a_pptx_is_its_slides_each_marked_by_its_number(reading):
    [document] = reading("a.pptx", slides(three))
    assert document.text == "# Start\n\none\ntwo\n\n# End\n\nthree\n\nk | v\n\na note"
    assert (document.title, document.format) == ("Start", "markdown")
    assert document.metadata == {"type": "pptx", "slides": 3}
    places = [(mark.field, mark.value, document.text[mark.start :].split("\n")[0]) for mark in document.marks]
    assert sorted(places) == [
        ("heading", "End", "# End"),
        ("heading", "Start", "# Start"),
        ("slide", 1, "# Start"),
        ("slide", 3, "# End"),
    ]


def test_slides_over_the_limit_refuse_the_file(reading):
    assert reading("a.pptx", slides(three), Limits(pages=2)) == [("", "has 3 slides, more than the limit of 2 (pages)")]
