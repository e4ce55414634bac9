"""The platforms that JAX_PLATFORMS names: that this machine has them."""

import contextlib

import jax
from jax._src import distributed

from reid_jax.errors import InputError, one_line


def require_platforms() -> None:
    """Raises InputError where JAX_PLATFORMS names a platform that this machine or this JAX has not."""
    named = [name.strip() for name in (jax.config.jax_platforms or "").split(",") if name.strip()]
    for name in named:
        try:
            jax.devices(name)
        except (RuntimeError, AssertionError) as error:
            reason = one_line(error).partition(" (set JAX_PLATFORMS")[0]
            raise InputError(
                f"JAX_PLATFORMS is {','.join(named)!r}, which JAX does not find here{reason and f' ({reason})'}; "
                f"there is {_platforms_here()}: name that, or unset JAX_PLATFORMS"
            ) from error


def _platforms_here() -> str:
    """Names what JAX finds by itself, at least 'cpu'; looks only where no other process waits for this one."""
    named = jax.config.jax_platforms
    platforms = {"cpu"}
    if distributed.global_state.num_processes == 1:
        jax.config.update("jax_platforms", None)
        with contextlib.suppress(RuntimeError):
            platforms |= {device.platform for device in jax.devices()}
        jax.config.update("jax_platforms", named)
    return ", ".join(sorted(platforms))
