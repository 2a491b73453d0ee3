"""A tiny reader with arbitrary weights over a tiny random BERT, as a profile whose files lie in a folder."""

from dataclasses import replace

import torch
from tiny_models import tiny_bert

from instructsearch import embed
from instructsearch.embed import reader_file
from instructsearch.embed.backbone import load_backbone
from instructsearch.embed.reader_network import ReaderNetwork
from instructsearch.embed.weights import digest

HIDDEN = 24


def tiny_reader(folder, **changes):
    """Return the profile; the base lies in `folder`/bert and the reader in `folder`/reader."""
    bare = embed.find(str(tiny_bert(folder / "bert", max_tokens=48)))
    torch.manual_seed(5)
    network = ReaderNetwork(load_backbone(bare, folder / "bert", "document"), HIDDEN)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if not name.startswith("backbone."):
                weight += (0.01 if name.startswith("weight") else 0.1) * torch.randn_like(weight)
        network.center.normal_(std=0.1)
        network.scale.uniform_(0.5, 2.0)
        network.down.normal_(std=0.1)
        network.up.normal_(std=0.1)
        network.excess.normal_(std=0.1)
    (folder / "reader").mkdir()
    reader_file.write(network, folder / "reader")
    return named(bare, folder / "reader", **changes)


def named(bare, folder, **changes):
    """Return the profile of the reader in a folder over a bare profile."""
    facts = {
        "name": "tiny-reader",
        "kind": "reader",
        "query_adapter": str(folder),
        "document_adapter": str(folder),
        "adapter_files": {path.name: digest(path) for path in folder.iterdir()},
        "adapters_need_instruction": True,
    }
    return replace(bare, **{**facts, **changes})
