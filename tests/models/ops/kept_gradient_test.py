"""The identity whose gradient is computed once."""

import pytest
from same_gradients import assert_same, random

from reid_jax.models.ops import kept_gradient


@pytest.mark.parametrize("form", kept_gradient.FORMS)
def test_neither_value_nor_gradient_changes(form):
    keep = kept_gradient.FORMS[form]
    assert_same(
        lambda x, weight: keep(x) * weight,
        lambda x, weight: (x * weight, lambda cotangent: (cotangent * weight, cotangent * x)),
        random(21, 3, 4),
        random(22, 3, 4),
    )
