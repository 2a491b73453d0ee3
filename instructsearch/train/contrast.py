"""One batch of examples to one loss over unit vectors, by the kind of its task.

Knows examples and what each kind asks for; not how a text becomes a vector, which is the learner's.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from instructsearch.records import Role
from instructsearch.train import gradcache
from instructsearch.train.examples import KEPT, Example, Pair
from instructsearch.train.loss import contrastive, keep, supervised
from instructsearch.train.settings import Settings


class Encodes(Protocol):
    """Texts under instructions to unit rows (n, d): with a gradient when called, the base model's when `fixed`."""

    device: str

    def __call__(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        """Return the rows of the model in training."""

    def fixed(self, pairs: Sequence[Pair], role: Role) -> Tensor:
        """Return the rows of the model that training started from, without the instructions."""


def backward(model: Encodes, examples: Sequence[Example], settings: Settings) -> tuple[float, int]:
    """Add the gradients of one batch, all of one task; return its loss and how many texts it held."""
    texts = sides(examples)
    kept = examples[0].kind in KEPT
    base = model.fixed([each.positive for each in examples], "document") if kept else None

    def encode(rows: slice) -> Tensor:
        return _encode(model, texts[rows])

    def loss(vectors: Tensor) -> Tensor:
        return objective(examples, vectors, base, settings)

    return gradcache.backward(encode, len(texts), settings.slice, loss), len(texts)


def sides(examples: Sequence[Example]) -> list[tuple[Pair, Role]]:
    """Return what a batch embeds: all queries; but for kept texts, then all positives and then all negatives."""
    texts: list[tuple[Pair, Role]] = [(each.query, "query") for each in examples]
    if examples[0].kind not in KEPT:
        negatives = [each.negative for each in examples if each.negative is not None]
        texts += [(pair, "document") for pair in (*(each.positive for each in examples), *negatives)]
    return texts


def objective(examples: Sequence[Example], vectors: Tensor, base: Tensor | None, settings: Settings) -> Tensor:
    """Return the loss of a batch's vectors, in the order of `sides`; `base` (n, d) is where kept texts are to stay."""
    count, kind = len(examples), examples[0].kind
    if kind in KEPT:
        assert base is not None
        return settings.keep_weight * keep(vectors, base, settings.keep_temperature)
    if kind == "labels":
        return supervised(vectors, label_numbers(examples).to(vectors.device), settings.temperature)
    query, positive, negative = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
    same = same_texts(examples, [each.negative for each in examples if each.negative is not None]).to(vectors.device)
    return contrastive(query, positive, negative if len(negative) else None, same, settings.temperature)


def _encode(model: Encodes, texts: Sequence[tuple[Pair, Role]]) -> Tensor:
    rows: list[int] = []
    parts: list[Tensor] = []
    roles: tuple[Role, ...] = ("query", "document")
    for role in roles:
        some = [at for at, (_, each) in enumerate(texts) if each == role]
        if some:
            rows += some
            parts.append(model([texts[at][0] for at in some], role))
    return torch.cat(parts)[torch.tensor(rows, device=model.device).argsort()]


def side_labels(examples: Sequence[Example]) -> list[str]:
    """Return the labels of queries, positives and negatives, in that order."""
    columns = [[each.labels[0] for each in examples], [each.labels[1] for each in examples]]
    columns.append([each.labels[2] for each in examples if each.negative is not None])
    return [name for column in columns for name in column]


def label_numbers(examples: Sequence[Example]) -> Tensor:
    """Return numbers for the labels of queries, positives and negatives, in that order."""
    names = side_labels(examples)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names])


def same_texts(examples: Sequence[Example], negatives: Sequence[Pair]) -> Tensor:
    """Return, bool (n, n + m), which columns (positives, then negatives) hold a text that is right for the row's query.

    They are no wrong answers to it: a passage that answers two questions, a short answer that many rows share.
    """
    columns = [each.positive[1] for each in examples] + [text for _, text in negatives]
    right: dict[Pair, set[str]] = {}
    for each in examples:
        right.setdefault(each.query, set()).add(each.positive[1])
    return torch.tensor([[text in right[each.query] for text in columns] for each in examples])
