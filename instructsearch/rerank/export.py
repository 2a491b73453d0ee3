"""Makes the graph that a cross-encoder runs on without torch: exports once, checks it against torch, and caches it.

Knows torch's exporter, onnxruntime's quantiser and the cache; not how the graph is used, which is `graph`'s. A graph
whose scores differ is never kept.
"""

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from instructsearch.embed.export import ARCHITECTURES, LARGEST, _optimise, _publish, _silence
from instructsearch.embed.onnx import GRAPH, MANIFEST, WEIGHTS, intact, refusal
from instructsearch.embed.weights import digest
from instructsearch.rerank.cross import CrossEncoder
from instructsearch.rerank.graph import GraphCrossEncoder, graph_folder
from instructsearch.rerank.profile import RerankProfile

log = logging.getLogger("instructsearch.rerank")
LEAST_CORRELATION = {"float32": 0.99999, "int8": 0.95}  # between logits of the graph and torch's, over the samples
_QUERIES = ("what is similarity?", "how do cats sleep", "naïve Grüße, 東京 3.14")
_PASSAGES = (
    "Similarity is in the eye of the beholder.",
    "Cats sleep for most of the day, and they dream.",
    "3.14 <tag> #hash 東京, Москва\n\tTab",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 12,
    "word",
    "",
)


def prepare(profile: RerankProfile) -> bool:
    """Make the graph of a profile unless it is there; return whether there is one.

    Takes some ten seconds the first time. One that cannot be made, or whose scores differ, is refused with the reason,
    which is logged and remembered.

    Raises:
        ModelNotFound, ModelDamaged, BadProfile: as when the model is loaded.
    """
    target = graph_folder(profile)
    if intact(target):
        return True
    if refusal(target).is_file():
        return False
    log.info("making the graph of the reranker %s, once", profile.name)
    exact = CrossEncoder(profile, device="cpu", precision="float32", fused=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        log.info("no graph for %s: the cache cannot be written (%s)", profile.name, error)
        return False
    try:
        if reason := _unfit(exact) or _build(exact, temporary):
            log.info("%s will use torch: %s", profile.name, reason)
            refusal(target).write_text(reason + "\n", "utf-8")
            return False
        _publish(temporary, target)
    except OSError as error:
        log.info("no graph for %s: the cache cannot be written (%s)", profile.name, error)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return intact(target)


def _unfit(exact: CrossEncoder) -> str:
    """Return why no graph of this model is tried, or an empty string."""
    kind = exact._network.config.model_type
    if kind not in ARCHITECTURES:
        return f"graphs are made of {', '.join(sorted(ARCHITECTURES))}, and this is {kind}"
    size = sum(weight.numel() for weight in exact._network.parameters())
    return f"its {size:,} weights are more than the {LARGEST:,} worth a graph" if size > LARGEST else ""


def _build(exact: CrossEncoder, folder: Path) -> str:
    """Write graph and manifest into `folder`; return why not, or an empty string."""
    try:
        with _silence():
            _export(exact, folder / "raw.onnx")
            if exact.profile.graph == "int8":
                _quantise(folder / "raw.onnx")
            _optimise(folder)
        _write_manifest(exact.profile, folder)
        light = GraphCrossEncoder(exact.profile, folder)
        rows = [row for query in _QUERIES for row in exact._prompt.pairs(query, "", _PASSAGES)]
        pair = [each._logits(rows, [str(at) for at in range(len(rows))]) for each in (light, exact)]
    except OSError:
        raise
    except Exception as error:  # whatever the exporter meets in a foreign architecture means no graph, nothing worse
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    correlation = float(np.corrcoef(pair[0], pair[1])[0, 1])
    least = LEAST_CORRELATION[exact.profile.graph]
    return "" if correlation >= least else f"the graph's scores differ (correlation {correlation:.5f})"


class _Logit(nn.Module):
    """A cross-encoder's network with plain tensors in and out."""

    def __init__(self, exact: CrossEncoder) -> None:
        super().__init__()
        self.network = exact._network
        self.typed = exact.typed

    def forward(self, ids: Tensor, attention: Tensor, types: Tensor | None = None) -> Tensor:
        """Return (rows,)."""
        sides = {"token_type_ids": types} if self.typed else {}
        logits: Tensor = self.network(input_ids=ids, attention_mask=attention, **sides).logits
        return logits[:, 0]


def _export(exact: CrossEncoder, path: Path) -> None:
    window = exact.profile.max_tokens
    names = ["ids", "attention", *(["types"] if exact.typed else [])]
    # Each its own tensor: the exporter takes one that is given twice for one input.
    inputs = tuple(torch.ones((2, min(8, window)), dtype=torch.int64) for _ in names)
    shape = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length", max=window)}
    program: Any = torch.onnx.export(
        _Logit(exact).eval(),
        inputs,
        dynamo=True,
        verbose=False,
        input_names=names,
        output_names=["logits"],
        dynamic_shapes=tuple(shape for _ in names),
    )
    program.save(path)


def _quantise(path: Path) -> None:
    """Turn the matrix products of a graph into 8-bit ones, weights by column and states by what they turn out to be."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    del model.graph.value_info[:]  # the quantiser infers shapes anew, and takes the exporter's for a contradiction
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    plain = path.with_name("raw.onnx.float32")
    path.replace(plain)
    kinds = ["MatMul", "Gemm"]
    root = logging.getLogger()
    root.addFilter(_nothing)  # the quantiser gives its advice there; what other loggers say passes
    try:
        quantize_dynamic(plain, path, op_types_to_quantize=kinds, per_channel=True, weight_type=QuantType.QInt8)
    finally:
        root.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _write_manifest(profile: RerankProfile, folder: Path) -> None:
    paths = [folder / name for name in (GRAPH, WEIGHTS)]
    facts = {
        "profile": profile.name,
        "fingerprint": profile.fingerprint,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "files": {path.name: {"size": path.stat().st_size, "sha256": digest(path)} for path in paths},
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
