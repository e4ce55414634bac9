"""float16 for what works on feature maps: convolutions and what lies between them.

Sums over places, powers and norms, and so the vectors, stay float32, as with a network's own `dtype`.
"""

import numpy as np
from onnx import TensorProto

from reid_jax.export.graph import Graph, Node

_CONVOLVES = ("AveragePool", "Conv", "MatMul", "MaxPool")
_MOVES = ("Concat", "Expand", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Transpose")
_TO_SIZES = ("Expand", "Reshape")  # whose second input is whole numbers
_IN_HALF = frozenset((*_CONVOLVES, *_MOVES, "Add", "Mul", "Relu", "Sigmoid"))


def halve(graph: Graph) -> None:
    """Rewrites the graph in float16 from the first convolution to the pooling; the input and the output stay."""
    half: set[str] = set()
    cast: dict[tuple[str, int], str] = {}
    nodes: list[Node] = []

    def as_type(name: str, wanted: int) -> str:
        constant = graph.constants.get(name)
        if constant is not None:
            is_real = wanted == TensorProto.FLOAT16 and constant.dtype == np.float32
            return graph.constant(constant.astype(np.float16)) if is_real else name
        if (name in half) == (wanted == TensorProto.FLOAT16):
            return name
        if (name, wanted) not in cast:
            cast[name, wanted] = graph.new_name("cast")
            nodes.append(Node("Cast", [name], [cast[name, wanted]], {"to": wanted}))
        return cast[name, wanted]

    for node in graph.nodes:
        first = node.operator == "Conv" and not half
        in_half = first or (node.operator in _IN_HALF and any(name in half for name in node.inputs))
        in_half = in_half and all(_fits(graph.constants.get(name)) for name in node.inputs)
        wanted = TensorProto.FLOAT16 if in_half else TensorProto.FLOAT
        sizes = node.inputs[1:] if node.operator in _TO_SIZES else []
        node.inputs = [as_type(name, wanted) for name in node.inputs[: len(node.inputs) - len(sizes)]] + sizes
        nodes.append(node)
        if in_half:
            half.update(node.outputs)
    if graph.output in half:
        inner = graph.new_name("half")
        for node in nodes:
            node.outputs = [inner if name == graph.output else name for name in node.outputs]
        nodes.append(Node("Cast", [inner], [graph.output], {"to": TensorProto.FLOAT}))
    graph.nodes = nodes
    read = {name for node in nodes for name in node.inputs}
    graph.constants = {name: array for name, array in graph.constants.items() if name in read}


def _fits(constant: np.ndarray | None) -> bool:
    """Whether float16 has the numbers of a constant; minus infinity, which pads, it has."""
    if constant is None or constant.dtype != np.float32:
        return True
    return bool((np.abs(constant[np.isfinite(constant)]) <= np.finfo(np.float16).max).all())
