"""The models that ship with the package: whole, small, and doing what their cards say."""

from importlib import resources

import numpy as np
import pytest

from instructsearch import embed

ANGRY = ["I am furious, nobody answers my calls!", "The invoice is wrong and that makes me so angry.", "How dare they!"]
GLAD = [
    "Thank you so much, you made my day.",
    "What a lovely invoice, I am delighted.",
    "They answer my calls, wonderful!",
]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model():
    return embed.load("instruct-minilm", device="cpu")


def parted(vectors):
    """Return how much nearer texts of one mood are than texts of two."""
    alike = vectors @ vectors.T
    same = np.equal.outer([0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1])
    return alike[same & ~np.eye(6, dtype=bool)].mean() - alike[~same].mean()


def test_without_an_instruction_instruct_minilm_is_minilm(model):
    texts = [*ANGRY, *GLAD]
    assert np.array_equal(model.encode(texts), embed.load("minilm", device="cpu").encode(texts))


@pytest.mark.parametrize(
    "said", ["Represent the complaint by the emotion behind it:", "How does the customer feel?", "mood"]
)
def test_instruct_minilm_tells_moods_apart_when_asked_and_only_then(model, said):
    texts = [*ANGRY, *GLAD]
    assert parted(model.encode(texts, said)) > parted(model.encode(texts)) + 0.1
    topics = model.encode(texts, "Represent the text by its topic:")
    assert parted(topics) < parted(model.encode(texts)) + 0.02


def test_what_ships_is_small():
    folder = resources.files("instructsearch").joinpath("models")
    for each in (one for one in folder.iterdir() if one.is_dir()):
        size = sum(file.stat().st_size for file in each.iterdir())
        assert size < 12_000_000, f"{each.name} has {size:,} bytes"
        assert (each / "README.md").is_file(), f"{each.name} has no card"
