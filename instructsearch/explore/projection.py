"""Bring vectors down to the plane, several of the same things so that they can be compared. Knows arrays only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from instructsearch.explore.grouping import FloatArray, one_thread, sample
from instructsearch.explore.installed import require

Method = Literal["tsne", "pca"]
METHODS: tuple[Method, ...] = ("tsne", "pca")
Points = npt.NDArray[np.float64]
PERPLEXITY = 30  # about how many neighbours t-SNE keeps near
STEPS, EARLY = 750, 250  # of t-SNE in all, and of those with exaggerated forces, as openTSNE has them by itself
EVERY = 25  # steps after which progress is told
FEW = 45  # rows up to which there are no neighbours to speak of: PCA is then shown whatever was asked for
NEIGHBOURS = 15  # that trust is measured on
MEASURED = 2_000  # rows that trust is measured on: it costs the square of them


@dataclass(frozen=True, slots=True)
class Projection:
    """Points (n, 2), centred, at a mean square distance of 1 from the centre.

    `trust` is the trustworthiness of Venna and Kaski 2001 by cosine, 0 to 1: how far the nearest points of the picture
    are near in truth; None where there are too few rows. `explained` is the share of the variance that PCA kept.
    """

    points: Points
    trust: float | None
    explained: float | None


def project(
    matrices: Sequence[FloatArray],
    method: Method = "tsne",
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Projection]:
    """Project each of the matrices (n, dim), all with rows for the same n things, unit length.

    A projection has no up and no left. So t-SNE starts every map but the first from the first one, and by any method
    each is turned and mirrored, never stretched, to lie on the first as well as it can (orthogonal Procrustes,
    Schönemann 1966): what then lies elsewhere has moved. `progress` is told steps done and steps in all.

    Raises:
        MissingExtra: the library of the method is not installed.
    """
    require("sklearn", *(["openTSNE"] if method == "tsne" else []))
    told = progress or (lambda done, every: None)
    told(0, len(matrices) * STEPS)
    found: list[Projection] = []
    for number, matrix in enumerate(matrices):
        points, explained = _pca(matrix)
        if method == "tsne" and len(matrix) > FEW:
            so_far = partial(_told, told, number * STEPS, len(matrices) * STEPS)
            points, explained = _tsne(matrix, found[0].points if found else points, seed, so_far), None
        points = _scaled(points)
        trust = _trust(matrix, points, seed)
        if found:
            points = _aligned(points, found[0].points)
        found.append(Projection(points, trust, explained))
    return found


def _told(told: Callable[[int, int], None], before: int, every: int, done: int) -> None:
    told(before + done, every)


def _pca(matrix: FloatArray) -> tuple[Points, float | None]:
    from sklearn.decomposition import PCA

    rows = np.asarray(matrix, np.float64)
    kept = min(2, *rows.shape)
    points = np.zeros((len(rows), 2))
    if len(rows) < 2 or not np.ptp(rows, axis=0).any():
        return points, None
    with one_thread():
        found = PCA(kept, svd_solver="covariance_eigh").fit(rows)
        points[:, :kept] = found.transform(rows)
    return points, float(found.explained_variance_ratio_.sum())


def _tsne(matrix: FloatArray, start: Points, seed: int, told: Callable[[int], None]) -> Points:
    """Project by t-SNE (van der Maaten and Hinton 2008) as openTSNE does it (Poličar, Stražar and Zupan 2024)."""
    from openTSNE import TSNE

    perplexity = min(PERPLEXITY, (len(matrix) - 1) // 3)
    spread = start[:, 0].std() or 1.0
    steps = 0

    def counted(iteration: int, error: float, embedding: Any) -> bool:
        nonlocal steps
        steps += EVERY
        told(steps)
        return False

    # one thread: more add up forces in the order in which they happen to end
    flat = TSNE(
        metric="cosine",
        perplexity=perplexity,
        # far apart, the points of the start would never find to each other
        initialization=start / spread * 1e-4,
        early_exaggeration_iter=EARLY,
        n_iter=STEPS - EARLY,
        random_state=seed,
        n_jobs=1,
        callbacks=counted,
        callbacks_every_iters=EVERY,
    )
    return np.asarray(flat.fit(np.asarray(matrix)), np.float64)


def _scaled(points: Points) -> Points:
    centred = points - points.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=1).mean())
    scaled: Points = centred / spread if spread > 0 else centred
    return scaled


def _aligned(points: Points, onto: Points) -> Points:
    left, _, right = np.linalg.svd(points.T @ onto)
    turned: Points = points @ (left @ right)
    return turned


def _trust(matrix: FloatArray, points: Points, seed: int) -> float | None:
    from sklearn.manifold import trustworthiness

    rows = sample(len(matrix), MEASURED, seed)
    neighbours = min(NEIGHBOURS, (len(rows) - 1) // 2)
    if neighbours < 1:
        return None
    with one_thread():
        return float(trustworthiness(matrix[rows], points[rows], n_neighbors=neighbours, metric="cosine"))
