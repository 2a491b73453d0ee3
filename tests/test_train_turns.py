"""Linear maps that instructions can ask a reader for: what goes with some words left out, questions nearer passages."""

import torch
from torch.nn import functional

from instructsearch.train.erasure import erasing
from instructsearch.train.retrieving import retrieving

WIDTH = 24


def spread(rows, seed=0):
    """Return vectors (rows, d) that are spread more in some directions than in others."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(rows, WIDTH, generator=random) * torch.linspace(0.2, 1, WIDTH)


def test_what_is_lost_with_words_is_taken_out_and_nothing_else():
    usual = spread(4000)
    random = torch.Generator().manual_seed(1)
    lost = torch.zeros(500, WIDTH)
    lost[:, 3:5] = torch.randn(500, 2, generator=random)
    down, up = erasing(lost, usual)
    assert down.shape == (2, WIDTH) and up.shape == (WIDTH, 2)
    moved = usual + usual @ down.T @ up.T
    assert (lost + lost @ down.T @ up.T).abs().max() < 0.05
    others = [at for at in range(WIDTH) if at not in (3, 4)]
    torch.testing.assert_close(moved[:, others], usual[:, others], atol=0.2, rtol=0)


def test_what_goes_with_the_words_by_chance_stays():
    usual = spread(4000, 2)
    usual[:, 10] = usual[:, 3] + 0.3 * usual[:, 10]  # a subject that goes with a country
    lost = torch.zeros(400, WIDTH)
    lost[:, 3] = torch.randn(400, generator=torch.Generator().manual_seed(3))
    down, up = erasing(lost, usual)
    moved = usual + usual @ down.T @ up.T
    torch.testing.assert_close(moved[:, 10], usual[:, 10], atol=0.05, rtol=0)
    assert (lost + lost @ down.T @ up.T).abs().max() < 0.05


def test_nothing_lost_erases_nothing():
    down, up = erasing(torch.zeros(10, WIDTH), spread(100))
    assert down.shape == (0, WIDTH) and up.shape == (WIDTH, 0)


def pairs(count, seed):
    """Return questions and passages (n, d), where a question is its passage with a mark that questions have."""
    passages = functional.normalize(spread(count, seed), dim=1)
    mark = functional.normalize(spread(1, 99), dim=1)
    asked = functional.normalize(passages + 0.8 * mark * torch.linspace(-2, 2, count)[:, None], dim=1)
    return asked, passages


def found(queries, passages):
    return float(((queries @ passages.T).argmax(1) == torch.arange(len(queries))).float().mean())


def test_questions_come_nearer_their_passages_that_they_were_not_learned_from():
    asked, passages = pairs(400, 4)
    wrong = passages.roll(1, 0)
    down, up = retrieving(asked, passages, wrong, range(400), [range(200), range(200, 400)])
    others, theirs = pairs(300, 5)
    assert found(others + others @ down.T @ up.T, theirs) > found(others, theirs) + 0.02


def test_they_stay_near_where_they_were_and_the_same_pairs_give_the_same_map():
    asked, passages = pairs(400, 4)
    state = torch.get_rng_state()
    first, again = (retrieving(asked, passages, passages.roll(1, 0), range(400), [range(400)]) for _ in range(2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert torch.equal(state, torch.get_rng_state())
    moved = functional.normalize(asked + asked @ first[0].T @ first[1].T, dim=1)
    assert 0.8 < (moved * asked).sum(1).mean() < 0.9999


def test_a_handful_of_questions_teaches_no_map():
    asked, passages = pairs(40, 4)
    assert retrieving(asked, passages, passages.roll(1, 0), range(40), [range(40)]) is None
