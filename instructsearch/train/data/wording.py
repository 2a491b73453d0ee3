"""Instructions in many words: the unified template of INSTRUCTOR, questions, orders, tags and plain remarks.

Knows how an aspect can be asked for; nothing of data. Variety is what makes a model robust to wording (INSTRUCTOR,
section 4), so a training text hardly meets the same sentence twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_WHATEVER_THE_SUBJECT = (
    "Never mind the subject, what counts is the {noun}.",
    "Pay attention to the {noun} of the {type}, not to its words.",
    "Whatever the {type}s are about, compare the {noun}.",
    "The subject is of no interest here, the {noun} is.",
    "The {noun} alone counts, not what is told of it.",
    "Sort by {noun}, whatever the subject.",
)
_WHATEVER_THE_MOOD = (
    "Compare the {noun}, whether it is liked or hated.",
    "The {noun} counts, not the opinion of it.",
    "Group {type}s by {noun}, happy and angry ones alike",
    "Mood and manner aside: the same {noun}?",
)
_DETAILED = (
    "Represent the {type} by its {noun}:",
    "Represent the {type} for {noun} classification:",
    "Represent the {type} for grouping by {noun}:",
    "Represent the {domain} {type} for identifying its {noun}:",
    "Represent the {domain} {type} for classifying it by {noun};",
    "Represent this {type} so that those with the same {noun} are close together:",
    "Embed the {type} according to the {noun}.",
    "Given a {domain} {type}, tell its {noun}.",
    "Given a {type}, determine the {noun}.",
    "You will read a {type}. Decide on its {noun}.",
    "Find other {type}s with the same {noun}.",
    "I would like to sort these {type}s by their {noun}.",
    "Two {type}s are alike if they share the same {noun}.",
    "Look at the {noun} and at nothing else.",
    "Cluster {type}s by their {noun}",
    "Represent the {type} for telling its {noun}:",
    "Represent the {domain} {type} for finding out its {noun}:",
    "Represent the {type} for recognising the {noun}:",
    "Represent the {domain} {type} by nothing but its {noun}:",
    "{type}s are neighbours if the {noun} is the same",
)
_SIMPLE = (
    "Identify the {noun}.",
    "Classify the {noun}",
    "Group by {noun}",
    "Compare the {noun}",
    "Same {noun}?",
    "Judge the {noun} of the {type}",
    "By {noun}:",
    "Similar means of similar {noun}.",
)
_TAGS = ("{noun}", "{noun}:", "{Noun}", "[{noun}]", "{type} {noun}")
_QUESTIONS = (
    "What is the {noun} of this {type}?",
    "What is the {noun}?",
    "What {noun} does this {type} have?",
    "How would you describe the {noun} of the {type}?",
    "Which {noun} fits this {type}?",
)

_WRITTEN = 0.75  # share of instructions taken from those written out


@dataclass(frozen=True)
class Aspect:
    """What texts can be alike in, and the words for it: nouns, kinds of text, domains, own questions and wordings.

    `written` are whole instructions of every kind, as people would put them; where there are any, most of what is
    said is taken from them. An aspect that is `topical` is the subject itself: what its wordings tell a model to
    disregard is the mood, where those of the others tell it to disregard the subject.
    """

    nouns: tuple[str, ...]
    types: tuple[str, ...] = ("text", "sentence", "passage")
    domains: tuple[str, ...] = ("",)
    questions: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    topical: bool = False
    written: tuple[str, ...] = ()

    def word(self, random: np.random.Generator) -> str:
        """Return one instruction that asks for this aspect, in one of four levels of detail."""
        if self.written and random.random() < _WRITTEN:
            return _sometimes_varied(str(random.choice(self.written)), random)
        level = random.random()
        own = self.questions if level < 0.3 else self.wordings
        if own and random.random() < 0.6:
            return str(random.choice(own))
        if level < 0.3:
            frames: Sequence[str] = _QUESTIONS
        elif level < 0.4:
            frames = _TAGS
        elif level < 0.6:
            frames = _SIMPLE
        else:
            frames = (*_DETAILED, *(_WHATEVER_THE_MOOD if self.topical else _WHATEVER_THE_SUBJECT))
        noun = str(random.choice(self.nouns))
        words = {
            "noun": noun,
            "Noun": noun[:1].upper() + noun[1:],
            "type": str(random.choice(self.types)),
            "domain": str(random.choice(self.domains)),
        }
        return _sometimes_varied(" ".join(str(random.choice(frames)).format(**words).split()), random)


def _sometimes_varied(said: str, random: np.random.Generator) -> str:
    """Return the sentence as it is or, three times in ten, with another ending or case."""
    if random.random() < 0.7:
        return said
    choice = random.integers(4)
    if choice == 0:
        return said.rstrip(".:;?") + str(random.choice([".", ":", "", " ->", "?"]))
    if choice == 1:
        return said.lower()
    if choice == 2:
        return f"Instruction: {said}"
    return said[:1].upper() + said[1:]
