"""Starting from another run's weights: what is taken over, what stays, and what is refused."""

import jax
import numpy as np
import pytest
from made_variables import made_variables

from reid_jax import config as run_config
from reid_jax.data.split import Split
from reid_jax.errors import InputError
from reid_jax.models.registry import network_of
from reid_jax.training.init_from import people_digest, start_from
from reid_jax.weights import Weights, load_weights, save_weights


def settings(**model):
    config = run_config.default()
    config.model.name = "nano"
    config.model.stem, config.model.widths, config.model.repeats = 8, (16, 16, 32), (1, 1, 1)
    config.model.update(model)
    config.image_size = (64, 32)
    return config


def variables(config, identities, seed):
    """Random numbers in the shapes of the network: nothing is compiled."""
    return made_variables(network_of(config, identities), (64, 32), seed)


@pytest.fixture
def stored(tmp_path):
    """stored(config, identities) -> the variables saved, and the config of a run that starts from them."""

    def save(config, identities, people="", **changes):
        theirs = variables(config, identities, seed=1)
        save_weights(tmp_path / "a.safetensors", Weights(config, identities, theirs, people=people))
        mine = settings()
        mine.update(changes)
        mine.init_from = str(tmp_path / "a.safetensors")
        return theirs, mine

    return save


def start(config, fresh, people=""):
    return start_from(config, load_weights(config.init_from), fresh, people)


def classifiers(tree):
    return {key: value for key, value in tree["params"].items() if key.startswith("classifier_")}


def others(tree):
    return {**tree, "params": {k: v for k, v in tree["params"].items() if not k.startswith("classifier_")}}


def test_the_same_people_bring_their_classifiers(stored):
    theirs, config = stored(settings(), 5)
    taken, line = start(config, variables(config, 5, seed=2))
    jax.tree.map(np.testing.assert_array_equal, taken, theirs)
    assert line.endswith("a.safetensors")


@pytest.mark.parametrize(
    ("identities", "changes"), [(7, {}), (0, {}), (5, {"dataset": "msmt17"}), (5, {"val_identities": 3})]
)
def test_classifiers_of_other_people_stay_as_initialised(stored, identities, changes):
    theirs, config = stored(settings(), identities, **changes)
    fresh = variables(config, 5, seed=2)
    taken, line = start(config, fresh)
    jax.tree.map(np.testing.assert_array_equal, others(taken), others(theirs))
    jax.tree.map(np.testing.assert_array_equal, classifiers(taken), classifiers(fresh))
    assert "classifier_global/kernel" in line
    assert line.endswith("as initialised")


@pytest.mark.parametrize(
    ("changes", "people", "taken_over"),
    [({"dataset": "msmt17"}, "a1", True), ({}, "b2", False), ({}, "", True), ({"dataset": "msmt17"}, "", False)],
)
def test_the_digest_of_the_people_decides_where_both_have_one(stored, changes, people, taken_over):
    theirs, config = stored(settings(), 5, people="a1", **changes)
    fresh = variables(config, 5, seed=2)
    taken, line = start(config, fresh, people)
    jax.tree.map(np.testing.assert_array_equal, classifiers(taken), classifiers(theirs if taken_over else fresh))
    assert ("as initialised" in line) != taken_over


def test_classifiers_of_another_shape_stay_though_the_people_are_said_to_be_the_same(stored):
    theirs, config = stored(settings(), 7, people="a1")
    taken, line = start(config, variables(config, 5, seed=2), "a1")
    jax.tree.map(np.testing.assert_array_equal, others(taken), others(theirs))
    assert line.endswith("as initialised")


def people(names, identity, seed=0):
    """A split of images of noise, drawn by name: the same wherever the name stands."""
    image = [np.random.default_rng([seed, *name.encode()]).integers(0, 256, (4, 2, 3), np.uint8) for name in names]
    zeros = np.zeros(len(names), np.int32)
    return Split(np.stack(image), np.array(identity, np.int32), zeros, zeros, zeros, np.array(names))


def test_the_digest_is_of_the_people_whatever_their_order_and_further_images():
    digest = people_digest(people(["a", "b", "c"], [3, 5, 9]))
    assert len(digest) == 64
    assert people_digest(people(["c", "a", "b"], [9, 3, 5])) == digest
    assert people_digest(people(["a", "b", "c", "d"], [3, 5, 9, 5])) == digest  # one more image of a person
    for others in (
        people(["a", "b"], [3, 5]),
        people(["a", "b", "c"], [5, 3, 9]),  # other classes
        people(["a", "b", "x"], [3, 5, 9]),
        people(["a", "b", "c"], [3, 5, 9], seed=1),  # who share their names
    ):
        assert people_digest(others) != digest


def test_what_a_preset_says_anyway_makes_no_other_network(stored):
    theirs, config = stored(settings(block="shuffle", pooling="gem"), 5)
    config.model.dtype = "bfloat16"
    taken, _ = start(config, variables(config, 5, seed=2))
    jax.tree.map(np.testing.assert_array_equal, taken, theirs)


@pytest.mark.parametrize(
    ("model", "word"), [({"pooling": "max"}, "model.pooling"), ({"widths": (16, 16, 16)}, "model.widths")]
)
def test_another_network_is_refused_by_its_field(stored, model, word):
    _, config = stored(settings(**model), 5)
    with pytest.raises(InputError, match=rf"another network \(its config differs in {word}\)"):
        start(config, variables(config, 5, seed=2))


def test_another_image_size_is_taken_and_told(stored):
    theirs, config = stored(settings(), 5)
    config.image_size = (96, 32)
    taken, line = start(config, variables(config, 5, seed=2))
    jax.tree.map(np.testing.assert_array_equal, taken, theirs)
    assert "learnt from images of 64x32, goes on with 96x32" in line


def test_parameters_of_another_shape_are_refused(stored):
    theirs, config = stored(settings(), 5)
    fresh = variables(config, 5, seed=2)
    fresh["params"]["fc_global"] = jax.tree.map(lambda leaf: leaf[..., :4], fresh["params"]["fc_global"])
    with pytest.raises(
        InputError, match=r"has fc_global/.* as \[.*\], this run as \[.*4\]; its images were of \(64, 32\)"
    ):
        start(config, fresh)
