"""A profile of a compiled program: each of its kernels, as often as it runs, by kind; and what is no kernel of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.bench.kernel_times import _covered, kernel_times
from reid_jax.bench.rehearsal import kernels
from reid_jax.bench.rehearsal.hardware import HARDWARE, hardware_of
from reid_jax.errors import InputError

STEPS = 3


@pytest.fixture(scope="module")
def program():
    """(work, text) of a loop of steps, each a product and a sum."""

    def step(number, carry):
        x, total = carry
        x = jnp.tanh(x @ x) + number
        return x, total + jnp.sum(x)

    def chunk(x, steps):
        return jax.lax.fori_loop(0, steps, step, (x, jnp.float32(0)))

    compiled = jax.jit(chunk).lower(jnp.ones((128, 128)), STEPS).compile()
    x = np.full((128, 128), 0.01, np.float32)
    return lambda: jax.block_until_ready(compiled(x, STEPS)), compiled.as_text()


def test_kernels_are_counted_a_step_and_have_times(program):
    seen = kernel_times(*program, "step", STEPS, lambda kernel: 2.0)
    products = seen.by_kind[kernels.PRODUCTS]
    assert products.kernels == pytest.approx(1)
    assert products.modelled == pytest.approx(2.0)
    assert products.moved >= 2 * 128 * 128 * 4  # both factors are the same array, and the product
    total = sum(share.seconds for share in seen.by_kind.values())
    assert 0 < seen.busy <= total * (1 + 1e-9)
    assert seen.busy <= seen.profiled
    assert sum(share.kernels for share in seen.by_kind.values()) <= seen.launched * (1 + 1e-9)
    assert "kernels     of a step: " in str(seen)
    assert "matrix products" in str(seen)


def test_without_a_model_there_are_no_modelled_times(program):
    seen = kernel_times(*program, "step", STEPS)
    assert {share.modelled for share in seen.by_kind.values()} == {None}


def test_a_profile_without_the_programs_kernels_is_told(program):
    other = jax.jit(lambda x: x + 1).lower(jnp.ones(3)).compile().as_text()
    work, _ = program
    with pytest.raises(InputError, match="none of the program's kernels"):
        kernel_times(work, other.replace("fusion", "another").replace("add", "another"), "step", STEPS)


def test_times_of_kernels_beside_each_other_count_once():
    assert _covered([]) == 0
    assert _covered([(4, 5), (0, 2), (1, 3), (1, 2)]) == 4


def test_a_device_is_known_by_its_kind():
    assert hardware_of("NVIDIA H200") is HARDWARE["gpu"]["h200"]
    assert hardware_of("cpu") is None
