"""Embed the same texts with sentence-transformers and with this package, in turns, and compare with the matrix rate.

    python benchmarks/embedding.py data/scifact/corpus.jsonl.gz [--count N] [--embedder P] [--rounds N]
    python benchmarks/embedding.py --quality data/scifact data/cranfield data/cisi

A model's work is counted without padding: 2 x the weights of its linear layers for each token, and 4 x length^2 x width
for attention in each layer. The machine's rate is measured in two ways, both in the same rounds: `square`, a product of
two 4096 x 4096 matrices, and `shapes`, the model's own linear layers over 8192 tokens, one after another.

With --quality nothing is timed: documents in our precision for bulk work are held against float32, and nDCG@10 of
either is taken by brute force over whole documents, cut at the model's window.
"""

import argparse
import gzip
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import file
from retrieval import judgements, ndcg
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional

from instructsearch import embed
from instructsearch.embed.encoder import Encoder

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SYLLABLES = "ka lo mi ne ru sta ver tion ing pro con de bel tra sul phen ox".split()
Matrix = NDArray[np.float32]


def documents(path: Path) -> list[tuple[str, str]]:
    """Return id and text, the title first, of each document of a BEIR corpus."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [json.loads(line) for line in data.splitlines()]
    return [(str(row["_id"]), f"{row.get('title', '')} {row['text']}".strip()) for row in rows]


def generated(count: int) -> list[str]:
    """Return made-up texts of 20 to 400 words."""
    source = random.Random(1)
    words = ["".join(source.choices(SYLLABLES, k=source.randint(1, 3))) for _ in range(3000)]
    return [" ".join(source.choices(words, k=source.randint(20, 400))) for _ in range(count)]


def linears(encoder: Encoder) -> list[nn.Linear]:
    """Return the linear layers of the float32 backbone."""
    return [each for each in encoder.network().backbone.modules() if isinstance(each, nn.Linear)]


def work(encoder: Encoder, texts: list[str]) -> tuple[int, int]:
    """Return the tokens of the texts, cut at the window, and the floating point operations of their products."""
    config = encoder.network().backbone.config
    heads = int(config.num_attention_heads)
    width = heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    around = encoder.profile.max_tokens - encoder.room()
    lengths = [min(count + around, encoder.profile.max_tokens) for count in encoder.count(texts)]
    weights = sum(each.weight.numel() for each in linears(encoder))
    return sum(lengths), sum(
        2 * weights * length + 4 * length**2 * width * int(config.num_hidden_layers) for length in lengths
    )


def timed(call: Callable[[], object], device: str, repeats: int = 1) -> float:
    """Return the mean seconds of a call."""
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def products(encoder: Encoder, precision: str) -> dict[str, tuple[Callable[[], object], float]]:
    """Return what measures the machine's rate at a precision, and the operations of each."""
    kind: dict[str, object] = {"dtype": TYPES[precision], "device": encoder.device}
    square = torch.randn(4096, 4096, **kind)  # type: ignore[call-overload]
    layers = [(each.weight.to(**kind), each.in_features) for each in linears(encoder)]  # type: ignore[arg-type]
    states = {width: torch.randn(8192, width, **kind) for _, width in layers}  # type: ignore[call-overload]

    def shapes() -> None:
        for weight, width in layers:
            functional.linear(states[width], weight)

    weights = sum(each.weight.numel() for each in linears(encoder))
    return {"square": (lambda: square @ square, 2.0 * 4096**3), "shapes": (shapes, 2.0 * 8192 * weights)}


def speed(options: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one interleaved run."""
    texts = [text for _, text in documents(options.corpus)] if options.corpus else generated(options.count)
    random.Random(7).shuffle(texts)
    texts = texts[: options.count]
    bulk = Encoder(embed.find(options.embedder), device=options.device)
    exact = Encoder(bulk.profile, device=bulk.device, precision="float32", network=bulk.network(), check=False)
    ours = {"ours": bulk, "ours float32": exact}
    precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[bulk._dtype(0, "document")]
    reference = SentenceTransformer(
        str(bulk.folder),
        device=bulk.device,
        local_files_only=True,
        model_kwargs={"dtype": TYPES[options.reference_precision]},
    )
    reference.max_seq_length = bulk.profile.max_tokens
    head, tail = bulk.profile.around("", "document")
    prompts = [head + text + tail for text in texts]

    def theirs(size: int) -> Callable[[], Matrix]:
        return lambda: reference.encode(
            prompts, batch_size=size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )

    calls: dict[str, Callable[[], Matrix]] = {f"theirs {size}": theirs(size) for size in (32, options.batch_size)}
    for name, encoder in ours.items():
        calls[name] = lambda encoder=encoder: encoder.encode(texts)  # type: ignore[misc]
    tokens, operations = work(bulk, texts)
    rates = {
        f"{way} {kind}": facts
        for kind in dict.fromkeys((precision, "float32"))
        for way, facts in products(bulk, kind).items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*calls, *rates)}
    with torch.inference_mode():
        vectors = {name: call() for name, call in calls.items()}  # the first time is not counted
        for product, _ in rates.values():
            product()
        for _ in range(options.rounds):
            for name, call in calls.items():
                seconds[name].append(timed(call, bulk.device))
            for name, (product, _) in rates.items():
                seconds[name].append(timed(product, bulk.device, 3))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    measured = {name: flops / median[name] / 1e9 for name, (_, flops) in rates.items()}
    rows: dict[str, dict[str, float]] = {}
    print(f"{len(texts)} texts, {tokens} tokens, {operations / 1e9:.0f} GFLOP; bulk precision {precision}")
    print("".join(f"{name}: {rate:.0f} GFLOP/s\n" for name, rate in measured.items()), end="")
    print(f"{'':<14}  seconds  texts/s  tokens/s  x theirs  x best  of square  of shapes  least cosine")
    best = min(median[name] for name in calls if name.startswith("theirs"))
    for name in calls:
        kind = {"ours": precision, "ours float32": "float32"}.get(name, options.reference_precision)
        rate = operations / median[name] / 1e9
        rows[name] = {
            "seconds": median[name],
            "texts_per_s": len(texts) / median[name],
            "tokens_per_s": tokens / median[name],
            "ratio": median["theirs 32"] / median[name],
            "ratio_to_best": best / median[name],
            **{f"of_{way}": rate / measured.get(f"{way} {kind}", float("nan")) for way in ("square", "shapes")},
            "least_cosine": float((vectors[name] * vectors["theirs 32"]).sum(axis=1).min()),
        }
        row = rows[name]
        print(
            f"{name:<14} {row['seconds']:8.3f} {row['texts_per_s']:8.1f} {row['tokens_per_s']:9.0f} "
            f"{row['ratio']:9.2f} {row['ratio_to_best']:7.2f} {row['of_square']:10.2f} {row['of_shapes']:10.2f} "
            f"{row['least_cosine']:13.5f}"
        )
    # Ratios of the same round, since a busy machine is busy for all that runs in it.
    ratio = statistics.median(a / b for a, b in zip(seconds["theirs 32"], seconds["ours"], strict=True))
    print(f"median of the rounds' own ratios, ours to theirs: {ratio:.2f}")
    return {
        "model": bulk.profile.name,
        "device": bulk.device,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "rounds": options.rounds,
        "texts": len(texts),
        "tokens": tokens,
        "gflop": operations / 1e9,
        "gflop_per_s": measured,
        "runs": rows,
        "ratio_in_rounds": ratio,
    }


def quality(options: argparse.Namespace) -> dict[str, object]:
    """Return cosines to float32 and nDCG@10 of either, for each set."""
    bulk = Encoder(embed.find(options.embedder), device=options.device, precision="bfloat16")
    exact = Encoder(bulk.profile, device=bulk.device, precision="float32", network=bulk.network(), check=False)
    found: dict[str, object] = {}
    print(f"{'':<14}  mean cosine  1st percentile  least  >= 0.995  nDCG@10 float32  bfloat16")
    for folder in options.quality:
        relevant = judgements(folder / "qrels" / "test.tsv")
        corpus = documents(next(path for path in sorted(folder.glob("corpus.jsonl*"))))
        rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
        queries = {str(row["_id"]): str(row["text"]) for row in rows if str(row["_id"]) in relevant}
        ids, texts = [each for each, _ in corpus], [text for _, text in corpus]
        vectors = {"float32": exact.encode(texts), "bfloat16": bulk.encode(texts)}
        asked = {name: each.encode(list(queries.values()), role="query") for name, each in _both(exact, bulk)}
        cosines = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1)
        scores = {}
        for name in vectors:
            order = np.argsort(-(asked[name] @ vectors[name].T), axis=1, kind="stable")[:, :10]
            ranked = ([ids[at] for at in row] for row in order)
            gains = [ndcg(row, relevant[query]) for query, row in zip(queries, ranked, strict=True)]
            scores[name] = statistics.mean(gains)
        facts = {
            "documents": len(ids),
            "queries": len(queries),
            "mean_cosine": float(cosines.mean()),
            "first_percentile": float(np.percentile(cosines, 1)),
            "least_cosine": float(cosines.min()),
            "share_above_0.995": float((cosines >= 0.995).mean()),
            "ndcg": scores,
        }
        found[folder.name] = facts
        print(
            f"{folder.name:<14} {facts['mean_cosine']:12.5f} {facts['first_percentile']:15.5f} "
            f"{facts['least_cosine']:7.4f} {facts['share_above_0.995']:8.4f} {scores['float32']:15.4f} "
            f"{scores['bfloat16']:9.4f}",
            flush=True,
        )
    return {"model": bulk.profile.name, "device": bulk.device, "sets": found}


def _both(exact: Encoder, bulk: Encoder) -> list[tuple[str, Encoder]]:
    return [("float32", exact), ("bfloat16", bulk)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", help="corpus.jsonl or .gz; made-up texts without")
    parser.add_argument("--count", type=int, default=512, help="texts")
    parser.add_argument("--embedder", default="minilm", help="a profile's name, or a folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128, help="sentence-transformers' second batch size")
    parser.add_argument("--reference-precision", choices=TYPES, default="float32")
    parser.add_argument("--quality", type=Path, nargs="+", metavar="SETDIR")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.quality:
        file("embedding-quality", quality(options))
    else:
        file("embedding", speed(options))


if __name__ == "__main__":
    main()
