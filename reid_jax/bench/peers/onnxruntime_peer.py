"""ONNX Runtime at embedding: our export, on all cores, or on the GPU where it has one.

Batches lie in memory, normalised, which favours it.
"""

import itertools
import time
from collections.abc import Iterator

import numpy as np

from reid_jax.bench.against import Task
from reid_jax.bench.agreement import check
from reid_jax.bench.contest import Contestant
from reid_jax.bench.peers.exported import batches_of, model_of
from reid_jax.export.engine import Engine


def embedders(task: Task) -> Iterator[Contestant]:
    """Yields our export in float32."""
    batches, model = batches_of(task), model_of(task)
    begin = time.perf_counter()
    engine = Engine(model)
    seconds = time.perf_counter() - begin

    def embed(batches):
        return np.concatenate([engine.run(batch) for batch in batches])

    def work():
        return embed(itertools.islice(itertools.cycle(batches), task.passes))

    difference = check("onnxruntime", embed(batches[:1]), task.embedding)
    yield Contestant("onnxruntime float32", work, task.images, difference, seconds)
