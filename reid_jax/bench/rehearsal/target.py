"""Hardware that is not here, as a mesh of devices to compile for."""

import argparse
import dataclasses
import importlib.util
import re

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from reid_jax.bench.rehearsal.hardware import HARDWARE, Hardware
from reid_jax.errors import InputError, did_you_mean, one_line, shown
from reid_jax.processes.absent_tpu import tell_libtpu_that_it_is_alone

FORMS = "tpu:KIND:SHAPE, as tpu:v5e:2x2 (a chip: 1x1), or gpu:KIND[:COUNT], as gpu:h100 or gpu:h100:8"
_LARGEST_COUNT = 8  # GPUs that NVIDIA's links join in one machine


@dataclasses.dataclass(frozen=True)
class Target:
    """So many devices of one kind; `shape` is how a pod's chips lie, '2x2', or the number of GPUs."""

    platform: str
    kind: str
    shape: str

    def __str__(self) -> str:
        return f"{self.platform}:{self.kind}:{self.shape}"

    @property
    def hardware(self) -> Hardware:
        """The figures of one device."""
        return HARDWARE[self.platform][self.kind]

    def mesh(self) -> Mesh:
        """Returns the mesh of these devices, for which functions can be lowered and compiled, not run.

        Raises InputError where JAX's compiler for them is not installed, or knows no such shape.
        """
        devices = (_chips if self.platform == "tpu" else _gpus)(self)
        return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def target(text: str) -> Target:
    """Reads an option's text; what names no hardware is an `argparse.ArgumentTypeError`."""
    platform, _, rest = text.partition(":")
    if platform not in HARDWARE:
        raise argparse.ArgumentTypeError(f"it is {shown(text)!r}; it takes {FORMS}")
    kind, _, shape = rest.partition(":")
    kinds = HARDWARE[platform]
    if kind not in kinds:
        hint = did_you_mean(kind, kinds)
        raise argparse.ArgumentTypeError(f"it is {shown(text)!r}; of {platform} it knows {', '.join(kinds)}{hint}")
    if platform == "gpu":
        shape = shape or "1"
        if not (shape.isascii() and shape.isdecimal() and 1 <= int(shape) <= _LARGEST_COUNT):
            raise argparse.ArgumentTypeError(f"it is {shown(text)!r}; give 1 to {_LARGEST_COUNT} GPUs, as gpu:h100:8")
        shape = str(int(shape))
    elif not re.fullmatch(r"\d{1,3}(x\d{1,3}){1,2}", shape):
        raise argparse.ArgumentTypeError(f"it is {shown(text)!r}; it takes the shape of a slice, as tpu:{kind}:2x2")
    return Target(platform, kind, shape)


def _chips(target: Target) -> list[jax.Device]:
    _require("libtpu", "tpu", target)
    tell_libtpu_that_it_is_alone()
    alone = all(side == "1" for side in target.shape.split("x"))
    host = {"chips_per_host_bounds": (1, 1, 1)} if alone else {}  # else it looks for four chips or more
    try:
        topology = topologies.get_topology_desc(f"{target.kind}:{target.shape}", "tpu", **host)
    except Exception as error:  # the compiler's own, without a class that is public
        raise InputError(f"--target is {target}, of which JAX's compiler for TPUs says: {one_line(error)}") from error
    return topology.devices


def _gpus(target: Target) -> list[jax.Device]:
    if not any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13)):
        _require("jax_cuda12_plugin", "cuda", target)
    try:
        topology = topologies.get_topology_desc(
            "cuda", "cuda", topology=f"1x1x{target.shape}", target_config=_target_config(target.hardware)
        )
    except Exception as error:  # as above
        raise InputError(f"--target is {target}, of which JAX's compiler for GPUs says: {one_line(error)}") from error
    return topology.devices


def _require(package: str, extra: str, target: Target) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"--target is {target}, and JAX's compiler for it is not installed; pip install 'reid_jax[{extra}]' (no "
            "device is needed)"
        )


def _target_config(gpu: Hardware) -> str:
    """What XLA's compiler asks about a GPU, as its `GpuTargetConfigProto` in text form."""
    streaming = gpu.streaming
    largest_block = streaming.shared_memory - 1024  # the rest is the driver's
    # Without a version of the driver XLA takes it for one that is too old for CUDA graphs.
    return f"""
gpu_device_info {{
  name: "{gpu.kind}"
  device_vendor: "NVIDIA Corporation"
  cuda_compute_capability {{ major: {streaming.capability} {_features(streaming.capability)} }}
  core_count: {streaming.multiprocessors}
  fpus_per_core: {128 if streaming.capability >= 9 else 64}
  clock_rate_ghz: {streaming.clock_ghz}
  memory_bandwidth: {gpu.bandwidth:.0f}
  device_memory_size: {gpu.memory}
  l2_cache_size: {streaming.l2_cache}
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: {largest_block}
  shared_memory_per_core: {streaming.shared_memory}
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  driver_version: "13.0.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 12 minor: 8 patch: 0 }}
device_description_str: "{gpu.kind}"
"""


def _features(capability: int) -> str:
    return "feature_extension: ACCELERATED_FEATURES" if capability >= 9 else ""
