"""What the machine reaches at best, measured beside the work: matrix products and memory."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from reid_jax import parallel
from reid_jax.bench.measure import seconds_of
from reid_jax.bench.quantities import format_rate
from reid_jax.models import ops

_ROUNDS = 5  # after one that is not counted; the fastest is the peak

# On each device: the side of square matrices, and float32 numbers whose memory is read and written.
_SIDE = {"cpu": 2048}
_NUMBERS = {"cpu": 2**26}
_SIDE_OF_OTHERS, _NUMBERS_OF_OTHERS = 8192, 2**29


@dataclasses.dataclass(frozen=True)
class Machine:
    """The peaks of all devices together: GFLOP/s of a large matrix product by dtype, and GB/s to and from memory."""

    gflops: dict[str, float]
    memory: float

    def __str__(self) -> str:
        products = ", ".join(f"{format_rate(rate)} GFLOP/s in {dtype}" for dtype, rate in self.gflops.items())
        return f"matrix product {products}; memory read and written {format_rate(self.memory)} GB/s"


def measure_machine(mesh: Mesh, dtype: str) -> Machine:
    """Measures the devices of `mesh`, each at its own part at the same time: products in float32 and in `dtype`.

    The factors are of the dtype, the result is of the one that a network's maps then have on the platform.
    """
    return Machine({each: _product(mesh, each) for each in dict.fromkeys(("float32", dtype))}, _memory(mesh))


def _product(mesh: Mesh, dtype: str) -> float:
    side = _SIDE.get(mesh.devices.flat[0].platform, _SIDE_OF_OTHERS)
    spread = PartitionSpec("data")
    maps = ops.map_dtype(dtype)

    def square(x):
        return jnp.matmul(x[0], x[0], preferred_element_type=maps)[None]

    multiply = jax.jit(jax.shard_map(square, mesh=mesh, in_specs=spread, out_specs=spread))
    x = _filled(mesh, (mesh.size, side, side), 1 / side, dtype)
    seconds = _fastest(lambda: jax.block_until_ready(multiply(x)))
    return mesh.size * 2 * side**3 / seconds / 1e9


def _memory(mesh: Mesh) -> float:
    numbers = _NUMBERS.get(mesh.devices.flat[0].platform, _NUMBERS_OF_OTHERS)
    # In place: into fresh memory a CPU would be timed at mapping its pages.
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = _filled(mesh, (mesh.size, numbers), 0, "float32")

    def work():
        nonlocal x
        x = jax.block_until_ready(step(x))

    return 2 * x.nbytes / _fastest(work) / 1e9


def _filled(mesh: Mesh, shape: tuple[int, ...], value: float, dtype: str) -> jax.Array:
    return jax.jit(lambda: jnp.full(shape, value, dtype), out_shardings=parallel.by_example(mesh))()


def _fastest(work) -> float:
    work()
    return min(seconds_of(work) for _ in range(_ROUNDS))
