"""A graph as an ONNX model of one file."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from reid_jax.errors import InputError, shown
from reid_jax.export.graph import Graph
from reid_jax.export.refusal import WAY_OUT
from reid_jax.export.tracing import BATCH

OPSET = 18


def model_of(
    graph: Graph, image_type: int, image_size: tuple[int, int], dimensions: int, facts: Mapping[str, str]
) -> ModelProto:
    """Returns the model: `facts` become its metadata; the number of images is open.

    `image_type` is TensorProto.FLOAT for images [batch, 3, h, w] or UINT8 for [batch, h, w, 3].
    """
    height, width = image_size
    shape = [BATCH, 3, height, width] if image_type == TensorProto.FLOAT else [BATCH, height, width, 3]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(node.operator, node.inputs, node.outputs, **node.attributes) for node in graph.nodes],
            "reid_jax",
            [helper.make_tensor_value_info(graph.source, image_type, shape)],
            [helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, [BATCH, dimensions])],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="reid_jax",
    )
    model.ir_version = helper.find_min_ir_version_for(model.opset_import)
    helper.set_model_props(model, dict(facts))
    try:
        checker.check_model(model, full_check=True)
    except Exception as error:  # the checker and the inference of shapes have an error each
        raise InputError(f"the network's graph is no valid ONNX ({shown(error)}); {WAY_OUT}") from error
    return model
