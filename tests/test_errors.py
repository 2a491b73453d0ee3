"""The errors: one root, and a tree in the docstring that is the one of the classes."""

import inspect
import pickle

import pytest

from instructsearch import InstructSearchError, errors

CLASSES = [thing for _, thing in inspect.getmembers(errors, inspect.isclass) if thing.__module__ == errors.__name__]


def drawn():
    """Return {name: (parent, description)} as the docstring draws it."""
    tree, above = {}, []
    for line in errors.__doc__.splitlines():
        bare = line.removeprefix("    ")
        mark = max(bare.find("├── "), bare.find("└── "))
        if mark < 0 and bare != "InstructSearchError":
            continue
        depth = 0 if mark < 0 else mark // 4 + 1
        name, _, text = bare[mark + 4 if mark >= 0 else 0 :].partition(" ")
        above[depth:] = [name]
        tree[name] = (above[depth - 1] if depth else None, text.strip())
    return tree


def test_the_tree_drawn_is_the_tree_of_the_classes():
    parents = {one.__name__: one.__bases__[0].__name__ for one in CLASSES if one is not InstructSearchError}
    assert {name: parent for name, (parent, _) in drawn().items() if parent} == parents
    assert [name for name, (parent, _) in drawn().items() if parent is None] == ["InstructSearchError"]


def test_every_leaf_of_the_tree_says_what_it_means():
    parents = {parent for parent, _ in drawn().values()}
    assert all(text for name, (_, text) in drawn().items() if name not in parents)


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_every_error_is_caught_by_the_root_and_says_what_it_is(one):
    assert issubclass(one, InstructSearchError)
    assert one.__doc__


def test_a_read_error_keeps_both_parts_on_its_way_from_another_process():
    error = pickle.loads(pickle.dumps(errors.ReadError("file.pdf", "is encrypted")))
    assert (error.where, error.reason, str(error)) == ("file.pdf", "is encrypted", "file.pdf: is encrypted")


def test_a_missing_extra_is_an_import_error_too():
    with pytest.raises(ImportError):
        raise errors.MissingExtra("pip install 'instructsearch[cpu]'")
