"""Weights files: bit-equal round trip, and one line about whatever is not one."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from made_variables import made_variables
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from reid_jax import config
from reid_jax.errors import InputError
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.registry import network_of
from reid_jax.swag import Moments
from reid_jax.weights import Weights, _require_room, load_weights, save_weights


@pytest.fixture(scope="module")
def weights() -> Weights:
    """A tiny network whose arrays are random numbers: nothing is compiled."""
    settings = config.default()
    settings.model.name = "nano"
    settings.model.stem, settings.model.widths, settings.model.repeats = 8, (16, 16, 32), (1, 1, 1)
    settings.image_size, settings.seed = (64, 32), 7
    network = network_of(settings, 5)
    return Weights(settings, 5, made_variables(network, (64, 32)))


@pytest.fixture
def traced(weights, monkeypatch):
    """The arrays of the network, known without building it once more for each case."""
    leaves = jax.tree_util.tree_leaves_with_path(weights.variables)
    expected = {jax.tree_util.keystr(k, simple=True, separator="/"): ("F32", leaf.shape) for k, leaf in leaves}
    monkeypatch.setattr("reid_jax.weights._expected", lambda *_: expected)


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


def test_half_precision_rounds_the_parameters_alone_and_is_read_as_float32(weights, saved, tmp_path, traced):
    save_weights(tmp_path / "half.safetensors", weights, half=True)
    again = load_weights(tmp_path / "half.safetensors")
    assert {leaf.dtype for leaf in jax.tree.leaves(again.variables)} == {np.dtype(np.float32)}
    jax.tree.map(np.testing.assert_array_equal, again.variables["batch_stats"], weights.variables["batch_stats"])
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf).astype(np.float16), weights.variables["params"])
    jax.tree.map(np.testing.assert_array_equal, again.variables["params"], rounded)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(weights.variables["params"]))
    assert saved.stat().st_size - (tmp_path / "half.safetensors").stat().st_size > 1.9 * numbers

    def single(arrays, header):
        key = first(arrays, "conv1/kernel")
        arrays[key] = arrays[key].astype(np.float32)

    with pytest.raises(InputError, match=r"conv1/kernel is .* F32, but .* wants \(3, 3, 3, 8\) F16"):
        load_weights(rewritten(tmp_path / "half.safetensors", single))


def test_the_digest_of_the_people_is_kept_and_files_without_one_are_read(weights, saved, tmp_path, traced):
    assert load_weights(saved).people == ""
    save_weights(tmp_path / "b.safetensors", dataclasses.replace(weights, people="a1"))
    assert load_weights(tmp_path / "b.safetensors").people == "a1"


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


def test_wrong_missing_and_surplus_arrays_are_named(saved, traced):
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


IDENTITIES = '{"config": {}, "identities": %s}'


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "its header is no JSON"),
        ("", "its header is no JSON"),
        ('{"config": {}, "identities": 1, "identities": 2}', "the key 'identities' stands twice"),
        ("[" * 100_000, "its header is nested deeper than 32 levels"),
        (f'{{"config": {"[" * 50 + "]" * 50}, "identities": 1}}', "its header is nested deeper than 32 levels"),
        (IDENTITIES % ("9" * 5000), "its header is no JSON .*digits"),
        *((text, "its header has no readable config and identities") for text in ("[]", "{}", "5", '{"config": {}}')),
        *(
            (IDENTITIES % number, "its header has no readable config and identities")
            for number in ('"many"', "-1", "1.5", "true", "null", "[1]", "1e3")
        ),
        *((IDENTITIES % number, f"its header is no JSON .it holds {number}") for number in ("Infinity", "NaN")),
        ('{"config": 5, "identities": 1}', "its header has no readable config and identities"),
        ('{"config": {}, "identities": 1, "people": 5}', "its header has no readable config and identities"),
        (IDENTITIES % 10**12, "identities is 1000000000000; it takes"),
        ('{"config": {"seed": "x"}, "identities": 1}', r"a\.safetensors: the stored config has seed='x'"),
        (
            '{"config": {"model": {"name": "resnet"}}, "identities": 1}',
            "model.name is 'resnet'; it takes one of",
        ),
        ('{"config": {"model": {"name": "no_such:Net"}}, "identities": 1}', "there is no module no_such"),
        ('{"config": {"model": {"name": "os:system"}}, "identities": 1}', "os is a module of Python's own"),
        ('{"config": {"model": {"name": 5}}, "identities": 1}', "model.name='5'; it takes the name of a network"),
        ('{"config": {"speed": 1}, "identities": 1}', r"a\.safetensors: the stored config has an unknown key 'speed'"),
    ],
)
def test_a_damaged_header_is_refused(saved, text, match):
    with pytest.raises(InputError, match=match) as caught:
        load_weights(rewritten(saved, lambda arrays, header: header.update(reid_jax=text)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


OUT_OF_RANGE = r"config\.model\.\w+ is .*; it takes"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("repeats", [20_000, 1, 1], OUT_OF_RANGE),
        ("repeats", [1, 10**30, 1], OUT_OF_RANGE),
        ("repeats", [1, 60, 1], "repeats ask for at least [0-9,]+ arrays, and the file has"),
        ("stem", 10**9, OUT_OF_RANGE),
        ("widths", [10**9, 16, 32], OUT_OF_RANGE),
        ("widths", [16, 16, 8_192], "widths asks for at least 16,777,216 numbers"),
        ("global_width", 10**12, OUT_OF_RANGE),
        ("local_width", 10**12, OUT_OF_RANGE),
    ],
)
def test_sizes_beyond_what_the_file_holds_are_refused_before_anything_is_built(saved, field, value, said, monkeypatch):
    def claim(arrays, header):
        values = json.loads(header["reid_jax"])
        values["config"]["model"][field] = value
        header["reid_jax"] = json.dumps(values)

    monkeypatch.setattr(jax, "eval_shape", lambda *_: pytest.fail("the network was traced"))
    with pytest.raises(InputError, match=said):
        load_weights(rewritten(saved, claim))


@pytest.mark.parametrize(("name", "regions"), [("nano", True), ("nano", False), ("hacnn", True)])
def test_a_network_has_room_in_its_own_file(name, regions):
    settings = config.default()
    settings.model.name, settings.model.regions = name, regions
    network = network_of(settings, 751)
    tree = jax.eval_shape(
        lambda i: network.init(jax.random.key(0), i, train=True), jax.ShapeDtypeStruct((2, 160, 64, 3), np.float32)
    )
    _require_room(network, {str(n): ("F32", leaf.shape) for n, leaf in enumerate(jax.tree.leaves(tree))})


def test_a_derived_network_with_a_pass_of_its_own_may_be_smaller():
    class Own(AttentionNetwork):
        def __call__(self, image, train):
            raise NotImplementedError

    class Derived(AttentionNetwork):
        pass

    _require_room(Own(0), {"layer": ("F32", (8,))})
    with pytest.raises(InputError, match="asks for at least"):
        _require_room(Derived(0), {"layer": ("F32", (8,))})


def first(arrays, ending):
    return next(key for key in arrays if key.endswith(ending))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ending", ["conv1/kernel", "norm/scale", "norm/mean", "norm/var", "log_scale"])
def test_numbers_that_are_not_finite_are_refused(saved, traced, number, ending):
    def spoil(arrays, header):
        arrays[first(arrays, ending)][...] = number

    with pytest.raises(InputError, match=rf"array \S+{ending} has \d+ of [\d,]+ numbers that are not finite"):
        load_weights(rewritten(saved, spoil))


def test_negative_variances_are_refused(saved, traced):
    def spoil(arrays, header):
        arrays[first(arrays, "norm/var")][0] = -1e-3

    with pytest.raises(InputError, match=r"array batch_stats/\S+/var is a variance, and its least number is -0.001"):
        load_weights(rewritten(saved, spoil))


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.float16, np.uint32, np.bool_])
def test_other_types_are_refused(saved, traced, dtype):
    def spoil(arrays, header):
        key = first(arrays, "conv1/kernel")
        arrays[key] = arrays[key].astype(dtype)

    with pytest.raises(InputError, match=r"array params/conv1/kernel is .* [BFIU]\w+, but .* wants \(3, 3, 3, 8\) F32"):
        load_weights(rewritten(saved, spoil))


def test_an_array_where_others_have_a_folder(saved, traced):
    with pytest.raises(InputError, match=r"array params/conv1 is \(1,\) F32, but the network of its config wants none"):
        load_weights(rewritten(saved, lambda arrays, header: arrays.update({"params/conv1": np.ones(1, np.float32)})))


def moments_of(weights):
    params = weights.variables["params"]
    deviations = jax.tree.map(lambda a: np.ones((2, *a.shape), np.float32), params)
    return Moments(np.int32(3), params, jax.tree.map(np.ones_like, params), deviations)


def test_moments_are_held_to_the_same(weights, tmp_path):
    path = tmp_path / "swag.safetensors"
    with_moments = dataclasses.replace(weights, moments=moments_of(weights))
    save_weights(path, with_moments)
    again = load_weights(path).moments
    assert again.count == 3
    assert jax.tree.structure(again.deviations) == jax.tree.structure(with_moments.moments.deviations)
    whole = path.read_bytes()

    def negative(arrays, header):
        arrays["swag/variance/conv1/kernel"][0] = -1

    def of_other_rank(arrays, header):
        arrays["swag/deviations/conv1/kernel"] = np.ones((3, 3, 3, 3, 8), np.float32)

    def without_axes(arrays, header):
        arrays["swag/deviations/attention1"] = np.ones((), np.float32)

    def fractional(arrays, header):
        arrays["swag/count"] = np.ones((), np.float32)

    def absent(arrays, header):
        del arrays["swag/count"]

    for change, said in (
        (negative, "swag/variance/conv1/kernel is a variance"),
        (fractional, r"swag/count is \(\) F32, but .* wants \(\) I32"),
        (absent, r"swag/count is absent, but .* wants \(\) I32"),
        (without_axes, "array swag/deviations/"),
        (of_other_rank, "array swag/deviations/"),
    ):
        path.write_bytes(whole)
        with pytest.raises(InputError, match=said):
            load_weights(rewritten(path, change))


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
