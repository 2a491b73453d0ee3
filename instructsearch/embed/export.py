"""Makes the graph that queries run on: exports a network once, checks it against torch, and caches it.

Knows torch's exporter and the cache; not how the graph is used, which is `onnx`'s. A graph that differs is never kept.
"""

import contextlib
import io
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import nn

from instructsearch.embed.encoder import Encoder
from instructsearch.embed.onnx import GRAPH, MANIFEST, WEIGHTS, graph_folder, intact, light_of, refusal
from instructsearch.embed.reader import LONGEST_INSTRUCTION
from instructsearch.embed.reader_encoder import ReaderEncoder
from instructsearch.embed.weights import digest

log = logging.getLogger("instructsearch.embed")
LEAST_COSINE = 0.9999
LARGEST = 300_000_000  # weights; a larger model's graph takes minutes to make and its queries seconds anyway
ARCHITECTURES = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})
_NOISY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir", "instructsearch.embed")
_SAMPLES = (
    "what is similarity?",
    "Represent the sentence for retrieval: a cat sat on the mat",
    "naïve Grüße, 東京, Москва; 3.14 <tag> #hash\n\tTab",
    "The quick brown fox jumps over the lazy dog, and the dog does not mind. " * 12,
    "word " * 4096,
)


Exportable = Encoder | ReaderEncoder


def prepare(encoder: Exportable) -> bool:
    """Make the query graph of an encoder unless it is there; return whether there is one.

    A graph that cannot be made, or whose vectors differ, is refused with the reason, which is logged and remembered.
    """
    target = graph_folder(encoder.profile)
    if intact(target):
        return True
    if refusal(target).is_file():
        return False
    if reason := _unfit(encoder):
        log.info("queries of %s will use torch: %s", encoder.profile.name, reason)
        return False
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        log.info("no query graph for %s: the cache cannot be written (%s)", encoder.profile.name, error)
        return False
    try:
        reason = _build(encoder, temporary)
        if reason:
            log.info("queries of %s will use torch: %s", encoder.profile.name, reason)
            refusal(target).write_text(reason + "\n", "utf-8")
            return False
        _publish(temporary, target)
    except OSError as error:
        log.info("no query graph for %s: the cache cannot be written (%s)", encoder.profile.name, error)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return intact(target)


def _unfit(encoder: Exportable) -> str:
    """Return why no graph of this model is tried, or an empty string."""
    profile = encoder.profile
    backbone = (encoder.network if isinstance(encoder, ReaderEncoder) else encoder.network()).backbone
    if profile.query_adapter != profile.document_adapter:
        return "its roles have networks of their own"
    if backbone.config.model_type not in ARCHITECTURES:
        return f"graphs are made of {', '.join(sorted(ARCHITECTURES))}, and this is {backbone.config.model_type}"
    size = sum(weight.numel() for weight in backbone.parameters())
    return f"its {size:,} weights are more than the {LARGEST:,} worth a graph" if size > LARGEST else ""


def _build(encoder: Exportable, folder: Path) -> str:
    """Write graph and manifest into `folder`; return why not, or an empty string."""
    try:
        with _silence():
            _export(encoder, folder)
            _optimise(folder)
        _write_manifest(encoder, folder)
        light = light_of(encoder.profile, folder)
        instruction = "topic: " if isinstance(encoder, ReaderEncoder) else ""
        with _silence():
            exact = _exact(encoder)
            light_vectors, exact_vectors = (each.encode(_SAMPLES, instruction, "query") for each in (light, exact))
            cosines = (light_vectors * exact_vectors).sum(axis=1)
    except OSError:
        raise
    except Exception as error:  # whatever the exporter meets in a foreign architecture means no graph, nothing worse
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    least = float(cosines.min())
    return "" if least >= LEAST_COSINE else f"the graph's vectors differ (cosine {least:.6f})"


def _exact(encoder: Exportable) -> Exportable:
    options: dict[str, Any] = {"device": encoder.device, "precision": "float32", "check": False}
    if isinstance(encoder, ReaderEncoder):
        return ReaderEncoder(encoder.profile, network=encoder.network, **options)
    return Encoder(encoder.profile, network=encoder.network(), **options)


def _export(encoder: Exportable, folder: Path) -> None:
    network, inputs = _reader_inputs(encoder) if isinstance(encoder, ReaderEncoder) else _inputs(encoder)
    program: Any = torch.onnx.export(
        network.eval().cpu(),
        tuple(tensor for tensor, _ in inputs.values()),
        dynamo=True,
        verbose=False,
        input_names=list(inputs),
        output_names=["vectors"],
        dynamic_shapes=tuple(shape for _, shape in inputs.values()),
    )
    network.to(encoder.device)
    program.save(folder / "raw.onnx", external_data=True)


Inputs = dict[str, tuple[torch.Tensor, dict[int, Any]]]  # by name: an example, and which of its axes may be of any size


def _inputs(encoder: Encoder) -> tuple[nn.Module, Inputs]:
    length = min(8, encoder.profile.max_tokens)
    ids = torch.ones((2, length), dtype=torch.int64)
    shape = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length", max=encoder.profile.max_tokens)}
    weights = torch.full((2, length), 1 / length)
    return encoder.network(), {
        "ids": (ids, shape),
        "attention": (torch.ones_like(ids), shape),
        "weights": (weights, shape),
    }


def _reader_inputs(encoder: ReaderEncoder) -> tuple[nn.Module, Inputs]:
    ids, asked = torch.ones((2, 8), dtype=torch.int64), torch.ones((3, 5), dtype=torch.int64)
    texts = {0: torch.export.Dim("texts"), 1: torch.export.Dim("length", max=encoder.profile.max_tokens)}
    instructions = {0: torch.export.Dim("instructions"), 1: torch.export.Dim("said", max=LONGEST_INSTRUCTION)}
    return encoder.network, {
        "ids": (ids, texts),
        "attention": (torch.ones_like(ids), texts),
        "asked": (asked, instructions),
        "asked_attention": (torch.ones_like(asked), instructions),
        "places": (torch.tensor([[0, 1, 1, 0], [0, 1, 2, 2]]), {1: torch.export.Dim("pairs")}),
    }


def _optimise(folder: Path) -> None:
    options = onnxruntime.SessionOptions()
    # No higher: beyond it the graph would fit this processor only.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / GRAPH)
    options.log_severity_level = 3
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(folder / "raw.onnx", options, providers=["CPUExecutionProvider"])
    for path in folder.glob("raw.onnx*"):
        path.unlink()


def _write_manifest(encoder: Exportable, folder: Path) -> None:
    paths = [folder / name for name in (GRAPH, WEIGHTS)]
    files = {path.name: {"size": path.stat().st_size, "sha256": digest(path)} for path in paths}
    facts = {
        "profile": encoder.profile.name,
        "fingerprint": encoder.profile.fingerprint,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "files": files,
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _publish(folder: Path, target: Path) -> None:
    """Move a finished graph to its place; where another process was faster, keep the other's."""
    if target.exists() and not intact(target):
        shutil.rmtree(target, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rename(target)
    for name in (GRAPH, WEIGHTS):
        digest(target / name)  # remembered now, so that the first query need not read the file


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's prints, warnings and log lines to itself."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
