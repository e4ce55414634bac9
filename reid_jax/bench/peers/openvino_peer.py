"""OpenVINO at embedding: the PyTorch network converted, on all cores, in float32 and in bfloat16.

Batches lie in memory, normalised, which favours it.
"""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import openvino
import torch

from reid_jax.bench.against import Task
from reid_jax.bench.contest import Contestant
from reid_jax.bench.peers.torch_peer import check, network_of

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def embedders(task: Task) -> Iterator[Contestant]:
    """Yields the converted network in each precision, whatever the config's."""
    batches = [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in task.batches]
    example = torch.from_numpy(batches[0])
    with torch.inference_mode():
        model = openvino.convert_model(network_of(task), example_input=example, input=[tuple(example.shape)])
    for precision, hint in _PRECISIONS.items():
        begin = time.perf_counter()
        forward = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
        seconds = time.perf_counter() - begin

        def embed(batches, forward=forward):
            return np.concatenate([forward(batch)[0] for batch in batches])

        def work(embed=embed):
            return embed(itertools.islice(itertools.cycle(batches), task.passes))

        name = f"openvino {precision}"
        difference = check(name, embed(batches[:1]), task.embedding, precision == "float32")
        yield Contestant(name, work, task.images, difference, seconds)
