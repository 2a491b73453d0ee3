"""Score how an embedder follows instructions and still retrieves, and hold it against its base: the acceptance table.

    python benchmarks/following.py DATA [--embedder P] [--base minilm] [--quick] [--texts 3000] [--only PART]...

DATA is a folder of labelled texts, sentence pairs and BEIR-layout sets; which, and the wordings asked, stands in
following.toml. Every wording is for testing only. Vectors of the base are kept by content in --cache, so that only the
candidate costs time. Samples are drawn by a fixed seed and are the same for both.

Figures: labels by leave-one-out 10-NN accuracy; aspects by triplets of texts with two crossing labels, at most 500 each
way; retrieval by nDCG@10 of an exact scan over whole documents, cut at the model's window; sentence pairs by Spearman.
The base is scored without an instruction; a candidate also under right and wrong ones.
"""

import argparse
import gzip
import json
import os
import random
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from acceptance import STYLES, Figures, bars, harmonic, instructed, mean, show
from results import file

from instructsearch import embed
from instructsearch.embed import Embedder, Profile
from instructsearch.evaluate import labels, ranking, similarity, triplets
from instructsearch.evaluate.encoding import Encode, Memory, Vectors, encoded
from instructsearch.evaluate.nearest import nearest
from instructsearch.evaluate.runs import read_qrels
from instructsearch.records import Role, fingerprint

PARTS = ("labels", "aspects", "retrieval", "similarity", "speed")
SEED = 20240


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, gzipped or not."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines() if line.strip()]


def labelled(data: Path, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (text, label) of each distinct text of a set that has a label."""
    found: dict[str, str] = {}
    for row in rows(data / facts["file"]):
        label = row["views"].get(facts["view"], [None])[0] if "view" in facts else row["label"]
        if label is not None:
            found.setdefault(row["text"], str(label))
    return list(found.items())


def sample(items: list[Any], most: int) -> list[Any]:
    """Return at most so many of the items, drawn by a fixed seed."""
    return items if len(items) <= most else random.Random(SEED).sample(items, most)


class Kept:
    """An encode whose vectors are kept on the disk by profile, role, instruction and texts."""

    def __init__(self, model: Embedder, folder: Path) -> None:
        self._model = model
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, texts: Sequence[str], instruction: str, role: Role) -> Vectors:
        """Return the vectors, from the disk where they are there."""
        key = fingerprint([self._model.profile.fingerprint, role, instruction, list(texts)])
        path = self._folder / f"{key}.npy"
        if path.exists():
            kept: Vectors = np.load(path)
            return kept
        made = self._model.encode(texts, instruction, role)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as sink:
            np.save(sink, made)
        temporary.replace(path)
        return made


def one_network(profile: Profile, base: Profile) -> bool:
    """Say whether a profile's vectors without an instruction are another's, as its fingerprint has it."""
    return profile.adapters_need_instruction and profile.part(instructed=False).fingerprint == base.fingerprint


class _PlainFromBase:
    """An encode that takes vectors without an instruction from the base, whose they are.

    The suite holds that they are; here the same documents are not read twice. The first call of a role is checked, but
    for the last digits: `encoded` scales vectors of length 1 once more.
    """

    def __init__(self, own: Encode, base: Encode) -> None:
        self._own, self._base = own, base
        self._checked: set[Role] = set()

    def __call__(self, texts: Sequence[str], instruction: str, role: Role) -> Vectors:
        """Return the vectors."""
        if instruction:
            return self._own(texts, instruction, role)
        if role not in self._checked:
            some = list(texts[:8])
            if not np.allclose(self._own(some, "", role), encoded(self._base, some, "", role), atol=1e-6):
                raise SystemExit("without an instruction the candidate's vectors are not its base's")
            self._checked.add(role)
        return encoded(self._base, texts, "", role)


class Judged:
    """A model as it is judged: its encode, and the role that its instruction for texts of one kind goes by."""

    def __init__(self, name: str, device: str, cache: Path | None, base: "Judged | None" = None) -> None:
        self.model = embed.load(name, device=device)
        self.profile = self.model.profile
        inner: Encode = Kept(self.model, cache) if cache else self.model.encode
        if base is not None and one_network(self.profile, base.profile):
            inner = _PlainFromBase(inner, base.encode)
        self._inner: Encode = Memory(inner, self.profile.heeds)
        self._read: dict[str, dict[str, Vectors]] = {}
        self.role: Role = "document" if self.profile.heeds("document") or not self.profile.heeds("query") else "query"

    def encode(self, texts: Sequence[str], instruction: str, role: Role) -> Vectors:
        """Return the vectors, read beforehand or now."""
        known = self._read.get(instruction, {}) if role == self.role else {}
        if all(text in known for text in texts):
            return np.stack([known[text] for text in texts])
        return self._inner(texts, instruction, role)

    def read(self, texts: Sequence[str], instructions: Sequence[str]) -> None:
        """Embed texts under all the instructions that will be asked for, which some models do in one reading."""
        distinct = list(dict.fromkeys(texts))
        said = [each for each in dict.fromkeys(instructions) if each] if self.profile.heeds(self.role) else []
        found = embed.encode_many(self.model, distinct, said, self.role)
        self._read = {each: dict(zip(distinct, rows, strict=True)) for each, rows in zip(said, found, strict=True)}


def accuracy(judged: Judged, texts: Sequence[str], wanted: Sequence[str], instruction: str) -> float:
    """Return the leave-one-out 10-NN accuracy of labelled texts under an instruction."""
    vectors = encoded(judged.encode, texts, instruction, judged.role)
    return float(labels.neighbour_hits(vectors, wanted).mean())


def judge_labels(data: Path, asked: Mapping[str, Any], name: str, base: Judged, one: Judged, most: int) -> Figures:
    """Return 10-NN accuracy on a label set: base, candidate without, with right and with wrong instructions."""
    facts = asked[name]
    texts, wanted = zip(*sample(labelled(data, facts), most), strict=True)

    wrong = {other: asked[other][style] for other, style in zip(facts["wrong"], STYLES, strict=False)}
    one.read(texts, [*(facts[style] for style in STYLES), *wrong.values()])

    row: Figures = {
        "texts": len(texts),
        "base": accuracy(base, texts, wanted, ""),
        "none": accuracy(one, texts, wanted, ""),
        "right": {style: accuracy(one, texts, wanted, facts[style]) for style in STYLES},
        # another style from each of the sets, so that wrong wordings are as varied as right ones
        "wrong": {other: accuracy(one, texts, wanted, said) for other, said in wrong.items()},
        "trained": facts["trained"],
        "set": facts.get("set", name),
    }
    print(
        f"  {name}: base {row['base']:.3f}, right {mean(row['right']):.3f}, wrong {mean(row['wrong']):.3f}", flush=True
    )
    return row


def crossed(data: Path, facts: Mapping[str, Any], count: int) -> tuple[Sequence[str], triplets.Triplets]:
    """Return the texts of a set that have both of two labels, at most 1,200, and triplets of them."""
    first, second = facts["first"], facts["second"]
    found = [
        (text, merged, other)
        for text, label in labelled(data, facts)
        if (merged := first.get("merge", {}).get(label, label)) and (other := matched(text, second["patterns"]))
    ]
    texts, ones, others = zip(*sample(found, 1200), strict=True)
    return texts, triplets.build(ones, others, count, seed=SEED)


def judge_aspects(data: Path, asked: Mapping[str, Any], name: str, base: Judged, one: Judged, count: int) -> Figures:
    """Return the harmonic means of the aspect triplets of a text set, by style of wording."""
    facts = asked[name]
    first, second = facts["first"], facts["second"]
    texts, drawn = crossed(data, facts, count)
    one.read(texts, [side[style] for side in (first, second) for style in STYLES])

    def score(judged: Judged, *said: str) -> Figures:
        got = triplets.aspects(judged.encode, texts, drawn, (said[0], said[1]), judged.role)
        return {first["name"]: got.first, second["name"]: got.second, "harmonic": got.harmonic.value}

    row: Figures = {
        "triplets": len(drawn),
        "base": score(base, "", ""),
        "none": score(one, "", ""),
        "right": {style: score(one, first[style], second[style]) for style in STYLES},
        "trained": {side["name"]: side["trained"] for side in (first, second)},
    }
    print(f"  {name}: base {row['base']['harmonic']:.3f}, right {mean(harmonic(row)):.3f}", flush=True)
    return row


def matched(text: str, patterns: Mapping[str, str]) -> str | None:
    """Return the one name whose pattern the text matches, None where none or several do."""
    found = [name for name, pattern in patterns.items() if re.search(pattern, text)]
    return found[0] if len(found) == 1 else None


def judge_retrieval(
    data: Path, asked: Mapping[str, Any], name: str, base: Judged, one: Judged, *, both: bool = True
) -> Figures:
    """Return nDCG@10 of a set: base, candidate without, with its own query instruction, and with ours.

    Ours stand on the query's side, and with `both` on the documents' side too.
    """
    facts, folder = asked[name], data / name
    qrels = read_qrels(folder / "qrels" / "test.tsv")
    corpus = next(path for path in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz") if path.exists())
    documents = {str(row["_id"]): f"{row.get('title') or ''} {row['text']}".strip() for row in rows(corpus)}
    queries = {str(row["_id"]): row["text"] for row in rows(folder / "queries.jsonl") if str(row["_id"]) in qrels}
    ids = list(documents)

    def ndcg(judged: Judged, said: str, about: str) -> float:
        asking = encoded(judged.encode, list(queries.values()), said, "query")
        places, cosines = nearest(asking, encoded(judged.encode, list(documents.values()), about, "document"), 100)
        run = {
            query: {ids[place]: cosine for place, cosine in zip(*found, strict=True)}
            for query, *found in zip(queries, places.tolist(), cosines.tolist(), strict=True)
        }
        return ranking.mean(ranking.measure(run, qrels, ["nDCG@10"])["nDCG@10"])

    row: Figures = {"queries": len(queries), "base": ndcg(base, "", ""), "none": ndcg(one, "", "")}
    if one.profile.query_instruction:
        row["own"] = ndcg(one, one.profile.query_instruction, "")
    row["query side"] = {style: ndcg(one, facts[style], "") for style in STYLES}
    if both:
        row["both sides"] = {style: ndcg(one, facts[style], facts["document"]) for style in STYLES}
    print(f"  {name}: base {row['base']:.4f}, none {row['none']:.4f}, instructed {instructed(row):.4f}", flush=True)
    return row


def judge_similarity(data: Path, asked: Mapping[str, Any], name: str, base: Judged, one: Judged) -> Figures:
    """Return Spearman's correlation on sentence pairs: base, candidate without and with instructions."""
    facts = asked[name]
    pairs = rows(data / facts["file"])
    texts = [row["sentence1"] for row in pairs] + [row["sentence2"] for row in pairs]
    gold = [float(row["score"]) for row in pairs]
    one.read(texts, [facts[style] for style in STYLES])

    def spearman(judged: Judged, said: str) -> float:
        vectors = encoded(judged.encode, texts, said, judged.role)
        return similarity.spearman(similarity.cosines(vectors[: len(gold)], vectors[len(gold) :]), gold)

    row: Figures = {
        "pairs": len(pairs),
        "base": spearman(base, ""),
        "none": spearman(one, ""),
        "right": {style: spearman(one, facts[style]) for style in STYLES},
    }
    print(f"  {name}: base {row['base']:.4f}, none {row['none']:.4f}, right {mean(row['right']):.4f}", flush=True)
    return row


def judge_speed(texts: Sequence[str], base: Judged, one: Judged) -> Figures:
    """Return the seconds that both need for the same texts, without an instruction and in turns; `cost` is the ratio.

    The least of five rounds; on the CPU it is processor time, so that what else runs on the machine counts less.
    """
    clock = time.process_time if one.model.device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {"base": [], "candidate": []}
    for _ in range(6):
        for name, judged in (("base", base), ("candidate", one)):
            started = clock()
            judged.model.encode(texts, "", "document")
            times[name].append(clock() - started)
    least = {name: min(taken[1:]) for name, taken in times.items()}
    return {"texts": len(texts), **least, "cost": least["candidate"] / least["base"]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=3000, help="most texts of a label set")
    parser.add_argument("--quick", action="store_true", help="600 texts a set, two small retrieval sets, no timing")
    parser.add_argument("--query-side", action="store_true", help="no instructions for the documents of retrieval sets")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to measure; repeatable")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--cache", type=Path, default=home / "instructsearch" / "benchmarks")
    options = parser.parse_args()
    asked = tomllib.loads((Path(__file__).parent / "following.toml").read_text(encoding="utf-8"))
    parts = options.only or [part for part in PARTS if not (options.quick and part == "speed")]
    if options.quick:
        asked["retrieval"] = {name: asked["retrieval"][name] for name in ("cranfield", "cisi")}
    most = min(options.texts, 600) if options.quick else options.texts
    started = time.monotonic()
    base = Judged(options.base, options.device, options.cache)
    same = embed.find(options.embedder).fingerprint == base.profile.fingerprint
    one = base if same else Judged(options.embedder, options.device, None, base)
    judges: dict[str, Callable[[str], Figures]] = {
        "labels": lambda name: judge_labels(options.data, asked["labels"], name, base, one, most),
        "aspects": lambda name: judge_aspects(options.data, asked["aspects"], name, base, one, 500),
        "retrieval": lambda name: judge_retrieval(
            options.data, asked["retrieval"], name, base, one, both=not options.query_side
        ),
        "similarity": lambda name: judge_similarity(options.data, asked["similarity"], name, base, one),
    }
    found: Figures = {}
    for part in parts:
        print(f"{part} ...", flush=True)
        if part == "speed":
            texts = [text for text, _ in sample(labelled(options.data, asked["labels"]["agnews"]), 300)]
            found[part] = judge_speed(texts, base, one)
        else:
            found[part] = {name: judges[part](name) for name in asked[part]}
    show(found)
    measured = {
        "embedder": options.embedder,
        "profile": one.profile.fingerprint,
        "base": options.base,
        "texts": most,
        "seconds": round(time.monotonic() - started, 1),
        "device": one.model.device,
        "acceptance": [
            {"what": what, "figure": value, "bar": bar, "passed": passed} for what, value, bar, passed in bars(found)
        ],
        **found,
    }
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(options.embedder).name).strip("-")
    kind = "".join(f"-{each}" for each in (*(["quick"] if options.quick else []), *(options.only or [])))
    file(f"following-{name}{kind}", measured)  # so that runs of other parts stand beside each other


if __name__ == "__main__":
    main()
