"""What must hold of a loaded embedder, whatever the model: checked by asking it, and named where it does not hold.

Knows the promise every embedder makes and the profile it makes it under; nothing of how a vector is computed.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from instructsearch.embed.batches import pad
from instructsearch.embed.pooled import Pooled
from instructsearch.embed.profile import READER
from instructsearch.errors import ModelDamaged, TooLong
from instructsearch.records import Role

if TYPE_CHECKING:
    from instructsearch.embed.protocol import Embedder

LEAST_COSINE = 0.9999  # between a text embedded alone and among longer ones; float32 gives 0.999999
_SAME = 0.999999  # two vectors nearer than this are one
_INSTRUCTIONS = ("topic: ", "mood: ")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked: what, whether it holds, and what was found."""

    name: str
    ok: bool
    detail: str


def selfcheck(embedder: "Embedder") -> list[Check]:
    """Ask an embedder for a handful of short texts and return what holds of its vectors. Loads and changes nothing.

    The checks are `end of text` (a pooled last token is the one the model was trained with), `template` (the text comes
    out of it as it went in), `batch` (a text alone is as among others), `instruction` (it changes the vector, where the
    profile says so) and `dimension` (cut last, then scaled to unit length).
    """
    checks = [_end_of_text, _template, _batch, _instruction, _dimension]
    with _exactly(embedder):
        return [found for check in checks if (found := check(embedder)) is not None]


def check_at_load(embedder: "Embedder") -> None:
    """Run the self-checks of an embedder that was just loaded.

    Raises:
        ModelDamaged: one does not hold; the message names it.
    """
    for check in selfcheck(embedder):
        if not check.ok:
            raise ModelDamaged(f"{embedder.profile.name} fails its self-check `{check.name}`: {check.detail}")


def _end_of_text(embedder: "Embedder") -> Check | None:
    if not isinstance(embedder, Pooled) or embedder.profile.pooling != "last":
        return None
    tokeniser, profile = embedder._tokeniser, embedder.profile
    wanted = tokeniser.after[-1] if tokeniser.after else None
    if wanted is None:
        return Check("end of text", ok=True, detail="the last word's own token is pooled; nothing is put after it")
    texts = ["a", "", "a b " * min(profile.max_tokens, 4096)]
    bad = [
        role
        for role, instruction in _asked(embedder)
        for row in tokeniser.tokenise([(instruction, text) for text in texts], role)
        if row.ids[-1] != wanted
    ]
    name = tokeniser.tokenizer.id_to_token(wanted)
    detail = f"{name} is missing at the end of a {bad[0]}" if bad else f"{name} ends every text, cut or not"
    return Check("end of text", not bad, detail)


def _template(embedder: "Embedder") -> Check | None:
    """Check that the tokens counted as the text's cover the text, and no more than a character of the template."""
    if not isinstance(embedder, Pooled):
        return None
    text = "naive cats, red mats"
    for role, instruction in _asked(embedder):
        found = embedder._tokeniser.found(text, instruction, role)
        if text not in found or len(found) > len(text) + 1:
            detail = f"in a {role}, {text!r} is found as {found!r}: the tokenizer's offsets are wrong"
            return Check("template", ok=False, detail=detail)
    return Check("template", ok=True, detail="the text is found where the template put it, in queries and documents")


def _batch(embedder: "Embedder") -> Check:
    role: Role = "query" if embedder.profile.query_adapter == embedder.profile.document_adapter else "document"
    longest = max(2, min(24, embedder.room("", role) // 2))
    texts = ["the cat", " ".join(["word"] * longest)]
    alone, among = (embedder.encode(each, role=role)[0] for each in (texts[:1], texts))
    cosine = float(alone @ among)
    detail = f"a text alone and among longer ones: cosine {cosine:.6f}"
    if cosine < LEAST_COSINE:
        detail += "; padding reaches the vector (is padding_side what the model was trained with?)"
    return Check("batch", cosine >= LEAST_COSINE, detail)


def _instruction(embedder: "Embedder") -> Check | None:
    profile = embedder.profile
    roles: list[Role] = [role for role in ("query", "document") if profile.heeds(role)]
    if not roles:
        return None
    nearest, same = 0.0, False
    for role in roles[:1] if profile.query_adapter != profile.document_adapter else roles:
        if not all(_fits(embedder, each, role) for each in _INSTRUCTIONS):
            return Check("instruction", ok=True, detail=f"not tried: {profile.max_tokens} tokens hold none and a text")
        vectors = embedder.encode(["the cat"] * 3, ["", *_INSTRUCTIONS], role)
        cosines = [float(vectors[a] @ vectors[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        nearest = max(nearest, *cosines)
        # a reader may answer next to nothing to what its base is good at, but then in other digits
        same |= bool((vectors == vectors[0]).all()) if profile.kind == READER else max(cosines) >= _SAME
    detail = f"none and two others give vectors of cosine at most {nearest:.4f}"
    if same:
        detail = "it does not reach the vector: two instructions give the same one"
    return Check("instruction", not same, detail)


def _dimension(embedder: "Embedder") -> Check | None:
    """Check the order of Matryoshka: layer norm over all dimensions, then the cut, then unit length."""
    if not isinstance(embedder, Pooled) or embedder.dim == getattr(embedder, "width", 0):
        return None
    role: Role = "document"
    tokeniser, profile = embedder._tokeniser, embedder.profile
    tokens = tokeniser.tokenise([("", "the cat")], role)
    batch = pad(np.zeros(1, np.intp), tokens, tokeniser.weights, tokeniser.pad_id, profile.padding_side)
    [(_, full)] = embedder._vectors([batch], len(tokens[0].ids), role)
    if full.shape[1] == profile.dim:
        return None
    if profile.post[-1:] == ("layer_norm",) and abs(float(full.std()) - 1) > 0.01:
        return Check("dimension", ok=False, detail=f"layer norm was not over all {full.shape[1]} dimensions")
    first = full[0, : profile.dim]
    cosine = float(embedder.encode(["the cat"], role=role)[0] @ (first / np.linalg.norm(first)))
    detail = f"the first {profile.dim} of {full.shape[1]} at unit length (cosine {cosine:.6f})"
    return Check("dimension", cosine >= LEAST_COSINE, detail)


def _asked(embedder: "Embedder") -> list[tuple[Role, str]]:
    """Return the ways a text can be asked for: each role, with and without an instruction."""
    roles: tuple[Role, ...] = ("query", "document")
    return [
        (role, each)
        for role in roles
        for each in ("", *(_INSTRUCTIONS[:1] if embedder.profile.heeds(role) else ()))
        if _fits(embedder, each, role)
    ]


def _fits(embedder: "Embedder", instruction: str, role: Role) -> bool:
    try:
        return embedder.room(instruction, role) > 0
    except TooLong:
        return False


@contextlib.contextmanager
def _exactly(embedder: Any) -> Iterator[None]:
    """Have an embedder that chooses its precision use float32 meanwhile, so that what differs is no rounding."""
    before = getattr(embedder, "precision", "float32")
    if before != "float32":
        embedder.precision = "float32"
    try:
        yield
    finally:
        if before != "float32":
            embedder.precision = before
