"""A platform that is named and missing."""

import jax
import pytest

from reid_jax.errors import InputError
from reid_jax.processes.platforms import require_platforms


@pytest.fixture
def named():
    """Sets what JAX_PLATFORMS would, and puts back what it was."""
    before = jax.config.jax_platforms
    yield lambda platforms: jax.config.update("jax_platforms", platforms)
    jax.config.update("jax_platforms", before)


@pytest.mark.parametrize("platforms", ["nonsense", "cpu,nonsense"])
def test_a_missing_platform_is_named_with_what_there_is(named, platforms):
    named(platforms)
    with pytest.raises(InputError, match=f"JAX_PLATFORMS is '{platforms}', which JAX does not find here") as raised:
        require_platforms()
    assert "there is cpu" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert jax.config.jax_platforms == platforms


@pytest.mark.parametrize("platforms", [None, "", "cpu"])
def test_what_is_there_may_be_named_or_left_out(named, platforms):
    named(platforms)
    require_platforms()
