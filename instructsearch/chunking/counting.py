"""How many tokens a text is, fast: each distinct word is tokenised once.

Knows tokenizers; does not know what the counts are for.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Python's split() takes these for space, BERT's normalizer deletes them: the words on both sides would become one.
_UNCLEAR_SPACE = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_REMEMBERED = 10_000_000  # characters of words whose counts are kept; a corpus of 14 MB has about 2 million
_AT_ONCE = 20_000  # texts that are held in words at a time
_ENDLESS = 10_000  # characters of a word that is not worth counting: no chunk holds it whole
_DENSEST = 4  # tokens that a character may become


class Counter(Protocol):
    """Counts tokens: `count` truly, `weigh` by adding up words, which `adds_up` says to be the same or not."""

    def count(self, text: str) -> int:
        """Return the tokens of `text`, special tokens left out."""
        ...

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """Return for each text the sum of its words' tokens."""
        ...

    def adds_up(self, text: str) -> bool:
        """Say whether any cut of `text` at white space leaves `count` equal to what `weigh` returns."""
        ...


class Words:
    """Counts words between white space: the measure when there is no tokenizer."""

    def count(self, text: str) -> int:
        """Return the number of words."""
        return len(text.split())

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """Return the number of words of each text."""
        return [len(text.split()) for text in texts]

    def adds_up(self, text: str) -> bool:
        """Words always add up."""
        return True


class Tokens:
    """Counts a tokenizer's tokens. Never changes the tokenizer: one that truncates or pads is copied first."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        if tokenizer.truncation is not None or tokenizer.padding is not None:
            tokenizer = type(tokenizer).from_str(tokenizer.to_str())
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._by_word = _cuts_at_space(tokenizer)
        self._known: dict[str, int] = {}
        self._letters = 0

    def count(self, text: str) -> int:
        """Return the tokens of `text`, special tokens left out."""
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def weigh(self, texts: Sequence[str]) -> list[int]:
        """Return for each text the sum of its words' tokens, plus one where white space may be a token of its own.

        An endless word is not counted, but taken for more than it can be.
        """
        weights: list[int] = []
        apart = 0 if self._by_word else 1
        for start in range(0, len(texts), _AT_ONCE):
            words = [text.split() for text in texts[start : start + _AT_ONCE]]
            self._learn(words)
            weights += [apart + sum(map(self._known.__getitem__, some)) for some in words]
        return weights

    def adds_up(self, text: str) -> bool:
        """Say whether the tokenizer cuts at white space before all else, and `text` has no doubtful white space."""
        return self._by_word and _UNCLEAR_SPACE.search(text) is None

    def _learn(self, words: Iterable[list[str]]) -> None:
        if self._letters > _REMEMBERED:
            self._known.clear()
            self._letters = 0
        new = set().union(*words).difference(self._known)
        for word in [word for word in new if len(word) > _ENDLESS]:
            self._known[word] = len(word) * _DENSEST
            self._letters += len(word)
            new.remove(word)
        if new:
            asked = list(new)
            # where space is part of a token, a word is counted as it stands within a sentence
            spoken = asked if self._by_word else [" " + word for word in asked]
            encoded = self._tokenizer.encode_batch_fast(spoken, add_special_tokens=False)
            self._known.update(zip(asked, map(len, encoded), strict=True))
            self._letters += sum(map(len, asked))


def _cuts_at_space(tokenizer: "Tokenizer") -> bool:
    """Say whether tokens never depend on what lies beyond white space, as in BERT and its kin."""
    kinds = (
        type(tokenizer.normalizer).__name__ in {"NoneType", "BertNormalizer", "Lowercase"},
        type(tokenizer.pre_tokenizer).__name__ in {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"},
        type(tokenizer.model).__name__ in {"WordPiece", "WordLevel"},
    )
    added = tokenizer.get_added_tokens_decoder().values()
    return all(kinds) and not any(len(token.content.split()) != 1 or token.single_word for token in added)
