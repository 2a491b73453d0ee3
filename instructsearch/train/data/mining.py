"""Which texts make a positive and a hard negative of one another: INSTRUCTOR's two rules, by the base model's vectors.

Knows unit rows and labels or outputs, not texts or instructions. Source: INSTRUCTOR, section 2.3 (MEDI).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from instructsearch.embed.protocol import FloatArray

Triple = tuple[int, int, int]  # query, positive, hard negative: row numbers
_BLOCK = 1024
_NEAR = 5  # a positive or negative is drawn from so many nearest, so that one text is not everybody's


def by_label(vectors: FloatArray, labels: Sequence[str], random: np.random.Generator) -> list[Triple]:
    """Return a triple for each row that has both: near and of its label, and near and of another.

    `vectors` are (n, d). The nearer a wrong one, the harder; a right one that is near is what the paper takes, and one
    that is far, taken as often, is what shows a model that the label is not the subject.
    """
    numbers = np.unique(np.asarray(labels), return_inverse=True)[1]
    found = []
    for start in range(0, len(vectors), _BLOCK):
        alike = vectors[start : start + _BLOCK] @ vectors.T
        for at, row in enumerate(alike, start):
            same = numbers == numbers[at]
            same[at] = False
            if same.any() and (others := numbers != numbers[at]).any():
                near = bool(random.random() < 0.5)
                positive = _nearest(row, same, random) if near else int(random.choice(np.flatnonzero(same)))
                found.append((at, positive, _nearest(row, others, random)))
    return found


def by_output(inputs: FloatArray, outputs: FloatArray, random: np.random.Generator) -> list[Triple]:
    """Return a triple for each row of a generation task.

    The positive has the most similar input and output together, the negative the most similar input with the least
    similar output: argmax of s_in + s_out and of s_in - s_out.
    """
    if len(inputs) < 3:
        return []
    found = []
    for start in range(0, len(inputs), _BLOCK):
        block = slice(start, start + _BLOCK)
        alike, answers = inputs[block] @ inputs.T, outputs[block] @ outputs.T
        for at, (near, same) in enumerate(zip(alike, answers, strict=True), start):
            others = np.arange(len(inputs)) != at
            positive = _nearest(near + same, others, random)
            others[positive] = False
            found.append((at, positive, _nearest(near - same, others, random)))
    return found


def hard_passages(
    queries: FloatArray, passages: FloatArray, own: NDArray[np.intp], random: np.random.Generator
) -> list[int]:
    """Return for each query a passage that is near it and is not its own, nor nearly a copy of that one.

    Passages as near as the right one within 5 % are left out: many of these are right too, only not marked so.
    """
    found = []
    for start in range(0, len(queries), _BLOCK):
        alike = queries[start : start + _BLOCK] @ passages.T
        for at, row in enumerate(alike, start):
            allowed = row < 0.95 * row[own[at]]
            allowed[own[at]] = False
            found.append(_nearest(row, allowed, random) if allowed.any() else int(random.integers(len(passages))))
    return found


def _nearest(row: NDArray[np.float32], allowed: NDArray[np.bool_], random: np.random.Generator) -> int:
    places = np.flatnonzero(allowed)
    most = min(_NEAR, len(places))
    best = places[np.argpartition(row[places], -most)[-most:]]
    return int(random.choice(best))
