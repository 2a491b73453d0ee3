"""Vector search where the user says what similarity means.

A corpus is embedded under document-side instructions into views; a query is embedded under a query-side instruction and
answered from one view or several. Nothing heavy is imported until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instructsearch.chunking import Chunking
    from instructsearch.collection import Collection
    from instructsearch.embed import Embedder, Profile
    from instructsearch.errors import InstructSearchError
    from instructsearch.plugins import register
    from instructsearch.readers import Limits
    from instructsearch.records import Chunk, Document, Hit, Instruction, Query
    from instructsearch.sync import Report

__version__ = "0.1.0"

_HOMES = {
    "Chunk": "records",
    "Chunking": "chunking",
    "Collection": "collection",
    "Document": "records",
    "Embedder": "embed",
    "Hit": "records",
    "InstructSearchError": "errors",
    "Instruction": "records",
    "Limits": "readers",
    "Profile": "embed",
    "Query": "records",
    "Report": "sync",
    "register": "plugins",
}

__all__ = [
    "Chunk",
    "Chunking",
    "Collection",
    "Document",
    "Embedder",
    "Hit",
    "InstructSearchError",
    "Instruction",
    "Limits",
    "Profile",
    "Query",
    "Report",
    "register",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives, when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'instructsearch' has no attribute {name!r}")
    value = getattr(import_module(f"instructsearch.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
