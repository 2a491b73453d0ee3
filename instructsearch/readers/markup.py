"""Plain text, code, Markdown, MDX and reStructuredText to documents: title, headings, text.

Knows what headings look like; does not know files or chunks. The patterns take time in proportion to the text, but for
those of MDX, which is therefore read where it can be stopped.
"""

import html
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from instructsearch.readers.limits import Limits
from instructsearch.readers.text import decode, tidy, without_data
from instructsearch.records import Document, Mark

_FRONT = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(['\"]?)(.+?)\1[ \t]*$", re.M)
_MARKDOWN = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$"
    r"|^ {0,3}(?P<hashes>\#{1,6})[ \t]+(?P<title>[^\n]+)$"
    r"|^(?P<under>={3,}|-{3,})[ \t]*$"
    r"|<h(?P<level>[1-6])\b[^>]{0,300}>(?P<inner>.{0,500}?)</h(?P=level)>",
    re.M | re.S,
)
_NO_SETEXT = re.compile(r"[ \t]*$|[-+*>|#]|\d+[.)]|---")
_ADORNMENT = re.compile(r"^([!-/:-@\[-`{-~])\1{2,}(?=[ \t]*$)", re.M)
_ROLE = re.compile(r":[\w.+:-]+:`([^`<]*?)(?:\s*<[^`]*>)?`|`([^`<]+?)(?:\s*<[^`]*>)?`_{0,2}")

_WORD = re.compile(r"\w")
_LONGEST = 300  # characters of a heading that are looked at
_NAMED = 120  # characters of a heading in the path of those below it

# MDX: what is code of the page rather than its text
_CODE = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)", re.M | re.S)
_STATEMENT = re.compile(
    r"^(?:import\s+(?:['\"]|[^\n]*?\sfrom\s+['\"]|\{)|export\s+(?:default|const|let|var|function|async|class|[{*]))"
    r"(?:[^\n]+\n?)*",
    re.M,
)
_TAG = re.compile(
    r"(?P<code>(?P<ticks>`{1,3})[^`\n]+(?P=ticks))"
    r"|\{/\*.*?\*/\}"
    r"|</?>"
    r"|</?(?!h[1-6]\b)[A-Za-z][\w.-]*(?=[\s/>])"
    r"(?:[^<>\"'{}]|\"[^\"]*\"|'[^']*'|\{(?:[^{}]|\{[^{}]*\})*\})*/?>",
    re.S,
)
_SPOKEN = re.compile(r"\b(?:title|label|summary|header|heading|alt|description)=(?:\"([^\"]+)\"|'([^']+)')")


class Heading(NamedTuple):
    """A heading: where it starts, how deep it is (1 the highest), and its words without markup."""

    start: int
    level: int
    title: str


def plain(text: str, path: str) -> Document:
    """Return text as a document; it has no title of its own."""
    return Document(path, text, metadata={"type": "text"})


def markdown(text: str, path: str, kind: str = "markdown") -> Document:
    """Return Markdown as a document: titled by its front matter, else its first heading of the highest level."""
    text = without_data(text)
    headings = list(markdown_headings(text))
    front = _FRONT.match(text)
    named = _FRONT_TITLE.search(front[1][:4000]) if front else None
    title = named[2].strip() if named else first_title(headings)
    return Document(path, text, title, {"type": kind}, "markdown", outline(headings))


def read_mdx(data: bytes, path: str, limits: Limits) -> Iterator[Document]:
    """Yield the document of MDX as Markdown: without statements, comments and tags, but with what these say.

    Raises:
        ReadError: the bytes are no text.
    """
    text = tidy(decode(data, path))
    kept, at = list[str](), 0
    for code in _CODE.finditer(text):
        kept += [_spoken(text[at : code.start()]), code[0]]
        at = code.end()
    kept.append(_spoken(text[at:]))
    yield markdown(re.sub(r"\n[ \t]*\n\s*\n", "\n\n", "".join(kept)), path, "mdx")


def rst(text: str, path: str) -> Document:
    """Return reStructuredText as a document, titled by its first heading."""
    headings = list(_rst_headings(text))
    return Document(path, text, first_title(headings), {"type": "rst"}, "text", outline(headings))


def code(text: str, path: str, language: str) -> Document:
    """Return source code as a document; it has no title of its own."""
    return Document(path, text, metadata={"type": "code", "language": language}, format=f"code:{language}")


def outline(headings: Iterable[Heading]) -> tuple[Mark, ...]:
    """Return for each heading a mark with its path from the top: "Guide > Install > Linux"."""
    marks, path = [], list[Heading]()
    for heading in headings:
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
        marks.append(Mark(heading.start, "heading", " > ".join(above.title[:_NAMED] for above in path)))
    return tuple(marks)


def first_title(headings: list[Heading]) -> str:
    """Return the first heading of the highest level there is, or "" where there is none."""
    return min(headings, key=lambda heading: heading.level).title if headings else ""


def markdown_headings(text: str) -> Iterator[Heading]:
    """Yield the headings of Markdown outside of code: `# One`, underlined ones, and `<h1>`."""
    fence = ""
    for found in _MARKDOWN.finditer(text):
        if found["fence"]:
            if not fence:
                fence = found["fence"]
            elif found["fence"].startswith(fence) and not found["info"].strip():
                fence = ""
        elif not fence and (heading := _heading(text, found)) and heading.title:
            yield heading


def _heading(text: str, found: re.Match[str]) -> Heading | None:
    if found["hashes"]:
        return Heading(found.start(), len(found["hashes"]), _bare(found["title"].rstrip().rstrip("#")))
    if found["level"]:
        return Heading(found.start(), int(found["level"]), _bare(found["inner"]))
    start, line = _line_before(text, found.start())
    _, before = _line_before(text, start)
    if before.strip() or _NO_SETEXT.match(line):
        return None
    return Heading(start, 1 if found["under"].startswith("=") else 2, _bare(line))


def _rst_headings(text: str) -> Iterator[Heading]:
    """Yield headings by their adornment; levels are numbered in the order in which adornments appear."""
    levels: dict[tuple[str, bool], int] = {}
    for found in _ADORNMENT.finditer(text):
        start, title = _line_before(text, found.start())
        before, over = _line_before(text, start)
        overlined = over.rstrip() == found[0]
        if len(title.strip()) > len(found[0]) or not _WORD.search(title) or (title[0].isspace() and not overlined):
            continue
        level = levels.setdefault((found[1], overlined), len(levels) + 1)
        words = _ROLE.sub(lambda role: role[1] or role[2], title[:_LONGEST].replace("``", ""))
        yield Heading(before if overlined else start, level, " ".join(words.split()))


def _line_before(text: str, position: int) -> tuple[int, str]:
    """Return start and text of the line that ends before the line starting at `position`."""
    end = max(position - 1, 0)
    start = text.rfind("\n", 0, end) + 1
    return start, text[start:end]


def _spoken(text: str) -> str:
    """Return what is left of MDX outside of code when statements and tags are gone."""

    def words(tag: re.Match[str]) -> str:
        return tag["code"] or " ".join(one or other for one, other in _SPOKEN.findall(tag[0]))

    return _TAG.sub(words, _STATEMENT.sub("", text))


def _bare(title: str) -> str:
    """Return a heading's words without markup."""
    title = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", title[:_LONGEST])
    title = re.sub(r"<[^>]*>|\{#[^}]*\}|[`*]+|(?<!\w)_+|_+(?!\w)", "", title)
    return " ".join(html.unescape(title).split())
