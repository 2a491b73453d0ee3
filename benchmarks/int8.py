"""Try faster forms of the default model on this processor: static and dynamic INT8, OpenVINO, torch.compile.

    python benchmarks/int8.py data/scifact data/cranfield data/cisi --calibrate train/qa_pairs.jsonl.gz [--timed N]
                              [--documents N] [--only NAME...] [--graphs FOLDER] [--no-ranking] [--cpu-time]

The graph is exported once and quantised in the ways of `forms`. INT8 has weights in 7 bits (`reduce_range`, without
which AVX2's products overflow), one scale a channel, and activations in 8 bits with one scale a tensor, fixed by the
texts of --calibrate. `smoothed` moves an input channel's range into its weights first (SmoothQuant, Xiao et al. 2023).

Cosines are to float32 over every document; nDCG@10 is by brute force. --documents keeps all that are judged relevant
and a seeded choice of the others up to that many. --timed texts of the first set are embedded by each form in turns;
--cpu-time is for a machine that is busy with other work.
"""

import argparse
import copy
import gzip
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from embedding import gain, judged
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from results import file
from torch import Tensor, nn

from instructsearch import embed
from instructsearch.embed import export
from instructsearch.embed.batches import Batch, pad, plan
from instructsearch.embed.encoder import Encoder
from instructsearch.embed.network import Network
from instructsearch.embed.pooled import Pooled
from instructsearch.records import Role

Matrix = NDArray[np.float32]
Pairs = Iterable[tuple[NDArray[np.intp], Matrix]]
LEAST_COSINE, LEAST_SHARE, LARGEST_LOSS = 0.995, 0.99, 0.003


class OverGraph(Pooled):
    """The pooled embedder over an ONNX graph in ONNX Runtime or OpenVINO."""

    budget = 4096

    def __init__(self, encoder: Encoder, graph: Path, runtime: str) -> None:
        super().__init__(encoder.profile, encoder.folder, "cpu")
        if runtime == "openvino":
            import openvino

            settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
            model: Any = openvino.Core().compile_model(graph, "CPU", settings)
            self._run = lambda feed: model(feed)[0]
        else:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = torch.get_num_threads()
            session: Any = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            self._run = lambda feed: session.run(["vectors"], feed)[0]

    def _vectors(self, batches: Iterable[Batch], tokens: int, role: Role) -> Pairs:
        for batch in batches:
            yield batch.rows, self._run({"ids": batch.ids, "attention": batch.attention, "weights": batch.weights})


class Smoothed(nn.Module):
    """A linear layer whose input channels are divided by what its weights are multiplied with."""

    def __init__(self, linear: nn.Linear, largest: Tensor, alpha: float) -> None:
        super().__init__()
        scale = largest.clamp(min=1e-5) ** alpha / linear.weight.abs().amax(0).clamp(min=1e-5) ** (1 - alpha)
        self.register_buffer("scale", 1 / scale)
        self.linear = nn.Linear(linear.in_features, linear.out_features)
        self.linear.weight.data, self.linear.bias.data = linear.weight * scale, linear.bias

    def forward(self, states: Tensor) -> Tensor:
        """Return what the linear layer gives for the states as they are."""
        result: Tensor = self.linear(states * self.scale)
        return result


class Texts(CalibrationDataReader):
    """Batches of calibration texts, as the graph is fed."""

    def __init__(self, batches: list[Batch]) -> None:
        self._left = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next feed, or None at the end."""
        batch = next(self._left, None)
        return batch and {"ids": batch.ids, "attention": batch.attention, "weights": batch.weights}


def calibration(encoder: Encoder, path: Path, count: int) -> list[Batch]:
    """Return batches of the positives of question and answer pairs."""
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    texts = sorted({str(row["positive"]) for row in rows})
    random.Random(5).shuffle(texts)
    tokeniser = encoder._tokeniser
    tokens = tokeniser.tokenise([("", text) for text in texts[:count]], "document")
    order = plan([len(each.ids) for each in tokens], range(count), OverGraph.budget)
    return [pad(rows, tokens, tokeniser.weights, tokeniser.pad_id) for rows in order]


def smoothed(network: Network, batches: list[Batch], alpha: float) -> Network:
    """Return a copy with every linear layer of the backbone's stack smoothed by the batches' largest inputs."""
    changed = copy.deepcopy(network)
    largest: dict[str, Tensor] = {}
    linears = {name: each for name, each in changed.backbone.named_modules() if isinstance(each, nn.Linear)}

    def watch(name: str) -> Any:
        def seen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found = inputs[0].abs().flatten(0, -2).amax(0)
            largest[name] = torch.maximum(largest.get(name, found), found)

        return seen

    hooks = [each.register_forward_pre_hook(watch(name)) for name, each in linears.items()]
    with torch.inference_mode():
        for batch in batches:
            changed(*map(torch.from_numpy, (batch.ids, batch.attention, batch.weights)))
    for hook in hooks:
        hook.remove()
    for name, linear in linears.items():
        parent, _, own = name.rpartition(".")
        setattr(changed.backbone.get_submodule(parent), own, Smoothed(linear, largest[name].clone(), alpha))
    return changed


def graph(encoder: Encoder, network: Network, path: Path) -> Path:
    """Export a network with its constants folded."""
    if path.exists():
        return path
    own = Encoder(encoder.profile, device="cpu", precision="float32", network=network, check=False)
    with tempfile.TemporaryDirectory() as scratch, export._silence():
        export._export(own, Path(scratch))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(scratch) / "folded.onnx")
        onnxruntime.InferenceSession(Path(scratch) / "raw.onnx", options, providers=["CPUExecutionProvider"])
        onnx.save(onnx.load(Path(scratch) / "folded.onnx"), path)  # in one file, whatever it was in
    return path


def quantised(source: Path, target: Path, batches: list[Batch], *, spare: bool = False) -> Path:
    """Write the static INT8 form of a graph; `spare` leaves the products that narrow their input in float32."""
    if target.exists():
        return target
    content = onnx.load(source).graph
    shapes = {each.name: tuple(each.dims) for each in content.initializer}
    weighted = [node for node in content.node if node.op_type in {"MatMul", "Gemm"} and node.input[1] in shapes]
    kept = [node.name for node in weighted if not spare or shapes[node.input[1]][0] <= shapes[node.input[1]][1]]
    print(f"{target.name}: {len(kept)} of {len(weighted)} linear layers in INT8", flush=True)
    quantize_static(
        source,
        target,
        Texts(batches),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=kept,
        op_types_to_quantize=["MatMul", "Gemm"],
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    return target


def forms(options: argparse.Namespace, exact: Encoder) -> dict[str, Any]:
    """Return each form of the model that can be had here, its name telling what it is."""
    made: dict[str, Any] = {"torch float32": exact}
    folder: Path = options.graphs
    folder.mkdir(parents=True, exist_ok=True)
    batches = calibration(exact, options.calibrate, options.calibration_texts)
    plain = graph(exact, exact.network(), folder / "plain.onnx")
    even = graph(exact, smoothed(exact.network(), batches, 0.5), folder / "smoothed.onnx")
    dynamic = folder / "dynamic.onnx"
    if not dynamic.exists():
        quantize_dynamic(plain, dynamic, per_channel=True, reduce_range=True)
    graphs = {
        "float32": plain,
        "dynamic int8": dynamic,
        "static int8": quantised(plain, folder / "static.onnx", batches),
        "smoothed int8": quantised(even, folder / "smoothed8.onnx", batches),
        "smoothed int8, down float32": quantised(even, folder / "spared.onnx", batches, spare=True),
    }
    for name, path in graphs.items():
        made[f"onnx {name}"] = OverGraph(exact, path, "onnxruntime")
    try:
        for name in ("float32", "static int8", "smoothed int8"):
            made[f"openvino {name}"] = OverGraph(exact, graphs[name], "openvino")
    except ImportError:
        print("openvino is not installed")
    if options.compile:
        network = torch.compile(exact.network(), dynamic=True)
        made["torch.compile float32"] = Encoder(
            exact.profile, device="cpu", precision="float32", network=network, check=False
        )
    return {name: each for name, each in made.items() if not options.only or name in ("torch float32", *options.only)}


def timings(
    made: dict[str, Any], texts: list[str], rounds: int, clock: Callable[[], float]
) -> tuple[dict[str, list[float]], dict[str, Matrix]]:
    """Return the seconds of each form in each round, all in turns, the first not counted; and the vectors of each."""
    seconds: dict[str, list[float]] = {name: [] for name in made}
    vectors: dict[str, Matrix] = {}
    for _ in range(rounds + 1):
        for name, embedder in made.items():
            started = clock()
            vectors[name] = embedder.encode(texts)
            seconds[name].append(clock() - started)
    return {name: times[1:] for name, times in seconds.items()}, vectors


def likeness(base: Matrix, vectors: Matrix) -> dict[str, float]:
    """Return the first percentile of the cosines between rows, and the share that reaches the bar."""
    cosines = (base * vectors).sum(axis=1)
    return {"first_percentile": float(np.percentile(cosines, 1)), "share": float((cosines >= LEAST_COSINE).mean())}


def quality(made: dict[str, Any], folder: Path, most: int) -> dict[str, dict[str, float]]:
    """Return cosines to float32 and nDCG@10 of each form on one set; queries are in float32, as they are in use."""
    corpus, queries, relevant = judged(folder, most)
    ids, texts = [each for each, _ in corpus], [text for _, text in corpus]
    exact = made["torch float32"]
    asked, base = exact.encode(list(queries.values()), role="query"), exact.encode(texts)
    found: dict[str, dict[str, float]] = {}
    for name, embedder in made.items():
        vectors = base if embedder is exact else embedder.encode(texts)
        order = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :10]
        found[name] = {
            "documents": len(ids),
            **likeness(base, vectors),
            "ndcg": gain(order, ids, [relevant[query] for query in queries]),
        }
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="+", metavar="SETDIR")
    parser.add_argument("--calibrate", type=Path, required=True, metavar="PAIRS.jsonl.gz")
    parser.add_argument("--calibration-texts", type=int, default=128)
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--graphs", type=Path, default=Path(tempfile.gettempdir()) / "int8-graphs")
    parser.add_argument("--timed", type=int, default=64, help="texts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=0, help="at most so many a set")
    parser.add_argument("--no-ranking", action="store_true", help="speed and cosines only")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, timed by what the processor spent on it")
    parser.add_argument("--only", nargs="+", default=[], metavar="FORM")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.cpu_time:
        torch.set_num_threads(1)
    exact = Encoder(embed.find(options.embedder), device="cpu", precision="float32")
    made = forms(options, exact)
    texts = [text for _, text in judged(options.sets[0], 0)[0]]
    random.Random(7).shuffle(texts)
    clock = time.process_time if options.cpu_time else time.perf_counter
    seconds, vectors = timings(made, texts[: options.timed], options.rounds, clock)
    figures: dict[str, dict[str, Any]] = {}
    print(f"{'form':<36}  seconds  x torch float32  1st percentile  >= {LEAST_COSINE}")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["torch float32"], times, strict=True))
        figures[name] = {"seconds": statistics.median(times), "speed": ratio}
        figures[name]["timed texts"] = facts = likeness(vectors["torch float32"], vectors[name])
        print(
            f"{name:<36} {figures[name]['seconds']:8.3f} {ratio:16.2f} {facts['first_percentile']:15.5f} "
            f"{facts['share']:9.4f}",
            flush=True,
        )
    if options.no_ranking:
        options.sets = []
    print(f"{'set':<12} {'form':<32} 1st percentile  >= {LEAST_COSINE}  nDCG@10   kept")
    for folder in options.sets:
        for name, facts in quality(made, folder, options.documents).items():
            figures[name][folder.name] = facts
            loss = abs(facts["ndcg"] - figures["torch float32"][folder.name]["ndcg"])
            good = facts["share"] >= LEAST_SHARE and loss <= LARGEST_LOSS
            print(
                f"{folder.name:<12} {name:<32} {facts['first_percentile']:14.5f} {facts['share']:9.4f} "
                f"{facts['ndcg']:8.4f}  {'yes' if good else 'no'}",
                flush=True,
            )
    file("int8", {"model": exact.profile.name, "threads": torch.get_num_threads(), "forms": figures})


if __name__ == "__main__":
    main()
