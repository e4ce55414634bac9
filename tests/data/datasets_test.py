"""Names of data sets: joined ones, unknown ones, and the registry."""

import pytest

from reid_jax.data import datasets
from reid_jax.errors import InputError


def test_plus_joins_only_before_the_name_of_a_data_set():
    assert datasets.split_names("market1501+dukemtmcreid") == ["market1501", "dukemtmcreid"]
    assert datasets.split_names("synthetic:seed=1+market1501:distractors") == [
        "synthetic:seed=1",
        "market1501:distractors",
    ]
    # A regular expression keeps its '+', and a longer word is no data set's name.
    assert datasets.split_names(r"market1501:x=\d+/marketing+") == [r"market1501:x=\d+/marketing+"]
    assert datasets.check_name("synthetic+synthetic:seed=2") == ["synthetic", "synthetic:seed=2"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("market", "unknown data set 'market'"),
        ("Market1501", "unknown data set 'Market1501'; did you mean market1501"),
        ("market1501+dukemtmc-reid", "unknown data set 'dukemtmc-reid'; did you mean dukemtmcreid"),
        ("x" * 5000, "unknown data set 'x+…x+'; known"),
        ("", "unknown data set ''; known: market1501"),
    ],
)
def test_unknown_names_list_the_known_ones(name, said):
    with pytest.raises(InputError, match=said):
        datasets.check_name(name)


def test_one_source_is_found_at_a_time(tmp_path):
    with pytest.raises(InputError, match="joins 2 data sets"):
        datasets.find_source("market1501+dukemtmcreid", tmp_path)


@pytest.mark.parametrize("name", ["market1501", "mars", r"regex:(?P<identity>\d+)\.jpg", "csv:people.csv"])
def test_the_home_of_no_user_is_no_place_for_data(name):
    with pytest.raises(InputError, match="~nobody-of-this-name/data"):
        datasets.find_source(name, "~nobody-of-this-name/data")
