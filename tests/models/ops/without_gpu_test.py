"""The operations' gradients compile to the end for an H100, on a machine that needs neither a GPU nor its driver.

XLA's last compiler, NVIDIA's ptxas, refuses kernels that ask for more than a device has; only a whole compilation shows
it. Times cannot be had this way.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from reid_jax import parallel
from reid_jax.models import ops

PLUGINS = [name for name in ("jax_cuda12_plugin", "jax_cuda13_plugin") if importlib.util.find_spec(name)]
pytestmark = pytest.mark.skipif(not PLUGINS, reason="needs the extra cuda: pip install 'reid_jax[cuda]'")

# What XLA is told of the device. Without the driver's version it takes it for one too old for CUDA graphs.
H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
runtime_version { major: 12 minor: 8 patch: 0 }
dnn_version_info { major: 9 minor: 10 }
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  driver_version: "13.0.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0" dnn_version: "9.10.0"
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
}
"""


@pytest.fixture(scope="module")
def h100():
    """A mesh of one H100 that is not here."""
    topology = topologies.get_topology_desc("cuda", platform="cuda", topology="1x1x1", target_config=H100)
    return Mesh(np.array(topology.devices), ("data",), axis_types=(AxisType.Auto,))


def compile_with_gradients(mesh, dtype, operation, *shapes):
    """Compiles an operation on arrays of these shapes with all its gradients."""

    @ops.traced_for("gpu")
    def with_gradients(*arrays):
        return jax.value_and_grad(lambda *arrays: jnp.sum(operation(*arrays), dtype=jnp.float32), range(len(shapes)))(
            *arrays
        )

    whole = parallel.replicated(mesh)
    arrays = [jax.ShapeDtypeStruct(shape, dtype, sharding=whole) for shape in shapes]
    # Nothing can be timed, so nothing is tuned.
    return jax.jit(with_gradients).lower(*arrays).compile(compiler_options={"xla_gpu_autotune_level": "0"})


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize(
    ("height", "width", "channels", "stride"),
    # Of robust_reid's 1x and 2x: its first unit, one of stride 2, the widest.
    [(80, 32, 64, 1), (40, 16, 256, 2), (10, 4, 512, 1)],
)
def test_depthwise_conv(h100, dtype, height, width, channels, stride):
    compiled = compile_with_gradients(
        h100, dtype, lambda x, k: ops.depthwise_conv(x, k, stride), (32, height, width, channels), (3, 3, 1, channels)
    )
    assert "fusion" in compiled.as_text()


OTHERS = {
    "conv": (lambda x, k: ops.conv(x, k, 2), (32, 80, 32, 64), (3, 3, 64, 128)),
    "pointwise_conv": (ops.pointwise_conv, (32, 40, 16, 128), (128, 256)),
    "normalised_conv": (
        lambda x, k, s, b: ops.normalised_conv(ops.conv, x, k, ops.conv(x, k), s, b, True),
        (32, 40, 16, 128),
        (1, 1, 128, 256),
        (256,),
        (256,),
    ),
    "batch_norm": (lambda x, s, b: ops.batch_norm(x, s, b, True, 1e-5)[0], (32, 40, 16, 256), (256,), (256,)),
    "batch_statistics": (lambda x: jnp.multiply(*ops.batch_statistics(x)), (32, 40, 16, 256)),
    "max_pool": (ops.max_pool, (32, 80, 32, 64)),
    "average_pool": (ops.average_pool, (32, 40, 16, 128)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others(h100, name):
    compile_with_gradients(h100, jnp.bfloat16, *OTHERS[name])
