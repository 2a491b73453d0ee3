"""A picture of a run: the loss of each kind of task and the learning rate, by step.

Knows the log's lines. Without matplotlib, which the extra `train` brings, there is no picture, and a line says so.
"""

import logging
from collections import defaultdict
from pathlib import Path

from instructsearch.train.loop import read_line

log = logging.getLogger("instructsearch.train")
_SMOOTH = 50  # steps of a kind that one point is the mean of


def draw(lines: Path, picture: Path) -> bool:
    """Draw the log of a run as PNG; return whether it could be done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no picture of the run: it needs matplotlib, pip install 'instructsearch[train]'")
        return False
    losses: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rates: dict[int, float] = {}
    for line in lines.read_text("utf-8", "replace").splitlines():
        if told := read_line(line):
            losses[told["task"].partition("/")[0]].append((told["step"], told["loss"]))
            rates[told["step"]] = told["rate"]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for kind, points in sorted(losses.items()):
        width = max(1, min(_SMOOTH, len(points) // 12))
        parts = [points[at : at + width] for at in range(0, len(points) - width + 1, width)]
        steps, means = ([sum(point[at] for point in part) / width for part in parts] for at in (0, 1))
        axes.plot(steps, means, label=kind, linewidth=1.5)
    axes.set(xlabel="step", ylabel=f"loss (mean of up to {_SMOOTH} steps of a kind)")
    axes.grid(alpha=0.3)
    if losses:
        figure.legend(loc="outside upper center", ncols=8, frameon=False)
    other = axes.twinx()
    other.plot(list(rates), list(rates.values()), color="0.6", linewidth=1, linestyle=":")
    other.set(ylabel="learning rate (dotted)")
    figure.savefig(picture, dpi=130, format="png")
    return True
