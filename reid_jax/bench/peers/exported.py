"""What engines for ONNX files work on: the task's network and weights as `reid-jax export` writes them."""

import numpy as np

from reid_jax.bench.against import Task
from reid_jax.export.onnx import onnx_model
from reid_jax.weights import Weights


def model_of(task: Task) -> bytes:
    """The ONNX file of the task's network, in float32."""
    return onnx_model(Weights(task.config, 0, task.variables)).SerializeToString()


def batches_of(task: Task) -> list[np.ndarray]:
    """The task's batches as it takes them, float32 [n, 3, h, w]."""
    return [np.ascontiguousarray(image.transpose(0, 3, 1, 2)) for image in task.batches]
