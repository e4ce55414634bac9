"""Evaluation: tracklets and queries pooled as a slow loop pools them, protocols told, low resolution as it says."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.data.images import Split
from reid_jax.data.low_resolution import LowResolution
from reid_jax.describe import Encoder
from reid_jax.embed import Items, embed_items, embed_split
from reid_jax.errors import InputError
from reid_jax.evaluate import Protocol, evaluate, score
from reid_jax.retrieval.aggregate import renormalise

STREAMS = (2, 3)


@dataclasses.dataclass(frozen=True)
class Corners:
    """A network without weights: the descriptor is made of two corners' colours, so that mirror images differ."""

    streams = STREAMS

    def apply(self, variables, image, train):
        del variables, train
        raw = jnp.concatenate([image[:, 0, 0, :2], image[:, -1, -1]], -1)
        first, second = raw[:, :2], raw[:, 2:]
        parts = [part / jnp.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)]
        return types.SimpleNamespace(embedding=jnp.concatenate(parts, -1) / 2**0.5)


NETWORK = Corners()
VARIABLES = {"params": {}, "batch_stats": {}}


def made(identity, camera, tracklet=None, seed=0):
    n = len(identity)
    image = np.random.default_rng(seed).integers(0, 256, (n, 8, 4, 3), np.uint8)
    tracklet = np.full(n, -1) if tracklet is None else tracklet
    columns = [np.array(column, np.int32) for column in (identity, camera, tracklet, np.zeros(n))]
    return Split(image, *columns, np.array([f"{seed}/{row}.jpg" for row in range(n)]))


@pytest.fixture(scope="module")
def mesh():
    return parallel.create_mesh()


@pytest.fixture(scope="module")
def encoder(mesh):
    return Encoder(NETWORK, VARIABLES, (8, 4), mesh)


def test_a_split_embeds_as_its_images_do(encoder):
    split = made(range(300), [0] * 300)
    np.testing.assert_array_equal(embed_split(encoder, split), encoder.describe(split.image))


def test_frames_of_a_tracklet_become_one_item_shown_by_its_middle(encoder):
    split = made([5, 7, 5, 5, 7, 8], [1, 2, 1, 1, 3, 1], [3, -1, 3, 3, -1, 0])
    items = embed_items(encoder, split)
    frames = encoder.describe(split.image)
    assert items.identity.tolist() == [5, 7, 7, 8]
    assert items.camera.tolist() == [1, 2, 3, 1]
    assert items.row.tolist() == [2, 1, 4, 5]
    expected = renormalise(np.stack([frames[[0, 2, 3]].mean(0), frames[1], frames[4], frames[5]]), STREAMS)
    np.testing.assert_allclose(items.embedding, expected, atol=1e-6)


def test_a_tracklet_of_two_people_is_refused(encoder):
    with pytest.raises(InputError, match=r"tracklet 0 \(0/.*several identities"):
        embed_items(encoder, made([1, 2], [0, 0], [0, 0]))


def test_still_images_and_tracklets_are_ranked_in_one_gallery(encoder):
    query, gallery = made([1, 2], [0, 0]), made([1, 1, 2, 3], [1, 1, 1, 1], [0, 0, -1, -1], seed=1)
    result = evaluate(encoder, query, gallery)
    assert len(result.gallery) == 3
    assert result.ranking.matches.tolist() == [1, 1]


def items(identity, camera, seed):
    embedding = renormalise(np.random.default_rng(seed).standard_normal((len(identity), 5)), STREAMS)
    columns = (np.array(identity, np.int32), np.array(camera, np.int32))
    names = np.array([str(row) for row in range(len(identity))])
    return Items(embedding, *columns, names, np.arange(len(identity)))


@pytest.mark.parametrize("own", [False, True])
def test_multi_query_pools_what_the_protocol_removes(mesh, own):
    query = items([1, 1, 2, 3, 2], [0, 1, 0, 0, 0], 0)
    gallery = items([1, 1, 1, 2, 2, 3, 9], [0, 0, 1, 1, 0, 1, 0], 1)
    further = items([1, 1, 2, 7], [0, 0, 0, 0], 2) if own else None
    pooled = score(query, gallery, STREAMS, mesh, protocol=Protocol(multi_query=True), multi_query=further).query
    for i in range(len(query)):
        group = []
        for other in [further] if own else [gallery, query]:
            for j in range(len(other)):
                if (other.identity[j], other.camera[j]) == (query.identity[i], query.camera[i]):
                    group.append(other.embedding[j])
        group = group or [query.embedding[i]]
        np.testing.assert_allclose(pooled.embedding[i], renormalise(np.mean(group, 0)[None], STREAMS)[0], atol=1e-6)
    assert pooled.identity.tolist() == query.identity.tolist()


def test_multi_query_needs_cameras(mesh):
    with pytest.raises(InputError, match="cameras are unknown"):
        score(items([1], [-1], 0), items([1], [0], 1), STREAMS, mesh, protocol=Protocol(multi_query=True))


def test_nearest_follows_the_distance_that_was_ranked_by(mesh):
    random = np.random.default_rng(3)
    identity = np.repeat(np.arange(6), 4)
    query, gallery = items(identity[::4], [0] * 6, 4), items(identity, random.integers(0, 3, 24), 5)
    for protocol in (Protocol(), Protocol(rerank=True, k1=5, k2=2)):
        result = score(query, gallery, STREAMS, mesh, protocol=protocol)
        index, distance = result.nearest(np.arange(6), 24)
        for i in range(6):
            kept = index[i][index[i] >= 0]
            assert (np.diff(distance[i][: len(kept)]) >= 0).all()
            hit = np.flatnonzero(gallery.identity[kept] == query.identity[i])
            if len(hit):
                first = result.ranking.negatives_before[result.ranking.offsets[i]]
                assert hit[0] <= first
    assert result.distances is not None


def test_the_protocol_says_what_it_does():
    assert str(Protocol()) == "single query; after-processing: none"
    text = str(Protocol(flip=True, query_expansion=3, rerank=True, multi_query=True))
    assert text.startswith("multi-query; ")
    assert "flipped images averaged, query expansion over 3, k-reciprocal re-ranking (k1 20, k2 6" in text
    assert "mean of 10 draws (seed 0)" in str(Protocol(single_gallery_shot=True))
    assert str(Protocol(single_gallery_shot=True, multi_query=True)).startswith("multi-query, single gallery shot")
    with pytest.raises(InputError, match="not defined for re-ranked"):
        Protocol(single_gallery_shot=True, rerank=True)


def test_query_expansion_over_more_than_there_are_takes_all(mesh):
    query, gallery = items([1, 2], [0, 0], 0), items([1, 2, 3], [1, 1, 1], 1)
    many, all_ = (score(query, gallery, STREAMS, mesh, protocol=Protocol(query_expansion=k)) for k in (10**9, 3))
    np.testing.assert_array_equal(many.query.embedding, all_.query.embedding)


def test_low_resolution_keeps_labels_and_loses_detail():
    split = made([1, 2, 3], [0, 1, 2])
    low = LowResolution(split, 2)
    assert len(low) == 3
    assert low.identity.tolist() == [1, 2, 3]
    (block,) = low.blocks(10)
    np.testing.assert_array_equal(block.image, low.select(np.arange(3)).image)
    assert block.image.shape == split.image.shape
    assert block.image.astype(float).std() < 0.6 * split.image.astype(float).std()
    assert abs(block.image.mean() - split.image.mean()) < 10
    np.testing.assert_array_equal(LowResolution(split, 8).select(np.arange(3)).image, split.image)
