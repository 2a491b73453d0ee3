"""What judges found, told as tables and as sections of a page. Knows trials and verdicts; no terminal and no HTML."""

from collections.abc import Iterator, Sequence

from instructsearch.evaluate.bootstrap import Comparison
from instructsearch.evaluate.chart import Mark, Strip, differences, intervals, strips
from instructsearch.evaluate.exam import Verdict
from instructsearch.evaluate.report import Section
from instructsearch.evaluate.search import Sensitivity, Trial
from instructsearch.evaluate.table import Table, number, signed, table, within
from instructsearch.evaluate.tasks import IMPLICIT, NONE, RIGHT, WRONG
from instructsearch.evaluate.tuning import BY_RANK, Tuning

_SHOWN = 6  # comparisons drawn query by query


def systems(trial: Trial) -> Table:
    """Return every measure of every view and mode, with 95% intervals."""
    names = list(trial.results[0].measures)
    rows = [
        [result.system.view, result.system.mode, *(within(result.measures[name]) for name in names)]
        for result in trial.results
    ]
    return table(["view", "mode", *names], rows)


def comparisons(trial: Trial) -> Table:
    """Return how much better one way of asking is than another on the same queries."""
    rows = [
        [
            str(one),
            str(other),
            signed(pair.difference),
            f"[{signed(pair.low)} {signed(pair.high)}]",
            _chance(pair),
            _counts(pair),
        ]
        for one, other, pair in trial.comparisons
    ]
    return table(["better", "than", f"{trial.main} more", "95%", "p", "better/worse/same queries"], rows)


def _chance(pair: Comparison) -> str:
    return "<0.001" if pair.p < 0.001 else number(pair.p)


def _counts(pair: Comparison) -> str:
    return f"{pair.better}/{pair.worse}/{pair.same}"


def sensitivity(trial: Trial) -> Table:
    """Return what each wording of the query's instruction gives, for each view and mode."""
    rows = [
        [each.system.view, each.system.mode, result.system.said, within(result.measures[trial.main])]
        for each in trial.sensitivities
        for result in each.results
    ]
    return table(["view", "mode", "query instruction", trial.main], rows)


def spreads(trial: Trial) -> Table:
    """Return worst, mean and best over the wordings, and what the view's own is worth over none."""
    rows = [
        [
            each.system.view,
            each.system.mode,
            number(each.results[1].measures[trial.main].value),
            *(number(value) for value in (each.spread.worst, each.spread.mean, each.spread.best)),
            signed(each.against_none.difference),
            f"[{signed(each.against_none.low)} {signed(each.against_none.high)}]",
            _chance(each.against_none),
        ]
        for each in trial.sensitivities
    ]
    return table(["view", "mode", "none", "wordings: worst", "mean", "best", "own - none", "95%", "p"], rows)


def shares(tuning: Tuning) -> Table:
    """Return what each share of meaning against words gives, and fusion by rank."""
    rows = [[number(share), within(value)] for share, value in tuning.curve]
    return table(["fusion", tuning.main], [*rows, [BY_RANK, within(tuning.by_rank)]])


def gain(tuning: Tuning) -> Table:
    """Return the share chosen, and what choosing it is worth on queries that it was not chosen by."""
    pair = tuning.gain
    interval = f"[{signed(pair.low)} {signed(pair.high)}]"
    row = [number(tuning.chosen), signed(pair.difference), interval, _chance(pair), _counts(pair)]
    return table(["best", "gain over rrf, cross-validated", "95%", "p", "better/worse/same queries"], [row])


def pools(trial: Trial) -> Table:
    """Return the recall of each view's index against an exact scan."""
    return table(["view", "recall of exact scan"], [[view, within(value)] for view, value in trial.pools.items()])


def pipelines(trial: Trial) -> Table:
    """Return the recall of each view and mode, as a whole, against the same over exact scans."""
    rows = [[system.view, system.mode, within(value)] for system, value in trial.pipelines.items()]
    return table(["view", "mode", "recall of the exact pipeline"], rows)


def of_trial(trial: Trial) -> Iterator[Section]:
    """Yield the sections of a page about a search engine."""
    marks = [
        Mark(str(result.system), one.value, one.low, one.high)
        for result in trial.results
        for one in (result.measures[trial.main],)
    ]
    text = "The mean over queries; lines and brackets are 95% bootstrap intervals. A query without an answer counts 0."
    yield Section("Views and modes", text, intervals(marks, trial.main), systems(trial))
    if trial.comparisons:
        pairs = [
            Mark(f"{one} - {other}", pair.difference, pair.low, pair.high) for one, other, pair in trial.comparisons
        ]
        text = (
            "The difference on the same queries, by the paired bootstrap. Where the line crosses 0, these queries do"
            " not tell the two apart."
        )
        yield Section("Compared, query by query", text, intervals(pairs, "differences"), comparisons(trial))
        yield from _by_query(trial)
    if trial.sensitivities:
        text = "The same queries under the view's own instruction and each paraphrase; hollow: under none."
        rows = [_strip(each, trial.main) for each in trial.sensitivities]
        yield Section("Instruction sensitivity", text, strips(rows, trial.main), spreads(trial))
        yield Section("Every wording", "", "", sensitivity(trial))
    if trial.pools:
        text = "The share of an exact scan's nearest texts that the view's index finds: 1 where it loses nothing."
        yield Section("Index against exact scan", text, "", pools(trial))
    if trial.pipelines:
        text = "The share of the documents shown that the same search shows when no vector is passed by."
        yield Section("Whole search against exact scan", text, "", pipelines(trial))


def _by_query(trial: Trial) -> Iterator[Section]:
    values = {result.system: result.values for result in trial.results}
    for one, other, _ in trial.comparisons[:_SHOWN]:
        gaps = [value - values[other][query] for query, value in values[one].items()]
        text = "One bar a query; above the line the first is better."
        yield Section(f"{one} less {other}", text, differences(gaps, f"{one} less {other}"))


def _strip(each: Sensitivity, main: str) -> Strip:
    told = [(one.measures[main].value, one.system.said) for one in each.results]
    return Strip(str(each.system), (told[0], *told[2:]), (told[1],))


def verdicts(found: Sequence[Verdict]) -> Table:
    """Return one row a task: without instruction, over right wordings, over wrong ones, and the gap between."""
    return table(
        ["task", "kind", "n", "measure", "none", "right: worst", "mean", "best", "implicit", "wrong", "right - wrong"],
        [_summary(verdict) for verdict in found],
    )


def _summary(verdict: Verdict) -> list[str]:
    groups = verdict.spreads()
    told = groups.get(RIGHT) or groups.get("given")
    hinted, wrong, between = groups.get(IMPLICIT), groups.get(WRONG), verdict.gap()
    return [
        verdict.name,
        verdict.kind,
        f"{verdict.n}",
        verdict.measure,
        number(groups[NONE].mean),
        *((number(told.worst), number(told.mean), number(told.best)) if told else ("", "", "")),
        number(hinted.mean) if hinted else "",
        number(wrong.mean) if wrong else "",
        signed(between.mean) if between else "",
    ]


def wordings(verdict: Verdict) -> Table:
    """Return one row a wording of a task, with its interval and its further measures."""
    more = list(dict.fromkeys(name for score in verdict.scores for name in score.also))
    rows = [
        [score.group, score.instruction, within(score.value), *(number(score.also.get(name)) for name in more)]
        for score in verdict.scores
    ]
    return table(["group", "instruction", verdict.measure, *more], rows)


def of_verdicts(found: Sequence[Verdict]) -> Iterator[Section]:
    """Yield the sections of a page about an embedder."""
    text = (
        "What the embedder scores without an instruction, under right ones (worst, mean and best wording), under hints"
        " and under wrong ones. Who ignores instructions has a gap of 0."
    )
    yield Section("Tasks", text, "", verdicts(found))
    for verdict in found:
        rows = [
            Strip(group, tuple((one.value.value, one.instruction) for one in verdict.scores if one.group == group))
            for group in verdict.spreads()
        ]
        text = f"{verdict.measure}, n = {verdict.n}; one dot a wording, the bar is their mean."
        yield Section(verdict.name, text, strips(rows, verdict.measure), wordings(verdict))
