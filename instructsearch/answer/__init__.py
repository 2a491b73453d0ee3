"""Answer queries to one collection: its state is read once a generation, texts are embedded, hits are made.

Joins views, models and the store's snapshot. Knows nothing of how documents came in.
"""

from instructsearch.answer.answerer import Answerer
from instructsearch.answer.state import Vectors

__all__ = ["Answerer", "Vectors"]
