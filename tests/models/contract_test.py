"""The contract of a network: what a class of one's own is told where it does not keep it, before anything runs."""

import flax.linen as nn
import jax.numpy as jnp
import pytest

from reid_jax.errors import InputError
from reid_jax.models.contract import is_classifier, require_class, require_network
from reid_jax.models.output import Output
from reid_jax.ranges import whole

SIZE = (16, 8)


class Sound(nn.Module):
    identities: int
    width: int = 4

    @property
    def streams(self):
        return (self.width,)

    def head(self, vector):
        return nn.Dense(self.identities, name="classifier")(vector)

    def output(self, vector, logits):
        return Output(vector, (vector,), logits)

    def shape(self, vector, train):
        return vector

    @nn.compact
    def __call__(self, image, train):
        vector = self.shape(nn.Dense(self.width)(image.mean((1, 2))), train)
        return self.output(vector, (self.head(vector),) if train and self.identities else ())


def test_a_sound_network_passes_with_and_without_batch_norm():
    class Normalised(Sound):
        def shape(self, vector, train):
            return nn.BatchNorm(use_running_average=not train)(vector)

    for network_class in (Sound, Normalised):
        require_class("mine:Sound", network_class)
        require_network("mine:Sound", network_class(identities=0), SIZE)


class NoModule:
    identities = 0


class NoIdentities(nn.Module):
    width: int = 4


class Bare(nn.Module):
    identities: int
    depth: int


class NoStreams(nn.Module):
    identities: int


class NoTrain(nn.Module):
    identities: int
    streams = (4,)

    def __call__(self, image):
        return image


class StrangeRange(Sound):
    RANGES = {"widht": whole(1, 9)}


@pytest.mark.parametrize(
    ("network_class", "words"),
    [
        (NoModule, "it is no flax.linen.Module"),
        (NoIdentities, "it has no field identities"),
        (Bare, "its field depth has no default"),
        (NoStreams, "it has no property streams"),
        (NoTrain, r"its __call__ does not take \(image, train\)"),
        (StrangeRange, "RANGES names 'widht', which is no field; did you mean width"),
    ],
)
def test_a_class_that_is_no_network_is_told_what_it_lacks(network_class, words):
    with pytest.raises(InputError, match=f"model.name is 'mine:Net', which is no network: .*{words}") as caught:
        require_class("mine:Net", network_class)
    assert "\n" not in str(caught.value)


class Array(Sound):
    def output(self, vector, logits):
        return vector


class Narrow(Sound):
    def output(self, vector, logits):
        return Output(vector[:, :3], (vector,), logits)


class TwoVectors(Sound):
    def output(self, vector, logits):
        return Output(vector, (vector, vector), logits)


class NoLogits(Sound):
    def output(self, vector, logits):
        return Output(vector, (vector,), ())


class Half(Sound):
    def output(self, vector, logits):
        return Output(vector.astype(jnp.bfloat16), (vector,), logits)


class Cached(Sound):
    def shape(self, vector, train):
        self.variable("cache", "last", jnp.zeros, (4,))
        return vector


class Unnamed(Sound):
    def head(self, vector):
        return nn.Dense(self.identities, name="head")(vector)


class Broken(Sound):
    def shape(self, vector, train):
        return vector + jnp.ones((7,))


@pytest.mark.parametrize(
    ("network_class", "words"),
    [
        (Array, r"returns \w+; it returns reid_jax.models.output.Output"),
        (Narrow, r"in training returns embedding of shape \(2, 3\); it is of \(2, 4\)"),
        (TwoVectors, "in training returns features of 2; it is of 1"),
        (NoLogits, "in training returns logits of 0; it is of 1"),
        (Half, "in training returns embedding of type bfloat16; it is float32"),
        (Cached, "has the variables cache; they are 'params' and 'batch_stats'"),
        (Unnamed, r"has head/\w+ by the number of identities; call its module classifier"),
        (Broken, "cannot be built: ValueError, line [0-9]+ of .*contract_test.py: "),
    ],
)
def test_a_network_that_does_not_keep_the_contract_is_told_where(network_class, words):
    require_class("mine:Net", network_class)
    with pytest.raises(InputError, match=f"model.name is 'mine:Net', which on images of 16x8 {words}") as caught:
        require_network("mine:Net", network_class(identities=0), SIZE)
    assert "\n" not in str(caught.value)


def test_classifiers_are_known_by_their_module():
    assert [is_classifier(path) for path in ("classifier/kernel", "classifier_global/log_scale")] == [True, True]
    assert [is_classifier(path) for path in ("classifiers/kernel", "a/classifier/kernel", "")] == [False] * 3
