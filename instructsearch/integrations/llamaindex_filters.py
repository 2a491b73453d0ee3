"""LlamaIndex's filters as operator dictionaries; what a collection cannot compare is refused, never left out.

Knows both languages of filters, no node. A list in metadata matches when one of its elements does.
"""

from typing import Any

from instructsearch.errors import BadFilter, MissingExtra
from instructsearch.filters import parse

try:
    from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
except ImportError as error:
    raise MissingExtra("LlamaIndex is not installed: pip install 'instructsearch[llamaindex]'") from error

_OPERATORS = {
    FilterOperator.EQ: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.ANY: "$in",
    FilterOperator.CONTAINS: "$eq",
}


def translated(filters: MetadataFilters | None) -> dict[str, Any] | None:
    """Return the operator dictionary that allows what LlamaIndex's filters do; None for none.

    Raises:
        BadFilter: they look into a text (`text_match`), or compare what cannot be compared.
    """
    if filters is None or not filters.filters:
        return None
    where = _joined(filters)
    parse(where)
    return where


def _joined(filters: MetadataFilters) -> dict[str, Any]:
    parts = [_joined(each) if isinstance(each, MetadataFilters) else _one(each) for each in filters.filters]
    if filters.condition == FilterCondition.NOT:
        return {"$not": {"$or": parts}}
    return {"$or" if filters.condition == FilterCondition.OR else "$and": parts}


def _one(test: MetadataFilter) -> dict[str, Any]:
    if test.operator == FilterOperator.IS_EMPTY:
        return {test.key: {"$exists": False}}
    if test.operator == FilterOperator.ALL:
        if not isinstance(test.value, list):
            raise BadFilter(f"'all' on {test.key!r} takes a list, not {test.value!r}")
        return {"$and": [{test.key: {"$eq": value}} for value in test.value]}
    if test.operator not in _OPERATORS:
        raise BadFilter(f"no filter on metadata looks into a text: {test.operator.value!r} on {test.key!r}")
    return {test.key: {_OPERATORS[test.operator]: test.value}}
