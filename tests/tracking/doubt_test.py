"""What a spread is worth as a reason to call somebody new: limits by shares, and wrong identities above and below."""

import dataclasses

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.doubt import doubt
from reid_jax.tracking.reentry import Described, answer, merges
from reid_jax.tracking.visits import NOBODY, Visit


def looks(angle, spread=0.0):
    vector = np.array([[np.cos(angle), np.sin(angle)]])
    return Described(vector, vector, np.ones(1, int), np.ones(1, int), spread)


def one_after_the_other(people):
    """Visits (person, angle of looks, spread), each after the one before: (visits, described, truth)."""
    visits = [Visit(number, 10 * number, 10 * number + 5, np.arange(0)) for number in range(1, len(people) + 1)]
    return visits, [looks(angle, spread) for _, angle, spread in people], np.array([person for person, _, _ in people])


# Two people, then the first again, then two who look like them, then one like nobody, and one whom nobody knows.
PEOPLE = [(1, 0.0, 0.0), (2, 1.5, 0.0), (1, 0.05, 0.1), (3, 0.1, 0.4), (4, 1.4, 0.3), (5, 3.0, 0.5), (NOBODY, 1.5, 0.9)]


def test_who_is_taken_for_somebody_and_who_wrongly():
    visits, described, truth = one_after_the_other(PEOPLE)
    visit, wrong = merges(visits, described, truth, 0.5)
    assert visit.tolist() == [2, 3, 4]
    assert wrong.tolist() == [False, True, True]


def test_a_visit_of_more_spread_is_new_whoever_it_is_near():
    visits, described, _ = one_after_the_other(PEOPLE)
    assert [each.identity for each in answer(visits, described, 0.5)] == [1, 2, 1, 1, 2, 6, 2]
    answers = answer(visits, described, 0.5, most_spread=0.3)
    assert [each.identity for each in answers] == [1, 2, 1, 4, 2, 6, 7]
    assert answers[3].nearest == answer(visits, described, 0.5)[3].nearest  # still told
    # Whoever is called new is no candidate's rival among those who enter at once.
    visits[4] = dataclasses.replace(visits[4], first=visits[3].first)
    assert [each.identity for each in answer(visits, described, 0.5, most_spread=0.3)] == [1, 2, 1, 4, 2, 6, 7]
    assert {each.identity for each in answer(visits, described, 0.5, most_spread=0.0)} == {1, 2, 3, 4, 5, 6, 7} - {0}


def test_limits_part_visits_by_shares():
    visits, described, truth = one_after_the_other(PEOPLE)
    found = doubt(visits, described, truth, 0.5, (0.0, 0.34, 0.67))
    assert found.visits == 3
    assert [each.spread for each in found.limits] == [0.4, 0.3, 0.1]
    assert np.isnan(found.limits[0].wrong_above)
    assert [each.wrong_above for each in found.limits[1:]] == [1, 1]
    assert [each.wrong_below for each in found.limits] == pytest.approx([2 / 3, 1 / 2, 0])
    assert found.by_spread.area == found.by_spread.oracle == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)
    with pytest.raises(InputError, match="everybody is new"):
        doubt(visits, described, truth, 0.0, (0.1,))
