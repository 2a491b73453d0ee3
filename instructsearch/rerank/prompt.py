"""From a query, an instruction and passages to the token ids that a reranker reads, cut to its window.

Knows tokenizers and templates; nothing of batches, tensors or models. Only the passage is ever cut: a query, an
instruction or a template that leaves no room for one is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding

from instructsearch.embed.tokens import Tokeniser
from instructsearch.errors import BadProfile, TooLong
from instructsearch.rerank.profile import RerankProfile


@dataclass(frozen=True, slots=True)
class Row:
    """One pair as the model sees it: token ids, the side of the pair that each belongs to, whether a part was cut."""

    ids: list[int]
    types: list[int]
    cut: bool


class Prompt:
    """A model's tokenizer under a reranker's template."""

    def __init__(self, profile: RerankProfile, tokeniser: Tokeniser) -> None:
        self.profile = profile
        self.tokenizer = tokeniser.tokenizer
        self._before, self._after = tokeniser.before, tokeniser.after

    def token(self, name: str) -> int:
        """Return the id of a token.

        Raises:
            BadProfile: the tokenizer has none of that name.
        """
        found = self.tokenizer.token_to_id(name)
        if found is None:
            raise BadProfile(f"{self.profile.name}: its tokenizer has no token {name!r}")
        return int(found)

    def pairs(self, query: str, instruction: str, texts: Sequence[str]) -> list[Row]:
        """Return a row a text in the tokenizer's own form for a pair, such as `[CLS] query [SEP] text [SEP]`.

        Raises:
            TooLong: query and instruction leave no room for a passage.
        """
        (asked, _), (head, _) = self.profile.parts(query, instruction)
        [first] = self._encode([asked])
        [lead] = self._encode([head])
        room = self.profile.max_tokens - len(first) - self.tokenizer.num_special_tokens_to_add(is_pair=True)
        self._check_room(room - len(lead), query)
        room = min(room, len(lead) + (self.profile.document_tokens or room))
        rows = []
        for second in self._encode([head + text for text in texts]):
            cut = len(second) > room
            second.truncate(room)
            whole = self.tokenizer.post_process(first, second, add_special_tokens=True)
            rows.append(Row(whole.ids, whole.type_ids, cut))
        return rows

    def sequences(self, query: str, instruction: str, texts: Sequence[str]) -> list[Row]:
        """Return a row a text in which the template's parts follow each other, each tokenised by itself.

        Raises:
            TooLong: query, instruction and template leave no room for a passage.
        """
        before, after, around = list(self._before), list(self._after), ("", "")
        place = before
        for head, tail in self.profile.parts(query, instruction):
            if tail is None:
                place += self._encode([head])[0].ids
            else:
                around, place = (head, tail), []
        after = [*place, *after]
        room = self.profile.max_tokens - len(before) - len(after)
        self._check_room(room - sum(len(each) for each in self._encode(list(around))), query)
        rows = []
        for text, encoding in zip(texts, self._encode([text.join(around) for text in texts]), strict=True):
            ids = encoding.ids
            surplus = max(0, len(ids) - room)
            start, end = _span(encoding, len(around[0]), len(around[0]) + len(text))
            kept = min(end - surplus, start + (self.profile.document_tokens or end))
            kept = max(start, min(end, kept))
            ids = [*before, *ids[:kept], *ids[end:], *after]
            rows.append(Row(ids, [0] * len(ids), kept < end))
        return rows

    def _check_room(self, left: int, query: str) -> None:
        if left < 1:
            window = f"{self.profile.name}'s window of {self.profile.max_tokens} tokens"
            raise TooLong(f"the query and its instruction fill {window} and leave none for a passage: {query[:80]!r}")

    def _encode(self, texts: list[str]) -> list[Encoding]:
        try:
            return self.tokenizer.encode_batch(texts, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):  # a lone surrogate has no UTF-8 form
            plain = [text.encode("utf-8", "replace").decode() for text in texts]
            return self.tokenizer.encode_batch(plain, add_special_tokens=False)


def _span(encoding: Encoding, first: int, last: int) -> tuple[int, int]:
    """Return the tokens whose characters lie in [first, last) and nowhere else, as (start, end)."""
    spans = encoding.offsets
    start = next((at for at, (begin, _) in enumerate(spans) if begin >= first), len(spans))
    end = next((at for at, (_, stop) in enumerate(spans) if stop > last), len(spans))
    return start, max(start, end)
