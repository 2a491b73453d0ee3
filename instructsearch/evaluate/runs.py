"""Runs (what was retrieved), qrels (what is relevant) and queries, in the files of TREC and BEIR; strict on bad rows.

Knows ids, scores and grades; no measure and no text but the queries'.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from instructsearch.errors import ReadError
from instructsearch.evaluate.files import id_of, lines, rows, text_of, write

Run = dict[str, dict[str, float]]  # query -> document -> score, larger is better
Qrels = dict[str, dict[str, int]]  # query -> document -> grade; 0 and less is not relevant

HEADER = ("query-id", "corpus-id", "score")  # of BEIR's TSV


def read_run(path: Path) -> Run:
    """Return a TREC run: lines of `query Q0 document rank score tag`. As trec_eval does, the rank is not used.

    Raises:
        ReadError: a line has other columns, a score is not a finite number, or a document comes twice for a query.
    """
    run: Run = {}
    for where, line in lines(path):
        columns = line.split()
        if len(columns) != 6:
            raise ReadError(where, f"has {len(columns)} columns; a TREC run has query Q0 document rank score tag")
        query, _, document, rank, score, _ = columns
        if not re.fullmatch(r"[0-9]+", rank):
            raise ReadError(where, f"the rank {rank!r} is not a whole number")
        if document in run.setdefault(query, {}):
            raise ReadError(where, f"document {document!r} comes twice for query {query!r}")
        run[query][document] = _finite(where, score)
    if not run:
        raise ReadError(str(path), "holds no line of a run")
    return run


def _finite(where: str, written: str) -> float:
    try:
        score = float(written)
    except ValueError:
        score = math.nan
    if not math.isfinite(score) or "_" in written:
        raise ReadError(where, f"the score {written!r} is not a finite number")
    return score


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], tag: str = "instructsearch") -> None:
    """Write a TREC run, best first, ties by document as trec_eval breaks them; blanks in ids are written as %20.

    Raises:
        StorageError: the file cannot be written.
    """
    from instructsearch.evaluate.ranking import order

    write(
        path,
        (
            f"{_column(query)} Q0 {_column(document)} {rank} {scores[document]!r} {_column(tag)}\n"
            for query, scores in run.items()
            for rank, document in enumerate(order(scores), 1)
        ),
    )


def _column(text: str) -> str:
    return re.sub(r"\s", lambda blank: f"%{ord(blank.group()):02X}", text)


def read_qrels(path: Path) -> Qrels:
    """Return the judgements of a TREC file (`query 0 document grade`) or of BEIR's TSV (`query-id corpus-id score`).

    Which of the two it is says the first line; the header of a TSV may be left out.

    Raises:
        ReadError: a line has other columns than the first, a grade is not a whole number, or a pair is judged twice.
    """
    qrels: Qrels = {}
    columns = 0
    for where, line in lines(path):
        cells = _cells(line)
        if not columns:
            columns = len(cells)
            if columns not in (3, 4):
                raise ReadError(
                    where,
                    f"has {columns} columns; qrels have query 0 document grade, or query-id, corpus-id,"
                    " score between tabs",
                )
            if columns == 3 and not _whole(cells[2]):
                _check_header(where, cells)
                continue
        if len(cells) != columns:
            raise ReadError(where, f"has {len(cells)} columns, where the first line has {columns}")
        query, document, grade = cells[0], cells[-2], cells[-1]
        if not _whole(grade):
            raise ReadError(where, f"the grade {grade!r} is not a whole number")
        if document in qrels.setdefault(query, {}):
            raise ReadError(where, f"document {document!r} is judged twice for query {query!r}")
        qrels[query][document] = int(grade)
    if not qrels:
        raise ReadError(str(path), "holds no judgement")
    return qrels


def _cells(line: str) -> list[str]:
    # between tabs an id may hold blanks, as BEIR's may
    tabbed = [cell.strip() for cell in line.split("\t")]
    return tabbed if len(tabbed) == 3 and all(tabbed) else line.split()


def _whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,9}", text) is not None


def _check_header(where: str, cells: list[str]) -> None:
    if tuple(cell.lower() for cell in cells) != HEADER:
        raise ReadError(where, f"is neither a judgement nor the header {' '.join(HEADER)}")


def write_qrels(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgements as BEIR's TSV, with its header.

    Raises:
        StorageError: the file cannot be written.
    """
    judged = (
        f"{query}\t{document}\t{grade}\n" for query, grades in qrels.items() for document, grade in grades.items()
    )
    write(path, ["\t".join(HEADER) + "\n", *judged])


def read_queries(path: Path) -> dict[str, str]:
    """Return text by id of a JSONL file of `_id` (or `id`) and `text`, in the order of the file.

    Raises:
        ReadError: a row lacks one of them, or an id comes twice.
    """
    queries: dict[str, str] = {}
    for where, row in rows(path):
        id = id_of(where, row)
        if id in queries:
            raise ReadError(where, f"the _id {id!r} comes twice")
        queries[id] = text_of(where, row, "text")
    if not queries:
        raise ReadError(str(path), "holds no query")
    return queries
