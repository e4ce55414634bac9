import dataclasses

import numpy as np
import pytest
from made_rankings import quantised_case

from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import Labels, check_labels, match_cameras, no_match_error, removal_note
from reid_jax.retrieval.ranking import rank


def rule(labels):
    """bool [nq, ng] twice, by the definition: is a gallery item removed for a query, is it a match."""
    same_identity = np.equal.outer(labels.query_identity, labels.gallery_identity)
    known = np.not_equal.outer(labels.query_camera, np.full(len(labels.gallery_camera), -1))
    removed = same_identity & known & np.equal.outer(labels.query_camera, labels.gallery_camera)
    return removed, same_identity & ~removed


@pytest.mark.parametrize("seed", range(3))
def test_removed_items_and_matches_are_those_of_the_definition(seed):
    _, _, labels = quantised_case(seed)
    checked = check_labels(labels)
    removed, matches = rule(labels)
    assert removed.any()
    assert (labels.query_camera == -1).any()
    equal = np.equal.outer(checked.query_identity_camera, checked.gallery_identity_camera)
    np.testing.assert_array_equal(equal, removed)
    np.testing.assert_array_equal(checked.removed(), removed.sum(1))
    np.testing.assert_array_equal(checked.matches(), matches.sum(1))
    np.testing.assert_array_equal(checked.same_identity(), (removed | matches).sum(1))


def test_cameras_of_matches_follow_the_same_rule():
    for query_camera in (-1, 0, 1):
        for gallery_cameras in (set(), {-1}, {0}, {0, 1}, {-1, 0, 2}):
            gallery_camera = np.array(sorted(gallery_cameras), int)
            labels = Labels(np.array([5]), np.array([query_camera]), np.full(len(gallery_camera), 5), gallery_camera)
            matches = rule(labels)[1][0]
            assert match_cameras(gallery_cameras, query_camera) == set(gallery_camera[matches].tolist())


def test_labels_may_be_any_integers():
    query, gallery, labels = quantised_case(7)
    one = rank(query, gallery, labels)
    large = dataclasses.replace(
        labels,
        query_identity=labels.query_identity.astype(np.int64) * 10**15 - 5,
        gallery_identity=labels.gallery_identity.astype(np.int64) * 10**15 - 5,
    )
    two = rank(query, gallery, large)
    np.testing.assert_array_equal(one.negatives_before, two.negatives_before)


def test_unknown_cameras_are_said_aloud():
    known, mixed, unknown = np.array([0, 3, 1]), np.array([0, -1, 1]), np.full(3, -1)
    people = np.arange(3)

    def note(query, gallery, gallery_people=people):
        return removal_note(Labels(people, query, gallery_people, gallery))

    assert note(known, known) == ""
    for query, gallery in ((unknown, unknown), (known, unknown), (unknown, known)):
        assert note(query, gallery).startswith("cameras are unknown: no image was removed from the gallery")
    some = "cameras of {} of 3 queries and {} of {} gallery images of their people are unknown"
    assert note(mixed, known).startswith(some.format(1, 0, 3))
    assert note(known, mixed).startswith(some.format(0, 1, 3))
    assert "\n" not in note(mixed, mixed)
    # Of a distractor none would be removed in any case.
    assert note(known, mixed, np.array([0, 7, 1])) == ""
    assert note(known, unknown, people + 7) == ""
    assert note(mixed, unknown, people + 7).startswith(some.format(1, 0, 0))


def test_the_error_without_a_match_tells_absent_people_from_removed_images():
    assert "of 3 queries 2 have an identity that the gallery lacks, 1 one that" in str(
        no_match_error(3, np.array([0, 4, 0]))
    )
    assert isinstance(no_match_error(3), InputError)
