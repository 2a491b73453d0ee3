"""Small task folders for the tests of judging: things with a colour and a shape, which the hash embedder can tell."""

import json

COLOURS, SHAPES = ("red", "blue", "green"), ("car", "ship", "plane")
ROWS = [
    {"_id": f"d{n}", "text": f"a {colour} {shape} number{n}", "colour": colour, "shape": shape}
    for n, (colour, shape) in enumerate((colour, shape) for _ in range(3) for colour in COLOURS for shape in SHAPES)
]
QUERIES = [{"_id": f"{colour}-{shape}", "text": f"{colour} {shape}"} for colour in COLOURS for shape in SHAPES]
BY_COLOUR, BY_SHAPE = "red or blue or green?", "car or ship or plane?"


def put(path, *rows):
    """Write a JSONL file, or a JSON file where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rows[0]) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def judged(colour, *, like=""):
    """Return the documents of a colour as relevant, by query; `like` ends the ids of the queries."""
    return "".join(
        f"{row['_id']}{like}\t{document['_id']}\t1\n"
        for row in QUERIES
        for document in ROWS
        if document["colour" if colour else "shape"] == row["text"].split()[0 if colour else 1]
    )


def labels(folder, **facts):
    put(folder / "texts.jsonl", *({"text": row["text"], "label": row["colour"]} for row in ROWS))
    put(folder / "task.json", {"kind": "labels", **facts})
    return folder


def triplets(folder, **facts):
    put(folder / "texts.jsonl", *({name: row[name] for name in ("text", "colour", "shape")} for row in ROWS))
    aspects = {"colour": {"right": [BY_COLOUR, "red blue green"]}, "shape": {"right": [BY_SHAPE]}}
    put(folder / "task.json", {"kind": "triplets", "aspects": aspects, "count": 60, **facts})
    return folder


def pairs(folder, **facts):
    rows = [
        {"text1": one["text"], "text2": other["text"], "score": 5.0 * (one["shape"] == other["shape"]) + at % 2}
        for at, (one, other) in enumerate(zip(ROWS, ROWS[1:] + ROWS[:1], strict=True))
    ]
    rows += [{"text1": row["text"], "text2": f"my {row['shape']} is here", "score": 6} for row in ROWS[:20]]
    put(folder / "pairs.jsonl", *rows)
    put(folder / "task.json", {"kind": "sts", **facts})
    return folder


def retrieval(folder, facts=None):
    put(folder / "corpus.jsonl", *ROWS)
    put(folder / "queries.jsonl", *QUERIES, {"_id": "unjudged", "text": "x"})
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged(True))
    if facts:
        put(folder / "task.json", {"kind": "retrieval", **facts})
    return folder


def instructions(folder):
    put(folder / "corpus.jsonl", *ROWS)
    put(
        folder / "queries.jsonl",
        *(
            {"_id": f"{row['_id']}.c", "query": row["_id"], "text": row["text"], "instruction": BY_COLOUR}
            for row in QUERIES
        ),
        *(
            {
                "_id": f"{row['_id']}.s",
                "query": row["_id"],
                "text": row["text"],
                "instruction": BY_SHAPE,
                "changes": f"{row['_id']}.c",
            }
            for row in QUERIES
        ),
    )
    (folder / "qrels.tsv").write_text(judged(True, like=".c") + judged(False, like=".s"))
    put(folder / "task.json", {"kind": "instructions"})
    return folder
