"""Aspects of a text that a rule can tell: its length, person, tense, and more of the like.

Knows text alone. They cost no annotation and have nothing to do with the subject, so a model that is asked for one has
to follow the instruction; each rule answers None for a text that it cannot tell about.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from instructsearch.train.data.wording import Aspect

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_PAST = frozenset("was were had did said went came got made took saw knew thought told gave found left felt".split())
_FUTURE = frozenset("will shall won't gonna tomorrow 'll soon".split())
_FIRST = frozenset("i me my mine myself we us our ours i'm i've i'll i'd we're we've".split())
_SECOND = frozenset("you your yours yourself you're you've you'll".split())
_THIRD = frozenset("he she him her his hers they them their theirs himself herself themselves".split())
_NEGATIONS = frozenset("no not never none nobody nothing nowhere neither cannot without".split())
_ASKS = ("who", "what", "when", "where", "why", "how", "which")
_YES_NO = frozenset("is are was were do does did can could will would should has have am may".split())
_ORDERS = frozenset(
    "add answer ask be bring build buy call change check choose click close come compare consider contact create"
    " decide describe do don't draw eat explain fill find follow forget get give go help imagine join keep leave let"
    " let's list listen look make mark move name note open pay pick play please press put read remember remove repeat"
    " reply save say see select send set share show sing start stay stop take talk tell think translate try turn use"
    " visit vote wait watch write".split()
)
_WANTED = {
    "a person": "actor actress artist author character coach composer director he king man painter person player poet"
    " president queen scientist singer woman writer",
    "a place": "area beach city continent country county desert island lake mountain ocean place planet region river"
    " room sea state street town village",
    "a time": "age century date day decade era hour month period season time year",
    "a work": "album book film movie novel opera painting play poem show song story",
    "a group": "army band club company government group nation organization party people team tribe university",
    "a thing": "animal device disease element gas material metal object organ part plant substance thing tool vehicle",
    "a number": "amount distance height length number percentage price speed temperature weight",
}
_KINDS = {noun: kind for kind, nouns in _WANTED.items() for noun in nouns.split()}
_INFORMAL = frozenset(
    "lol omg gonna wanna gotta yeah ya u ur im dont cant pls thx btw idk lmao wtf hey ok okay".split()
)


@dataclass(frozen=True)
class Trait:
    """An aspect, the rule that tells a text's label, and what the answer is called.

    Where an aspect is `bare`, it can be told without capitals and the mark at the end, and half the texts are without.
    """

    name: str
    aspect: Aspect
    rule: Callable[[str], str | None]
    bare: bool = False

    def shown(self, text: str, number: int) -> str:
        """Return the text as the model is to see it, the `number`-th of this trait."""
        return text.lower().rstrip(" .!?") if self.bare and number % 2 else text


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def _length(text: str) -> str | None:
    count = len(text.split())
    for label, least, most in (("very short", 1, 6), ("short", 9, 14), ("long", 20, 30), ("very long", 45, 10**6)):
        if least <= count <= most:
            return label
    return None


def _form(text: str) -> str | None:
    end = text.rstrip(" \"'”’)")[-1:]
    if end == "?":
        return "a question"
    words = _words(text)
    if not words:
        return None
    if words[0] in _ORDERS:
        return "an order"
    if end in ("!", "."):
        return "an exclamation" if end == "!" else "a statement"
    return "a question" if words[0] in _ASKS or words[0] in _YES_NO else None


def _person(text: str) -> str | None:
    words = _words(text)
    counts = {
        "first person": sum(word in _FIRST for word in words),
        "second person": sum(word in _SECOND for word in words),
        "third person": sum(word in _THIRD for word in words),
    }
    most = max(counts, key=lambda name: counts[name])
    others = sum(counts.values()) - counts[most]
    if counts[most] == 0:
        return "no person"
    return most if counts[most] > others else None


def _tense(text: str) -> str | None:
    words = _words(text)
    past = sum(word in _PAST or (word.endswith("ed") and len(word) > 4) for word in words)
    future = sum(word in _FUTURE or word.endswith("'ll") for word in words)
    present = sum(
        word in {"is", "are", "am", "has", "have", "do", "does", "'s"} or word.endswith("ing") for word in words
    )
    if future and not past:
        return "future"
    if past and not present:
        return "past"
    return "present" if present and not past else None


def _number(text: str) -> str | None:
    return "numbers" if re.search(r"\d", text) else "no numbers"


def _names(text: str) -> str | None:
    inside = re.findall(r"(?<=[a-z,;] )[A-Z][a-z]+", text)
    return "names people or places" if inside else "names nobody"


def _negation(text: str) -> str | None:
    words = _words(text)
    return "negated" if any(word in _NEGATIONS or word.endswith("n't") for word in words) else "affirmed"


def _answer_wanted(text: str) -> str | None:
    words = _words(text)
    if len(words) < 3 or not (text.rstrip().endswith("?") or words[0] in _ASKS):
        return None
    for at, word in enumerate(words[:-1]):
        if word in ("who", "whom", "whose"):
            return "a person"
        if word in ("where", "when", "why"):
            return {"where": "a place", "when": "a time", "why": "a reason"}[word]
        if word == "how":
            return "a number" if words[at + 1] in ("many", "much", "long", "far", "old", "tall") else "a way"
        if word in ("which", "what"):
            # the noun it stands with: "which small town", "what is the name of the river"
            kinds = [_KINDS[noun] for noun in words[at + 1 : at + 6] if noun in _KINDS]
            return kinds[0] if kinds else None
    return "yes or no" if words[0] in _YES_NO else None


def _style(text: str) -> str | None:
    words = _words(text)
    if len(words) < 5:
        return None
    loose = sum(word in _INFORMAL for word in words) + len(
        re.findall(r"[!]{2,}|[?]{2,}|\.\.\.|[#@]\w|[☀-➿😀-🙏]", text)
    )
    if loose >= 1:
        return "informal"
    stiff = sum(len(word) > 9 for word in words) / len(words)
    contracted = any("'" in word for word in words)
    return "formal" if stiff > 0.15 and not contracted and text[:1].isupper() else None


def _marks(text: str) -> str | None:
    if re.search(r"https?://|www\.", text):
        return "a link"
    if "#" in text:
        return "a hashtag"
    if "@" in text:
        return "a mention"
    return "plain"


TRAITS = (
    Trait(
        "length",
        Aspect(
            ("length", "number of words", "size", "wordiness"),
            questions=("How long is the text?", "Is it short or long?", "How many words are there?"),
            wordings=(
                "Represent the text for telling short from long ones:",
                "The subject does not matter, only the length",
            ),
        ),
        _length,
    ),
    Trait(
        "form",
        Aspect(
            (
                "sentence type",
                "kind of sentence",
                "grammatical form",
                "speech act",
                "mood of the verb",
                "sentence form",
            ),
            ("text", "sentence", "message", "utterance", "request", "remark"),
            questions=(
                "Is it a question, a statement or an exclamation?",
                "Does the text ask something?",
                "Is this asked, told or demanded?",
                "Is it an imperative or an interrogative?",
                "What is the sentence for: to ask, to order or to state?",
                "Does it ask for something to be said or for something to be done?",
            ),
            wordings=(
                "Tell what is asked from what is ordered or stated",
                "Interrogative, imperative or declarative:",
                "Represent the sentence for telling if it asks, orders or states:",
                "Represent the request for seeing whether it is put as a question:",
                "Represent the message by its sentence form:",
                "Represent the utterance by its sentence type:",
                "The subject does not matter, only whether something is asked or ordered",
                "Interrogatives with interrogatives, imperatives with imperatives",
                "Whatever is wanted, how is the sentence built?",
                "Group by the form of the sentence, not by its subject",
                "interrogative or imperative",
            ),
        ),
        _form,
        bare=True,
    ),
    Trait(
        "person",
        Aspect(
            ("grammatical person", "narrator", "point of view", "pronouns used"),
            questions=(
                "Who is speaking: I, you or they?",
                "In which person is it written?",
                "Does the author speak of himself?",
            ),
            wordings=(
                "Represent the text for telling who speaks:",
                "Whatever is told, is it told by an I, to a you or of others?",
                "Group by the pronouns, not by the subject",
            ),
        ),
        _person,
    ),
    Trait(
        "tense",
        Aspect(
            ("tense", "time it speaks of", "grammatical tense", "temporal orientation"),
            questions=("Is it about the past, the present or the future?", "When does it happen?"),
            wordings=(
                "Keep what has been apart from what is and what will be",
                "Represent the sentence for telling the time it speaks of:",
                "Group by tense, whatever happens",
            ),
        ),
        _tense,
    ),
    Trait(
        "number",
        Aspect(
            ("presence of numbers", "use of figures", "numerical content"),
            questions=("Does the text contain numbers?", "Are there figures in it?"),
            wordings=("Represent the text for telling whether it holds figures:",),
        ),
        _number,
    ),
    Trait(
        "names",
        Aspect(
            ("presence of names", "mention of people or places", "named entities present"),
            questions=("Is somebody or some place named?", "Does it mention a name?"),
            wordings=("Represent the text for seeing whether anybody is named:",),
        ),
        _names,
    ),
    Trait(
        "negation",
        Aspect(
            ("polarity of the statement", "negation", "use of negative words"),
            questions=("Does it deny something?", "Is the sentence negated?", "Is there a not or a never in it?"),
            wordings=("Represent the sentence for telling whether it denies:", "Only negation counts, not the subject"),
        ),
        _negation,
    ),
    Trait(
        "asked",
        Aspect(
            ("expected type of answer", "question type", "kind of answer wanted", "entity asked for", "sort of reply"),
            ("question", "query", "text"),
            questions=(
                "What kind of answer is wanted?",
                "Does it ask for a person, a place, a time or a reason?",
                "What would one reply with: a name, a number, yes or no?",
                "Who, where, when or what: which of them is wanted?",
                "Would the reply be somebody, some place, some time or something else?",
                "Which sort of thing is one to name?",
            ),
            wordings=(
                "Questions that are answered by the same kind of thing belong together",
                "Represent the question by the kind of thing it asks for:",
                "Represent the question for telling what sort of reply is expected:",
                "Represent the question for seeing whether it wants a person, a place or a time:",
                "Represent the query for knowing what its reply will name:",
                "The field does not matter, only what kind of thing is asked for",
                "Never mind the subject: is somebody, a place, a time or a number asked for?",
                "Group questions by what kind of thing answers them",
                "who, where, when, what",
                "expected reply",
            ),
        ),
        _answer_wanted,
        bare=True,
    ),
    Trait(
        "style",
        Aspect(
            ("style", "formality", "register", "tone of writing", "manner of expression"),
            questions=(
                "Is the language formal or informal?",
                "How casual is the writing?",
                "Is this slang or prose?",
                "Is it written as to a friend or as for print?",
            ),
            wordings=(
                "Texts written in the same manner, whatever they are about",
                "Represent the text for telling formal from casual language:",
                "Represent the message by its style, not its subject:",
                "Only the manner of writing counts",
            ),
        ),
        _style,
    ),
    Trait(
        "marks",
        Aspect(
            ("use of links and hashtags", "markup", "special symbols"),
            ("post", "tweet", "text"),
            questions=("Does it have a link, a hashtag or a mention?",),
        ),
        _marks,
    ),
)
