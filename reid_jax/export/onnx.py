"""Weights to ONNX: one file with an open number of images, held against our forward pass before it is there."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto

from reid_jax.describe import describe
from reid_jax.export import parity
from reid_jax.export.engine import Engine
from reid_jax.export.facts import Facts
from reid_jax.export.half import halve
from reid_jax.export.lowering import lower
from reid_jax.export.model_file import OPSET, model_of
from reid_jax.export.refusal import refusing_failures
from reid_jax.export.simplify import simplify
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import replace_file
from reid_jax.weights import Weights


def export_onnx(
    weights: Weights,
    path: str | os.PathLike,
    *,
    uint8: bool = False,
    float16: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> parity.Written:
    """Writes weights as an ONNX file and, beside it, BoxMOT's description of it, FILE.metadata.json.

    The input `images` is RGB, float32 [batch, 3, h, w] and normalised, or with `uint8` pixels [batch, h, w, 3] as they
    lie in memory, normalised within; the output `embeddings` float32 [batch, d], unit norm. The network computes in
    float32, with `float16` in that up to the pooling. `thresholds` go into the metadata, with what `Facts` has.

    Raises InputError for a network that computes what is not written as ONNX here, and where ONNX Runtime's descriptors
    differ from ours: then no file is left.
    """
    weights, path = parity.in_float32(weights), Path(path)
    model = onnx_model(weights, uint8=uint8, float16=float16, thresholds=thresholds)
    data, image_size = model.SerializeToString(), tuple(weights.config.image_size)
    batches = parity.made_batches(image_size)
    expected = parity.own_descriptors(weights, batches)
    difference = 0.0

    def write(temporary: Path) -> None:
        nonlocal difference
        temporary.write_bytes(data)
        most = parity.CLOSE_IN_FLOAT16 if float16 else parity.CLOSE
        engine = Engine(temporary.read_bytes(), gpu=False)  # a GPU multiplies in fewer digits
        difference = parity.require_parity(path, batches, expected, engine, most)
        write_json(f"{path}.metadata.json", boxmot(path, image_size))

    replace_file(path, write)
    return parity.Written(path, len(data), difference, f"{len(model.graph.node)} nodes, opset {OPSET}")


def onnx_model(
    weights: Weights, *, uint8: bool = False, float16: bool = False, thresholds: Mapping[str, float] | None = None
) -> ModelProto:
    """Returns what `export_onnx` writes, not yet compared with our forward pass."""
    weights = parity.in_float32(weights)
    image_size = tuple(weights.config.image_size)
    facts = Facts.of(weights, uint8, "float16" if float16 else "float32", thresholds or {})
    network, variables = weights.network, {key: weights.variables[key] for key in ("params", "batch_stats")}
    if uint8:
        graph = lower(lambda image: describe(network, variables, image), image_size, np.uint8)
    else:
        graph = lower(lambda image: network.apply(variables, image, train=False).embedding, image_size, np.float32)
    with refusing_failures():
        simplify(graph)
        if float16:
            halve(graph)
    image_type = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
    return model_of(graph, image_type, image_size, sum(facts.streams), facts.texts())


def boxmot(path: Path, image_size: tuple[int, int]) -> dict[str, object]:
    """What BoxMOT 25 reads beside an ONNX file: version 1 of its own format; every key is optional there."""
    return {
        "schema_version": 1,
        "model_name": path.stem,
        "img_size": list(image_size),
        "preprocess": "resize",
        "dynamic_batch": True,
    }
