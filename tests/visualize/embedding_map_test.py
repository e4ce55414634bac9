"""The embedding map: which items it shows, where, in which colours, and its files."""

import csv
import json
import os
import sys

import numpy as np
import pytest
from made_evaluation import crowd

from reid_jax.errors import InputError
from reid_jax.visualize.drawing import TITLE
from reid_jax.visualize.embedding_map import choose_items, groups, map_items, project
from reid_jax.visualize.embedding_map_figure import map_figure, write_map

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def evaluation():
    return crowd()[2]


@pytest.fixture(scope="module")
def shown(evaluation):
    return map_items(evaluation.query, evaluation.gallery, items=40, identities=5)


def test_items_of_the_coloured_identities_come_first_and_whole():
    query = np.array([1, 2, 3, 4, 9])
    gallery = np.array([1, 1, 2, 2, 3, 0, 0, 0, 0, 0])
    rows, colored = choose_items(query, gallery, items=8, identities=2)
    assert len(colored) == 2
    assert set(colored) <= {1, 2, 3}  # 4 and 9 have no gallery items, 0 is a distractor
    identity = np.concatenate([query, gallery])
    for number in colored:
        assert set(np.flatnonzero(identity == number)) <= set(rows.tolist())
    assert len(rows) == len(set(rows.tolist())) == 8
    assert (np.diff(rows) > 0).all()
    again = choose_items(query, gallery, items=8, identities=2)
    assert again[0].tolist() == rows.tolist()
    assert again[1] == colored
    drawn = {choose_items(query, gallery, items=8, identities=2, seed=seed)[1] for seed in range(20)}
    assert drawn == {(1, 2), (1, 3), (2, 3)}
    assert len(choose_items(query, gallery, items=1000)[0]) == 15


def test_more_items_than_there_is_room_for_are_drawn_from_one_identity():
    rows, colored = choose_items(np.ones(5, int), np.ones(100, int), items=20)
    assert len(rows) == 20
    assert colored == (1,)


def test_the_projection_is_repeatable_and_keeps_neighbours(capsys):
    centre = np.eye(6, 16, dtype=np.float32)
    label = np.repeat(np.arange(6), 8)
    embedding = centre[label] + 0.02 * np.random.default_rng(0).normal(size=(48, 16)).astype(np.float32)
    position = project(embedding)
    assert capsys.readouterr().err == "placing 48 descriptors on a plane (t-SNE)\n"
    np.testing.assert_array_equal(position, project(embedding))
    distance = np.linalg.norm(position[:, None] - position, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (label[distance.argmin(1)] == label).all()
    for few in (8, 9):
        assert np.isfinite(project(embedding[:few])).all()
    assert np.isfinite(project(np.ones((10, 4), np.float32))).all()


def test_a_map_has_each_item_in_one_group(shown):
    assert len(shown) == 40
    for color in ("identity", "camera"):
        rows = np.concatenate([rows for _, rows in groups(shown, color)])
        assert sorted(rows.tolist()) == list(range(40))
    named = dict(groups(shown, "identity"))
    assert [name for name in named if name] == [str(number) for number in shown.colored]
    for number in shown.colored:
        assert (shown.identity[named[str(number)]] == number).all()
    assert not np.isin(shown.identity[named[None]], shown.colored).any()
    unknown = groups(type(shown)(**{**vars(shown), "camera": np.full(40, -1)}), "camera")
    assert [name for name, _ in unknown] == ["unknown"]


def test_the_figure_marks_groups_and_queries(shown):
    (axes,) = map_figure(shown).axes
    drawn = {one.get_gid(): one for one in axes.collections if one.get_gid()}
    for number, (_, rows) in enumerate(groups(shown, "identity")):
        points = drawn[f"points-{number}"]
        np.testing.assert_allclose(points.get_offsets(), shown.position[rows], rtol=1e-6)
        dark = [tuple(np.round(255 * edge[:3])) == (34, 34, 34) for edge in points.get_edgecolors()]
        assert TITLE == "#222222"
        assert np.broadcast_to(dark, len(rows)).tolist() == (shown.side[rows] == "query").tolist()
    assert len({tuple(one.get_facecolor()[0]) for one in drawn.values()}) == len(drawn)


def test_files_hold_coordinates_and_names(shown, tmp_path):
    write_map(tmp_path / "map.png", shown, "camera")
    assert sorted(os.listdir(tmp_path)) == ["map.png", "map.png.csv", "map.png.json"]
    held = json.loads((tmp_path / "map.png.json").read_text(encoding="utf-8"))
    assert held["color"] == "camera"
    assert held["identities"] == list(shown.colored)
    with (tmp_path / "map.png.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    for i, (item, line) in enumerate(zip(held["items"], lines, strict=True)):
        assert item["name"] == line["name"] == shown.name[i]
        assert (int(line["identity"]), int(line["camera"])) == (shown.identity[i], shown.camera[i])
        assert item["side"] == shown.side[i]
        np.testing.assert_allclose([item["x"], float(line["y"])], shown.position[i], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": 7}, "map of 7 items"),
        ({"identities": 0}, "0 identities in colour"),
        ({"identities": 43}, "1 to 42"),
    ],
)
def test_numbers_out_of_range_are_named(evaluation, options, message):
    with pytest.raises(InputError, match=message):
        map_items(evaluation.query, evaluation.gallery, **options)


def test_what_is_missing_is_named(shown, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="7 items has no neighbourhoods"):
        project(np.zeros((7, 3)))
    with pytest.raises(InputError, match="not finite"):
        project(np.full((9, 3), np.nan))
    with pytest.raises(InputError, match="coloured by 'shoes'"):
        write_map(tmp_path / "a.png", shown, "shoes")
    with pytest.raises(InputError, match="let it end in .png"):
        write_map(tmp_path / "a.pdf", shown)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(InputError, match=r"scikit-learn.*pip install 'reid_jax\[plot\]'"):
        project(np.random.default_rng(0).normal(size=(9, 3)))
    assert not os.listdir(tmp_path)
