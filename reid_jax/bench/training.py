"""The training step: the compiled chunk of steps that a run dispatches, on made images that lie on the device."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax import parallel
from reid_jax.bench import against
from reid_jax.bench.compilation import CompileTimes, compile_times
from reid_jax.bench.contest import OURS, Contest, Contestant, run_contest
from reid_jax.bench.embedding import gflop_of, reference
from reid_jax.bench.input import index_seconds
from reid_jax.bench.kernel_times import KernelTimes, kernel_times, model_of
from reid_jax.bench.machine import Machine, measure_machine
from reid_jax.bench.made import make_images, make_variables
from reid_jax.bench.measure import peak_memory
from reid_jax.bench.quantities import format_bytes, format_seconds
from reid_jax.data.augment import normalise
from reid_jax.data.resident import ResidentImages
from reid_jax.models.registry import dtype_of, network_of
from reid_jax.training import assemble
from reid_jax.training.assemble import objective_of, optimizer_of, schedule_of
from reid_jax.training.batches import Resident
from reid_jax.training.sources import batch_indices
from reid_jax.training.state import create_state
from reid_jax.training.steps import compile_chunk

IMAGES_OF_AN_IDENTITY = 16  # Market-1501 has 17
_PEERS_BATCHES = 4  # different ones, made once
# A layer y = K x costs one product in the forward pass and two in the backward pass: the gradients of its input, K' dy,
# and of its kernel, dy x'. So a step has three times the multiply-adds of a forward pass.
PRODUCTS_OF_A_LAYER = 3


@dataclasses.dataclass(frozen=True)
class Training:
    """What was measured of training.

    memory: bytes of one dispatch on a device, by XLA's plan ('arguments', 'outputs', 'temporaries'); None where the
    backend has no plan. host_memory: the most bytes that the process had held after our rounds and before any peer's.
    index_seconds: what the host spends on a batch's image numbers. kernels: where the time of a step goes, if asked.
    """

    contest: Contest
    machine: Machine
    compile: CompileTimes
    memory: dict[str, int] | None
    host_memory: int
    batch: int
    steps: int
    index_seconds: float
    kernels: KernelTimes | None

    @property
    def step_seconds(self) -> float:
        """Seconds of a step in the middle round."""
        return self.contest.ours.median / self.steps

    def __str__(self) -> str:
        planned = ", ".join(f"{format_bytes(count)} {name}" for name, count in (self.memory or {}).items())
        share = 100 * self.index_seconds / self.step_seconds
        return "\n".join(
            (
                f"machine     {self.machine}",
                f"compiling   {self.compile}",
                f"memory      {planned or 'unknown'}; host at most {format_bytes(self.host_memory)}",
                f"a step      {format_seconds(self.step_seconds)}; the host's part, image numbers, "
                f"{format_seconds(self.index_seconds)}, {share:.2f} %",
                self.contest.table(),
                *([] if self.kernels is None else [str(self.kernels)]),
            )
        )

    def figures(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        figures = {field: getattr(self, field) for field in ("memory", "host_memory", "batch", "steps")}
        figures |= {"machine": dataclasses.asdict(self.machine), "compile": dataclasses.asdict(self.compile)}
        figures |= {"step_seconds": self.step_seconds, "index_seconds": self.index_seconds}
        if self.kernels is not None:
            figures["kernels"] = self.kernels.figures()
        return figures | {"contestants": self.contest.figures()}


def bench_training(
    config: ConfigDict,
    identities: int,
    steps: int,
    rounds: int,
    peers: Sequence[str],
    mesh: Mesh,
    kernels: bool = False,
) -> Training:
    """Measures chunks of `steps` steps, as `reid_jax.train` runs them, in turn with steps of `peers`.

    A round is one chunk: image numbers drawn by the sampler, dispatch, and the wait for its end. Before each chunk that
    is timed comes one that is not.
    Raises InputError for what is wrong with the config or missing for a peer.
    """
    network = network_of(config, identities)
    against.check_network(peers, network, config, trains=True)
    label = np.repeat(np.arange(identities, dtype=np.int32), IMAGES_OF_AN_IDENTITY)
    origin = label * max(1, len(config.batch.shares)) // identities  # joined sets: as many identities each
    sampler = assemble.sampler_of(config, label, origin)
    parallel.check_divisible(sampler.batch_size, mesh)

    image = make_images(len(label), config.image_size)
    variables = make_variables(network, config.image_size)
    optimizer = optimizer_of(config, schedule_of(config, sampler.steps_per_epoch), variables["params"])
    objective, augmentation = objective_of(config), assemble.augmentation_of(config)
    chunk = compile_chunk(network, optimizer, objective, augmentation, mesh, groups=config.batch.groups)

    whole = parallel.replicated(mesh)
    state = jax.device_put(create_state(variables, optimizer), whole)
    resident, labels = ResidentImages.of(image, mesh), jax.device_put(label, whole)
    key, step = jax.random.key(config.seed), 0

    def batches(begin: int) -> Resident:
        return Resident(resident, labels, batch_indices(sampler, config.seed, begin, begin + steps, steps))

    compiled, times = compile_times(lambda: chunk.lower(state, batches(0), steps, key).compile())

    def work():
        nonlocal state, step
        state, _ = jax.block_until_ready(compiled(state, batches(step), steps, key))
        step += steps

    work()
    host_memory = peak_memory()
    machine = measure_machine(mesh, dtype_of(config))
    contestants = [Contestant(OURS, work, steps * sampler.batch_size)]
    if peers:
        few = batch_indices(sampler, config.seed, 0, _PEERS_BATCHES, _PEERS_BATCHES)
        normalised = [np.array(normalise(image[chosen])) for chosen in few]
        task = against.Task(
            config,
            network,
            variables,
            reference(network, variables, image[few[0]], mesh),
            normalised,
            steps,
            [label[chosen].astype(np.int64) for chosen in few],
        )
        contestants += against.training_peers(peers, task)
    gflop = PRODUCTS_OF_A_LAYER * gflop_of(network, config.image_size)
    # While others run, our freed memory goes back to the system, in a virtual machine to its host. To get it back costs
    # seconds, which a run in training pays once: so an untimed chunk goes before each timed one.
    contest = run_contest(contestants, rounds, "images", gflop, machine.gflops[dtype_of(config)], preceded=True)
    spent = index_seconds(sampler, rounds)
    profiled = None
    if kernels:
        profiled = kernel_times(work, compiled.as_text(), "step", steps, model_of(mesh, dtype_of(config)))
    memory = _memory_of(compiled)
    return Training(contest, machine, times, memory, host_memory, sampler.batch_size, steps, spent, profiled)


def _memory_of(compiled: jax.stages.Compiled) -> dict[str, int] | None:
    planned = compiled.memory_analysis()
    if planned is None:
        return None
    return {
        "arguments": planned.argument_size_in_bytes,
        "outputs": planned.output_size_in_bytes,
        "temporaries": planned.temp_size_in_bytes,
    }
