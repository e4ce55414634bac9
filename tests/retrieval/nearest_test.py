import numpy as np
import pytest
from made_rankings import euclidean, quantised_case, sorted_rows

from reid_jax.errors import InputError
from reid_jax.retrieval.nearest import nearest, nearest_distances
from reid_jax.retrieval.protocol import Labels


@pytest.mark.parametrize("k", [1, 10, 400])
def test_nearest_is_the_full_sort(k):
    query, gallery, labels = quantised_case(3)
    index, distance = nearest(query, gallery, labels, k)
    assert index.shape == distance.shape == (40, k)
    for i, (item, _, expected) in enumerate(sorted_rows(query, gallery, labels)):
        order = sorted(range(len(item)), key=lambda j: (expected[j], item[j]))[:k]
        wanted = [item[j] for j in order]
        assert index[i].tolist() == wanted + [-1] * (k - len(wanted))
        np.testing.assert_allclose(distance[i, : len(wanted)], [expected[j] for j in order], rtol=1e-6)
        assert np.isinf(distance[i, len(wanted) :]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"rows": [0, 5]}, "rows reach from 0 to 5, but there are 5 queries"),
        ({"rows": [-1]}, "rows reach from -1"),
        ({"rows": [0.5]}, "type float64; give a list of query numbers"),
        (
            {"labels": Labels(np.zeros(5, int), np.zeros(4, int), [0], [0])},
            r"query_camera has shape \[4\], but .* 5 query",
        ),
        ({"labels": Labels([0], [0], np.zeros(0, int), [])}, "gallery_identity is empty"),
    ],
)
def test_nearest_distances_names_bad_arguments(arguments, message):
    query, gallery, labels = quantised_case(0, nq=5, ng=9)
    with pytest.raises(InputError, match=message):
        nearest_distances(euclidean(query, gallery), **{"labels": labels, "k": 1, **arguments})


def test_nearest_needs_a_positive_k():
    with pytest.raises(InputError, match="k is 0"):
        nearest(*quantised_case(0, nq=5, ng=9), 0)
