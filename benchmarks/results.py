"""File a benchmark's JSON line under the commit it was measured at."""

import json
import os
import platform
import subprocess
from pathlib import Path


def machine() -> str:
    """Return the processor's name and how many there are."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {os.cpu_count()} cores"


def file(benchmark: str, figures: dict[str, object]) -> None:
    """Print the figures as one JSON line and keep them in results/."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    ).stdout.strip()
    line = json.dumps({"benchmark": benchmark, "commit": commit, "machine": machine(), **figures})
    (here / "results").mkdir(exist_ok=True)
    (here / "results" / f"{benchmark}-{commit or 'unknown'}.json").write_text(line + "\n")
    print(line)
