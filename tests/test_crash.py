"""SIGKILL at every step on the disk leaves the old or the new collection, whole, and the next run completes it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = ("first index", "sync", "delete", "compact", "view add", "view drop")
LEAST = {"first index": 40, "sync": 30, "delete": 8, "compact": 20, "view add": 20, "view drop": 6}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_step_leaves_the_old_or_the_new_state(scenario, tmp_path):
    script = Path(__file__).with_name("crash_points.py")
    place = tmp_path / "place"

    done = subprocess.run(
        [sys.executable, str(script), scenario, str(place)], capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["points"] >= LEAST[scenario]
    assert told["old"] and told["new"], "a kill early must leave the old state, and one late the new"
