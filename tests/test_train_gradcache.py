"""Gradients in slices are those of one large batch, dropout or not, and no more is held than a slice."""

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout, normalize

from instructsearch.train.gradcache import backward
from instructsearch.train.loss import contrastive, supervised

ROWS, WIDTH = 13, 6


class Encoder(nn.Module):
    """Two layers with dropout between them, that note how many rows they were given with a graph."""

    def __init__(self, p):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Dropout(p), nn.Linear(16, 5))
        self.texts = torch.randn(ROWS, WIDTH)
        self.held = []

    def forward(self, rows):
        if torch.is_grad_enabled():
            self.held.append(len(self.texts[rows]))
        return normalize(self.layers(self.texts[rows]), dim=1)

    def gradients(self):
        return torch.cat([weight.grad.flatten() for weight in self.parameters()])


def loss(vectors):
    same = torch.zeros(4, 9, dtype=torch.bool)
    same[0, 6] = True
    found = contrastive(vectors[:4], vectors[4:8], vectors[8:], same, 0.1)
    return found + supervised(vectors, torch.arange(ROWS) % 3, 0.1)


@pytest.mark.parametrize("size", [1, 3, 12])
def test_gradients_of_slices_are_those_of_one_large_batch(size):
    whole, sliced = Encoder(0.0), Encoder(0.0)
    first = backward(whole, ROWS, ROWS, loss)
    second = backward(sliced, ROWS, size, loss)
    assert whole.held == [ROWS]
    assert max(sliced.held) == size
    assert first == pytest.approx(second, rel=1e-5)
    torch.testing.assert_close(sliced.gradients(), whole.gradients(), atol=1e-5, rtol=1e-5)
    assert whole.gradients().abs().max() > 0.1


def test_dropout_is_the_same_in_both_passes_over_a_slice():
    size = 4
    direct, sliced = Encoder(0.5), Encoder(0.5)
    torch.manual_seed(11)
    vectors = torch.cat([direct(slice(start, start + size)) for start in range(0, ROWS, size)])
    expected = loss(vectors)
    expected.backward()
    torch.manual_seed(11)
    assert backward(sliced, ROWS, size, loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    torch.testing.assert_close(sliced.gradients(), direct.gradients(), atol=1e-5, rtol=1e-5)
    torch.manual_seed(12)
    other = Encoder(0.5)
    torch.manual_seed(12)
    backward(other, ROWS, size, loss)
    assert (other.gradients() - direct.gradients()).abs().max() > 0.01


def test_random_numbers_go_on_as_if_each_slice_had_been_seen_once():
    torch.manual_seed(11)
    encoder = Encoder(0.5)
    torch.manual_seed(11)
    with torch.no_grad():
        for start in range(0, ROWS, 4):
            encoder(slice(start, start + 4))
    expected = torch.rand(3)
    torch.manual_seed(11)
    backward(encoder, ROWS, 4, loss)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("size", [4, ROWS])
def test_rows_that_are_not_learned_may_fill_a_slice_or_the_batch(size):
    encoder = Encoder(0.0)
    fixed = normalize(torch.randn(ROWS, 5), dim=1)

    def mixed(rows):
        return fixed[rows] if rows.start >= 4 or size == ROWS else encoder(rows)

    value = backward(mixed, ROWS, size, loss)
    if size == ROWS:
        assert value == pytest.approx(float(loss(fixed)))
        assert all(weight.grad is None for weight in encoder.parameters())
    else:
        with torch.no_grad():
            expected = loss(torch.cat([encoder(slice(0, 4)), fixed[4:]]))
        assert value == pytest.approx(float(expected), rel=1e-5)
        assert encoder.gradients().abs().max() > 0.01


def test_gradients_are_added_to_those_that_are_there():
    once, twice = Encoder(0.0), Encoder(0.0)
    backward(once, ROWS, 5, loss)
    backward(twice, ROWS, 5, loss)
    backward(twice, ROWS, 5, loss)
    torch.testing.assert_close(twice.gradients(), 2 * once.gradients(), atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_dropout_on_a_gpu_is_the_same_in_both_passes_too():
    weights = torch.ones(8, device="cuda", requires_grad=True)
    torch.manual_seed(5)
    seen = []

    def encode(rows):
        seen.append(dropout(weights[rows].expand(4, -1), 0.5))
        return seen[-1]

    backward(encode, 8, 4, lambda vectors: vectors.sum())
    assert all(torch.equal(first, second) for first, second in zip(seen[:2], seen[2:], strict=True))
