"""Texts to token ids and to the weight each token has in the pooled vector.

Knows tokenizers and templates; nothing of batches, tensors or models. Pooling is decided here for every family:
whatever the rule, it is a row of weights over tokens that sums to one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, normalizers

from instructsearch.embed.older_tokenizer import older_tokenizer
from instructsearch.embed.profile import Profile
from instructsearch.errors import BadProfile, ModelDamaged, ModelNotFound, TooLong
from instructsearch.records import Role

_SLAB = 512


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text as the model sees it: `ids` (length,), and `first:last`, the positions that pooling may look at."""

    ids: NDArray[np.int32]
    first: int
    last: int
    cut: bool = False


class Tokeniser:
    """The tokenizer of a model's folder, under a profile's templates and limits."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.profile = profile
        path = folder / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else older_tokenizer(profile.name, folder)
        except ModelNotFound:
            raise
        except Exception as error:  # the Rust side raises a bare Exception
            raise ModelDamaged(f"{profile.name}: {path} cannot be read: {error}") from None
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        if profile.lowercase:
            theirs = self.tokenizer.normalizer
            self.tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([theirs] if theirs else [])])
        self._special = _special_ids(folder, self.tokenizer)
        self.before, self.after = self._surrounding()
        self.pad_id = self._special.get("pad_token", 0)
        self.mask_id = self._special.get("mask_token")
        self.eos_id = self._special.get("eos_token")
        self.room = lru_cache(maxsize=1024)(self._room)

    def _surrounding(self) -> tuple[list[int], list[int]]:
        """Return the ids before and after every text: what the tokenizer adds, and what the profile enforces."""
        bare = self.tokenizer.encode("a", add_special_tokens=False).ids
        full = self.tokenizer.encode("a").ids
        start = next((at for at in range(len(full)) if full[at : at + len(bare)] == bare), 0)
        before, after = full[:start], full[start + len(bare) :]
        if self.profile.add_bos and (not before or before[0] != self._id("bos_token")):
            before = [self._id("bos_token"), *before]
        if self.profile.add_eos and (not after or after[-1] != self._id("eos_token")):
            after = [*after, self._id("eos_token")]
        return before, after

    def _id(self, name: str) -> int:
        if name == "eos_token" and self.profile.eos_token:
            found = self.tokenizer.token_to_id(self.profile.eos_token)
            if found is None:
                raise BadProfile(f"{self.profile.name}: its tokenizer has no token {self.profile.eos_token!r}")
            return int(found)
        if name not in self._special:
            raise BadProfile(f"{self.profile.name}: the profile asks for a {name}, and the tokenizer has none")
        return self._special[name]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text alone, without template and special tokens."""
        counts: list[int] = []
        for start in range(0, len(texts), _SLAB):
            counts += [len(encoding) for encoding in self._encode(list(texts[start : start + _SLAB]))]
        return counts

    def _room(self, instruction: str, role: Role) -> int:
        """Return the tokens left for a text under this instruction.

        Raises:
            TooLong: none is left.
        """
        head, tail = self.profile.around(instruction, role)
        taken = sum(self.count([head, tail])) + len(self.before) + len(self.after)
        if taken >= self.profile.max_tokens:
            taken_of = f"{taken} of {self.profile.name}'s {self.profile.max_tokens} tokens"
            raise TooLong(f"the instruction takes {taken_of} and leaves none for the text: {instruction[:80]!r}")
        return self.profile.max_tokens - taken

    def tokenise(self, pairs: Sequence[tuple[str, str]], role: Role) -> list[Tokens]:
        """Return the tokens of each (instruction, text) pair, the text cut to what the window holds.

        Raises:
            TooLong: an instruction leaves no room for any text.
        """
        surroundings = {instruction: self.profile.around(instruction, role) for instruction, _ in pairs}
        for instruction in surroundings:
            self.room(instruction, role)
        rows: list[Tokens] = []
        for start in range(0, len(pairs), _SLAB):  # an Encoding takes a hundred times the room of its ids
            slab = [(each, self.profile.ended(text, each, role)) for each, text in pairs[start : start + _SLAB]]
            whole = [surroundings[each][0] + text + surroundings[each][1] for each, text in slab]
            encodings = self._encode(whole, offsets=any(map(any, surroundings.values())))
            for encoding, (instruction, text) in zip(encodings, slab, strict=True):
                rows.append(self._place(encoding, text, *surroundings[instruction]))
        return rows

    def _encode(self, texts: list[str], *, offsets: bool = False) -> list[Encoding]:
        encode = self.tokenizer.encode_batch if offsets else self.tokenizer.encode_batch_fast
        try:
            return encode(texts, add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):  # a lone surrogate has no UTF-8 form
            return encode([_utf8(text) for text in texts], add_special_tokens=False)

    def _place(self, encoding: Encoding, text: str, head: str, tail: str) -> Tokens:
        ids = encoding.ids
        start, end = _bounds(encoding, text, head, tail)
        room = self.profile.max_tokens - len(self.before) - len(self.after) - start - (len(ids) - end)
        surplus = max(0, end - start - max(room, 0))
        if surplus and self.profile.truncation_side == "right":
            ids = ids[: end - surplus] + ids[end:]
        elif surplus:
            spared = 0 if self.profile.truncates_head else start
            ids = ids[:spared] + ids[spared + surplus :]
            start = max(spared, start - surplus)
        end -= surplus
        row = [*self.before, *ids, *self.after] or [self.pad_id]
        first, last = 0, len(row)
        if not self.profile.pool_includes_instruction:
            # As in INSTRUCTOR, a closing special token belongs to the text and an opening one to the instruction.
            first = len(self.before) + start if head else 0
            last = len(self.before) + end if tail else len(row)
            if first >= last:
                first, last = 0, len(row)
        return Tokens(np.asarray(row, np.int32), first, last, surplus > 0)

    def found(self, text: str, instruction: str, role: Role) -> str:
        """Return the part of the prompt that is covered by the tokens that count as the text's."""
        head, tail = self.profile.around(instruction, role)
        [encoding] = self._encode([head + text + tail], offsets=True)
        start, end = _bounds(encoding, text, head, tail)
        spans = encoding.offsets[start:end]
        return (head + text + tail)[spans[0][0] : spans[-1][1]] if spans else ""

    def weights(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the pooling weight of each token, summing to one.

        Raises:
            BadProfile: mask pooling, and the template left no mask token in the ids.
        """
        weights = np.zeros(len(tokens.ids), np.float32)
        pooling = self.profile.pooling
        if pooling == "cls":
            weights[tokens.first] = 1
        elif pooling == "last":
            weights[-1] = 1
        elif pooling == "mask":
            weights[tokens.ids == self.mask_id] = 1
            if not weights.any():
                raise BadProfile(f"{self.profile.name}: mask pooling, but the template holds no mask token")
        elif pooling == "mean and mask" and (masks := self._masks(tokens)).any():
            weights[tokens.first : tokens.last] = 0.5 / (tokens.last - tokens.first)
            weights[masks] = 0.5 / masks.sum()
        elif pooling == "weighted":
            weights[tokens.first : tokens.last] = np.arange(tokens.first + 1, tokens.last + 1)
        else:
            weights[tokens.first : tokens.last] = 1
        weights /= weights.sum()
        return weights

    def _masks(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Return which of the ids are mask tokens of the template, behind the text."""
        found: NDArray[np.bool_] = tokens.ids == self.mask_id
        found[: tokens.last] = False
        return found


def _bounds(encoding: Encoding, text: str, head: str, tail: str) -> tuple[int, int]:
    """Return the indices of the text's first token and of the first one after it."""
    start = _token_at(encoding, len(head), len(head) + len(text)) if head else 0
    behind = len(head) + len(text)
    return start, _token_at(encoding, behind, behind + len(tail)) if tail else len(encoding.ids)


def _token_at(encoding: Encoding, start: int, end: int) -> int:
    """Return the index of the first token that covers a character of [start, end), or else follows them all."""
    for character in range(start, end):
        found = encoding.char_to_token(character)
        if found is not None:
            return int(found)
    return next((at for at, (_, stop) in enumerate(encoding.offsets) if stop > start), len(encoding.ids))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _special_ids(folder: Path, tokenizer: Tokenizer) -> dict[str, int]:
    """Return the ids of the special tokens that the tokenizer's own files name."""
    special: dict[str, int] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
        for key in ("pad_token", "mask_token", "bos_token", "eos_token"):
            value = facts.get(key)
            content = value.get("content") if isinstance(value, dict) else value
            found = tokenizer.token_to_id(content) if isinstance(content, str) else None
            if found is not None:
                special[key] = found
    return special
