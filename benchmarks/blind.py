"""Does an embedder hear wordings that nobody who shaped its training has seen? A dozen of each aspect, blind.toml's.

    python benchmarks/blind.py DATA/dev --embedder instruct-minilm

The sets and measures are following.py's, on fewer texts. Since following.toml's figures chose among recipes, they
flatter; these do so less. The spread over the wordings is told as mean and worst.
"""

import argparse
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from acceptance import Figures
from following import Judged, accuracy, crossed, labelled, sample
from results import file

from instructsearch.evaluate import triplets

HERE = Path(__file__).parent


def judge_labels(data: Path, facts: Figures, said: Sequence[str], base: Judged, one: Judged, most: int) -> Figures:
    """Return 10-NN accuracy on a label set: of the base, and the candidate's by wording."""
    texts, wanted = zip(*sample(labelled(data, facts), most), strict=True)
    one.read(texts, said)
    return {
        "texts": len(texts),
        "base": accuracy(base, texts, wanted, ""),
        "right": {each: accuracy(one, texts, wanted, each) for each in said},
    }


def judge_aspects(data: Path, facts: Figures, said: Sequence[Sequence[str]], one: Judged, count: int) -> Figures:
    """Return the harmonic means of aspect triplets; the first wordings of both aspects are a pair, and so on."""
    texts, drawn = crossed(data, facts, count)
    one.read(texts, [each for side in said for each in side])
    found = [triplets.aspects(one.encode, texts, drawn, pair, one.role) for pair in zip(*said, strict=False)]
    return {
        facts["first"]["name"]: [got.first for got in found],
        facts["second"]["name"]: [got.second for got in found],
        "harmonic": [got.harmonic.value for got in found],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--embedder", default="instruct-minilm")
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--texts", type=int, default=600, help="most texts of a label set")
    options = parser.parse_args()
    asked = tomllib.loads((HERE / "following.toml").read_text(encoding="utf-8"))
    blind = tomllib.loads((HERE / "blind.toml").read_text(encoding="utf-8"))
    words = blind["wordings"]
    started = time.monotonic()
    base = Judged(options.base, options.device, None)
    one = Judged(options.embedder, options.device, None)
    found: Figures = {"labels": {}, "aspects": {}}
    for name, aspect in blind["labels"].items():
        row = judge_labels(options.data, asked["labels"][name], words[aspect], base, one, options.texts)
        found["labels"][name] = row
        right = list(row["right"].values())
        print(f"  {name}: base {row['base']:.3f}, mean {fmean(right):.3f}, worst {min(right):.3f}", flush=True)
    for name, aspects in blind["aspects"].items():
        row = judge_aspects(options.data, asked["aspects"][name], [words[each] for each in aspects], one, 500)
        found["aspects"][name] = row
        print(f"  {name}: " + ", ".join(f"{side} {fmean(values):.3f}" for side, values in row.items()), flush=True)
    gains = [fmean(row["right"].values()) - row["base"] for row in found["labels"].values() if row["base"] < 0.8]
    total = fmean([fmean(row["harmonic"]) for row in found["aspects"].values()])
    print(f"mean gain over {len(gains)} sets with base < .80: {fmean(gains):+.3f}; aspects, harmonic: {total:.3f}")
    measured = {
        "embedder": options.embedder,
        "profile": one.profile.fingerprint,
        "base": options.base,
        "seconds": round(time.monotonic() - started, 1),
        "device": one.model.device,
    }
    file(f"blind-{options.embedder}", {**measured, **found})


if __name__ == "__main__":
    main()
