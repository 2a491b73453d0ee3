"""Every script of benchmarks/ still finds what it takes from the package and from its neighbours."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_benchmark_can_be_imported(script, monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    try:
        runpy.run_path(str(script), run_name="imported")
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] in {"instructsearch", *(path.stem for path in SCRIPTS)}:
            raise
        pytest.skip(f"{error.name} is not installed")
    finally:
        for name in {path.stem for path in SCRIPTS} & (set(sys.modules) - before):
            del sys.modules[name]  # `results` and `search` are names that other tests may use
