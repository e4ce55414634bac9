"""Checkpoints: the latest and the best stay, a new process finds them and their metric, and damage is noticed."""

import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax import parallel
from reid_jax.errors import InputError
from reid_jax.training.checkpoint import Checkpoints, has_checkpoint, recover
from reid_jax.training.state import TrainState


def state(step):
    return TrainState(jnp.int32(step), {"kernel": jnp.full(3, step, jnp.float32)}, {}, {})


def saved(folder, scores, keep=2):
    """Saves one checkpoint a step of `scores` (None: without a metric), as a run does, and ends."""
    checkpoints = Checkpoints(folder, keep)
    for step, score in scores.items():
        checkpoints.save(state(step), score)
    checkpoints.close()
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_latest_stay_and_the_best_besides(tmp_path):
    assert saved(tmp_path, {5: None, 10: 0.5, 15: None, 20: 0.3, 30: 0.2, 33: None}) == [10, 30, 33]
    assert saved(tmp_path, {40: 0.1, 50: 0.6, 60: 0.1, 70: None}) == [50, 60, 70]
    assert saved(tmp_path, {80: 0.6, 90: None, 100: None}) == [50, 90, 100]  # of equals the earliest


def test_without_a_metric_only_the_latest_stay(tmp_path):
    assert saved(tmp_path, {10: None, 20: None, 30: None}) == [20, 30]
    assert Checkpoints(tmp_path, 2).scores() == {}


def test_a_new_process_restores_the_latest_and_knows_the_scores(tmp_path):
    saved(tmp_path, {10: 0.5, 20: 0.3, 30: None})
    checkpoints = Checkpoints(tmp_path, 2)
    assert (checkpoints.latest, checkpoints.scores()) == (30, {10: 0.5, 20: 0.3})
    mesh = parallel.create_mesh()
    restored = checkpoints.restore(state(0), mesh)
    assert restored.step == 30
    np.testing.assert_array_equal(restored.params["kernel"], [30, 30, 30])
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(restored))


def test_an_empty_folder_has_none(tmp_path):
    checkpoints = Checkpoints(tmp_path, 2)
    assert (checkpoints.latest, checkpoints.scores()) == (None, {})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder of the checkpoints 10 (the best), 20 and 30."""
    folder = tmp_path_factory.mktemp("kept") / "checkpoints"
    saved(folder, {10: 0.5, 20: 0.3, 30: None})
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(kept, tmp_path / "checkpoints")


def arrays(folder):
    return max(
        (path for path in (folder / "default").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def copied_from_another_step(folder):
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("20"), folder)


def a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("30")


DAMAGES = {
    "emptied": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    "a file": a_file,
    "another step's": copied_from_another_step,
    "arrays cut": lambda folder: arrays(folder).write_bytes(arrays(folder).read_bytes()[:-1]),
    "arrays with one bit flipped": lambda folder: flip(arrays(folder)),
    "arrays gone": lambda folder: shutil.rmtree(folder / "default"),
    "tree flipped": lambda folder: flip(folder / "default" / "_METADATA"),
    "metrics gone": lambda folder: shutil.rmtree(folder / "metrics"),
    "metrics of another value": lambda folder: (folder / "metrics" / "metrics").write_text('{"best_by": 0.99}'),
    "Orbax's own record a list": lambda folder: (folder / "_CHECKPOINT_METADATA").write_text("[]"),
    "seal gone": lambda folder: (folder / "seal.json").unlink(),
    "seal a number": lambda folder: (folder / "seal.json").write_text("5"),
    "seal nested too deep": lambda folder: (folder / "seal.json").write_text("[" * 200_000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_newest_sound_one_taken(folder, capsys, damage):
    DAMAGES[damage](folder / "30")
    recover(folder)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"checkpoint 30 is damaged \(.+\), now damaged-30; resuming from 20", line), line
    checkpoints = Checkpoints(folder, 2)
    assert (checkpoints.latest, checkpoints.scores()) == (20, {10: 0.5, 20: 0.3})
    restored = checkpoints.restore(state(0), parallel.create_mesh())
    np.testing.assert_array_equal(restored.params["kernel"], [20, 20, 20])
    checkpoints.save(state(30), None)  # the name is free again
    checkpoints.close()
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "30", "damaged-30"]
    recover(folder)
    assert capsys.readouterr().out == ""


def test_every_damaged_one_is_told_and_none_overwrites_what_was_set_aside(folder, capsys):
    (folder / "damaged-10").mkdir()
    (folder / "99").mkdir()
    flip(folder / "10" / "metrics" / "metrics")
    recover(folder)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["10", "99"]
    assert "now damaged-10-2; resuming from 30" in lines[0]
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30", "damaged-10", "damaged-10-2", "damaged-99"]


def test_without_a_sound_one_nothing_is_touched_and_it_is_told_what_to_do(folder):
    for step in ("10", "20", "30"):
        flip(arrays(folder / step))
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match="no checkpoint in .* is sound .*10: .*20: .*30: .*put a copy .*remove that"):
        recover(folder)
    assert sorted(folder.iterdir()) == before
    for path in before:
        path.rename(path.with_name(f"damaged-{path.name}"))
    with pytest.raises(InputError, match="all are set aside as damaged-"):
        recover(folder)


def test_what_is_no_checkpoints_name_is_left_alone(folder, capsys):
    names = [".DS_Store", "040", "-5", "notes.txt", "thirty"]
    for name in names:
        (folder / name).mkdir()
    recover(folder)
    assert capsys.readouterr().out == ""
    assert Checkpoints(folder, 2).latest == 30
    assert {path.name for path in folder.iterdir()} >= set(names)


def test_a_file_for_the_folder_of_checkpoints_is_told(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    for look in (recover, has_checkpoint):
        with pytest.raises(InputError, match=r"cannot read checkpoints in .*: Not a directory"):
            look(tmp_path / "checkpoints")
    assert not has_checkpoint(tmp_path / "absent")


def test_another_tree_is_told_in_one_line(folder):
    like = TrainState(jnp.int32(0), {"kernel": jnp.zeros(3), "bias": jnp.zeros(2)}, {}, {})
    with pytest.raises(InputError, match="checkpoint 30 in .* holds another state than this version") as raised:
        Checkpoints(folder, 2).restore(like, parallel.create_mesh())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["lr[0.1]", "[x]", "a*", "what?", "{a}", "a b", "$HOME", "~", "it's", "é", "-x", "x."])
def test_any_path_holds_checkpoints(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    saved(folder, {10: 0.5, 20: 0.3})
    recover(folder)
    checkpoints = Checkpoints(folder, 2)
    assert (checkpoints.latest, checkpoints.scores()) == (20, {10: 0.5, 20: 0.3})
    assert checkpoints.restore(state(0), parallel.create_mesh()).step == 20
    moved = shutil.copytree(tmp_path / name, tmp_path / "moved") / "checkpoints"
    assert Checkpoints(moved, 2).restore(state(0), parallel.create_mesh()).step == 20
