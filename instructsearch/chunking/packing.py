"""Spans to passages: as much as fits, cut at the strongest pause within reach.

Knows pauses and counts; does not know documents, titles or chunks.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from instructsearch.chunking.counting import Counter
from instructsearch.chunking.pauses import SECTION, Span, parts

_LEAST = 4  # a passage is cut only where it holds a fourth of what it may, so that a heading never stands alone
SPREAD = 16  # characters a token at which a passage is full: base64 that counts as one unknown token is no small thing


class Unit(NamedTuple):
    """A span and its weight in tokens."""

    span: Span
    tokens: int


class Packer:
    """Packs the spans of a text into passages that weigh at most `room` and repeat at most `overlap` of the one before.

    Weights are sums. Where those of a text need not add up to what its passages count, each passage is measured:
    `excess` returns by how many tokens a passage is too large.
    """

    def __init__(self, counter: Counter, text: str, room: int, overlap: int, excess: Callable[[str], int]) -> None:
        self._counter, self._text, self._room, self._overlap, self._excess = counter, text, room, overlap, excess
        self._adds_up = counter.adds_up(text)
        self._least = room // _LEAST
        self._reach = room * SPREAD

    def passages(self, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of each passage; a single character is yielded even where it is too large."""
        stack = self._weigh(spans)
        stack.reverse()
        carried: list[Unit] = []
        while stack:
            window = self._fill(stack, carried)
            if len(window) == len(carried):  # what is repeated leaves no place for what is new
                carried = []
                continue
            self._cut(window, stack, len(carried))
            while window and (excess := self._over(window)) and self._shrink(window, stack, carried, excess):
                pass
            if window:
                yield window[0].span.start, window[-1].span.end
                carried = self._tail(window, stack)

    def _weigh(self, spans: Sequence[Span]) -> list[Unit]:
        weights = self._counter.weigh([self._text[span.start : span.end] for span in spans])
        return list(map(Unit, spans, weights))

    def _fill(self, stack: list[Unit], carried: list[Unit]) -> list[Unit]:
        """Move units from the stack to a new window while they fit; break up what is too large to follow a few."""
        window, total = list(carried), sum(unit.tokens for unit in carried)
        while stack:
            unit = stack[-1]
            length = unit.span.end - (window[0] if window else unit).span.start
            if total + unit.tokens <= self._room and length <= self._reach:
                window.append(stack.pop())
                total += unit.tokens
                continue
            if window and (total >= self._least or length - (unit.span.end - unit.span.start) > self._reach // _LEAST):
                break
            finer = parts(self._text, unit.span)
            if len(finer) > 1:
                stack.pop()
                stack.extend(reversed(self._weigh(finer)))
            elif window:
                break
            else:
                return [stack.pop()]
        return window

    def _cut(self, window: list[Unit], stack: list[Unit], carried: int) -> None:
        """Put back on the stack what follows the strongest pause, the last among equals."""
        if not stack:
            return
        total = sum(unit.tokens for unit in window)
        rest = self._before_next_section(stack)
        most = total + rest - self._least if 0 < rest < self._least else total  # leave no crumb for the next passage
        best, strongest, filled = len(window), -1, 0
        for count, unit in enumerate(window, 1):
            filled += unit.tokens
            pause = (window[count] if count < len(window) else stack[-1]).span.pause
            if count > carried and filled >= self._least and pause >= strongest and (filled <= most or strongest < 0):
                best, strongest = count, pause
        stack.extend(reversed(window[best:]))
        del window[best:]

    def _before_next_section(self, stack: list[Unit]) -> int:
        """Return the tokens up to the next section or the end, counted only until they are many enough."""
        rest = 0
        for unit in reversed(stack):
            if rest >= self._least or unit.span.pause >= SECTION:
                break
            rest += unit.tokens
        return rest

    def _over(self, window: list[Unit]) -> int:
        """Return by how many tokens the window is too large."""
        glued = any(one.span.end == two.span.start for one, two in pairwise(window))
        if self._adds_up and not glued:
            return 0 if len(window) > 1 else max(0, window[0].tokens - self._room)
        return self._excess(self._text[window[0].span.start : window[-1].span.end])

    def _shrink(self, window: list[Unit], stack: list[Unit], carried: list[Unit], excess: int) -> bool:
        """Put back some of a window that is too large; False where it is a single character."""
        if len(window) > len(carried) + 1:
            while len(window) > len(carried) + 1 and excess > 0:
                excess -= window[-1].tokens
                stack.append(window.pop())
            self._cut(window, stack, len(carried))
        elif carried:
            del window[: len(carried)]
            carried.clear()
        else:
            finer = parts(self._text, window[0].span)
            if len(finer) == 1:
                return False
            stack.extend(reversed(self._weigh(finer)))
            window.clear()
        return True

    def _tail(self, window: list[Unit], stack: list[Unit]) -> list[Unit]:
        """Return the end of a passage that the next one repeats: nothing across sections, and never all of it."""
        left = self._overlap
        if not left or not stack or stack[-1].span.pause >= SECTION:
            return []
        units = window[1:] or self._weigh(parts(self._text, window[0].span)[1:])
        tail: list[Unit] = []
        while units:
            unit = units.pop()
            if unit.tokens <= left:
                tail.append(unit)
                left -= unit.tokens
                continue
            finer = parts(self._text, unit.span)
            if tail or len(finer) == 1:
                break
            units.extend(self._weigh(finer))
        return tail[::-1]
