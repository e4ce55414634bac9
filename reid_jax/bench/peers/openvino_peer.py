"""OpenVINO at embedding: our export, on all cores, in float32 and in bfloat16.

Batches lie in memory, normalised, which favours it.
"""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import openvino

from reid_jax.bench.against import Task
from reid_jax.bench.agreement import check
from reid_jax.bench.contest import Contestant
from reid_jax.bench.peers.exported import batches_of, model_of

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def embedders(task: Task) -> Iterator[Contestant]:
    """Yields our export in each precision, whatever the config's, compiled for batches of one size."""
    batches, core = batches_of(task), openvino.Core()
    model = core.read_model(model_of(task))
    model.reshape(batches[0].shape)
    for precision, hint in _PRECISIONS.items():
        begin = time.perf_counter()
        forward = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        seconds = time.perf_counter() - begin

        def embed(batches, forward=forward):
            return np.concatenate([forward(batch)[0] for batch in batches])

        def work(embed=embed):
            return embed(itertools.islice(itertools.cycle(batches), task.passes))

        name = f"openvino {precision}"
        difference = check(name, embed(batches[:1]), task.embedding, precision == "float32")
        yield Contestant(name, work, task.images, difference, seconds)
