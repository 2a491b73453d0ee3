"""HTML to documents: what a page says, as Markdown lines, without scripts, navigation and hidden parts.

Knows tags; does not know files or chunks. Meant to be run where it can be stopped.
"""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

from instructsearch.readers.limits import Limits
from instructsearch.readers.markup import Heading, first_title, outline
from instructsearch.readers.text import decode, tidy
from instructsearch.records import Document

_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset=[\"']?([\w.:-]+)|<\?xml[^>]{0,200}?encoding=[\"']([\w.:-]+)", re.I)
_WESTERN = {"iso-8859-1", "iso8859-1", "latin1", "latin-1", "ascii", "us-ascii"}  # browsers read all of them as CP1252
_DROPPED = (
    "script,style,noscript,template,nav,svg,math,iframe,object,canvas,button,select,input,textarea,"
    "[hidden],[aria-hidden=true],[role=navigation],[role=search],a.headerlink,a.anchor"
)
_UNSEEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_APART = {*_HEADINGS, *"p div section article main header footer aside figure blockquote pre table ul ol dl hr".split()}
_LINES = {*"li tr dt dd br caption figcaption summary details address option fieldset".split()}


def read_html(data: bytes, path: str, limits: Limits) -> Iterator[Document]:
    """Yield the document of a page, titled by its <title>, else its first heading.

    Raises:
        ReadError: the bytes are no text in the encoding that they declare.
    """
    tree = LexborHTMLParser(tidy(decode(data, path, _declared(data))))
    named = tree.css_first("head > title")
    for node in tree.css(_DROPPED):
        node.decompose()
    for node in tree.css("[style]"):
        if _UNSEEN.search(node.attributes.get("style") or ""):
            node.decompose()
    page = _Page()
    if (body := _body(tree)) is not None:
        page.write(body)
    title = " ".join(named.text().split()) if named else ""
    yield Document(
        path, page.text, title or first_title(page.headings), {"type": "html"}, "markdown", outline(page.headings)
    )


def _declared(data: bytes) -> str | None:
    found = _DECLARED.search(data[:2048])
    if not found:
        return None
    name = (found[1] or found[2]).decode("ascii", "replace").lower()
    return "cp1252" if name in _WESTERN else name


def _body(tree: LexborHTMLParser) -> LexborNode | None:
    """Return the page's main part if it says that it has one which holds a good deal of it, else all of it."""
    main, body = tree.css_first("main,[role=main]"), tree.body
    if main is not None and body is not None and len(main.text()) * 3 > len(body.text()):
        return main
    return body


class _Page:
    """Writes nodes as Markdown lines, and remembers where the headings are."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self._parts: list[str] = []
        self._length = 0
        self._breaks, self._space = 0, False  # what to put before the next words
        self._preformatted = 0
        self._level, self._title = 0, list[str]()  # the heading at hand

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def write(self, top: LexborNode) -> None:
        """Write a node and what is below it, without recursion: pages may be nested ten thousand deep."""
        stack: list[tuple[LexborNode, bool]] = [(top, False)]
        while stack:
            node, leaving = stack.pop()
            tag = node.tag or ""
            if leaving:
                self._leave(tag)
            elif node.is_text_node:
                self._say(node.text(deep=False))
            elif node.is_element_node:
                self._enter(tag, node)
                stack.append((node, True))
                child = node.last_child
                while child is not None:
                    stack.append((child, False))
                    child = child.prev

    def _enter(self, tag: str, node: LexborNode) -> None:
        self._break(tag)
        if tag in _HEADINGS:
            self._level, self._title = _HEADINGS[tag], []
        elif tag == "pre":
            self._say("```")
            self._breaks = 1
            self._preformatted += 1
        elif tag == "li":
            self._say("- ")
        elif tag == "img":
            self._say(f" {node.attributes.get('alt') or ''} ")

    def _leave(self, tag: str) -> None:
        if tag in _HEADINGS:
            if self._title:
                self.headings[-1] = self.headings[-1]._replace(title=" ".join(self._title))
            self._level = 0
        elif tag == "pre":
            self._preformatted -= 1
            self._breaks = 0 if self._parts[-1].endswith("\n") else 1
            self._say("```")
        elif tag in ("td", "th"):
            self._say(" | ")
        self._break(tag)

    def _break(self, tag: str) -> None:
        if tag in _APART:
            self._breaks = max(self._breaks, 2)
        elif tag in _LINES and self._level:
            self._space = True
        elif tag in _LINES:
            self._breaks = max(self._breaks, 1)

    def _say(self, text: str) -> None:
        words = text if self._preformatted else " ".join(text.split())
        if not words:
            self._space = self._space or bool(text)
            return
        if self._breaks:
            self._put("\n" * self._breaks if self._parts else "")
        elif self._space or text[0].isspace():
            self._put(" " if not self._preformatted else "")
        if self._level:
            if not self._title:
                self.headings.append(Heading(self._length, self._level, ""))
                self._put("#" * self._level + " ")
            self._title.append(words)
        self._put(words)
        self._breaks, self._space = 0, text[-1].isspace() and not self._preformatted

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
