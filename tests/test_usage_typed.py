"""The typed program of `usage_typed` runs, and the package says that it is typed; mypy checks it with the package."""

from importlib import resources

import usage_typed


def test_the_typed_program_runs(tmp_path):
    assert usage_typed.main(tmp_path)


def test_the_package_says_that_it_is_typed():
    assert resources.files("instructsearch").joinpath("py.typed").is_file()
