"""Embed the same texts with sentence-transformers and with this package, in turns, and compare with the matrix rate.

    python benchmarks/embedding.py data/scifact/corpus.jsonl.gz [--count N] [--words N] [--embedder P] [--rounds N]
    python benchmarks/embedding.py data/scifact/corpus.jsonl.gz --single --words 12
    python benchmarks/embedding.py --quality data/scifact data/cranfield data/cisi [--documents N]

A model's work is counted without padding: 2 x the weights of its linear layers for each token, and 4 x length^2 x width
for attention in each layer. The machine's rate is measured in two ways, both in the same rounds: `square`, a product of
two 2048 x 2048 matrices (4096 on a GPU), and `shapes`, the model's own linear layers over 4096 tokens, one after
another. sentence-transformers runs at its default batch size, 32, and at the others of --batch-sizes; `x best` is
against the fastest of them. Ratios are medians of the rounds' own, since a machine that is busy is busy for all that
runs in a round.

--cpu-time is for a machine that is busy with other work: it tells how ours and theirs compare, and not how long they
take. --words cuts each text. --single embeds each text in a call of its own as a query, in both of the ways that
`embed.load` has: in torch, and over the graph that answers queries.

With --quality nothing is timed: documents in bfloat16 are held against float32, and nDCG@10 of either is taken by brute
force, cut at the model's window; without bfloat16 in the processor, a BERT's by `rounded.py`. --documents keeps all
that are judged relevant and a seeded choice of the others.
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
from rounded import rounded
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional

from instructsearch import embed
from instructsearch.embed.encoder import Encoder, native_bfloat16
from instructsearch.evaluate.ranking import ndcg
from instructsearch.evaluate.runs import read_qrels
from instructsearch.records import Role

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


def timed(call: Callable[[], object], device: str, clock: Callable[[], float]) -> float:
    """Return the seconds of a call."""
    started = clock()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - started


def products(encoder: Encoder, precision: str) -> dict[str, tuple[Callable[[], object], float]]:
    """Return what measures the machine's rate at a precision, and the operations of each."""
    kind: dict[str, object] = {"dtype": TYPES[precision], "device": encoder.device}
    size = 2048 if encoder.device == "cpu" else 4096
    square = torch.randn(size, size, **kind)  # type: ignore[call-overload]
    layers = [(each.weight.to(**kind), each.in_features) for each in linears(encoder)]  # type: ignore[arg-type]
    states = {width: torch.randn(4096, width, **kind) for _, width in layers}  # type: ignore[call-overload]

    def shapes() -> None:
        for weight, width in layers:
            functional.linear(states[width], weight)

    weights = sum(each.weight.numel() for each in linears(encoder))
    return {"square": (lambda: square @ square, 2.0 * size**3), "shapes": (shapes, 2.0 * 4096 * weights)}


def reference(options: argparse.Namespace, encoder: Encoder, texts: list[str]) -> dict[str, Callable[[], Matrix]]:
    """Return the calls of sentence-transformers: the same weights, texts with their template, one for each size."""
    model = SentenceTransformer(
        str(encoder.folder),
        device=encoder.device,
        local_files_only=True,
        model_kwargs={"dtype": TYPES[options.reference_precision]},
    )
    model.max_seq_length = encoder.profile.max_tokens
    head, tail = encoder.profile.around("", "query" if options.single else "document")
    prompts = [head + text + tail for text in texts]

    def encode(given: list[str], size: int) -> Matrix:
        vectors: Matrix = model.encode(
            given, batch_size=size, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors

    if options.single:
        return {"theirs 1": lambda: np.concatenate([encode([each], 1) for each in prompts])}
    sizes = dict.fromkeys((32, *options.batch_sizes))
    return {f"theirs {size}": lambda size=size: encode(prompts, size) for size in sizes}  # type: ignore[misc]


def own(options: argparse.Namespace, bulk: Encoder, texts: list[str]) -> dict[str, Callable[[], Matrix]]:
    """Return our calls: as they are by default, in float32 where that differs, and for queries over the graph."""
    if options.single:
        ways = {"ours torch": bulk, "ours": embed.load(bulk.profile, device=options.device, queries=True)}
        return {
            name: lambda way=way: np.concatenate([way.encode([each], role="query") for each in texts])  # type: ignore[misc]
            for name, way in ways.items()
        }
    encoders = {"ours": bulk}
    if bulk._dtype(0, "document") != torch.float32:
        encoders["ours float32"] = Encoder(
            bulk.profile, device=bulk.device, precision="float32", network=bulk.network(), check=False
        )
    return {name: lambda each=each: each.encode(texts) for name, each in encoders.items()}  # type: ignore[misc]


def speed(options: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one interleaved run."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.cpu_time:
        torch.set_num_threads(1)
    texts = [text for _, text in documents(options.corpus)] if options.corpus else generated(options.count)
    random.Random(7).shuffle(texts)
    texts = [" ".join(text.split(" ")[: options.words]) if options.words else text for text in texts[: options.count]]
    bulk = Encoder(embed.find(options.embedder), device=options.device)
    role: Role = "query" if options.single else "document"
    precision = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[bulk._dtype(0, role)]
    calls = reference(options, bulk, texts) | own(options, bulk, texts)
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
                seconds[name].append(timed(call, bulk.device, clock))
            for name, (product, _) in rates.items():
                seconds[name].append(timed(product, bulk.device, clock))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    measured = {name: flops / median[name] / 1e9 for name, (_, flops) in rates.items()}
    theirs = [name for name in calls if name.startswith("theirs")]
    best = min(theirs, key=lambda name: median[name])

    def ratio(above: str, below: str, factor: float = 1) -> float:
        return factor * statistics.median(a / b for a, b in zip(seconds[above], seconds[below], strict=True))

    rows: dict[str, dict[str, float]] = {}
    print(f"{len(texts)} texts, {tokens} tokens, {operations / 1e9:.0f} GFLOP; documents in {precision}")
    print("".join(f"{name}: {rate:.0f} GFLOP/s\n" for name, rate in measured.items()), end="")
    print(f"{'':<14}  seconds  texts/s  tokens/s  x theirs  x best  of square  of shapes  least cosine")
    for name in calls:
        kind = {"ours": precision, "ours float32": "float32"}.get(name, options.reference_precision)
        rows[name] = {
            "seconds": median[name],
            "texts_per_s": len(texts) / median[name],
            "tokens_per_s": tokens / median[name],
            "ratio": ratio(theirs[0], name),
            "ratio_to_best": ratio(best, name),
            **{
                f"of_{way}": ratio(f"{way} {kind}", name, operations / rates[f"{way} {kind}"][1])
                for way in ("square", "shapes")
                if f"{way} {kind}" in rates
            },
            "least_cosine": float((vectors[name] * vectors[theirs[0]]).sum(axis=1).min()),
        }
        row = rows[name]
        print(
            f"{name:<14} {row['seconds']:8.3f} {row['texts_per_s']:8.1f} {row['tokens_per_s']:9.0f} "
            f"{row['ratio']:9.2f} {row['ratio_to_best']:7.2f} {row.get('of_square', float('nan')):10.2f} "
            f"{row.get('of_shapes', float('nan')):10.2f} {row['least_cosine']:13.6f}"
        )
    return {
        "model": bulk.profile.name,
        "device": bulk.device,
        "threads": torch.get_num_threads(),
        "clock": clock.__name__,
        "precision": precision,
        "rounds": options.rounds,
        "single": options.single,
        "words": options.words,
        "texts": len(texts),
        "tokens": tokens,
        "gflop": operations / 1e9,
        "gflop_per_s": measured,
        "runs": rows,
        "seconds": seconds,
    }


def judged(folder: Path, most: int) -> tuple[list[tuple[str, str]], dict[str, str], dict[str, dict[str, int]]]:
    """Return a set's documents, its queries, and what is relevant to each; at most so many documents, unless 0."""
    relevant = read_qrels(folder / "qrels" / "test.tsv")
    corpus = documents(next(iter(sorted(folder.glob("corpus.jsonl*")))))
    if most and len(corpus) > most:
        wanted = {each for row in relevant.values() for each in row}
        others = [each for each in corpus if each[0] not in wanted]
        random.Random(3).shuffle(others)
        corpus = [each for each in corpus if each[0] in wanted] + others[: max(0, most - len(wanted))]
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    return corpus, {str(row["_id"]): str(row["text"]) for row in rows if str(row["_id"]) in relevant}, relevant


def gain(order: NDArray[np.intp], ids: list[str], relevant: list[dict[str, int]]) -> float:
    """Return the mean nDCG@10 of queries, `order` (queries, at least 10) the rows of their documents, best first."""
    ranked = [[judged.get(ids[at], 0) for at in row] for row, judged in zip(order, relevant, strict=True)]
    return statistics.mean(
        ndcg(grades, list(judged.values()), 10) for grades, judged in zip(ranked, relevant, strict=True)
    )


def quality(options: argparse.Namespace) -> dict[str, object]:
    """Return cosines to float32 and nDCG@10 of either, for each set."""
    bulk = Encoder(embed.find(options.embedder), device=options.device, precision="bfloat16")
    exact = Encoder(bulk.profile, device=bulk.device, precision="float32", network=bulk.network(), check=False)
    native = native_bfloat16(bulk.device)
    if not native:
        bulk = rounded(exact)
    found: dict[str, object] = {}
    print(f"{'':<14}  mean cosine  1st percentile  least  >= 0.995  nDCG@10 float32  bfloat16")
    for folder in options.quality:
        corpus, queries, relevant = judged(folder, options.documents)
        ids, texts = [each for each, _ in corpus], [text for _, text in corpus]
        vectors = {"float32": exact.encode(texts), "bfloat16": bulk.encode(texts)}
        asked = {name: each.encode(list(queries.values()), role="query") for name, each in _both(exact, bulk)}
        cosines = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1)
        scores = {}
        for name in vectors:
            order = np.argsort(-(asked[name] @ vectors[name].T), axis=1, kind="stable")[:, :10]
            scores[name] = gain(order, ids, [relevant[query] for query in queries])
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
    return {"model": bulk.profile.name, "device": bulk.device, "native": native, "sets": found}


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
    parser.add_argument("--words", type=int, default=0, help="cut each text at so many; 0 leaves it whole")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, timed by what the processor spent on it")
    parser.add_argument("--single", action="store_true", help="one text a call, as a query")
    parser.add_argument(
        "--batch-sizes", type=int, nargs="*", default=[8, 128], help="sentence-transformers' other ones"
    )
    parser.add_argument("--reference-precision", choices=TYPES, default="float32")
    parser.add_argument("--documents", type=int, default=0, help="at most so many a set, with --quality")
    parser.add_argument("--quality", type=Path, nargs="+", metavar="SETDIR")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.quality:
        file("embedding-quality", quality(options))
    else:
        file(
            "embedding-single"
            if options.single
            else f"embedding-{options.words}-words"
            if options.words
            else "embedding",
            speed(options),
        )


if __name__ == "__main__":
    main()
