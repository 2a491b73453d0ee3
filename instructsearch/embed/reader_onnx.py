"""OnnxReader: the same vectors as ReaderEncoder's, for queries, without loading torch.

Knows the inputs of the cached graph; how it is trusted and opened is `onnx`'s, how it is made `export`'s.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instructsearch.embed.batches import Batch
from instructsearch.embed.onnx import graph_folder, session
from instructsearch.embed.profile import Profile
from instructsearch.embed.protocol import FloatArray
from instructsearch.embed.reader import Places, Reading, padded
from instructsearch.embed.tokens import Tokens
from instructsearch.embed.weights import locate


class OnnxReader(Reading):
    """A reader over an exported graph, in float32 on the CPU.

    Raises:
        ModelDamaged: the graph is missing, short or altered.
    """

    def __init__(self, profile: Profile, graph: Path | None = None) -> None:
        self._session = session(profile, graph or graph_folder(profile))
        super().__init__(profile, locate(profile), "cpu")

    def _answered(self, batch: Batch, instructions: Sequence[Tokens], places: Places, *, bulk: bool) -> FloatArray:
        asked, used = padded(instructions, self._texts.pad_id)
        inputs = {
            "ids": batch.ids,
            "attention": batch.attention,
            "asked": asked,
            "asked_attention": used,
            "places": np.ascontiguousarray(places.T, np.int64),
        }
        found: FloatArray = self._session.run(["vectors"], inputs)[0]
        return found
