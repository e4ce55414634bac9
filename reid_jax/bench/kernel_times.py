"""Where a compiled program's time goes: the device's own profile of its kernels, summed by kind."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from reid_jax.bench.measure import seconds_of
from reid_jax.bench.quantities import format_seconds
from reid_jax.bench.rehearsal.hardware import hardware_of
from reid_jax.bench.rehearsal.hlo import parse
from reid_jax.bench.rehearsal.kernels import Kernel, kernels_of
from reid_jax.bench.rehearsal.model import kernel_seconds
from reid_jax.errors import InputError
from reid_jax.text_table import format_table


@dataclasses.dataclass(frozen=True)
class Share:
    """What the kernels of one kind take in a unit: launches, seconds, bytes that they read and write.

    modelled: their seconds by the model of `reid_jax.bench.rehearsal.model`; None where it does not know the device.
    """

    kernels: float
    seconds: float
    moved: float
    modelled: float | None


@dataclasses.dataclass(frozen=True)
class KernelTimes:
    """A unit's kernels as they ran, on one device: the mean over the devices.

    unit: what was counted and timed, 'step' or 'dispatch'. by_kind: {kind: its share}, with seconds summed over
    kernels, which may run beside each other. busy: seconds in which at least one ran. profiled: seconds of the unit as
    it was profiled, which slows it. launched: kernels that the program's text has; those that the profile does not have
    count in no share.
    """

    unit: str
    by_kind: dict[str, Share]
    busy: float
    profiled: float
    launched: float

    def __str__(self) -> str:
        total = sum(share.seconds for share in self.by_kind.values())
        rows = [("kind", "kernels", "time", "share", "MiB", "GB/s", "modelled")]
        for kind, share in sorted(self.by_kind.items(), key=lambda item: -item[1].seconds):
            part = f"{100 * share.seconds / total:.0f} %"
            rate = f"{share.moved / share.seconds / 1e9:,.1f}"
            moved = f"{share.moved / 2**20:,.0f}"
            modelled = "-" if share.modelled is None else format_seconds(share.modelled)
            rows.append((kind, f"{share.kernels:,.0f}", format_seconds(share.seconds), part, moved, rate, modelled))
        seen = sum(share.kernels for share in self.by_kind.values())
        rows.append(("all", f"{seen:,.0f}", format_seconds(total), "", "", "", ""))
        busy = f"{100 * self.busy / self.profiled:.0f} % of it a kernel ran"
        return "\n".join(
            (
                f"kernels     of a {self.unit}: {seen:,.0f} of {self.launched:,.0f} in the profile; the {self.unit} "
                f"{format_seconds(self.profiled)} while it was made, {busy}",
                format_table(rows, rules=[0, len(rows) - 2]),
            )
        )

    def figures(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return dataclasses.asdict(self)


def model_of(mesh: Mesh, dtype: str) -> Callable[[Kernel], float] | None:
    """What a kernel should take on the mesh's devices; None where that is not modelled kernel by kernel."""
    device = mesh.devices.flat[0]
    hardware = hardware_of(device.device_kind)
    if hardware is None or device.platform != "gpu":
        return None
    return functools.partial(kernel_seconds, hardware=hardware, dtype=dtype)


def kernel_times(
    work: Callable[[], Any],
    text: str,
    unit: str,
    units: int = 1,
    model: Callable[[Kernel], float] | None = None,
) -> KernelTimes:
    """Profiles one call of `work`, which runs the compiled program `text` once and waits for it.

    It does `units` of what `unit` says, 'step' or 'dispatch'. `model` gives the seconds that a kernel should take.
    A profile on a GPU launches kernels one by one, unless XLA_FLAGS has --xla_enable_command_buffers_during_profiling.
    Raises InputError where the profile has none of the program's kernels.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            spent = seconds_of(work)
        (profile,) = Path(folder).rglob("*.xplane.pb")
        by_device = list(_launches(jax.profiler.ProfileData.from_file(str(profile))))
    known = {kernel.name: kernel for kernel in kernels_of(parse(text), units)}
    devices = [[each for each in launches if each[0] in known] for launches in by_device]
    devices = [launches for launches in devices if launches]
    if not devices:
        raise InputError(
            "the device's profile has none of the program's kernels: this JAX does not tell their names here"
        )
    each_way = len(devices) * units
    by_kind: dict[str, Share] = {}
    for launches in devices:
        for name, begin, end in launches:
            kernel = known[name]
            share = by_kind.get(kernel.kind, Share(0.0, 0.0, 0.0, None if model is None else 0.0))
            by_kind[kernel.kind] = Share(
                share.kernels + 1 / each_way,
                share.seconds + (end - begin) / each_way,
                share.moved + kernel.moved / each_way,
                None if model is None else share.modelled + model(kernel) / each_way,
            )
    busy = sum(_covered([(begin, end) for _, begin, end in launches]) for launches in devices)
    launched = sum(kernel.times for kernel in known.values())
    return KernelTimes(unit, by_kind, busy / each_way, spent / units, launched)


def _launches(profile: Any) -> Iterator[list[tuple[str, float, float]]]:
    """For each device (instruction, begin, end in seconds) of what ran there; a CPU's devices are one, the host."""
    planes = list(profile.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in devices or [plane for plane in planes if plane.name == "/host:CPU"]:
        launches = []
        for line in plane.lines:
            for event in line.events:
                # A GPU's kernel, which has a name of its own, tells its instruction; a TPU's event is its text.
                name = dict(event.stats).get("hlo_op") or event.name.partition(" ")[0].lstrip("%")
                begin = event.start_ns / 1e9
                launches.append((str(name), begin, begin + event.duration_ns / 1e9))
        yield launches


def _covered(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    covered, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        covered += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return covered
