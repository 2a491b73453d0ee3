"""Instructions in many words: the unified template of INSTRUCTOR, questions, orders, tags and plain remarks.

Knows how an aspect can be asked for; nothing of data. Variety is what makes a model robust to wording (INSTRUCTOR,
section 4), so a training text hardly meets the same sentence twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    "Never mind the subject, what counts is the {noun}.",
    "Pay attention to the {noun} of the {type}, not to its words.",
    "Cluster {type}s by their {noun}",
    "Represent the {type} for telling its {noun}:",
    "Represent the {type} for finding out the {noun}:",
    "Represent the {domain} {type} for seeing its {noun}:",
    "Represent the {type} for recognising the {noun}:",
    "Represent the {domain} {type} for knowing the {noun}:",
    "Leave the topic aside: only the {noun} matters.",
    "Put together {type}s of the same {noun}, whatever they are about",
    "Arrange the {type}s by {noun}",
    "{Noun} by {noun}, each {type} where it belongs",
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
# the labels themselves, the last of them apart
_OPTIONS = (
    "Is it {some} or {last}?",
    "Is this {type} {some} or {last}?",
    "{Some} or {last}?",
    "{some} or {last}",
    "{some}, {last}",
    "{some} versus {last}",
    "Tell {some} from {last}",
    "Separate {some} from {last}.",
    "Keep {some} apart from {last}",
    "{Some} on one side, {last} on the other.",
    "Sort the {type}s into {some} and {last}",
    "What is the {noun}: {some} or {last}?",
    "Only the {noun} matters: {some} or {last}",
    "Decide whether the {type} is {some} or {last}.",
    "Represent the {type} for telling {some} from {last}:",
    "Represent the {domain} {type} for seeing whether it is {some} or {last}:",
    "Represent the {type} by its {noun}, {some} or {last}:",
)
_FEW = 8  # labels, up to which an instruction may name them
_NAMES_LABELS = 0.2


@dataclass(frozen=True)
class Aspect:
    """What texts can be alike in, and the words for it: nouns, kinds of text, domains, own questions and sentences."""

    nouns: tuple[str, ...]
    types: tuple[str, ...] = ("text", "sentence", "passage")
    domains: tuple[str, ...] = ("",)
    questions: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()

    def word(self, random: np.random.Generator, labels: Sequence[str] = ()) -> str:
        """Return one instruction that asks for this aspect, in one of four levels of detail.

        Now and then it names the `labels`, if they are few. One may be several words for the same, between commas.
        """
        names: dict[str, str] = {}
        if 1 < len(labels) <= _FEW and random.random() < _NAMES_LABELS:
            some = [str(random.choice(each.split(", "))) for each in random.permutation(list(labels))]
            listed = ", ".join(some[:-1])
            names = {"some": listed, "Some": listed[:1].upper() + listed[1:], "last": some[-1]}
        level = random.random()
        own = self.questions if level < 0.3 else self.wordings
        if not names and own and random.random() < 0.6:
            return str(random.choice(own))
        frames: Sequence[str]
        if names:
            frames = _OPTIONS
        elif level < 0.3:
            frames = _QUESTIONS
        elif level < 0.4:
            frames = _TAGS
        else:
            frames = _SIMPLE if level < 0.6 else _DETAILED
        noun = str(random.choice(self.nouns))
        words = {
            "noun": noun,
            "Noun": noun[:1].upper() + noun[1:],
            "type": str(random.choice(self.types)),
            "domain": str(random.choice(self.domains)),
            **names,
        }
        said = " ".join(str(random.choice(frames)).format(**words).split())
        return said if random.random() < 0.7 else _varied(said, random)


def _varied(said: str, random: np.random.Generator) -> str:
    """Return the sentence with another ending or case."""
    choice = random.integers(4)
    if choice == 0:
        return said.rstrip(".:;?") + str(random.choice([".", ":", "", " ->", "?"]))
    if choice == 1:
        return said.lower()
    if choice == 2:
        return f"Instruction: {said}"
    return said[:1].upper() + said[1:]
