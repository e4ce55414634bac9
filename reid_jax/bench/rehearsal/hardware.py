"""Accelerators that a program can be compiled for without one: their makers' figures.

TPUs: cloud.google.com/tpu/docs/{v5e,v5p,v6e}; GPUs: NVIDIA's data sheets of the SXM boards. Rates are peaks for dense
work, of one device.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Streaming:
    """What XLA's compiler for a GPU asks about it beside its memory: its multiprocessors and what each has."""

    capability: int
    multiprocessors: int
    shared_memory: int  # bytes of a multiprocessor
    l2_cache: int
    clock_ghz: float


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One kind of device.

    kind: its name in full. products: dtype of a network -> operations a second of its matrix products, in the precision
    that JAX takes for them by default. memory: bytes. bandwidth: bytes a second to and from memory. link: bytes a
    second that it sends to others like it.
    streaming: of a GPU.
    """

    kind: str
    products: dict[str, float]
    memory: float
    bandwidth: float
    link: float
    streaming: Streaming | None = None


def _tpu(version: str, tflops: float, memory: float, bandwidth: float, both_ways: float) -> Hardware:
    # Float32 factors are rounded to bfloat16 unless a higher precision is asked for.
    rate = tflops * 1e12
    products = {"bfloat16": rate, "float32": rate}
    return Hardware(f"TPU {version}", products, memory * 2**30, bandwidth * 1e9, both_ways * 1e9 / 2)


def _gpu(kind: str, tflops: float, memory: int, bandwidth: float, both_ways: float, streaming: Streaming) -> Hardware:
    # Float32 factors are rounded to TF32, at half the rate.
    products = {"bfloat16": tflops * 1e12, "float32": tflops * 1e12 / 2}
    return Hardware(f"NVIDIA {kind}", products, memory, bandwidth * 1e9, both_ways * 1e9 / 2, streaming)


_HOPPER = Streaming(9, 132, 233_472, 52_428_800, 1.98)
_AMPERE = Streaming(8, 108, 167_936, 41_943_040, 1.41)

HARDWARE: dict[str, dict[str, Hardware]] = {
    "tpu": {
        "v5e": _tpu("v5e", 197, 16, 819, 400),
        "v5p": _tpu("v5p", 459, 95, 2_765, 1_200),
        "v6e": _tpu("v6e", 918, 32, 1_640, 800),
    },
    "gpu": {
        "a100": _gpu("A100-SXM4-80GB", 312, 84_987_740_160, 2_039, 600, _AMPERE),
        "h100": _gpu("H100 80GB HBM3", 989, 84_942_979_072, 3_352, 900, _HOPPER),
        "h200": _gpu("H200", 989, 150_108_635_136, 4_800, 900, _HOPPER),
    },
}


def hardware_of(kind: str) -> Hardware | None:
    """The figures of a device that is here, by the name that JAX has for its kind; None where none are known."""
    return next((each for kinds in HARDWARE.values() for each in kinds.values() if each.kind == kind), None)
