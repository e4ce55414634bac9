"""How long a compiled program should take, by a model that says what it assumes; nothing was run.

TPU: the slower of a step's products at the peak and of the bytes that XLA counts at the peak. GPU: the sum over its
kernels, each max(FLOOR, LAUNCH + bytes / (bandwidth x efficiency), LAUNCH + operations / products' rate). Both: plus
the collectives, a ring's 2 (n - 1) / n of their bytes over one direction of a device's links, and LATENCY each.
"""

from collections.abc import Iterable

from reid_jax.bench.rehearsal import kernels
from reid_jax.bench.rehearsal.hardware import Hardware
from reid_jax.bench.rehearsal.kernels import Kernel

LAUNCH, FLOOR = 1.0e-6, 2.0e-6  # seconds: beside the bytes, and the shortest kernel
LATENCY = 10e-6  # seconds that a collective takes however little it sends
# Of the bandwidth, and of the peak of large products: set so that the model gives an H100's profile of the 1x step.
EFFICIENCY = {kernels.SUMS: 0.50, kernels.PRODUCTS: 0.70}
OTHERS_EFFICIENCY = 0.51
SMALL_PRODUCTS = 0.4


def kernel_seconds(kernel: Kernel, hardware: Hardware, dtype: str) -> float:
    """Seconds of one launch on a GPU."""
    reached = hardware.bandwidth * EFFICIENCY.get(kernel.kind, OTHERS_EFFICIENCY)
    rate = hardware.products[dtype] * SMALL_PRODUCTS
    return max(FLOOR, LAUNCH + kernel.moved / reached, LAUNCH + kernel.operations / rate)


def roofline_seconds(operations: float, moved: float, hardware: Hardware, dtype: str) -> float:
    """Seconds at the peaks: of the products or of the memory, whichever takes longer."""
    return max(operations / hardware.products[dtype], moved / hardware.bandwidth)


def collective_seconds(collectives: Iterable[tuple[float, float]], devices: int, hardware: Hardware) -> float:
    """Seconds of collectives (bytes, times), none beside any work."""
    share = 2 * (devices - 1) / devices
    return sum(times * (LATENCY + share * sent / hardware.link) for sent, times in collectives)


def assumptions(platform: str, hardware: Hardware, dtype: str, devices: int) -> str:
    """The model in words, for a reader of its figures."""
    products, bandwidth = hardware.products[dtype] / 1e12, hardware.bandwidth / 1e12
    if platform == "tpu":
        text = f"the slower of products at {products:,.0f} TFLOP/s and XLA's bytes at {bandwidth:.2f} TB/s, its peaks"
    else:
        reached = (EFFICIENCY[kernels.SUMS], EFFICIENCY[kernels.PRODUCTS], OTHERS_EFFICIENCY)
        sums, kernel_products, others = (f"{100 * part:.0f} %" for part in reached)
        text = (
            f"kernel by kernel, at least {FLOOR * 1e6:.0f} us and {LAUNCH * 1e6:.0f} us beside its bytes, at "
            f"{sums} (sums), {kernel_products} (products) or {others} of "
            f"{bandwidth:.2f} TB/s; products at most at {SMALL_PRODUCTS * products:,.0f} TFLOP/s"
        )
    if devices > 1:
        text += f"; collectives at {hardware.link / 1e9:,.0f} GB/s and {LATENCY * 1e6:.0f} us each, beside nothing else"
    return text
