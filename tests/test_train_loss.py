"""Each loss against the same computed by hand in numpy, term by term, and what its gradients do."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from instructsearch.train.loss import answer_tokens, contrastive, keep, supervised

T = 0.07


def units(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def tensor(rows):
    return torch.tensor(rows)


def none_same(count, columns):
    return torch.zeros(count, columns, dtype=torch.bool)


def by_hand(query, positive, negative, same):
    """The mean over rows of -log(right / all), to the positives and the hard negatives, and back to the queries."""
    columns = np.concatenate([positive, negative])
    forth = back = 0.0
    for row in range(len(query)):
        alike = {
            at: np.exp(query[row] @ columns[at] / T) for at in range(len(columns)) if at == row or not same[row, at]
        }
        forth -= np.log(alike[row] / sum(alike.values()))
        alike = {
            at: np.exp(query[at] @ positive[row] / T) for at in range(len(query)) if at == row or not same[at, row]
        }
        back -= np.log(alike[row] / sum(alike.values()))
    return (forth + back) / len(query)


@pytest.mark.parametrize("hard", [0, 1, 5])
def test_contrastive_is_the_sum_of_both_directions(hard):
    query, positive, negative = units(5, 8), units(5, 8, seed=1), units(hard, 8, seed=2)
    same = none_same(5, 5 + hard)
    found = contrastive(tensor(query), tensor(positive), tensor(negative) if hard else None, same, T)
    assert float(found) == pytest.approx(by_hand(query, positive, negative, same.numpy()), rel=1e-5)


def test_what_is_as_right_as_a_rows_own_is_no_wrong_answer_to_it():
    query, positive, negative = units(4, 8), units(4, 8, seed=1), units(4, 8, seed=2)
    same = none_same(4, 8)
    same[0, [0, 2, 5]] = same[2, [0, 2]] = True
    found = contrastive(tensor(query), tensor(positive), tensor(negative), same, T)
    assert float(found) == pytest.approx(by_hand(query, positive, negative, same.numpy()), rel=1e-5)
    assert float(found) < float(contrastive(tensor(query), tensor(positive), tensor(negative), none_same(4, 8), T))
    moved = tensor(negative).requires_grad_()
    left_out = torch.tensor([[False, False, True, False, False]])
    contrastive(tensor(query[:1]), tensor(positive[:1]), moved, left_out, T).backward()
    assert (moved.grad.abs().sum(1) > 0).tolist() == [True, False, True, True]


def test_contrastive_is_small_only_where_each_query_is_nearest_its_own_positive():
    rows = torch.eye(4)
    assert float(contrastive(rows, rows, None, none_same(4, 4), T)) < 1e-4
    assert float(contrastive(rows, rows.roll(1, 0), None, none_same(4, 4), T)) > 10


def supervised_by_hand(vectors, labels):
    """Khosla et al. 2020, equation 2: for each row, the mean over its like of -log of their share among all others."""
    losses = []
    for row, label in enumerate(labels):
        others = [at for at in range(len(labels)) if at != row]
        like = [at for at in others if labels[at] == label]
        total = sum(np.exp(vectors[row] @ vectors[at] / T) for at in others)
        if like:
            losses.append(-np.mean([np.log(np.exp(vectors[row] @ vectors[at] / T) / total) for at in like]))
    return np.mean(losses)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 7], [3] * 6])
def test_supervised_is_that_of_the_paper_and_a_lone_label_only_serves_as_a_negative(labels):
    vectors = units(6, 8)
    found = supervised(tensor(vectors), torch.tensor(labels), T)
    assert float(found) == pytest.approx(supervised_by_hand(vectors, labels), rel=1e-5)


def test_a_batch_in_which_no_two_share_a_label_teaches_nothing_and_breaks_nothing():
    for count in (1, 4):
        vectors = tensor(units(count, 8)).requires_grad_()
        loss = supervised(vectors, torch.arange(count), T)
        loss.backward()
        assert float(loss.detach()) == 0
        assert not vectors.grad.any()


def keep_by_hand(vectors, base):
    moved = np.mean([1 - row @ theirs for row, theirs in zip(vectors, base, strict=True)])
    divergence = 0.0
    for row in range(len(vectors)):
        others = [at for at in range(len(vectors)) if at != row]
        ours, theirs = (np.exp([each[row] @ each[at] / T for at in others]) for each in (vectors, base))
        ours, theirs = ours / ours.sum(), theirs / theirs.sum()
        divergence += (theirs * np.log(theirs / ours)).sum()
    return moved + divergence / len(vectors)


def test_keep_is_the_cosine_lost_and_the_divergence_of_the_neighbourhoods():
    vectors, base = units(5, 8), units(5, 8, seed=1)
    assert float(keep(tensor(vectors), tensor(base), T)) == pytest.approx(keep_by_hand(vectors, base), rel=1e-5)


def test_keep_is_zero_at_the_base_and_pulls_back_from_anywhere_else():
    base = tensor(units(6, 8))
    assert float(keep(base, base, T)) == pytest.approx(0, abs=1e-6)
    moved = tensor(units(6, 8, seed=1)).requires_grad_()
    rate = 0.1
    for _ in range(200):
        loss = keep(normalize(moved, dim=1), base, 0.5)
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = (moved - rate * gradient).detach().requires_grad_()
    assert float(loss.detach()) < 0.05


@pytest.mark.parametrize("count", [1, 2])
def test_two_rows_have_no_neighbourhood_to_keep(count):
    vectors, base = units(count, 8), units(count, 8, seed=1)
    expected = np.mean([1 - row @ theirs for row, theirs in zip(vectors, base, strict=True)])
    assert float(keep(tensor(vectors), tensor(base), T)) == pytest.approx(expected, rel=1e-5)


def test_answer_tokens_is_the_cross_entropy_of_the_answers_tokens_alone():
    logits = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
    answers = [[-100, 3, 5, -100], [-100, -100, -100, 0]]
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.mean(np.log([chances[0, 1, 3], chances[0, 2, 5], chances[1, 3, 0]]))
    moved = tensor(logits).requires_grad_()
    loss = answer_tokens(moved, torch.tensor(answers))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert (moved.grad.abs().sum(-1) > 0).tolist() == [[False, True, True, False], [False, False, False, True]]


@pytest.mark.parametrize("temperature", [1.0, 0.05, 0.001])
def test_gradients_are_finite_even_where_texts_are_equal_or_opposite(temperature):
    vectors = torch.cat([torch.eye(3), torch.eye(3), -torch.eye(3)])
    for loss in (
        lambda rows: contrastive(rows[:3], rows[3:6], rows[6:], none_same(3, 6), temperature),
        lambda rows: supervised(rows, torch.tensor([0, 1, 2] * 3), temperature),
        lambda rows: keep(rows, vectors.roll(1, 0), temperature),
    ):
        rows = vectors.clone().requires_grad_()
        loss(rows).backward()
        assert torch.isfinite(rows.grad).all()
