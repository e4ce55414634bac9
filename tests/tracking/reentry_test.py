"""Identities on re-entry: what must hold whatever the looks are, and what follows when they are clear."""

import itertools

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.reentry import (
    Described,
    answer,
    compare,
    distance,
    mean_reciprocal_rank,
    mistakes,
    oracle,
    reassociations,
    relabel,
)
from reid_jax.tracking.visits import NOBODY, Visit, visits_of


def unit(vectors):
    vectors = np.atleast_2d(np.asarray(vectors, float))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def looks(vectors, first=1):
    vectors = unit(vectors)
    frame = first + np.arange(len(vectors))
    return Described(vectors[:8], vectors, frame, np.zeros(len(vectors), int))


def visit(identity, first, last):
    return Visit(identity, first, last, np.arange(0))


def identities(answers):
    return [each.identity for each in answers]


def made(seed, people=6, visits=25, noise=0.3, dimensions=16):
    """Random visits: (rows, visits, described, truth). Nobody is there twice at once."""
    random = np.random.default_rng(seed)
    centre = unit(random.standard_normal((people, dimensions)))
    until = np.zeros(people, int)
    rows, described, truth = [], [], []
    begins = np.sort(random.integers(1, 200, visits))  # some at once
    for number, first in enumerate(begins, 1):
        absent = np.flatnonzero(until < first)
        if not len(absent):
            continue
        person = random.choice(absent)
        last = first + int(random.integers(0, 60))
        until[person] = last
        for frame in range(first, last + 1):
            for camera in range(1 + number % 2):
                rows.append((frame, number, camera))
        count = int(random.integers(1, 30))
        crops = unit(centre[person] + noise * random.standard_normal((count, dimensions)) / np.sqrt(dimensions))
        frame = np.sort(random.integers(first, last + 1, count))
        described.append(Described(crops[:8], crops, frame, random.integers(0, 2, count)))
        truth.append(person)
    frame, identity, camera = np.array(rows).T
    table = Rows.of(frame, np.ones((len(rows), 4)), identity=identity, camera=camera)
    return table, visits_of(table), described, np.array(truth)


def test_the_distance_is_of_the_nearest_crops():
    random = np.random.default_rng(0)
    query, gallery = unit(random.standard_normal((3, 5))), unit(random.standard_normal((7, 5)))
    apart = np.sort([[np.linalg.norm(q - g) for g in gallery] for q in query], axis=1)
    assert distance(query, gallery) == pytest.approx(apart[:, 0].mean())
    assert distance(query, gallery, 3) == pytest.approx(apart[:, :3].mean())
    assert distance(query, gallery, 100) == pytest.approx(apart.mean())
    assert distance(query[:0], gallery) == distance(query, gallery[:0]) == np.inf


def test_who_comes_back_is_known_and_a_stranger_is_new():
    visits = [visit(1, 1, 10), visit(2, 5, 20), visit(3, 30, 40), visit(4, 30, 50), visit(5, 60, 61)]
    described = [looks([1, 0, 0]), looks([0, 1, 0]), looks([0.1, 1, 0]), looks([0, 0, 1]), looks([1, 0, 0.1])]
    answers = answer(visits, described, 0.5)
    assert identities(answers) == [1, 2, 2, 4, 1]
    assert [each.candidates for each in answers] == [0, 0, 2, 2, 3]
    assert answers[0].nearest == np.inf
    assert answers[4].nearest == pytest.approx(np.linalg.norm(unit([1, 0, 0.1]) - [1, 0, 0]))


def test_who_is_there_cannot_enter():
    for first, expected in ((10, 2), (11, 1)):  # in the frame in which the other is last seen, and in the next
        answers = answer([visit(1, 1, 10), visit(2, first, 20)], [looks([1, 0])] * 2, 0.5)
        assert identities(answers) == [1, expected]


def test_people_who_enter_together_are_answered_together():
    # Both look most like the first, 4 more so; but 4 may also be the second, and 3 may not.
    past = [visit(1, 1, 5), visit(2, 1, 5)]
    known = [looks([1, 0]), looks([np.cos(0.7), np.sin(0.7)])]
    angles = {3: -0.3, 4: 0.25}
    for order in itertools.permutations([3, 4]):
        visits = [*past, *(visit(identity, 10, 20) for identity in order)]
        described = [*known, *(looks([np.cos(angles[i]), np.sin(angles[i])]) for i in order)]
        answers = dict(zip([each.identity for each in visits], identities(answer(visits, described, 1.0)), strict=True))
        assert answers == {1: 1, 2: 2, 3: 1, 4: 2}
    # With a lower threshold one of them is new instead.
    answers = answer(visits, described, 0.35)
    assert sorted(identities(answers)[2:]) == [1, 3]


def test_a_wrong_answer_stays():
    # Visit 2 is taken for 1, so that its looks are among those of 1, and 3 is found there.
    visits = [visit(1, 1, 5), visit(2, 10, 15), visit(3, 20, 25)]
    described = [looks([1, 0]), looks([1, 0.3]), looks([1, 0.6])]
    assert identities(answer(visits, described, 0.3)) == [1, 1, 1]
    assert identities(answer([visits[0], visits[2]], [described[0], described[2]], 0.3)) == [1, 3]


@pytest.mark.parametrize("seed", range(5))
def test_at_a_threshold_of_nothing_nothing_changes(seed):
    rows, visits, described, _ = made(seed, noise=0)  # some are equal to the last bit
    answers = answer(visits, described, 0.0)
    assert identities(answers) == [each.identity for each in visits]
    np.testing.assert_array_equal(relabel(rows, visits, answers).identity, rows.identity)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_visits_are_given_and_numbered_is_irrelevant(seed):
    rows, visits, described, _ = made(seed)
    found = {one.identity: said.identity for one, said in zip(visits, answer(visits, described, 0.6), strict=True)}
    random = np.random.default_rng(seed)
    order = random.permutation(len(visits))
    again = answer([visits[v] for v in order], [described[v] for v in order], 0.6)
    assert found == {visits[v].identity: said.identity for v, said in zip(order, again, strict=True)}
    new = dict(zip(sorted(found), random.permutation(1000)[: len(found)].tolist(), strict=True))
    renamed = [Visit(new[one.identity], one.first, one.last, one.rows) for one in visits]
    again = answer(renamed, described, 0.6)
    assert {new[one]: new[said] for one, said in found.items()} == {
        one.identity: said.identity for one, said in zip(renamed, again, strict=True)
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("delay", [0, 20])
def test_only_identities_change_and_nobody_is_there_twice(seed, delay):
    rows, visits, described, truth = made(seed, noise=1.5)  # many mistakes
    for answers in (answer(visits, described, 1.2), oracle(visits, truth)):
        found = relabel(rows, visits, answers, delay)
        for name in ("frame", "box", "camera", "confidence"):
            np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
        seen = list(zip(found.frame.tolist(), found.camera.tolist(), found.identity.tolist(), strict=True))
        assert len(set(seen)) == len(seen)
        # In one frame two visits are two identities, whatever the camera.
        pairs = set(zip(found.frame.tolist(), rows.identity.tolist(), found.identity.tolist(), strict=True))
        assert len({(frame, identity) for frame, _, identity in pairs}) == len(pairs)


def test_online_an_answer_comes_late():
    rows = Rows.of([1, 2, 11, 12, 13], np.ones((5, 4)), identity=[1, 1, 2, 2, 2])
    visits = visits_of(rows)
    answers = oracle(visits, np.array([7, 7]))
    assert relabel(rows, visits, answers).identity.tolist() == [1, 1, 1, 1, 1]
    assert relabel(rows, visits, answers, 2).identity.tolist() == [1, 1, 2, 2, 1]
    assert relabel(rows, visits, answers, 100).identity.tolist() == [1, 1, 2, 2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_clear_looks_and_the_oracle_make_no_mistake(seed):
    _, visits, described, truth = made(seed, noise=0.05)
    for answers in (answer(visits, described, 0.5), oracle(visits, truth)):
        found = mistakes(visits, answers, truth)
        assert (found.false_new, found.false_merge) == (0, 0)
        assert found.right == found.returns == len(visits) - len(set(truth.tolist()))
    none = mistakes(visits, answer(visits, described, 0.0), truth)
    assert (none.false_new, none.false_merge, none.right) == (found.returns, 0, 0)


def test_the_oracle_leaves_what_the_tracker_did_wrong():
    visits = [visit(1, 1, 10), visit(2, 5, 20), visit(3, 12, 15), visit(4, 30, 40), visit(5, 50, 60)]
    truth = np.array([7, 7, NOBODY, 7, NOBODY])
    assert identities(oracle(visits, truth)) == [1, 2, 3, 1, 5]  # 2 began while the person was there


def test_mistakes_are_counted_by_hand():
    visits = [visit(n, 10 * n, 10 * n + 5) for n in range(1, 8)]
    truth = np.array([7, 8, 7, NOBODY, 8, 9, 7])
    #             new  new  new: false    -     7's: merge  nobody's: merge  its second identity: right
    said = [1, 2, 3, 4, 1, 4, 3]
    answers = [
        one.__class__(identity, one.nearest, 0) for one, identity in zip(oracle(visits, truth), said, strict=True)
    ]
    found = mistakes(visits, answers, truth)
    assert (found.visits, found.returns, found.right, found.false_new, found.false_merge) == (6, 3, 1, 1, 2)


def test_ranks_are_among_all_who_are_absent():
    visits = [visit(1, 1, 5), visit(2, 2, 8), visit(3, 3, 90), visit(4, 20, 30), visit(5, 40, 50), visit(6, 95, 99)]
    described = [
        looks([1, 0, 0]),
        looks([0, 1, 0]),
        looks([0, 0, 1]),
        looks([1, 0.9, 0]),
        looks([1, 0.8, 0]),
        looks([0, 0, 1]),
    ]
    truth = np.array([7, 8, 9, 8, 7, 10])
    found = reassociations(visits, described, truth)
    # 4 is person 8 but looks more like 7; 5 is person 7, and by then 8 has looked much the same; 6 is nobody known.
    assert [(one.away, one.rank, one.candidates) for one in found] == [(12, 2, 2), (35, 2, 2)]
    assert mean_reciprocal_rank(found) == 0.5
    assert np.isnan(mean_reciprocal_rank([]))


def test_comparisons_are_with_everyone_absent():
    visits = [visit(1, 1, 5), visit(2, 2, 8), visit(3, 3, 90), visit(4, 20, 30), visit(5, 40, 50)]
    described = [looks([1, 0]), looks([0, 1]), looks([1, 1]), looks([0, 1]), looks([0.6, 0.8])]
    same, others = compare(visits, described, np.array([7, 8, 9, 8, NOBODY]))
    assert same == pytest.approx([0])  # 4 and 2; 3 is there all the time, 5 nobody
    assert others == pytest.approx([np.sqrt(2)])  # 4 and 1


def test_equal_looks_are_no_knowledge():
    visits = [visit(1, 1, 5), visit(2, 1, 5), visit(3, 10, 20)]
    (found,) = reassociations(visits, [looks([1, 0])] * 3, np.array([7, 8, 7]))
    assert found.rank == 2


def test_a_gallery_keeps_crops_of_all_visits():
    random = np.random.default_rng(0)
    many = [looks(unit(np.eye(3)[[axis]] + 0.01 * random.standard_normal((40, 3))), 1) for axis in (0, 1)]
    described = [many[0], many[1], looks([1, 0, 0]), looks([0, 1, 0])]
    visits = [visit(1, 1, 5), visit(2, 10, 15), visit(3, 20, 25), visit(4, 30, 35)]
    answers = answer(visits, described, 1.5, gallery_crops=16)
    assert identities(answers) == [1, 1, 1, 1]
    assert answers[2].nearest < 0.1  # of the first visit's crops some are left
    assert answers[3].nearest < 0.1


def test_descriptions_that_do_not_fit_are_told():
    with pytest.raises(InputError, match="1 visits have 2 descriptions"):
        answer([visit(1, 1, 2)], [looks([1, 0])] * 2, 0.5)
