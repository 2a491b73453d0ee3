"""The tree reads as a glossary and the arrows point one way: held by parsing the imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import instructsearch

PACKAGE = Path(instructsearch.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

# each part, and all it may import of the others
ARROWS = {
    "__version__": set(),
    "errors": set(),
    "records": set(),
    "filters": {"errors"},
    "durable": {"errors"},
    "asking": set(),
    "evaluate": {"errors", "records"},
    "plugins": {"errors"},
    "readers": {"errors", "records", "plugins"},
    "chunking": {"errors", "records", "plugins"},
    "embed": {"errors", "records", "plugins"},
    "rerank": {"errors", "records", "plugins", "embed"},
    "store": {"errors", "records", "filters", "durable"},
    "vectors": {"errors", "records", "durable"},
    "index": {"errors", "records", "durable"},
    "rows": {"errors", "records", "embed"},
    "train": {"errors", "records", "durable", "embed"},
    "fit": {"errors", "records", "embed", "store", "search", "index"},
    "doctor": {"errors", "embed", "index"},
    "view": {"errors", "records", "store", "vectors", "index"},
    "fill": {"errors", "records", "store", "view", "vectors", "embed"},
    "search": {"errors", "records", "filters", "store", "vectors"},
    "answer": {
        *("errors", "records", "filters", "asking", "store", "vectors", "view", "search", "fit", "embed", "rerank"),
    },
    "scan": {"answer", "errors", "fit", "records", "store", "vectors", "view"},
    "explore": {"errors"},
    "sync": {"errors", "records", "readers", "chunking", "store"},
    "upkeep": {"errors", "records", "store", "view"},
    "transfer": {
        *("errors", "durable", "records", "chunking", "store", "search", "fit", "vectors", "view", "upkeep"),
    },
    "editor": {
        *("errors", "records", "embed", "readers", "chunking", "store", "view", "fit", "fill", "sync", "upkeep"),
    },
    "collection": {
        *("errors", "records", "embed", "chunking", "store", "fit", "answer", "editor", "upkeep", "transfer"),
    },
    "cli": {
        *("errors", "records", "filters", "plugins", "collection", "embed", "readers", "rows", "doctor", "fit"),
        *("train", "evaluate", "scan", "explore", "rerank", "serve"),
    },
    "serve": {
        *("errors", "records", "filters", "durable", "plugins", "embed", "rerank", "readers", "store", "vectors"),
        *("view", "fit", "answer", "sync", "collection", "explore", "__version__"),
    },
    "integrations": {"errors", "records", "filters", "plugins", "embed", "fit", "store", "collection"},
}
OWNERS = {"faiss": "index", "sqlite_utils": "store", "sqlite3": "store", "click": "cli", "rich": "cli"}
EXCEPTIONS = {("sqlite3", "doctor")}  # doctor only asks for SQLite's version
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager", "factory", "misc"}


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Yield (top module, our part) of each import, the ones inside functions too, those for type checking not."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            pieces = name.split(".")
            yield pieces[0], pieces[1] if pieces[0] == "instructsearch" and len(pieces) > 1 else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_one_way(path):
    name = part(path)
    if name in ("__init__", "__main__"):
        return
    assert name in ARROWS, f"{name} is new: say in ARROWS what it may know"
    reached = {ours for _, ours in imports(path) if ours} - {name}
    assert reached <= ARROWS[name], f"{name} must not import {', '.join(sorted(reached - ARROWS[name]))}"


def test_the_arrows_have_no_circle():
    done, pending = set(), dict(ARROWS)
    while pending:
        free = {name for name, needs in pending.items() if needs <= done}
        assert free, f"a circle among {sorted(pending)}"
        done |= free
        pending = {name: needs for name, needs in pending.items() if name not in free}


@pytest.mark.parametrize(("module", "owner"), OWNERS.items())
def test_each_heavy_dependency_has_one_owner(module, owner):
    users = {part(path) for path in FILES for top, _ in imports(path) if top == module}
    assert users - {name for thing, name in EXCEPTIONS if thing == module} == {owner}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small_and_are_named_for_a_noun(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES


def test_no_pickle_anywhere():
    users = {part(path) for path in FILES for top, _ in imports(path) if top in ("pickle", "marshal", "shelve", "dill")}
    assert users == set()


@pytest.mark.parametrize(
    "code",
    [
        "import instructsearch, instructsearch.embed, instructsearch.collection",
        "import sys; from instructsearch.cli import group\ntry: group.main(['--help'])\nexcept SystemExit: pass",
        "import sys; from instructsearch.cli import group\n"
        "try: group.main(['search', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "help", "search help"],
)
def test_starting_loads_nothing_heavy(code):
    heavy = "torch transformers faiss onnxruntime sentence_transformers pypdf docx pptx rich sqlite_utils"
    check = f"\nimport sys; print('LOADED', [name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout


def test_public_names_are_sorted_and_all_there():
    assert instructsearch.__all__ == sorted(instructsearch.__all__)
    assert set(instructsearch.__all__) == set(instructsearch._HOMES)
    for name in instructsearch.__all__:
        assert getattr(instructsearch, name).__doc__, f"{name} says nothing of itself"


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        instructsearch.no_such_thing  # noqa: B018
