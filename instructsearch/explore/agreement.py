"""How far two groupings of the same things are the same. Knows labels, not what was grouped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from instructsearch.explore.installed import require


@dataclass(frozen=True, slots=True)
class Agreement:
    """`v_measure` is 0 to 1; `adjusted_mutual_information` is 1 for the same groups and about 0 for chance ones.

    V-measure (Rosenberg and Hirschberg 2007) is the harmonic mean of homogeneity and completeness. It grows with the
    number of groups even by chance, so the other one is shown beside it (Vinh, Epps and Bailey 2010), which does not.
    `rows` is how many things were compared.
    """

    v_measure: float
    adjusted_mutual_information: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON-ready data, rounded to four digits."""
        # + 0.0 makes zero of the minus zero that rounding leaves
        return {
            "v_measure": round(self.v_measure, 4) + 0.0,
            "adjusted_mutual_information": round(self.adjusted_mutual_information, 4) + 0.0,
            "rows": self.rows,
        }


def agreement(first: Sequence[Any], second: Sequence[Any]) -> Agreement:
    """Compare two labellings (n,) of the same things; rows that are in no group make up one of their own.

    Raises:
        ValueError: they are not of the same length.
        MissingExtra: scikit-learn is not installed.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} labels cannot be compared with {len(second)}")
    require("sklearn")
    from sklearn.metrics import adjusted_mutual_info_score, v_measure_score

    one, other = _numbered(first), _numbered(second)
    # rounding may bring either a hair beyond its bounds
    v = min(1.0, max(0.0, float(v_measure_score(one, other))))
    return Agreement(v, min(1.0, float(adjusted_mutual_info_score(one, other))), len(one))


def _numbered(labels: Sequence[Any]) -> list[int]:
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(label, len(numbers)) for label in labels]
