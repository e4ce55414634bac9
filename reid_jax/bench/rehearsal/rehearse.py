"""A program compiled for hardware that is not here, and what that tells of it."""

import collections
import dataclasses
import time
from typing import Any

import jax

from reid_jax.bench.quantities import format_bytes, format_rate, format_seconds
from reid_jax.bench.rehearsal import model
from reid_jax.bench.rehearsal.hlo import parse
from reid_jax.bench.rehearsal.kernels import COLLECTIVES, Kernel, kernels_of
from reid_jax.bench.rehearsal.programs import Program
from reid_jax.bench.rehearsal.target import Target
from reid_jax.errors import InputError, one_line
from reid_jax.text_table import format_table

# Without a device nothing can be timed, so nothing is tuned; XLA's own matrix products need tuning, cuBLAS does not.
_OPTIONS = {"gpu": {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}}


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """What compiling a program told, all of one device; of a program that loops over steps, of one step.

    compile_seconds: of one core, about. code: bytes; None where the compiler does not say.
    memory: bytes by XLA's plan of one dispatch: 'arguments', 'temporaries' and 'outputs', without those that take
      an argument's place; None where there is no plan.
    gflop: what the network takes. compiled_gflop, counted_bytes: what XLA counts in the compiled program, its loop over
      steps once and all that lies beside it too; None where it does not.
    estimated_cycles: what XLA for a TPU expects its kernels to take, one after another; None where it does not say.
      Compare programs by it: most of the bytes that XLA counts may lie within the chip, in its fast memory.
    moved: bytes that kernels read and write, without what a layout pads. kernels: how many are launched. by_kind: both,
      by kind. collectives: (kind, bytes, how often) of each.
    seconds, assumptions: by the model of `reid_jax.bench.rehearsal.model`, and the model in words.
    """

    target: str
    devices: int
    images: int
    compile_seconds: float
    code: int | None
    memory: dict[str, int] | None
    device_memory: float
    gflop: float
    compiled_gflop: float | None
    counted_bytes: float | None
    estimated_cycles: float | None
    moved: float
    kernels: float
    by_kind: dict[str, dict[str, float]]
    collectives: tuple[tuple[str, int, float], ...]
    seconds: float
    assumptions: str
    text: str = dataclasses.field(repr=False)

    @property
    def fits(self) -> bool | None:
        """Whether one dispatch fits the device's memory; None where there is no plan."""
        return None if self.memory is None else sum(self.memory.values()) <= self.device_memory

    def figures(self) -> dict[str, Any]:
        """The same as plain values for JSON, the program's text left out."""
        figures = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "text"}
        return figures | {"fits": self.fits}

    def __str__(self) -> str:
        planned = ", ".join(f"{format_bytes(count)} {name}" for name, count in (self.memory or {}).items())
        room = {None: "", True: ": fits", False: ": DOES NOT FIT"}[self.fits]
        rows = [("kind", "kernels", "MiB", "share of bytes")]
        rows += [
            (kind, f"{its['kernels']:,.0f}", f"{its['moved'] / 2**20:,.0f}", f"{100 * its['moved'] / self.moved:.0f} %")
            for kind, its in sorted(self.by_kind.items(), key=lambda item: -item[1]["moved"])
        ]
        rows.append(("all", f"{self.kernels:,.0f}", f"{self.moved / 2**20:,.0f}", ""))
        counted = ""
        if self.compiled_gflop is not None:
            counted = f"{format_rate(self.compiled_gflop)} GFLOP, {self.counted_bytes / 1e9:.2f} GB accessed"
        cycles = ""
        if self.estimated_cycles is not None:
            cycles = f"cycles      {self.estimated_cycles / 1e6:,.2f} million by XLA's estimate"
        lines = [
            f"compiling   {format_seconds(self.compile_seconds)} here"
            + ("" if self.code is None else f", {self.code / 1e6:,.1f} MB of code"),
            f"memory      {planned or 'no plan'} of {format_bytes(self.device_memory)}{room}",
            f"products    {format_rate(self.gflop)} GFLOP of the network",
            cycles,
            counted and f"XLA counts  {counted}, the loop over steps once and all beside it",
            self._of_collectives() if self.devices > 1 else "",
            format_table(rows, rules=[0, len(rows) - 2]),
            f"modelled    {format_seconds(self.seconds)}, {format_rate(self.images / self.seconds)} images/s in all",
            f"            ({self.assumptions})",
        ]
        return "\n".join(line for line in lines if line)

    def _of_collectives(self) -> str:
        count, sent = collections.Counter(), collections.Counter()
        for kind, moved, times in self.collectives:
            count[kind] += times
            sent[kind] += times * moved
        each = (f"{its:,.0f} {kind} of {format_bytes(sent[kind])}" for kind, its in count.most_common())
        return f"collectives {', '.join(each) or 'none'}"


def rehearse(program: Program, target: Target, dtype: str) -> Rehearsal:
    """Compiles `program`, which was lowered for `target`, and reads what came of it.

    Raises InputError where the compiler refuses the program.
    """
    begin = time.perf_counter()
    try:
        compiled = program.lowered.compile(compiler_options=_OPTIONS.get(target.platform, {}))
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"XLA does not compile this for {target}: {one_line(error)}") from error
    spent = time.perf_counter() - begin
    hardware, devices, text = target.hardware, program.devices, compiled.as_text()
    launched = kernels_of(parse(text), program.steps)
    collectives = tuple((each.kind, each.moved, each.times) for each in launched if each.kind in COLLECTIVES)
    work = [each for each in launched if each.kind not in COLLECTIVES]
    moved = sum(each.times * each.moved for each in work)
    operations = 1e9 * program.gflop / devices
    planned, counted = compiled.memory_analysis(), compiled.cost_analysis() or {}
    if target.platform == "tpu":
        # Its own count where there is one: with what a layout pads, and with what lies beside the steps.
        seconds = model.roofline_seconds(operations, counted.get("bytes accessed", moved), hardware, dtype)
    else:
        seconds = sum(each.times * model.kernel_seconds(each, hardware, dtype) for each in work)
    return Rehearsal(
        target=str(target),
        devices=devices,
        images=program.images,
        compile_seconds=spent,
        code=planned and planned.generated_code_size_in_bytes or None,
        memory=planned and _memory(planned),
        device_memory=hardware.memory,
        gflop=operations / 1e9,
        compiled_gflop=counted["flops"] / 1e9 if "flops" in counted else None,
        counted_bytes=counted.get("bytes accessed"),
        estimated_cycles=sum(each.times * each.cycles for each in work) or None,
        moved=moved,
        kernels=sum(each.times for each in work),
        by_kind=_by_kind(work),
        collectives=collectives,
        seconds=seconds
        + model.collective_seconds(((moved, times) for _, moved, times in collectives), devices, hardware),
        assumptions=model.assumptions(target.platform, hardware, dtype, devices),
        text=text,
    )


def _memory(planned: Any) -> dict[str, int]:
    return {
        "arguments": planned.argument_size_in_bytes,
        "outputs": planned.output_size_in_bytes - planned.alias_size_in_bytes,
        "temporaries": planned.temp_size_in_bytes,
    }


def _by_kind(launched: list[Kernel]) -> dict[str, dict[str, float]]:
    kinds = collections.defaultdict(lambda: {"kernels": 0.0, "moved": 0.0})
    for each in launched:
        kinds[each.kind]["kernels"] += each.times
        kinds[each.kind]["moved"] += each.times * each.moved
    return dict(kinds)
