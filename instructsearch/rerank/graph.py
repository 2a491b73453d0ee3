"""GraphCrossEncoder: a cross-encoder on the CPU without torch, over an exported graph in float32 or 8-bit integers.

Knows the cached graph and how to trust it; not how it is made, which is `export`'s.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from instructsearch.embed.onnx import GRAPH, intact
from instructsearch.embed.weights import cache_folder
from instructsearch.errors import ModelDamaged
from instructsearch.records import fingerprint
from instructsearch.rerank.files import locate
from instructsearch.rerank.pairwise import Pairwise
from instructsearch.rerank.profile import RerankProfile
from instructsearch.rerank.prompt import Row

EXPORTER = 1  # raise when the exported graph changes, so that older ones are made anew


class GraphCrossEncoder(Pairwise):
    """Scores each pair by itself: nothing is padded, and 8-bit scales are those of the pair, not of its neighbours.

    Raises:
        ModelDamaged: the graph is missing, short or altered.
    """

    def __init__(self, profile: RerankProfile, graph: Path | None = None) -> None:
        graph = graph or graph_folder(profile)
        if not intact(graph):
            raise ModelDamaged(f"{profile.name}: the graph in {graph} is missing or damaged")
        super().__init__(profile, locate(profile), "cpu")
        options = onnxruntime.SessionOptions()
        # The graph was optimised when it was made; doing it again costs more than a query.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                graph / GRAPH, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own exceptions, straight from Exception
            raise ModelDamaged(f"{profile.name}: the graph in {graph} cannot be loaded: {error}") from None
        self._inputs = {each.name for each in self._session.get_inputs()}

    def _logits(self, rows: Sequence[Row], ties: Sequence[str]) -> NDArray[np.float32]:
        return np.concatenate([self._one(row) for row in rows])

    def _one(self, row: Row) -> NDArray[np.float32]:
        ids = np.asarray([row.ids], np.int64)
        inputs = {"ids": ids, "attention": np.ones_like(ids), "types": np.asarray([row.types], np.int64)}
        logits: NDArray[np.float32] = self._session.run(
            ["logits"], {name: value for name, value in inputs.items() if name in self._inputs}
        )[0]
        return logits


def graph_folder(profile: RerankProfile) -> Path:
    """Return where the graph of this profile belongs; another onnxruntime or exporter has another."""
    key = fingerprint([profile.fingerprint, EXPORTER, onnxruntime.__version__])[:16]
    return cache_folder() / "onnx" / key
