"""From a recipe and a folder of data to training examples: label, answer, retrieval, trait and keeping tasks.

Knows the order of work. Similarities come from the base model's `encode`; every choice comes from the recipe's seed, so
that the same recipe and data give the same file.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from instructsearch.embed.protocol import FloatArray
from instructsearch.train.data import mining, sources
from instructsearch.train.data.recipe import Answers, Keep, Labels, Mentions, Pairs, Recipe
from instructsearch.train.data.traits import TRAITS
from instructsearch.train.data.wording import Aspect
from instructsearch.train.examples import Example, Kind

Encode = Callable[[Sequence[str]], FloatArray]
_WORD = re.compile(r"[^\W\d_](?:[\w.'’-]*\w)?\.?")
_MEMBER = 12  # texts that have to name a member for it to count
_FROM_ASPECT = 0.35
_THINNED = 0.15  # share of words left out of a thinned copy
_LEAST = 3  # words that have to be left
_SHORT = 300  # characters of a task's input up to which it is a text like any other
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


class Builder:
    """One run over a recipe. `told` hears of each task that is done: its name and how many examples."""

    def __init__(self, recipe: Recipe, folder: Path, encode: Encode, told: Callable[[str, int], None]) -> None:
        self._recipe = recipe
        self._folder = folder
        self._base = encode
        self._known: dict[str, FloatArray] = {}
        self._told = told
        self._random = np.random.default_rng(recipe.seed)
        self._pool: list[str] = []  # texts of the examples so far
        self._spare: list[str] = []  # texts of the same files that no example took, for those that rules label

    def examples(self) -> Iterator[Example]:
        """Yield every example of the recipe.

        Raises:
            ReadError: a file or a field that the recipe names is missing.
        """
        recipe = self._recipe
        for labels in recipe.labels:
            yield from self._counted(labels.name, self._labels(labels))
        for answers in recipe.answers:
            yield from self._answers(answers)
        for pairs in recipe.pairs:
            yield from self._pairs(pairs)
        self._random.shuffle(self._pool)
        self._random.shuffle(self._spare)
        # those that other examples hold come first, since they are read anyway
        texts = list(dict.fromkeys([*self._pool, *self._spare]))
        if recipe.traits:
            yield from self._traits(recipe.traits, texts)
        for mentions in recipe.mentions:
            yield from self._mentions(mentions, texts)
        for keep in recipe.keep:
            yield from self._counted(f"keep/{keep.name}", self._keep(keep, texts))

    def _counted(self, name: str, examples: Iterator[Example]) -> Iterator[Example]:
        count = 0
        for count, example in enumerate(examples, 1):  # noqa: B007 - the last count is told
            yield example
        self._told(name, count)

    def _encode(self, texts: Sequence[str]) -> FloatArray:
        """Return the base model's vectors, each text embedded once in a run."""
        lacking = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(lacking, self._base(lacking), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.empty((0, 1), np.float32)

    def _cut(self, text: str) -> str:
        return text[: self._recipe.characters]

    def _aspect(self, task: str, aspect: Aspect) -> Aspect:
        return replace(aspect, written=self._recipe.words.get(task, ()))

    def _word(self, aspect: Aspect) -> str:
        """Return a wording of an aspect, or none for the share of texts that the recipe leaves plain."""
        if self._recipe.plain and self._random.random() < self._recipe.plain:
            return ""
        return aspect.word(self._random)

    def _some(self, texts: Sequence[str], most: int) -> list[int]:
        """Return at most `most` places in order, chosen by chance."""
        if len(texts) <= most:
            return list(range(len(texts)))
        return sorted(self._random.choice(len(texts), most, replace=False).tolist())

    def _labels(self, source: Labels) -> Iterator[Example]:
        found: dict[str, str] = {}
        for row in sources.rows(self._folder, source.files):
            if any(not str(row.get(name, "")).startswith(start) for name, start in source.only.items()):
                continue
            text = self._cut(sources.text(row, source.text, source.name))
            label = sources.text(row, source.label, source.name)
            if text and (label := source.merge.get(label, label)):
                found.setdefault(text, label)
        counts = Counter(found.values())
        texts = [text for text, label in found.items() if counts[label] >= source.fewest]
        texts = [texts[at] for at in self._some(texts, source.most)]
        self._pool += texts
        labels = [found[text] for text in texts]
        aspect = self._aspect(f"labels/{source.name}", source.aspect)
        yield from self._labelled(f"labels/{source.name}", aspect, texts, labels)
        for _ in range(source.thinned):  # copies among themselves: a text's own copy would be its nearest of all
            copies = [self._thin(text) for text in texts]
            yield from self._labelled(f"labels/{source.name}", aspect, copies, labels)
        names = {label: source.names.get(label, label.replace("_", " ").replace("-", " ")) for label in set(labels)}
        yield from self._named(f"names/{source.name}", aspect, texts, [names[label] for label in labels])

    def _thin(self, text: str) -> str:
        """Return the text without some of its words, chosen by chance."""
        words = text.split()
        left = [word for word in words if self._random.random() > _THINNED]
        return " ".join(left if len(left) >= _LEAST else words)

    def _labelled(self, task: str, aspect: Aspect, texts: Sequence[str], labels: Sequence[str]) -> Iterator[Example]:
        random = self._random
        for query, positive, negative in mining.by_label(self._encode(texts), labels, random):
            said = self._word(aspect)
            # now and then the sides are asked in other words, so that wordings of one aspect mean the same
            others = [self._word(aspect) if random.random() < 0.3 else said for _ in range(2)]
            yield Example(
                (said, texts[query]),
                (others[0], texts[positive]),
                (others[1], texts[negative]),
                task,
                "labels",
                (labels[query], labels[positive], labels[negative]),
            )

    def _named(self, task: str, aspect: Aspect, texts: Sequence[str], names: Sequence[str]) -> Iterator[Example]:
        """Yield each text with its label's name as the answer, and another label's as the wrong one."""
        distinct = sorted(set(names))
        for text, name in zip(texts, names, strict=True):
            others = [each for each in distinct if each != name]
            if others:
                wrong = str(self._random.choice(others))
                yield Example((self._word(aspect), text), ("", name), ("", wrong), task)

    def _traits(self, most: int, texts: Sequence[str]) -> Iterator[Example]:
        for trait in TRAITS:
            told = [(text, label) for text in texts if (label := trait.rule(text)) is not None]
            some = self._balanced(told, most)
            labels = [trait.rule(text) or "" for text in some]
            some = [trait.shown(text, number) for number, text in enumerate(some)]
            aspect = self._aspect(f"traits/{trait.name}", trait.aspect)
            examples = self._labelled(f"traits/{trait.name}", aspect, some, labels)
            yield from self._counted(f"traits/{trait.name}", examples)
            yield from self._named(f"names/trait-{trait.name}", aspect, some, labels)

    def _mentions(self, source: Mentions, texts: Sequence[str]) -> Iterator[Example]:
        members = _members(source)
        found = ((text, _named(text, members, source.otherwise)) for text in texts)
        told = [(text, label) for text, label in found if label]
        counts = Counter(label for _, label in told)
        told = [(text, label) for text, label in told if counts[label] >= _MEMBER]
        labels_of = dict(told)
        some = self._balanced(told, source.most)
        labels = [labels_of[text] for text in some]
        aspect = self._aspect(f"mentions/{source.name}", source.aspect)
        examples = self._labelled(f"mentions/{source.name}", aspect, some, labels)
        yield from self._counted(f"mentions/{source.name}", examples)
        yield from self._named(f"names/mention-{source.name}", aspect, some, labels)

    def _balanced(self, told: Sequence[tuple[str, str]], most: int) -> list[str]:
        groups: dict[str, list[str]] = {}
        for text, label in told:
            groups.setdefault(label, []).append(text)
        share = most // max(1, len(groups))
        return [text for label in sorted(groups) for text in groups[label][:share]]

    def _answers(self, source: Answers) -> Iterator[Example]:
        refused = self._refused(source)
        tasks: dict[str, list[tuple[str, str, str]]] = {}
        for row in sources.rows(self._folder, source.files):
            task = sources.text(row, source.task, source.name)
            if task not in refused:
                said, text, output = (
                    sources.text(row, field, source.name) for field in (source.instruction, source.text, source.output)
                )
                if text and output:
                    tasks.setdefault(task, []).append((said, self._cut(text), output))
        for task, found in sorted(tasks.items()):
            some = [found[at] for at in self._some([text for _, text, _ in found], source.most)]
            self._pool += [text for _, text, _ in some if len(text) < _SHORT]
            self._spare += [text for _, text, _ in found if len(text) < _SHORT]
            yield from self._counted(f"{source.name}/{task}", self._task(source, task, some))

    def _task(self, source: Answers, task: str, found: Sequence[tuple[str, str, str]]) -> Iterator[Example]:
        random = self._random
        texts, outputs = [text for _, text, _ in found], [self._cut(output) for _, _, output in found]
        inputs, answers = self._encode(texts), self._encode(outputs)
        said = [_shortened(instruction, random) for instruction, _, _ in found]
        for query, positive, negative in mining.by_output(inputs, answers, random):
            sides = [(said[query], texts[at]) for at in (query, positive, negative)]
            yield Example(sides[0], sides[1], sides[2], f"{source.name}/{task}")
        short = [at for at, (_, _, output) in enumerate(found) if len(output.split()) <= source.words]
        for at in short:
            wrong = outputs[int(random.choice(short))]
            negative_side = ("", wrong) if wrong != outputs[at] else None
            yield Example((said[at], texts[at]), ("", outputs[at]), negative_side, f"answers/{task}")

    def _refused(self, source: Answers) -> set[str]:
        if not source.tasks:
            return set()
        return {
            str(row.get("task"))
            for row in sources.rows(self._folder, [source.tasks])
            if any(word in str(row.get("instance_license")) for word in source.refused)
        }

    def _pairs(self, source: Pairs) -> Iterator[Example]:
        groups: dict[str, list[tuple[str, str]]] = {}
        for row in sources.rows(self._folder, source.files):
            group = sources.text(row, source.group, source.name) if source.group else "all"
            if group not in source.leave:
                query, passage = (sources.text(row, field, source.name) for field in (source.query, source.passage))
                groups.setdefault(group, []).append((self._cut(query), self._cut(passage)))
        total = sum(len(found) for found in groups.values())
        for group, found in sorted(groups.items()):
            most = max(2, source.most * len(found) // total)
            some = [found[at] for at in self._some([query for query, _ in found], most)]
            self._pool += [query for query, _ in some]
            self._spare += [text for pair in found for text in pair]
            yield from self._counted(f"{source.name}/{group}", self._passages(source, group, some))

    def _passages(self, source: Pairs, group: str, found: Sequence[tuple[str, str]]) -> Iterator[Example]:
        random = self._random
        passages = list(dict.fromkeys(passage for _, passage in found))
        places = {passage: at for at, passage in enumerate(passages)}
        own = np.array([places[passage] for _, passage in found], np.intp)
        queries = [query for query, _ in found]
        hard = mining.hard_passages(self._encode(queries), self._encode(passages), own, random)
        for (query, passage), wrong in zip(found, hard, strict=True):
            asked, answered = str(random.choice(source.queries)), str(random.choice(source.passages))
            negative = (answered, passages[wrong]) if passages[wrong] != passage else None
            yield Example((asked, query), (answered, passage), negative, f"{source.name}/{group}")

    def _lacking(self, name: str, everything: Sequence[str]) -> dict[str, str]:
        """Return the texts that hold a word of a list of mentions, each with what is left of it without them."""
        [source] = [each for each in self._recipe.mentions if each.name == name]
        words = frozenset().union(*_members(source).values())
        less = ((text, _less(text, words)) for text in everything)
        return {text: left for text, left in less if left != text and len(left.split()) >= _LEAST}

    def _keep(self, source: Keep, everything: Sequence[str]) -> Iterator[Example]:
        texts = list(dict.fromkeys(self._pool))
        lacking = self._lacking(source.without, everything) if source.without else {}
        if lacking:
            half, named = source.most // 2, list(lacking)
            others = [text for text in texts if text not in lacking]
            texts = [others[at] for at in self._some(others, half)] + [named[at] for at in self._some(named, half)]
        wordings = (*source.wordings, *self._recipe.words.get(f"keep/{source.name}", ()))
        for at in self._some(texts, source.most):
            said = str(self._random.choice(wordings))
            if source.aspect is not None and self._random.random() < _FROM_ASPECT:
                said = source.aspect.word(self._random)
            kept = lacking.get(texts[at], texts[at])
            kind: Kind = "search" if source.search else "keep"
            yield Example((said, texts[at]), ("", kept), None, f"keep/{source.name}", kind)


def _members(source: Mentions) -> dict[str, frozenset[str]]:
    return {label: frozenset(words.split()) for label, words in source.members.items()}


def _less(text: str, words: frozenset[str]) -> str:
    """Return the text without some words, and as it is where it has none of them."""
    less = _WORD.sub(lambda found: "" if found.group().lower() in words else found.group(), text)
    return " ".join(less.split()) if less != text else text


def _named(text: str, members: dict[str, frozenset[str]], otherwise: str) -> str:
    """Return the one member that a text names, nothing where it names several, and `otherwise` where it names none."""
    words = set(_WORD.findall(text.lower()))
    named = [label for label, own in members.items() if not own.isdisjoint(words)] or [otherwise]
    return named[0] if len(named) == 1 else ""


def _shortened(instruction: str, random: np.random.Generator) -> str:
    """Return a task's definition, whole where it is short, or else its first sentence or two, at most 40 words."""
    sentences = _SENTENCE.split(instruction.strip())
    said = " ".join(sentences[: int(random.integers(1, 3))])
    return " ".join(said.split()[:40])
