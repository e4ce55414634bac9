"""The calls of a gallery, in a folder and on a PostgreSQL server: the same answers from both."""

import dataclasses
import threading
import types

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.gallery import EVERYTHING, Facts, Filter, open_gallery
from reid_jax.gallery import gallery as gallery_module
from reid_jax.tracking.calibration import Calibration, Threshold, Thresholds

COUNT = 60
FILTERS = {
    "everything": EVERYTHING,
    "ids": Filter(ids=(3, 17, 40, 4000)),
    "one camera": Filter(cameras=("c1",)),
    "two cameras": Filter(cameras=("c1", "c2", "c9")),
    "person": Filter(people=("person 0.2", "person 0.3")),
    "every tag": Filter(tags=("red", "bag")),
    "time": Filter(since=1000.0, until=3000.0),
    "all at once": Filter(cameras=("c0", "c1"), tags=("red",), since=300.0),
    "nothing": Filter(cameras=("nowhere",)),
}


@pytest.fixture
def filled(gallery, people):
    """A gallery of 60 entries, in three additions; three of them are the same image three times."""
    vectors, facts, crops = people(COUNT)
    vectors[[20, 33]] = vectors[7]
    for start in range(0, COUNT, 25):
        part = slice(start, start + 25)
        gallery.add(facts[part], vectors[part], crops[part])
    return types.SimpleNamespace(gallery=gallery, vectors=vectors, facts=facts, crops=crops)


def meant(facts, where):
    """The ids that a filter leaves, by plain Python."""
    return [
        id
        for id, each in enumerate(facts, 1)
        if (not where.ids or id in where.ids)
        and (not where.cameras or each.camera in where.cameras)
        and (not where.people or each.person in where.people)
        and set(where.tags) <= set(each.tags)
        and (where.since is None or (each.time is not None and each.time >= where.since))
        and (where.until is None or (each.time is not None and each.time < where.until))
    ]


def nearest(query, vectors, ids, k):
    """(id, distance) of the k nearest, by plain NumPy."""
    distance = np.linalg.norm(vectors.astype(np.float64) - query.astype(np.float64), axis=1)
    return sorted((distance[id - 1], id) for id in ids)[:k]


@pytest.mark.parametrize("where", FILTERS.values(), ids=FILTERS.keys())
def test_search_is_exact_under_every_filter(filled, where):
    ids = meant(filled.facts, where)
    queries = filled.vectors[[7, 0, 59]]
    for k in (1, 7, 100):
        found = filled.gallery.search(queries, k, where)
        for query, matches in zip(queries, found, strict=True):
            wanted = nearest(query, filled.vectors, ids, k)
            assert [match.id for match in matches] == [id for _, id in wanted]
            np.testing.assert_allclose([match.distance for match in matches], [d for d, _ in wanted], atol=1e-9)
    assert filled.gallery.count(where) == len(ids)


def test_equal_images_come_in_the_order_of_their_ids_however_many_there_are(gallery, people):
    vectors, facts, _ = people(50)
    vectors[:] = vectors[0]
    gallery.add(facts, vectors)
    assert [match.id for match in gallery.search(vectors[:1], 3)[0]] == [1, 2, 3]


def test_what_is_known_comes_back(filled):
    page = filled.gallery.page(Filter(cameras=("c1",)), limit=8)
    rest = filled.gallery.page(Filter(cameras=("c1",)), after=page.after, limit=100)
    assert rest.after is None
    entries = page.entries + rest.entries
    assert [entry.id for entry in entries] == meant(filled.facts, Filter(cameras=("c1",)))
    for entry in entries:
        facts = filled.facts[entry.id - 1]
        assert {name: getattr(entry, name) for name in vars(facts)} == vars(facts)
        assert filled.gallery.crop(entry.id) == filled.crops[entry.id - 1]
        assert entry.has_crop == (filled.crops[entry.id - 1] is not None)
    match = filled.gallery.search(filled.vectors[30:31], 1)[0][0]
    assert (match.id, match.source, match.tags, match.distance) == (31, "0/30.jpg", ("red",), 0)
    assert filled.gallery.crop(4000) is None


def test_the_summary_counts(filled, address):
    summary = filled.gallery.summary()
    assert (summary.entries, summary.with_crop, summary.dimensions) == (60, 45, 10)
    assert summary.people == len({each.person for each in filled.facts} - {""})
    assert summary.cameras == {"c0": 20, "c1": 20, "c2": 20}
    assert summary.tags == {tag: sum(tag in each.tags for each in filled.facts) for tag in ("bag", "hat", "red")}
    assert (summary.first, summary.last) == (0, 5900)
    assert summary.bytes > 60 * 10 * 4


def test_adding_again_adds_nothing(filled, people):
    vectors, facts, crops = people(COUNT)
    added = filled.gallery.add(facts, vectors, crops)
    assert (added.new, added.known) == ((), 60)
    assert filled.gallery.known([facts[3].key, ("other", facts[3].digest)]) == {facts[3].key}
    other = dataclasses.replace(facts[3], source="other")
    assert filled.gallery.add([other, facts[3], other], vectors[:3]).new == (61,)
    assert filled.gallery.count() == 61


def test_what_is_read_of_all_is_what_was_added(filled):
    blocks = list(filled.gallery.blocks(Filter(tags=("red",)), size=7))
    ids = [entry.id for entries, _ in blocks for entry in entries]
    assert ids == meant(filled.facts, Filter(tags=("red",)))
    np.testing.assert_array_equal(np.concatenate([vectors for _, vectors in blocks]), filled.vectors[np.array(ids) - 1])


def test_nearer_and_by_person(filled):
    query = filled.vectors[10:11]
    ranked = filled.gallery.search(query, 100)[0]
    near = filled.gallery.search(query, 100, nearer=ranked[3].distance)[0]
    assert [match.id for match in near] == [match.id for match in ranked[:3]]
    assert filled.gallery.search(-query, 5, nearer=0.01) == [[]]
    seen, wanted = set(), []
    for match in ranked:
        if not match.person or match.person not in seen:
            wanted.append(match.id)
        seen.add(match.person)
    for k in (1, 9, 100):
        found = filled.gallery.search(query, k, by_person=True)[0]
        assert [match.id for match in found] == wanted[:k]


def test_few_people_of_many_images_are_found_without_ranking_all(gallery, people, monkeypatch):
    vectors, facts, _ = people(150)
    one_person = [dataclasses.replace(each, person="anna") for each in facts]
    one_person[149] = dataclasses.replace(one_person[149], person="ben")
    gallery.add(one_person, vectors)
    depths = []
    nearest = type(gallery)._candidates
    monkeypatch.setattr(
        type(gallery), "_candidates", lambda self, q, k, *rest: depths.append(k) or nearest(self, q, k, *rest)
    )
    found = gallery.search(vectors[149:], 5, by_person=True)[0]
    assert [match.person for match in found] == ["ben", "anna"]
    assert max(depths) < 100


def test_by_person_looks_past_one_who_holds_nearly_all(gallery, people, monkeypatch):
    vectors, facts, _ = people(400)
    order = np.argsort(np.linalg.norm(vectors - vectors[0], axis=1), kind="stable")
    names = ["anna"] * 300 + [""] * 3 + ["ben"] * 90 + ["cleo"] * 7  # nearest first
    named = {int(row): name for row, name in zip(order, names, strict=True)}
    facts = [dataclasses.replace(each, person=named[row]) for row, each in enumerate(facts)]
    gallery.add(facts, vectors)
    depths = []
    nearest = type(gallery)._candidates
    monkeypatch.setattr(
        type(gallery), "_candidates", lambda self, q, k, *rest: depths.append(k) or nearest(self, q, k, *rest)
    )
    found = gallery.search(vectors[:1], 6, by_person=True)[0]
    assert [match.id - 1 for match in found] == order[[0, 300, 301, 302, 303, 393]].tolist()
    assert max(depths) < 120
    some = gallery.search(vectors[:1], 2, Filter(cameras=("c1",)), by_person=True)[0]
    assert [match.person for match in some] == [
        "anna",
        "" if any(facts[i].camera == "c1" for i in order[300:303]) else "ben",
    ]


def test_by_person_ends_where_a_name_is_kept_in_a_third_form(gallery, people, monkeypatch):
    vectors, facts, _ = people(60)
    vectors[:] = vectors[0]
    hybrid = "Ti\u00ea\u0301n"  # as some keyboards write it: neither composed nor decomposed
    monkeypatch.setattr(Facts, "composed", lambda self: self)  # as galleries were filled once
    facts = [dataclasses.replace(each, person=hybrid if row else "Ti\u1ebfn") for row, each in enumerate(facts)]
    gallery.add(facts, vectors)
    assert [match.id for match in gallery.search(vectors[:1], 2, by_person=True)[0]] == [1]


def test_many_queries_are_searched_by_pieces(filled, monkeypatch):
    whole = filled.gallery.search(filled.vectors, 3), filled.gallery.search(filled.vectors, 3, by_person=True)
    sizes = []
    candidates = type(filled.gallery)._candidates
    monkeypatch.setattr(gallery_module, "_QUERIES", 7)
    monkeypatch.setattr(
        type(filled.gallery), "_candidates", lambda self, q, *rest: sizes.append(len(q)) or candidates(self, q, *rest)
    )
    assert filled.gallery.search(filled.vectors, 3) == whole[0]
    assert filled.gallery.search(filled.vectors, 3, by_person=True) == whole[1]
    assert max(sizes) == 7


def test_several_images_of_a_person_are_one_query(filled):
    pooled = filled.gallery.pooled(filled.vectors[:3])
    mean = filled.vectors[:3].mean(0)
    wanted = np.concatenate([part / np.linalg.norm(part) for part in np.split(mean, [6])]) / np.sqrt(2)
    np.testing.assert_allclose(pooled, wanted[None], atol=1e-6)


def test_thresholds_are_those_of_the_weights(gallery, extractor, address):
    assert gallery.thresholds == ()
    with pytest.raises(InputError, match=r"no threshold of rate 0\.01 \(known: none\)"):
        gallery.threshold_at(0.01)
    at = Thresholds(5, 1000, (Threshold(0.01, 0.9, 0.2), Threshold(0.001, 0.7, None)))
    calibration = Calibration(at, at, 1, extractor.digest)
    with pytest.raises(InputError, match="not of the weights"):
        gallery.attach(dataclasses.replace(calibration, digest="00" * 32))
    gallery.attach(calibration)
    with open_gallery(address) as again:
        assert [each.rate for each in again.thresholds] == [0.001, 0.01]
        assert again.threshold_at(0.01) == 0.9


def test_erased_is_gone_and_its_ids_are_not_given_again(filled, people):
    gone = Filter(people=("person 0.19", "person 0.1"))
    ids = meant(filled.facts, gone)
    assert 60 not in ids
    assert filled.gallery.erase(gone) == len(ids) > 2
    assert filled.gallery.erase(Filter(ids=(60, 60))) == 1
    left = [id for id in range(1, 60) if id not in ids]
    assert [entry.id for entry in filled.gallery.page().entries] == left
    assert [match.id for match in filled.gallery.search(filled.vectors[59:], 60)[0]] == [
        id for _, id in nearest(filled.vectors[59], filled.vectors, left, 60)
    ]
    assert filled.gallery.crop(60) is None
    assert filled.gallery.check() == []
    vectors, facts, _ = people(2)
    assert filled.gallery.add([facts[0], dataclasses.replace(facts[1], source="x")], vectors).new == (61,)
    with pytest.raises(InputError, match="nothing is named"):
        filled.gallery.erase(EVERYTHING)


def test_other_weights_and_no_gallery_are_refused(address, extractor):
    with pytest.raises(InputError, match="there is no gallery .*reid-jax gallery add"):
        open_gallery(address)
    with pytest.raises(InputError, match="there is no gallery"):
        open_gallery(address, extractor)
    open_gallery(address, extractor, create=True).close()
    other = types.SimpleNamespace(digest="cd" * 32, streams=(10,))
    with pytest.raises(InputError, match=r"vectors of other weights \(digest abababababab…, 10 numbers; these: cdcd"):
        open_gallery(address, other, create=True)
    with open_gallery(address, extractor, create=True) as again:
        assert again.count() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "its source is ''"),
        ({"source": "a\0b"}, "its source is"),
        ({"source": "caf\udce9.jpg"}, "its source is .* Unicode"),
        ({"person": "x" * 501}, "its person is 'x"),
        ({"tags": ("",)}, "its tag 1 is ''"),
        ({"digest": "abc"}, "its digest is 'abc'"),
        ({"time": float("inf")}, "its time is inf"),
    ],
)
def test_facts_that_cannot_be_kept_are_refused_whole(gallery, people, change, message):
    vectors, facts, _ = people(3)
    with pytest.raises(InputError, match=message):
        gallery.add([facts[0], dataclasses.replace(facts[1], **change)], vectors[:2])
    assert gallery.count() == 0


def test_odd_names_are_names(gallery, people):
    vectors, _, _ = people(6)
    names = ["'; DROP TABLE entries; --", "日本/人 🧍.jpg", "a\nb\t%s ? {x}", "\\x00", "NULL", "x" * 4096]
    facts = [
        Facts(source=name, digest=f"{row:064x}", camera=name[:500], person=name[:500], tags=(name[:500], "{a,b}"))
        for row, name in enumerate(names)
    ]
    assert len(gallery.add(facts, vectors).new) == 6
    for row, name in enumerate(names):
        named = Filter(cameras=(name[:500],), people=(name[:500],), tags=(name[:500], "{a,b}"))
        (match,) = gallery.search(vectors[:1], 9, named)[0]
        assert (match.source, match.tags) == (name, facts[row].tags)
    assert gallery.erase(Filter(people=(names[0],))) == 1
    for name in ("caf\udce9", "a\0b"):
        with pytest.raises(InputError, match="is no name of a camera, a person or a tag"):
            Filter(tags=(name,))


NFC, NFD = "Zoë", "Zoe\u0308"


def test_a_name_is_found_in_either_form_of_unicode(gallery, people):
    vectors, facts, _ = people(4)
    decomposed = {"person": NFD, "camera": NFD, "tags": (NFD,), "source": f"{NFD}.jpg"}
    gallery.add([dataclasses.replace(facts[0], **decomposed)], vectors[:1])
    (entry,) = gallery.page().entries
    assert (entry.person, entry.camera, entry.tags, entry.source) == (NFC, NFC, (NFC,), f"{NFC}.jpg")
    gallery._add([dataclasses.replace(facts[1], **decomposed)], vectors[1:2], [None])  # as before names were composed
    assert gallery.page(after=1).entries[0].person == NFD
    for name in (NFC, NFD):
        for where in (Filter(people=(name,)), Filter(cameras=(name,)), Filter(tags=(name,))):
            assert gallery.count(where) == 2
        keys = {(f"{name}.jpg", each.digest) for each in facts[:2]}
        assert gallery.known([*keys, (f"{name}.jpg", "0" * 64)]) == keys
    assert gallery.add([dataclasses.replace(each, **decomposed) for each in facts[:2]], vectors[:2]).known == 2
    assert [match.id for match in gallery.search(vectors[:1], 5, by_person=True)[0]] == [1]
    ideograph = "\ufa19"  # that both forms write as another letter
    gallery._add([dataclasses.replace(facts[2], person=ideograph)], vectors[2:3], [None])
    assert gallery.count(Filter(people=(ideograph,))) == 1
    assert gallery.erase(Filter(people=(NFC,))) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Filter(people="anna"), r"people is 'anna'; give several, such as \('anna',\)"),
        (lambda: Filter(cameras=3), "cameras is 3; give several"),
        (lambda: Filter(tags=(3,)), "tags holds 3; give texts"),
        (lambda: Filter(ids=("3",)), "ids hold what is no whole number"),
        (lambda: Filter(ids=(3.5,)), "ids hold what is no whole number"),
        (lambda: Filter(until=float("nan")), "until is nan"),
        (lambda: Filter(since="2026-11-29"), "since is '2026-11-29'; give seconds since 1970"),
        (lambda: Facts(source="a", digest="0" * 64, tags="vip"), "tags is 'vip'; give several"),
        (lambda: Facts(source="a", digest="0" * 64, camera=3), "camera is 3; give a text"),
        (lambda: Facts(source="a", digest="0" * 64, time="noon"), "time is 'noon'; give seconds since 1970"),
    ],
)
def test_values_of_another_type_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_of_numpy_and_lists_are_taken(filled, people):
    gallery = filled.gallery
    assert Filter(people=["anna"]) == Filter(people=("anna",))
    assert gallery.count(Filter(people=["person 0.2"], ids=np.array([7, 8]), since=np.float32(3))) == 1
    assert gallery.crop(np.int64(1)) == filled.crops[0]
    assert gallery.vectors(np.array([2, 3]))[0].tolist() == [2, 3]
    assert gallery.page(after=np.int64(58), limit=np.int64(1)).after == 59
    vectors, facts, _ = people(1, seed=3)
    gallery.add([dataclasses.replace(facts[0], time=np.float32(3))], vectors)
    assert gallery.page(after=60).entries[0].time == 3.0


def test_vectors_that_are_none_are_refused(gallery, people):
    vectors, facts, _ = people(3)
    vectors[1] *= 1.5
    with pytest.raises(InputError, match=r"1 of 3 vectors are not of norm 1, such as row 1 \(norm 1\.5\)"):
        gallery.add(facts, vectors)
    vectors[1] = np.nan
    with pytest.raises(InputError, match="norm nan"):
        gallery.search(vectors, 1)
    with pytest.raises(InputError, match=r"shape \[3, 9\], but the gallery has \[n, 10\]"):
        gallery.search(vectors[:, :9], 1)
    with pytest.raises(InputError, match="k is 0; it takes a whole number from 1 to 10,000"):
        gallery.search(vectors[:1], 0)


def test_several_writers_and_readers_at_once(address, extractor, people):
    vectors, facts, crops = people(96)
    with open_gallery(address, extractor, create=True) as gallery:
        gallery.add(*people(3, seed=5)[1::-1])
    failed = []

    def write(first):
        try:
            with open_gallery(address, extractor) as gallery:
                for start in range(first, 96, 24):
                    part = slice(start, start + 16)  # the next writer adds some of these too
                    gallery.add(facts[part], vectors[part], crops[part])
                    matches = gallery.search(vectors[start : start + 1], 1)[0]
                    assert (matches[0].source, matches[0].distance) == (facts[start].source, 0)
                    gallery.erase(Filter(ids=(first // 8 + 1,)))
        except BaseException as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=[first]) for first in (0, 8, 16)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert not failed
    with open_gallery(address) as gallery:
        assert gallery.check() == []
        entries = gallery.page(limit=1000).entries
        assert len({entry.key for entry in entries}) == len(entries) == 96
        found, held = gallery.vectors([entry.id for entry in entries])
        by_source = {each.source: row for row, each in enumerate(facts)}
        np.testing.assert_array_equal(held, vectors[[by_source[entry.source] for entry in entries]])
