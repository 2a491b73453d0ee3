"""What the acceptance table asks of the figures that following.py takes: tables for people, bars with pass or fail.

Knows figures only.
"""

from collections.abc import Callable, Mapping
from typing import Any

from instructsearch.evaluate.table import table

STYLES = ("template", "question", "free", "tag")
Figures = dict[str, Any]
Bar = tuple[str, float, str, bool]  # what, figure, bar, passed


def harmonic(row: Figures) -> dict[str, float]:
    """Return the harmonic mean of a text set by style of wording."""
    return {style: got["harmonic"] for style, got in row["right"].items()}


def instructed(row: Figures) -> float:
    """Return what counts as "with its retrieval instructions": its own, where it has one, else our wordings' mean."""
    return float(row["own"]) if "own" in row else mean(row.get("both sides") or row["query side"])


def mean(values: Mapping[str, float]) -> float:
    """Return the mean of a measure over wordings."""
    return sum(values.values()) / len(values)


def grouped(found: Figures, value: Callable[[Figures], float]) -> dict[str, float]:
    """Return a figure by set, the views of one set averaged."""
    sets: dict[str, list[float]] = {}
    for row in found.values():
        sets.setdefault(row["set"], []).append(value(row))
    return {name: sum(values) / len(values) for name, values in sets.items()}


def bars(found: Figures) -> list[Bar]:
    """Return every bar of the acceptance table that the parts measured allow to judge."""
    return [
        bar for part in (_label_bars, _aspect_bars, _retrieval_bars, _plain_bars, _speed_bars) for bar in part(found)
    ]


def _label_bars(found: Figures) -> list[Bar]:
    if "labels" not in found:
        return []
    all_rows = found["labels"]
    base = grouped(all_rows, lambda row: row["base"])
    right = grouped(all_rows, lambda row: mean(row["right"]))
    wrong = grouped(all_rows, lambda row: mean(row["wrong"]))
    spread = grouped(all_rows, lambda row: mean(row["right"]) - min(row["right"].values()))
    low = [name for name in base if base[name] < 0.80]
    gain = sum(right[name] - base[name] for name in low) / max(len(low), 1)
    gap = sum(right[name] - wrong[name] for name in low) / max(len(low), 1)
    loss = min((right[name] - base[name], name) for name in base)
    wide = max((spread[name], name) for name in spread)
    return [
        (f"labels: mean gain over the {len(low)} sets with base < .80", gain, ">= +.06", gain >= 0.06),
        (f"labels: worst gain of any set ({loss[1]})", loss[0], ">= -.01", loss[0] >= -0.01),
        ("labels: right - wrong over the same sets", gap, ">= +.06", gap >= 0.06),
        (f"labels: mean - worst wording, widest set ({wide[1]})", wide[0], "<= .04", wide[0] <= 0.04),
    ]


def _aspect_bars(found: Figures) -> list[Bar]:
    if "aspects" not in found:
        return []
    rows_ = found["aspects"]
    by_set = {name: mean(harmonic(row)) for name, row in rows_.items()}
    total = mean(by_set)
    enough = min(row["triplets"] for row in rows_.values())
    known = {name: value for name, value in by_set.items() if any(rows_[name]["trained"].values())}
    new = {name: value for name, value in by_set.items() if name not in known}
    result = [
        (f"aspects: harmonic mean over {len(by_set)} text sets", total, ">= .70", total >= 0.70 and len(by_set) >= 3),
        ("aspects: fewest triplets each way", float(enough), ">= 500", enough >= 500),
    ]
    for name, part in (("one aspect named in training", known), ("neither named in training", new)):
        if part:
            result.append((f"of these, {name}: {', '.join(part)}", mean(part), "reported", True))
    return result


def _retrieval_bars(found: Figures) -> list[Bar]:
    result: list[Bar] = []
    sets = found.get("retrieval", {})
    if "scifact" in sets:
        value = instructed(sets["scifact"])
        result.append(("retrieval: scifact nDCG@10, instructed", value, ">= .645", value >= 0.645))
    others = {name: instructed(row) - row["base"] for name, row in sets.items() if name != "scifact"}
    for name, change in others.items():
        result.append((f"retrieval: {name}, instructed - base", change, ">= -.005", change >= -0.005))
    if others:
        result.append(("retrieval: their mean, instructed - base", mean(others), "> 0", mean(others) > 0))
    for name, row in found.get("similarity", {}).items():
        value = mean(row["right"])
        result.append((f"similarity: {name} Spearman, instructed", value, ">= .82", value >= 0.82))
    return result


def _plain_bars(found: Figures) -> list[Bar]:
    """Return the bar on what is left of the base without an instruction."""
    changes = [
        (row["none"] - row["base"], name)
        for part in ("labels", "retrieval", "similarity")
        for name, row in found.get(part, {}).items()
    ]
    if not changes:
        return []
    far = max(changes, key=lambda change: abs(change[0]))
    return [(f"no instruction: farthest from base ({far[1]})", far[0], "within .01", abs(far[0]) <= 0.01)]


def _speed_bars(found: Figures) -> list[Bar]:
    if "speed" not in found:
        return []
    cost = found["speed"]["cost"]
    return [("speed: time of the same texts, base = 1", cost, "<= 1.05", cost <= 1.05)]


def show(found: Figures) -> None:
    """Print the tables and the bars."""
    if "labels" in found:
        print("\n10-NN accuracy")
        body = [
            [name, f"{row['texts']}", *(f"{value:.3f}" for value in (row["base"], row["none"], *_right(row["right"]))),
             f"{mean(row['wrong']):.3f}", f"{mean(row['right']) - row['base']:+.3f}",
             f"{mean(row['right']) - mean(row['wrong']):+.3f}", *(f"{row['right'][style]:.3f}" for style in STYLES)]
            for name, row in found["labels"].items()
        ]  # fmt: skip
        head = ["set", "texts", "base", "none", "worst", "mean", "best", "wrong", "gain", "right-wrong", *STYLES]
        print(table(head, body).text())
    if "aspects" in found:
        print("\naspect triplets: first / second -> harmonic mean")
        body = [_aspect_row(name, row) for name, row in found["aspects"].items()]
        print(table(["texts", "n", "aspects", "base", "right: mean", "worst", *STYLES], body).text())
    if "retrieval" in found:
        print("\nnDCG@10, exact scan")
        body = [
            [name, f"{row['queries']}", f"{row['base']:.4f}", f"{row['none']:.4f}",
             f"{row['own']:.4f}" if "own" in row else "",
             f"{mean(row['query side']):.4f}", f"{min(row['query side'].values()):.4f}",
             *((f"{mean(row['both sides']):.4f}", f"{min(row['both sides'].values()):.4f}")
               if "both sides" in row else ("", ""))]
            for name, row in found["retrieval"].items()
        ]  # fmt: skip
        head = ["set", "queries", "base", "none", "own", "query side: mean", "worst", "both sides: mean", "worst"]
        print(table(head, body).text())
    if "similarity" in found:
        print("\nSpearman")
        body = [
            [name, f"{row['pairs']}", *(f"{value:.4f}" for value in (row["base"], row["none"], *_right(row["right"])))]
            for name, row in found["similarity"].items()
        ]
        print(table(["pairs", "n", "base", "none", "worst", "mean", "best"], body).text())
    if "speed" in found:
        row = found["speed"]
        print(f"\nseconds for {row['texts']} texts: base {row['base']:.2f}, candidate {row['candidate']:.2f}")
    print("\nacceptance")
    body = [[what, f"{value:.4f}", bar, verdict(bar, passed)] for what, value, bar, passed in bars(found)]
    print(table(["what", "figure", "bar", ""], body).text())


def verdict(bar: str, passed: bool) -> str:
    """Return how a figure stands to its bar; nothing where it is only reported."""
    return "" if bar == "reported" else "pass" if passed else "FAIL"


def _right(values: Mapping[str, float]) -> tuple[float, float, float]:
    return min(values.values()), mean(values), max(values.values())


def _aspect_row(name: str, row: Figures) -> list[str]:
    first, second = row["trained"]
    base, worded = row["base"], harmonic(row)
    means = [mean({style: got[aspect] for style, got in row["right"].items()}) for aspect in (first, second)]
    return [
        name,
        f"{row['triplets']}",
        f"{first} / {second}",
        f"{base[first]:.2f} / {base[second]:.2f} -> {base['harmonic']:.3f}",
        f"{means[0]:.2f} / {means[1]:.2f} -> {mean(worded):.3f}",
        f"{min(worded.values()):.3f}",
        *(f"{worded[style]:.3f}" for style in STYLES),
    ]
