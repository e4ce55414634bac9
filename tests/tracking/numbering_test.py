"""The order of numbered names, and what counts them."""

import random

import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.numbering import by_number, in_order


def test_names_sort_by_the_numbers_in_them():
    names = ["1/2.jpg", "1/10.jpg", "a2_9.jpg", "a2_10.jpg", "a9.jpg", "a10.jpg", "a010b.jpg", "b", "b" + 5000 * "7"]
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=by_number) == names


@pytest.mark.parametrize(
    "name", ["frame_{}_1080p.jpg", "{}_cam2.jpg", "a_{}_of_100.jpg", "{:06d}.png", "frame_{}_jpg.rf.{hash}.jpg", "f.{}"]
)
def test_the_number_that_varies_counts_wherever_it_stands(name):
    hashes = random.Random(1)

    def named(number):
        return name.format(number, hash=f"{hashes.getrandbits(64):x}")

    names = [named(number) for number in range(1, 13)]
    assert in_order(random.Random(0).sample(names, 12), "here", "mend it") == names
    lacking = [each for number, each in enumerate(names, 1) if number != 7]
    with pytest.raises(InputError, match="here lacks frames in 1 place.*; mend it") as caught:
        in_order(lacking, "here", "mend it")
    assert f"between {names[5]} and {names[7]}" in str(caught.value)


def test_a_counter_behind_a_time_counts():
    names = [f"{1700000000000 + round(number * 1000 / 30)}_{number:06d}.png" for number in range(1, 31)]
    assert in_order(reversed(names), "here", "mend it") == names
    with pytest.raises(InputError, match="here lacks frames in 1 place"):
        in_order(names[:8] + names[9:], "here", "mend it")


@pytest.mark.parametrize("copy", ["frame_0004_copy.jpg", "frame_4.jpg", "frame_0004.png"])
def test_a_frame_that_is_there_twice_is_told(copy):
    names = [*(f"frame_{number:04d}.jpg" for number in range(1, 11)), copy]
    with pytest.raises(InputError, match=f"here has frame frame_0004.jpg and {copy}|here has frame {copy} and frame"):
        in_order(names, "here", "mend it")


@pytest.mark.parametrize(
    "names",
    [
        ["c1_1", "c1_2", "c1_3", "c1_7", "c2_1", "c2_2"],  # two cameras
        ["10-15-57", "10-15-58", "10-15-59", "10-16-00", "10-18-00"],
        ["1", "2", "3", "7", "cover"],
        ["a1", "a2", "a3", "a7", "b"],
        [],
        ["7"],
    ],
)
def test_where_no_number_counts_nothing_is_missing(names):
    assert in_order(reversed(names), "here", "mend it") == names
