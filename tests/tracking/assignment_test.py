"""Pairs of the least total cost, against trying them all."""

import itertools

import numpy as np
import pytest

from reid_jax.tracking.assignment import assign


def least(cost, alone):
    """The least total cost over all ways to pair rows with columns or leave them alone."""
    rows, columns = cost.shape
    choices = itertools.product(range(-1, columns), repeat=rows)
    totals = []
    for chosen in choices:
        taken = [column for column in chosen if column >= 0]
        if len(set(taken)) == len(taken):
            totals.append(sum(alone if column < 0 else cost[row, column] for row, column in enumerate(chosen)))
    return min(totals)


def test_no_other_pairs_cost_less():
    random = np.random.default_rng(0)
    for _ in range(60):
        cost = random.random(random.integers(1, 5, 2))
        cost[random.random(cost.shape) < 0.3] = np.inf
        alone = random.choice([0.2, 0.5, 2.0])
        row, column = assign(cost, alone)
        assert len(set(row)) == len(row)
        assert len(set(column)) == len(column)
        assert (cost[row, column] < alone).all()
        assert cost[row, column].sum() + alone * (len(cost) - len(row)) == pytest.approx(least(cost, alone))


def test_a_person_alone_beats_a_cheap_pair_that_takes_anothers():
    # Row 0 takes column 0 at 0.5 although row 1 would at 0.4: together 0.5 + 0.45 is less than alone + 0.4.
    row, column = assign(np.array([[0.5, np.inf], [0.4, 0.45]]), 0.6)
    assert list(zip(row, column, strict=True)) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("cost", [np.zeros((0, 3)), np.zeros((3, 0)), np.full((2, 2), np.inf), np.full((2, 2), np.nan)])
def test_where_nothing_may_be_paired_nothing_is(cost):
    row, column = assign(cost, 0.5)
    assert len(row) == len(column) == 0


def test_at_a_price_of_nothing_all_stay_alone():
    assert len(assign(np.zeros((3, 3)), 0.0)[0]) == 0
