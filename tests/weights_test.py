"""Weights files: bit-equal round trip, and one line about whatever is not one."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from reid_jax import config
from reid_jax.errors import InputError
from reid_jax.weights import Weights, load_weights, network_of, save_weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    """A tiny network whose arrays are random numbers: nothing is compiled."""
    settings = config.default()
    settings.model.name = "nano"
    settings.model.stem, settings.model.widths, settings.model.repeats = 8, (16, 16, 32), (1, 1, 1)
    settings.image_size, settings.seed = (64, 32), 7
    network = network_of(settings, 5)
    image = jax.ShapeDtypeStruct((2, 64, 32, 3), np.float32)
    shapes = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    random = np.random.default_rng(0)
    arrays = jax.tree.map(lambda leaf: np.asarray(random.normal(size=leaf.shape), np.float32), shapes)
    return Weights(settings, 5, {"params": arrays["params"], "batch_stats": arrays["batch_stats"]})


@pytest.fixture
def saved(weights, tmp_path):
    save_weights(tmp_path / "deep" / "a.safetensors", weights)
    return tmp_path / "deep" / "a.safetensors"


def rewritten(path, change):
    """Writes what `change` makes of (arrays, header) back to `path`."""
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
    arrays = load_file(path)
    change(arrays, header)
    save_file(arrays, path, header)
    return path


def test_round_trip_is_bit_equal_header_included(weights, saved):
    again = load_weights(saved)
    assert again.config == weights.config
    assert again.identities == 5
    assert again.network == weights.network
    assert jax.tree.structure(again.variables) == jax.tree.structure(weights.variables)
    for one, other in zip(jax.tree.leaves(again.variables), jax.tree.leaves(weights.variables), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_scalars_stay_scalars(weights, saved):
    shapes = {leaf.shape for leaf in jax.tree.leaves(weights.variables)}
    assert () in shapes  # the logits' scale
    assert any(array.shape == () for array in load_file(saved).values())


def test_arrays_laid_out_by_column_keep_their_values(weights, tmp_path):
    turned = jax.tree.map(np.asfortranarray, weights.variables)
    turned = jax.tree.map(lambda a, b: a.reshape(b.shape, order="A"), turned, weights.variables)
    save_weights(tmp_path / "a.safetensors", Weights(weights.config, 5, turned))
    again = load_weights(tmp_path / "a.safetensors")
    for one, other in zip(jax.tree.leaves(again.variables), jax.tree.leaves(turned), strict=True):
        np.testing.assert_array_equal(one, other)


def test_any_safetensors_reader_opens_the_file(saved):
    with safe_open(saved, framework="numpy") as file:
        assert json.loads(file.metadata()["reid_jax"])["config"]["seed"] == 7
        assert any(key.startswith("params/conv1/") for key in file.keys())  # noqa: SIM118 - not a dict


def test_the_same_weights_make_the_same_bytes(weights, saved, tmp_path):
    for _ in range(5):
        save_weights(tmp_path / "b.safetensors", weights)
        assert (tmp_path / "b.safetensors").read_bytes() == saved.read_bytes()


def test_wrong_missing_and_surplus_arrays_are_named(saved):
    whole = saved.read_bytes()
    key = next(name for name in load_file(saved) if name.endswith("kernel"))

    def wrong_shape(arrays, header):
        arrays[key] = np.zeros((2, 2), np.float32)

    def missing(arrays, header):
        del arrays[key]

    def surplus(arrays, header):
        arrays["params/extra"] = np.zeros(3, np.float32)

    for change, words in (
        (wrong_shape, rf"{key} is \(2, 2\)"),
        (missing, f"{key} is absent"),
        (surplus, r"params/extra is \(3,\).*wants none"),
    ):
        saved.write_bytes(whole)
        with pytest.raises(InputError, match=words):
            load_weights(rewritten(saved, change))


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"conv1.weight": np.zeros((2, 2), np.float32)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign\.safetensors.*not one of reid_jax's.*convert"):
        load_weights(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": {}}', '{"config": {}, "identities": "many"}'])
def test_a_damaged_header_is_refused(saved, text):
    with pytest.raises(InputError, match="header has no readable config and identities"):
        load_weights(rewritten(saved, lambda arrays, header: header.update(reid_jax=text)))


def test_what_is_no_weights_file_is_named(saved, tmp_path):
    (tmp_path / "notes.txt").write_text("weights\n")
    (tmp_path / "cut.safetensors").write_bytes(saved.read_bytes()[:1000])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("notes.txt", "cut.safetensors", "empty.safetensors"):
        with pytest.raises(InputError, match=rf"{name} is no readable safetensors file") as caught:
            load_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"absent\.safetensors does not exist"):
        load_weights(tmp_path / "absent.safetensors")


def test_folders_are_told_apart(weights, tmp_path):
    with pytest.raises(InputError, match=r"is no workdir of a run: it has no config\.json"):
        load_weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no weights\.safetensors yet: its run has not ended"):
        load_weights(tmp_path)
    save_weights(tmp_path / "weights.safetensors", weights)
    assert load_weights(tmp_path).config.seed == 7
