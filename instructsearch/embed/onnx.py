"""OnnxEncoder: the same vectors as Encoder's, for queries, without loading torch.

Knows the cached graph and how to trust it; not how it is made, which is `export`'s.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from instructsearch.embed.batches import Batch
from instructsearch.embed.pooled import Pooled
from instructsearch.embed.profile import READER, Profile
from instructsearch.embed.protocol import Embedder, FloatArray
from instructsearch.embed.weights import cache_folder, digest, locate
from instructsearch.errors import ModelDamaged
from instructsearch.records import Role, fingerprint

EXPORTER = 1  # raise when the exported graph changes, so that older ones are made anew
GRAPH, WEIGHTS, MANIFEST = "graph.onnx", "graph.bin", "manifest.json"


class OnnxEncoder(Pooled):
    """The pooled embedder over an exported graph, in float32 on the CPU.

    Raises:
        ModelDamaged: the graph is missing, short or altered.
    """

    def __init__(self, profile: Profile, graph: Path | None = None) -> None:
        self._session = session(profile, graph or graph_folder(profile))
        super().__init__(profile, locate(profile), "cpu")

    def _vectors(
        self, batches: Iterable[Batch], tokens: int, role: Role
    ) -> Iterable[tuple[NDArray[np.intp], FloatArray]]:
        for batch in batches:
            inputs = {"ids": batch.ids, "attention": batch.attention, "weights": batch.weights}
            yield batch.rows, self._session.run(["vectors"], inputs)[0]


def light_of(profile: Profile, graph: Path) -> Embedder:
    """Return the embedder of a profile over its graph. Errors as for its class."""
    if profile.kind == READER:
        from instructsearch.embed.reader_onnx import OnnxReader

        return OnnxReader(profile, graph)
    return OnnxEncoder(profile, graph)


def session(profile: Profile, graph: Path) -> Any:
    """Return the onnxruntime session of a graph folder.

    Raises:
        ModelDamaged: the graph is missing, short or altered.
    """
    if not intact(graph):
        raise ModelDamaged(f"{profile.name}: the query graph in {graph} is missing or damaged")
    options = onnxruntime.SessionOptions()
    # The graph was optimised when it was made; doing it again costs more than a query.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    # Threads that spin for the next query take a core from whatever comes after this one, and answer no sooner.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph / GRAPH, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own exceptions, straight from Exception
        raise ModelDamaged(f"{profile.name}: the query graph in {graph} cannot be loaded: {error}") from None


def graph_folder(profile: Profile) -> Path:
    """Return where the graph of this profile belongs; another onnxruntime or exporter has another."""
    key = fingerprint([profile.fingerprint, EXPORTER, onnxruntime.__version__])[:16]
    return cache_folder() / "onnx" / key


def refusal(graph: Path) -> Path:
    """Return the file that says why this graph cannot be made, so that it is not tried at every query."""
    return graph.with_suffix(".refused")


def intact(graph: Path) -> bool:
    """Say whether a graph folder holds every file that its manifest lists, whole and unaltered."""
    try:
        files = json.loads((graph / MANIFEST).read_text("utf-8"))["files"]
        return set(files) >= {GRAPH, WEIGHTS} and all(
            (graph / name).stat().st_size == facts["size"] and digest(graph / name) == facts["sha256"]
            for name, facts in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
