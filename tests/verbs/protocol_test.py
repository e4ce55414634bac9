"""What the verbs that score share: which data sets they score on, each looked for once, and queries of few pixels."""

import types

import numpy as np
import pytest
from made_sets import write_set

from reid_jax import config as run_config
from reid_jax.data import datasets
from reid_jax.errors import InputError
from reid_jax.evaluate import Protocol
from reid_jax.training import data as run_data
from reid_jax.verbs.protocol import open_test, sources_to_score

SIZE = (16, 8)


@pytest.fixture
def data_dir(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    return tmp_path


@pytest.fixture
def searches(monkeypatch):
    """The names of the data sets that were looked for, in order."""
    names = []
    for key, find in dict(datasets.DATASETS).items():
        monkeypatch.setitem(datasets.DATASETS, key, lambda name, place, f=find: (names.append(name), f(name, place))[1])
    return names


def config_of(**keys):
    config = run_config.default()
    config.image_size, config.val_identities = SIZE, 0
    for key, value in keys.items():
        setattr(config, key, value)
    return config


def weights_of(**keys):
    return types.SimpleNamespace(config=config_of(**keys))


def test_a_set_is_looked_for_once_from_its_name_to_its_splits(data_dir, searches):
    (source,) = sources_to_score(weights_of(dataset="market1501"), None, data_dir)
    query, gallery, pooled = open_test(source, data_dir, SIZE, Protocol(multi_query=True))
    assert (len(query), len(gallery), pooled) == (2, 3, None)
    assert searches == ["market1501"]


def test_training_looks_for_a_set_once_for_both_sides(data_dir, searches):
    _, _, test = run_data.load_data("market1501", "", str(data_dir), SIZE, 0)
    assert [len(split) for split in test["market1501"]] == [2, 3]
    assert searches == ["market1501"]


@pytest.mark.parametrize(
    ("keys", "names", "expected"),
    [
        ({"dataset": "market1501"}, None, ["market1501"]),
        ({"dataset": "dukemtmcreid", "test_dataset": "market1501"}, None, ["market1501"]),
        ({"dataset": "dukemtmcreid"}, ["market1501", "market1501+market1501"], ["market1501"] * 3),
    ],
)
def test_sets_are_those_named_or_those_that_weights_were_trained_for(data_dir, keys, names, expected):
    assert [source.name for source in sources_to_score(weights_of(**keys), names, data_dir)] == expected


def test_sets_without_a_test_split_are_refused(data_dir):
    name = r"regex:bounding_box_train/(?P<identity>\d+)_c(?P<camera>\d).*\.jpg"
    with pytest.raises(InputError, match="has no query and gallery; name a data set that has"):
        sources_to_score(weights_of(dataset=name), None, data_dir / "Market-1501-v15.09.15")


def test_multi_query_has_images_of_its_own_where_the_set_has_them(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    folder = tmp_path / "Market-1501-v15.09.15" / "gt_bbox"
    write_set(folder.parent, {"gt_bbox": ["0003_c1s1_000451_00.jpg", "0003_c1s1_000461_00.jpg"]})
    (source,) = sources_to_score(weights_of(dataset="market1501"), None, tmp_path)
    assert len(open_test(source, tmp_path, SIZE, Protocol(multi_query=True))[2]) == 2
    assert open_test(source, tmp_path, SIZE, Protocol())[2] is None
    np.testing.assert_array_equal(open_test(source, tmp_path, SIZE, Protocol())[0].camera, [1, 6])
