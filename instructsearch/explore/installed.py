"""Whether what clusters and maps stand on is here. Knows names of packages, not what they are used for."""

from importlib.util import find_spec

from instructsearch.errors import MissingExtra

# what is imported -> what it is called
LIBRARIES = {"sklearn": "scikit-learn", "matplotlib": "matplotlib", "openTSNE": "openTSNE"}


def require(*modules: str) -> None:
    """Return when all of `modules` can be imported.

    Raises:
        MissingExtra: one cannot.
    """
    absent = [LIBRARIES[module] for module in modules if find_spec(module) is None]
    if absent:
        raise MissingExtra(f"clusters and maps need {' and '.join(absent)}: pip install 'instructsearch[explore]'")
