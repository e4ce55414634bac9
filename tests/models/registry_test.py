"""Defaults of a network's fields that depend on its other fields."""

import pytest

from reid_jax.errors import InputError
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.registry import config_defaults


def network(derived=AttentionNetwork, **fields):
    return derived(identities=0, **fields)


def test_the_scale_follows_what_the_classifier_reads():
    assert config_defaults(network()) == {"logit_scale": 16.0, "logit_scale_learned": True}
    assert config_defaults(network(normalisation="bnneck")) == {"logit_scale": 1.0, "logit_scale_learned": False}


def test_what_a_class_of_ones_own_says_holds():
    class Scaled(AttentionNetwork):
        CONFIG_DEFAULTS = {"logit_scale": 30.0}

    for fields in ({}, {"normalisation": "bnneck"}):
        assert "logit_scale" not in config_defaults(network(Scaled, **fields))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda self: {"no_field": 3}, r"Wrong\.config_defaults\(\) gives no_field, which is no field of the class"),
        (lambda self: 1 / 0, r"Wrong\.config_defaults\(\) fails: ZeroDivisionError: division by zero; mend the class"),
    ],
)
def test_a_method_that_is_wrong_is_one_line(method, message):
    wrong = type("Wrong", (AttentionNetwork,), {"config_defaults": method})
    with pytest.raises(InputError, match=message):
        config_defaults(network(wrong))
