"""A frozen BERT that reads a text once, and a reader that asks what was read for one aspect: kind `reader`'s network.

Knows token ids and states; nothing of texts, files or batching. The text's path is the base model's own, so its mean is
the base's vector, and one reading serves any number of instructions. After InBedder (Peng et al. 2024), whose vector is
the answer to a question about the text, and Hyper-CL (Yoo et al. 2024), where the instruction makes the map that the
vectors of texts pass through.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from instructsearch.errors import BadProfile

HEARD = 512  # width of what is understood of an instruction
ERASED = 20  # directions of the base's vector, at most, that an instruction can have left out
_FURTHEST = 5.0  # standard deviations from the mean at which a state's share is cut
_MOST = 3.0  # how much an answer can weigh beside the text: without a bound, training texts are learned by heart
_HUSHED = 0.6  # dropout of instructions beside that of texts: one sentence tells less, and has less to lose
_BEFORE_TRAINING = -1.0  # of that bound, as the logit of a share


class Read(NamedTuple):
    """Texts as the base read them: `facts` (rows, f) of all its layers, `base` its unit vectors (rows, width)."""

    facts: Tensor
    base: Tensor


class Asked(NamedTuple):
    """Instructions as the reader understood them, one a row.

    `open` and `shift` (rows, hidden) say which of the text's hidden units count, and from where; `weight` (rows,) how
    much the answer counts in the vector; `erase` and `whiten` (rows,), from 0 to 1, how much of what can be left out of
    the base's vector, and of what it has in excess, it is to be without.
    """

    open: Tensor
    shift: Tensor
    weight: Tensor
    erase: Tensor
    whiten: Tensor


GATES = ("weight", "erase", "whiten")  # of what is asked: where all are nothing, the vector is the base's


class ReaderNetwork(nn.Module):
    """The reader over a BERT model of transformers, which it does not change.

    Of a text it is given the mean and the greatest of the states that enter each layer, over the tokens, and the
    base's vector; of an instruction the means in the middle and at the end. The vector is
    unit(base - erase * left out - whiten * excess + weight * unit(answer)). The answer tells what the base's vector
    hardly shows, such as a mood. What is left out is what some words bring into the vector that do not count, such as
    the country where a topic is asked for. The excess is by how much the directions in which all texts differ most
    outweigh the others, which a search does better without. Both are linear maps of the base's vector. Where all is
    nothing, the vector is the base's.

    Raises:
        BadProfile: the base is of another architecture.
    """

    center: Tensor
    scale: Tensor
    down: Tensor
    up: Tensor
    excess: Tensor

    def __init__(self, backbone: Any, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        if type(backbone).__name__ != "BertModel" or hidden < 1:
            raise BadProfile(f"a reader reads a BertModel, not {type(backbone).__name__}")
        self.backbone = backbone.requires_grad_(requires_grad=False)
        width, layers = int(backbone.config.hidden_size), int(backbone.config.num_hidden_layers)
        self.heard_layers = (layers // 3, layers - 1)
        facts = 2 * layers * width
        self.register_buffer("center", torch.zeros(facts))
        self.register_buffer("scale", torch.ones(facts))
        self.hidden = nn.Linear(facts + width, hidden)
        self.hear = nn.Linear((len(self.heard_layers) + 1) * width, HEARD)
        self.open = nn.Linear(HEARD, hidden)
        self.shift = nn.Linear(HEARD, hidden)
        self.weight = nn.Linear(HEARD, 1)
        self.answer = nn.Linear(hidden, width)
        self.register_buffer("down", torch.zeros(ERASED, width))
        self.register_buffer("up", torch.zeros(width, ERASED))
        self.register_buffer("excess", torch.zeros(width, width))
        self.dropout = nn.Dropout(dropout)
        self.hushed = nn.Dropout(_HUSHED * dropout)
        nn.init.normal_(self.open.weight, std=0.05)
        # last of those drawn, so that a seed gives the others what it always gave
        self.erase, self.whiten = nn.Linear(HEARD, 1), nn.Linear(HEARD, 1)
        for each in (self.shift, self.weight, self.erase, self.whiten):
            nn.init.zeros_(each.weight)
        for each in (self.open, self.shift, self.erase, self.whiten):
            nn.init.zeros_(each.bias)
        nn.init.constant_(self.weight.bias, _BEFORE_TRAINING)

    def own(self) -> dict[str, Tensor]:
        """Return the reader's weights by name, without the base's."""
        return {name: weight for name, weight in self.state_dict().items() if not name.startswith("backbone.")}

    def through(self, ids: Tensor, attention: Tensor) -> list[Tensor]:
        """Return the states that enter each layer of the base, and those that leave the last, (rows, length, width)."""
        found = self.backbone(input_ids=ids, attention_mask=attention, output_hidden_states=True)
        return list(found.hidden_states)

    def read(self, states: Sequence[Tensor], attention: Tensor) -> Read:
        """Return texts as the base read them; `states` as `through` gives them, `attention` (rows, length)."""
        facts, base = self.facts(states, attention)
        return Read(self.standard(facts, base), base)

    def facts(self, states: Sequence[Tensor], attention: Tensor) -> tuple[Tensor, Tensor]:
        """Return all layers' means, then all layers' greatest (rows, f), and the base's unit vectors (rows, width)."""
        used = attention.bool()
        closed = ~used[:, :, None]
        means = [pooled(each, used) for each in states]
        greatest = [each.masked_fill(closed, -torch.inf).amax(1).float() for each in states[:-1]]
        return torch.cat([*means[:-1], *greatest], 1), functional.normalize(means[-1], dim=1)

    def standard(self, facts: Tensor, base: Tensor) -> Tensor:
        """Return facts (rows, f + width) as the reader takes them: each of like spread, the base's vector behind."""
        within = ((facts - self.center) / self.scale).clamp(-_FURTHEST, _FURTHEST)
        return torch.cat([within, base * math.sqrt(base.shape[1])], 1)

    def heard(self, states: Sequence[Tensor], attention: Tensor) -> Tensor:
        """Return (rows, h) of instructions: each mean scaled to mean 0 and variance 1; arguments as for `read`."""
        used = attention.bool()
        chosen = [pooled(states[at], used) for at in self.heard_layers]
        chosen.append(functional.normalize(pooled(states[-1], used), dim=1))
        return torch.cat([functional.layer_norm(each, each.shape[1:]) for each in chosen], 1)

    def understand(self, heard: Tensor) -> Tensor:
        """Return what is understood of instructions (rows, HEARD), from what was heard of them (rows, h)."""
        understood: Tensor = self.hushed(functional.gelu(self.hear(self.hushed(heard))))
        return understood

    def ask(self, heard: Tensor) -> Asked:
        """Return what instructions ask for, from what was heard of them (rows, h)."""
        understood = self.understand(heard)
        weight = _MOST * torch.sigmoid(self.weight(understood)).squeeze(1)
        opened = 2 * torch.sigmoid(self.open(understood))
        erase, whiten = (torch.sigmoid(each(understood)).squeeze(1) for each in (self.erase, self.whiten))
        return Asked(opened, self.shift(understood), weight, erase, whiten)

    def units(self, read: Read) -> Tensor:
        """Return the hidden units (rows, hidden) of texts, which every instruction shares."""
        units: Tensor = self.hidden(self.dropout(read.facts))
        return units

    def answers(self, units: Tensor, asked: Asked) -> Tensor:
        """Return the answers' unit vectors (rows, width); `asked` has a row for each text, or one for all of them."""
        return functional.normalize(self.answer(functional.gelu(units + asked.shift) * asked.open), dim=1)

    def joined(self, base: Tensor, asked: Asked, answers: Tensor) -> Tensor:
        """Return unit vectors (rows, width): the base's, less what it is to be without, and the weighed answers."""
        less = base - asked.erase[:, None] * (base @ self.down.T @ self.up.T)
        less = less - asked.whiten[:, None] * (base @ self.excess.T)
        return functional.normalize(less + asked.weight[:, None] * answers, dim=1)

    def vectors(self, read: Read, asked: Asked, rows: Tensor, which: Tensor) -> Tensor:
        """Return unit vectors (p, width) of the texts in `rows` (p,) under the instructions in `which` (p,)."""
        own = taken(asked, which)
        return self.joined(read.base[rows], own, self.answers(self.units(read)[rows], own))

    def forward(self, ids: Tensor, attention: Tensor, asked: Tensor, asked_attention: Tensor, places: Tensor) -> Tensor:
        """Return unit vectors (p, width) for p pairs of a text and an instruction, named by their rows, (2, p).

        Both are given as token ids with their attention masks, (rows, length) each. This is the graph that queries
        run on; bulk work reads texts once and asks them by the parts above.
        """
        read = self.read(self.through(ids, attention), attention)
        heard = self.ask(self.heard(self.through(asked, asked_attention), asked_attention))
        return self.vectors(read, heard, places[0], places[1])


def pooled(states: Tensor, used: Tensor) -> Tensor:
    """Return the means (rows, width), in float32, of the states (rows, length, width) that are used (rows, length)."""
    shares = used / used.sum(1, keepdim=True)
    return (shares[:, None].to(states.dtype) @ states).squeeze(1).float()


def taken(asked: Asked, rows: Tensor) -> Asked:
    """Return the instructions of the rows named, which may repeat."""
    return Asked(*(part[rows] for part in asked))
