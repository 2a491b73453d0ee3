"""What tests of training share: a tiny model with its profile, and texts in which two labels cross."""

from dataclasses import replace
from itertools import cycle

import torch
import transformers
from safetensors.torch import save_file
from tiny_models import tiny_bert
from tiny_models import write as write_json

from instructsearch import embed
from instructsearch.train.examples import Example, Examples, write

TEMPLATE = "{instruction}[SEP]{text}[SEP][MASK][MASK]"
THINGS, COLOURS = ("cat", "dog", "mat"), ("red", "blue")
ASPECTS = {"thing": ("sentence", "the sentence"), "colour": ("colour", "the colour")}


def profile(folder, **changes):
    """Return the profile of a tiny random BERT that is asked with an instruction, and is the base itself without."""
    if not folder.exists():
        tiny_bert(folder, max_tokens=48)
    facts = {
        "name": "tiny",
        "query_template": TEMPLATE,
        "document_template": TEMPLATE,
        "pooling": "mean and mask",
        "pool_includes_instruction": False,
        "adapters_need_instruction": True,
    }
    return replace(embed.find(str(folder)), **{**facts, **changes})


def roomy_bert(folder):
    """Write a tiny BERT with room for real wordings, of which its tokenizer makes a token a letter."""
    tiny_bert(folder, max_tokens=240)
    torch.manual_seed(7)
    config = transformers.BertConfig.from_pretrained(folder, max_position_embeddings=256)
    weights = transformers.BertModel(config).state_dict()
    save_file(
        {name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    write_json(folder / "config.json", config.to_dict())
    return folder


def crossing(letters, things=THINGS, colours=COLOURS):
    """Return (text, thing, colour) of texts that have one of each, around two letters that mean nothing."""
    return [
        (f"{one} {thing} {other} {colour}", thing, colour)
        for one, other in zip(letters, cycle(letters[1:] + letters[:1]), strict=False)
        for thing in things
        for colour in colours
    ]


def labelled(letters="abcdefgh"):
    """Return examples of both aspects over the same texts: near is who shares the label, hard who shares the other."""
    texts = crossing(letters)
    made = []
    for at, (aspect, wordings) in enumerate(ASPECTS.items(), 1):
        for number, row in enumerate(texts):
            like = [each for each in texts if each[at] == row[at] and each[3 - at] != row[3 - at]]
            unlike = [each for each in texts if each[at] != row[at] and each[3 - at] == row[3 - at]]
            positive, negative = like[number % len(like)], unlike[number % len(unlike)]
            said = wordings[number % len(wordings)]
            sides = [(said, each[0]) for each in (row, positive, negative)]
            made.append(Example(*sides, f"labels/{aspect}", "labels", (row[at], positive[at], negative[at])))
    return made


def answering(letters="abcd", **words):
    """Return examples whose positive is the answer to what the instruction asks."""
    made = []
    for at, (aspect, wordings) in enumerate(ASPECTS.items(), 1):
        for number, row in enumerate(crossing(letters, **words)):
            said = wordings[number % len(wordings)]
            made.append(Example((said, row[0]), ("", row[at]), None, f"answers/{aspect}"))
    return made


def kept(letters="abcd"):
    """Return examples that hold a text under an instruction where the base puts it."""
    return [Example(("represent", row[0]), ("", row[0]), None, "keep/all", "keep") for row in crossing(letters)]


def written(path, examples):
    """Return the examples of a new file."""
    write(path, examples)
    return Examples(path)
