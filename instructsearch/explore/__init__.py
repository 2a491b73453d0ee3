"""What a view groups together, in words and as a picture: clusters, their names, their agreement, and maps.

Takes vectors, texts and values, and knows no collection; nothing heavy is imported before it is used.
"""

from instructsearch.explore.agreement import Agreement, agreement
from instructsearch.explore.atlas import Atlas, atlas
from instructsearch.explore.grouping import Grouping, group, sample
from instructsearch.explore.projection import METHODS, Method, Projection, project
from instructsearch.explore.survey import Named, Survey, survey
from instructsearch.explore.terms import label
from instructsearch.explore.things import NOUNS, Noun, Things, means, things

__all__ = [
    "METHODS",
    "NOUNS",
    "Agreement",
    "Atlas",
    "Grouping",
    "Method",
    "Named",
    "Noun",
    "Projection",
    "Survey",
    "Things",
    "agreement",
    "atlas",
    "group",
    "label",
    "means",
    "project",
    "sample",
    "survey",
    "things",
]
