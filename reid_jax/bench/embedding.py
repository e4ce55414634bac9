"""Embedding: uint8 images on the host in, descriptors on the host out."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax.bench import against
from reid_jax.bench.compilation import CompileTimes, compile_times
from reid_jax.bench.contest import OURS, Contest, Contestant, run_contest
from reid_jax.bench.kernel_times import KernelTimes, kernel_times, model_of
from reid_jax.bench.machine import Machine, measure_machine
from reid_jax.bench.made import make_images, make_variables
from reid_jax.bench.measure import peak_memory, seconds_of
from reid_jax.bench.quantities import format_bytes
from reid_jax.data.augment import normalise
from reid_jax.describe import IMAGES_PER_DISPATCH, Encoder
from reid_jax.models import summary
from reid_jax.models.registry import dtype_of, network_of

_ROUND = 1.0  # seconds, about, where the number of images is left to us
_MOST_IMAGES = 2**16
_PEERS_BATCH = {"cpu": 64}  # what is fastest for them; on others as many as we dispatch
_PEERS_BATCHES = 4  # different ones, made once
_COMPARED = 8  # images whose descriptors are compared


@dataclasses.dataclass(frozen=True)
class Embedding:
    """What was measured of embedding.

    host_memory: the most bytes held after our rounds and before any peer's. kernels: where the time of a dispatch goes,
    if asked.
    """

    contest: Contest
    machine: Machine
    compile: CompileTimes
    host_memory: int
    images: int
    kernels: KernelTimes | None

    def __str__(self) -> str:
        return "\n".join(
            (
                f"machine     {self.machine}",
                f"compiling   {self.compile}",
                f"memory      host at most {format_bytes(self.host_memory)}",
                self.contest.table(),
                *([] if self.kernels is None else [str(self.kernels)]),
            )
        )

    def figures(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        figures = {"machine": dataclasses.asdict(self.machine), "compile": dataclasses.asdict(self.compile)}
        figures |= {"host_memory": self.host_memory, "images": self.images}
        if self.kernels is not None:
            figures["kernels"] = self.kernels.figures()
        return figures | {"contestants": self.contest.figures()}


def bench_embedding(
    config: ConfigDict, images: int | None, rounds: int, peers: Sequence[str], mesh: Mesh, kernels: bool = False
) -> Embedding:
    """Measures `Encoder.describe` on `images` images, or what takes about a second, in turn with `peers`.

    Raises InputError for what is wrong with the config or missing for a peer.
    """
    network = network_of(config, 0)
    against.check_network(peers, network, config)
    variables = make_variables(network, config.image_size)
    encoder = Encoder(network, variables, config.image_size, mesh)
    block = IMAGES_PER_DISPATCH * mesh.size
    image = make_images(min(images or block, block), config.image_size)
    _, times = compile_times(lambda: encoder.describe(image))
    spent = seconds_of(lambda: encoder.describe(image))
    if images is None:
        images = min(block * max(1, round(_ROUND / spent)), _MOST_IMAGES)
    image = make_images(images, config.image_size)

    def work():
        return encoder.describe(image)

    work()
    host_memory = peak_memory()
    machine = measure_machine(mesh, dtype_of(config))
    contestants = [Contestant(OURS, work, images)]
    if peers:
        size = min(images, _PEERS_BATCH.get(mesh.devices.flat[0].platform, IMAGES_PER_DISPATCH))
        starts = range(0, images - size + 1, size)[:_PEERS_BATCHES]
        task = against.Task(
            config,
            network,
            variables,
            reference(network, variables, image, mesh),
            [np.array(normalise(image[start : start + size])) for start in starts],
            -(-images // size),
        )
        contestants += against.embedding_peers(peers, task)
    contest = run_contest(
        contestants, rounds, "images", gflop_of(network, config.image_size), machine.gflops[dtype_of(config)]
    )
    profiled = None
    if kernels:
        few, text = image[:block], encoder.lower(image).compile().as_text()
        profiled = kernel_times(lambda: encoder.describe(few), text, "dispatch", model=model_of(mesh, dtype_of(config)))
    return Embedding(contest, machine, times.less(spent), host_memory, images, profiled)


def gflop_of(network: Any, image_size: tuple[int, int]) -> float:
    """The GFLOP of one image's forward pass: two for each multiply-add, classifiers and interpolation left out."""
    return 2 * summary.total(summary.component_costs(network, image_size)).multiply_adds / 1e9


def reference(network: Any, variables: dict[str, Any], image: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The descriptors of the first few of uint8 images [n, h, w, 3], computed in float32: what peers must give too."""
    with jax.default_matmul_precision("highest"):
        exact = network.clone(dtype="float32") if hasattr(network, "dtype") else network
        encoder = Encoder(exact, variables, image.shape[1:3], mesh)
        return encoder.describe(image[:_COMPARED])
