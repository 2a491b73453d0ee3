"""What the text of a query says beside its words: phrases that must be there, and what must not.

Knows text alone: no index, no language model. `"in quotes"` asks for these words side by side, `-word` and `-"a
phrase"` leave out passages that hold them, `field:value` filters. Exclusions in plain English ("but don't mention X",
"excluding X", "except for X") are told apart from the rest, so that what is not wanted does not attract.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TERM = re.compile(
    r"""(?<!\S)(?P<minus>-)?(?:"(?P<phrase>[^"]*\w[^"]*)"|(?<=-)(?P<word>\w[\w'’]*)"""
    r"""|(?P<field>[A-Za-z_][\w.]*):(?P<value>"[^"]*"|[^\s:/"][^\s:"]*))(?=[\s.,;!?)]|$)"""
)
_SPEAK = (
    r"(?:mention|includ|discuss|talk\ about|cover|refer\ to|focus\ on|consider|bring\ up|touch\ on|address)(?:e|ing)?"
)
_NOT = r"(?:do\ not|don['’]t|not|never|without|no)"
_WITHOUT = re.compile(
    rf"""[\s,;(]*\b(?:
        (?:but\ |and\ )?(?:please\ )?{_NOT}\ {_SPEAK}
        |(?:but\ |and\ )?(?:excluding|exclude|leaving\ out|leave\ out|omitting|omit|disregarding|ignoring)
        |but\ (?:without|skip|avoid)
        |except(?:\ for)?
        |(?P<bare>without)
    )\s+(?P<what>[^.?!;()]+?)\s*(?=[.?!;)(]|$)\)?""",
    re.IGNORECASE | re.VERBOSE,
)
# "can it fly without wings" asks about the wings; "introduce Aarhus without Denmark" does not want to hear of Denmark
_ORDER = re.compile(
    r"\s*(?:please\s+)?(?:provide|give|write|describe|explain|summari[sz]e|list|tell|show|find|introduce|outline|discuss"
    r"|examine|present|an?\s+(?:introduction|overview|summary|profile|list|description))\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(
    r"^(?:the|a|an|any|all|its|their|his|her|of|about|that|those|anything|everything)\s+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A query taken apart. `text` is what is looked for; `phrases` must be in a passage, `excluded` must not be.

    `fields` are equality tests on metadata; `unwanted` is what plain English asked to leave out.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    unwanted: tuple[str, ...] = ()

    def where(self) -> dict[str, Any] | None:
        """Return what must hold as an operator dictionary, None for nothing."""
        parts: list[Mapping[str, Any]] = [{"$contains": each} for each in self.phrases]
        parts += [{"$not_contains": each} for each in self.excluded]
        return {"$and": parts} if parts else None


def understand(query: str) -> Asked:
    """Return a query taken apart; one with nothing but exclusions keeps its words, to have something to find."""
    phrases: list[str] = []
    excluded: list[str] = []
    fields: list[tuple[str, str]] = []

    def taken(match: re.Match[str]) -> str:
        if match["field"]:
            if match["minus"]:
                return match[0]
            fields.append((match["field"], match["value"].strip('"')))
            return ""
        said = match["phrase"] or match["word"]
        if said is None:
            return match[0]
        (excluded if match["minus"] else phrases).append(" ".join(said.split()))
        return "" if match["minus"] else said

    text = _TERM.sub(taken, query)
    unwanted: list[str] = []

    def left_out(match: re.Match[str]) -> str:
        what = _ARTICLE.sub("", match["what"].strip(" ,'\"’"))
        if not re.search(r"\w", what) or (match["bare"] and not _ORDER.match(text)):
            return match[0]
        unwanted.append(what)
        return " "

    plain = _WITHOUT.sub(left_out, text)
    if not re.search(r"\w", plain):
        plain, unwanted = text, []
    plain = " ".join(plain.split())
    if not plain:
        plain = " ".join(query.split())
    return Asked(plain, tuple(phrases), tuple(excluded), tuple(fields), tuple(unwanted))
