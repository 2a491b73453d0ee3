"""Training data built from small files of every kind: labels right, licences heeded, and the same file every time."""

import gzip
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from instructsearch import embed
from instructsearch.errors import ReadError
from instructsearch.train.data import sources
from instructsearch.train.data.build import Builder
from instructsearch.train.data.recipe import Answers, Keep, Labels, Pairs, Recipe
from instructsearch.train.data.traits import TRAITS
from instructsearch.train.data.wording import Aspect
from instructsearch.train.examples import Examples, write

MOODS = [
    *(("I am so happy today!", "joy"), ("What a lovely, lovely day", "joy"), ("We won the match in 1998!", "joy")),
    *(
        ("He was so cruel to me that I went away and wept", "very_sad"),
        ("I lost my dog", "very_sad"),
        ("Nobody came to see me", "very_sad"),
    ),
    *(("The door creaked. Who is there?", "fear"), ("It will come for us", "fear"), ("  ", "joy")),
    ("I am so happy today!", "fear"),  # said twice: the first counts
]
DEFINITION = "Write the colour. Use one word. Nothing else is wanted here, and more words would be too many by far."
TASKS = [
    {"task": "task1_colour", "instance_license": ["CC BY 4.0"]},
    {"task": "task2_secret", "instance_license": ["CC BY-NC 4.0"]},
    {"task": "task3_story", "instance_license": ["MIT"]},
]
INSTANCES = [
    *(
        {
            "task": task["task"],
            "definition": DEFINITION,
            "input": f"The {thing} is {colour}",
            "output": [output, "other"],
        }
        for task, output_of in zip(TASKS, ("{colour}", "{colour}", "a {thing} " * 20), strict=True)
        for thing in ("sky", "sea", "rose", "lawn")
        for colour in ("blue", "red")
        if (output := output_of.format(thing=thing, colour=colour).strip())
    ),
    {"task": "task1_colour", "definition": DEFINITION, "input": "nothing", "output": []},
]
QUESTIONS = [
    {"query": f"who {verb} the {thing}?", "positive": f"the {who} {verb} the {thing} long ago", "dataset": dataset}
    for dataset, who in (("trivia", "king"), ("news", "queen"), ("closed", "fool"))
    for verb in ("built", "sold")
    for thing in ("house", "boat", "road")
]
MOOD = Aspect(("mood", "feeling"), ("message",), questions=("How does it feel?",))
FULL = Recipe(
    seed=7,
    characters=40,
    traits=30,
    labels=(Labels("mood", ("moods.jsonl",), MOOD, text="said", names={"joy": "glad, merry"}),),
    answers=(Answers("superni", ("superni/instances.jsonl.gz",), "superni/tasks.jsonl", ("NC",)),),
    pairs=(
        Pairs("qa", ("qa.jsonl",), ("Find it:", "Who?"), ("Passage:", "Text:"), group="dataset", leave=("closed",)),
    ),
    keep=(Keep("topic", ("topic", "What is it about?"), 20),),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("data")
    lines(base / "moods.jsonl", [{"said": text, "label": label} for text, label in MOODS])
    lines(base / "superni" / "tasks.jsonl", TASKS)
    lines(base / "superni" / "instances.jsonl.gz", INSTANCES)
    lines(base / "qa.jsonl", QUESTIONS)
    return base


def lines(path, rows):
    path.parent.mkdir(exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


class Encoder:
    """The `hash` embedder, which notes what it was asked."""

    def __init__(self):
        self.asked = []
        self._model = embed.load("hash")

    def __call__(self, texts):
        self.asked += texts
        return self._model.encode(texts)


def built(folder, recipe=FULL, encode=None, told=lambda task, count: None):
    return list(Builder(recipe, folder, encode or Encoder(), told).examples())


@pytest.fixture(scope="module")
def examples(folder):
    return built(folder)


def of(examples, start):
    return [each for each in examples if each.task.startswith(start)]


def said(examples):
    return {each.query[0] for each in examples}


# --- the whole


def test_the_same_recipe_and_data_give_the_same_examples_and_another_seed_others(folder, examples):
    assert built(folder) == examples
    assert built(folder, replace(FULL, seed=8)) != examples


def test_all_of_it_is_written_and_read_back(examples, tmp_path):
    assert write(tmp_path / "e.jsonl", examples) == len(examples)
    found = Examples(tmp_path / "e.jsonl")
    assert list(found) == examples
    assert found.answering == {task for task in found.tasks if task.startswith(("names/", "answers/"))}


def test_each_task_is_told_of_with_its_count_and_each_text_embedded_once(folder, examples):
    encode, told = Encoder(), []
    built(folder, encode=encode, told=lambda *each: told.append(each))
    assert max(Counter(encode.asked).values()) == 1
    counts = Counter(each.task for each in examples)
    assert dict(told)["keep/topic"] == counts["keep/topic"] == 20
    assert dict(told)["qa/trivia"] == counts["qa/trivia"] == 6
    assert dict(told)["mood"] == counts["labels/mood"] + counts["names/mood"]


def test_a_recipe_of_nothing_gives_nothing(folder):
    assert built(folder, Recipe()) == []


def test_no_text_is_longer_than_the_recipe_says(examples):
    assert max(len(each.query[1]) for each in examples) == 40
    assert all(len(each.positive[1]) <= 40 for each in of(examples, "qa/") + of(examples, "superni/"))


# --- texts that no other example took


def test_rules_label_the_texts_that_sampling_left_out(folder):
    few = replace(FULL, answers=(replace(FULL.answers[0], most=2),), pairs=(replace(FULL.pairs[0], most=2),))
    some = built(folder, few)
    ruled = {text for each in of(some, "traits/") for _, text in (each.query, each.positive, each.negative)}
    taken = {
        text
        for each in some
        if not each.task.startswith(("traits/", "names/"))
        for _, text in (each.query, each.positive)
    }
    assert any(text.startswith("who ") for text in ruled - taken) and any("The sky" in text for text in ruled - taken)
    # what is kept comes from the examples' own texts, and a refused task's and a left-out set's from nowhere
    kept = {each.query[1] for each in of(some, "keep/")}
    assert kept <= taken
    assert not any("fool" in text for text in ruled)


# --- labelled texts


def test_labelled_texts_carry_the_labels_of_their_rows(examples):
    right = {text[:40]: label for text, label in reversed(MOODS)}  # the first of two wins
    some = of(examples, "labels/mood")
    assert {each.query[1] for each in some} == set(right) - {"  "}
    for each in some:
        sides = (each.query, each.positive, each.negative)
        assert each.kind == "labels"
        assert each.labels == tuple(right[text] for _, text in sides)
        assert each.labels[0] == each.labels[1] != each.labels[2]
        assert len({text for _, text in sides}) == 3


def test_a_labels_name_is_an_answer_and_anothers_a_wrong_one(examples):
    right = {text[:40]: label for text, label in reversed(MOODS)}
    names = {"joy": "glad, merry", "very_sad": "very sad", "fear": "fear"}
    some = of(examples, "names/mood")
    assert len(some) == 8
    for each in some:
        assert each.positive == ("", names[right[each.query[1]]])
        assert each.negative[0] == "" and each.negative[1] in set(names.values()) - {each.positive[1]}


def test_every_side_of_labelled_texts_is_asked_for_the_aspect(examples):
    for each in of(examples, "labels/mood"):
        for instruction, _ in (each.query, each.positive, each.negative):
            assert any(word in instruction.lower() for word in ("mood", "feel")), instruction
    many = of(examples, "labels/mood") + of(examples, "names/mood")
    assert len(said(many)) > 8


def test_thinned_copies_carry_the_label_of_their_text_and_lack_some_of_its_words(folder):
    thinned = replace(FULL, characters=200, labels=(replace(FULL.labels[0], thinned=2),))
    rows = of(built(folder, thinned), "labels/mood")
    label_of = {text: label for text, label in reversed(MOODS) if text.strip()}
    copies = {each.query[1]: each.labels[0] for each in rows if each.query[1] not in label_of}
    assert len(rows) == 3 * len(label_of)
    assert copies
    for copy, label in copies.items():
        whole = [text for text in label_of if label_of[text] == label and contains(text.split(), copy.split())]
        assert whole
        assert len(copy.split()) >= 3
    assert not copies.keys() & {each.query[1] for each in built(folder, thinned) if each.kind == "keep"}


def contains(words, fewer):
    """Say whether the one list is the other without some of its words."""
    left = iter(words)
    return all(word in left for word in fewer)


def test_words_of_a_task_are_said_of_its_texts_and_of_no_others(folder):
    tasks = {"labels/mood": ("Wie geht es?",), "traits/length": ("Wie lang?",), "keep/topic": ("Worum geht es?",)}
    found = built(folder, replace(FULL, words=tasks))
    for task, (wording,) in tasks.items():
        assert wording in said(of(found, task))
        assert wording not in said([each for each in found if each.task != task and not each.task.startswith("names/")])
    assert "Wie geht es?" in said(of(found, "names/mood"))
    assert "Wie lang?" in said(of(found, "names/trait-length"))


def test_a_label_that_all_texts_share_teaches_nothing(folder, tmp_path):
    lines(tmp_path / "one.jsonl", [{"text": f"text {at}", "label": "x"} for at in range(5)])
    assert built(tmp_path, Recipe(labels=(Labels("one", ("one.jsonl",), MOOD),))) == []


def test_no_more_texts_are_taken_than_the_recipe_says(folder):
    some = built(
        folder, replace(FULL, labels=(replace(FULL.labels[0], most=5),), answers=(), pairs=(), traits=0, keep=())
    )
    assert len(of(some, "names/")) == 5


@pytest.mark.parametrize(("plain", "least", "most"), [(0.0, 0, 0), (0.5, 0.2, 0.8), (1.0, 1, 1)])
def test_a_share_of_labelled_texts_is_left_without_a_wording(plain, least, most, folder):
    some = built(folder, replace(FULL, plain=plain, answers=(), pairs=(), keep=()))
    assert least <= np.mean([not each.query[0] for each in some]) <= most


# --- tasks with answers


def test_tasks_whose_licence_is_refused_are_left_out(folder, examples):
    assert {each.task for each in of(examples, "superni/")} == {"superni/task1_colour", "superni/task3_story"}
    assert not of(examples, "answers/task2")
    allowed = built(folder, replace(FULL, answers=(replace(FULL.answers[0], refused=()),)))
    assert of(allowed, "superni/task2") and of(allowed, "answers/task2")
    assert built(folder, replace(FULL, answers=(replace(FULL.answers[0], tasks=""),))) == allowed


def test_a_text_without_an_output_is_left_out(examples):
    texts = {each.query[1] for each in of(examples, "answers/task1_colour")}
    assert len(texts) == 8 and "nothing" not in texts


def test_a_task_is_asked_by_the_first_sentences_of_its_definition(examples):
    assert said(of(examples, "superni/")) <= {"Write the colour.", "Write the colour. Use one word."}
    assert len(said(of(examples, "superni/"))) == 2


def test_a_short_output_is_an_answer_and_a_long_one_is_none(examples):
    some = of(examples, "answers/")
    assert {each.task for each in some} == {"answers/task1_colour"}
    for each in some:
        assert each.positive == ("", each.query[1].split()[-1])
        assert each.negative is None or each.negative[1] in {"blue", "red"} - {each.positive[1]}


def test_tasks_follow_the_rule_for_generated_texts(folder, monkeypatch):
    monkeypatch.setattr("instructsearch.train.data.mining._NEAR", 1)
    encode = embed.load("hash").encode
    some = of(built(folder), "superni/task1_colour")
    texts = [f"The {thing} is {colour}" for thing in ("sky", "sea", "rose", "lawn") for colour in ("blue", "red")]
    inputs, outputs = encode(texts), encode([text.split()[-1] for text in texts])
    near, same = inputs @ inputs.T, outputs @ outputs.T
    for each in some:
        at, positive, negative = (texts.index(side[1]) for side in (each.query, each.positive, each.negative))
        others = [other for other in range(8) if other != at]
        assert near[at, positive] + same[at, positive] == pytest.approx(max((near + same)[at, others]))
        rest = [other for other in others if other != positive]
        assert near[at, negative] - same[at, negative] == pytest.approx(max((near - same)[at, rest]))


# --- questions and passages


def test_questions_find_their_passage_among_hard_ones_of_their_group(examples):
    passages = {row["query"]: row["positive"][:40] for row in QUESTIONS if row["dataset"] == "trivia"}
    some = of(examples, "qa/trivia")
    assert len(some) == 6
    for each in some:
        assert each.query[0] in FULL.pairs[0].queries
        assert each.positive[0] == each.negative[0] and each.positive[0] in FULL.pairs[0].passages
        assert each.positive[1] == passages[each.query[1]]
        assert each.negative[1] in set(passages.values()) - {each.positive[1]}


def test_a_group_may_be_left_out_and_a_source_has_its_most(folder, examples):
    assert {each.task for each in of(examples, "qa/")} == {"qa/trivia", "qa/news"}
    few = built(folder, replace(FULL, pairs=(replace(FULL.pairs[0], most=6),)))
    assert Counter(each.task for each in of(few, "qa/")) == {"qa/trivia": 3, "qa/news": 3}
    whole = built(folder, replace(FULL, pairs=(replace(FULL.pairs[0], group="", leave=()),)))
    assert Counter(each.task for each in of(whole, "qa/")) == {"qa/all": 18}


def test_a_lone_passage_has_no_negative(tmp_path):
    lines(tmp_path / "qa.jsonl", QUESTIONS[:1])
    [only] = built(tmp_path, Recipe(pairs=(Pairs("qa", ("qa.jsonl",), ("q",), ("p",)),)))
    assert only.negative is None


# --- traits, and texts to keep


def test_traits_are_labelled_by_their_rules_in_equal_parts(examples):
    some = of(examples, "traits/")
    assert len({each.task for each in some}) >= 4
    # half the texts of a bare trait are shown without capitals and their last mark, under the label they had with it
    texts = {text for each in examples for _, text in (each.query, each.positive)}
    plain = {text.lower().rstrip(" .!?"): text for text in sorted(texts, key=len)}
    traits = {trait.name: trait for trait in TRAITS}

    def labels_of(task, text):
        trait = traits[task.partition("/")[2].removeprefix("trait-")]
        return {trait.rule(text), trait.rule(plain[text]) if trait.bare and text in plain else trait.rule(text)}

    for each in some:
        sides = (each.query, each.positive, each.negative)
        assert all(label in labels_of(each.task, text) for label, (_, text) in zip(each.labels, sides, strict=True))
    assert any(each.query[1][:1].islower() for each in of(examples, "traits/form"))
    for each in of(examples, "names/trait-"):
        assert each.positive[0] == ""
        assert each.positive[1] in labels_of(each.task, each.query[1])
    by_label = Counter(each.labels[0] for each in of(examples, "traits/form"))
    assert max(by_label.values()) <= 30 // len(by_label)


def test_kept_texts_are_those_of_every_other_source_at_the_base(examples):
    some = of(examples, "keep/topic")
    assert said(some) == {"topic", "What is it about?"}
    for each in some:
        assert (each.kind, each.positive, each.negative) == ("keep", ("", each.query[1]), None)
    others = {each.query[1] for each in examples if each.kind != "keep"}
    texts = [each.query[1] for each in some]
    assert set(texts) <= others and len(set(texts)) == 20


# --- files


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": ("none.jsonl",)}, r"none\.jsonl: cannot be read: .*No such file"),
        ({"text": "words"}, "mood: a row has no 'words'; it has label, said"),
        ({"label": "mood"}, "mood: a row has no 'mood'; it has label, said"),
    ],
)
def test_what_a_recipe_names_and_the_data_lack_is_said(change, reason, folder):
    with pytest.raises(ReadError, match=reason):
        built(folder, replace(FULL, labels=(replace(FULL.labels[0], **change),)))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1}\n{"a"\n', r"x\.jsonl(\.gz)?:2: cannot be read: Expecting"),
        (b'{"a": 1}\n\n', r"x\.jsonl(\.gz)?:2: cannot be read"),
        (b'{"a": 1}\n{"a": 2}\n[1]\n', r"x\.jsonl(\.gz)?:3: is not an object"),
        (b'{"a": "\xff"}\n', r"x\.jsonl(\.gz)?:1: cannot be read"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", r"x\.jsonl(\.gz)?:1: cannot be read"),
    ],
)
def test_a_bad_line_is_named(content, reason, packed, tmp_path):
    name = "x.jsonl.gz" if packed else "x.jsonl"
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ReadError, match=reason):
        list(sources.rows(tmp_path, [name]))


@pytest.mark.parametrize("spoil", [lambda data: data[:-12], lambda data: data[:20] + b"\0" * 20, lambda _: b"plain"])
def test_a_broken_archive_is_named(spoil, tmp_path):
    content = "".join(json.dumps({"at": at}) + "\n" for at in range(1000)).encode()
    (tmp_path / "x.jsonl.gz").write_bytes(spoil(gzip.compress(content)))
    with pytest.raises(ReadError, match=r"x\.jsonl\.gz.*cannot be read"):
        list(sources.rows(tmp_path, ["x.jsonl.gz"]))


def test_several_files_are_read_one_after_the_other(folder):
    found = list(sources.rows(folder, ["qa.jsonl", "superni/instances.jsonl.gz"]))
    assert len(found) == len(QUESTIONS) + len(INSTANCES)
    assert found[-1] == INSTANCES[-1]


@pytest.mark.parametrize(
    ("value", "text"),
    [("  a b \n", "a b"), (["x", "y"], "x"), ([], ""), (3, "3"), (0.5, "0.5"), (True, "True"), ("", "")],
)
def test_a_field_is_read_as_text(value, text):
    assert sources.text({"a": value}, "a", "set") == text
