"""An ONNX graph as it grows: nodes in the order of their computation, and the constants that they read."""

import dataclasses
from typing import Any

import numpy as np

Tensor = str | np.ndarray  # what a node computes or an input is, by its name; or a constant


@dataclasses.dataclass
class Node:
    """One ONNX operator, its inputs and outputs by name; `terms`: how many numbers each of a sum is of."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    terms: int = 1


class Graph:
    """Nodes, constants by name, and the names of the one input and the one output.

    The output is a name of its own once the graph is finished, see `finish`.
    """

    def __init__(self, source: str):
        self.source = source
        self.output = ""
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.reshaped: dict[str, tuple[str, list[Any]]] = {}  # tensor -> what it was before it was reshaped, and sizes
        self._names: dict[tuple[Any, ...], str] = {}
        self._count = 0

    def constant(self, array: np.ndarray) -> str:
        """Returns the name of a constant; equal ones have one name."""
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = self.new_name("constant")
        self.constants[self._names[key]] = array  # again, where it was dropped as nothing read it
        return self._names[key]

    def add(self, operator: str, *inputs: Tensor, **attributes: Any) -> str:
        """Appends a node of one output, and returns that."""
        return self.add_many(operator, *inputs, outputs=1, **attributes)[0]

    def add_many(self, operator: str, *inputs: Tensor, outputs: int, **attributes: Any) -> list[str]:
        """Appends a node, and returns its outputs."""
        names = [self.named(tensor) for tensor in inputs]
        node = Node(operator, names, [self.new_name(operator.lower()) for _ in range(outputs)], attributes)
        self.nodes.append(node)
        return node.outputs

    def named(self, tensor: Tensor) -> str:
        """The name of a tensor, which a constant gets now."""
        return tensor if isinstance(tensor, str) else self.constant(tensor)

    def finish(self, tensor: Tensor, name: str) -> None:
        """Makes `tensor` the output, called `name`."""
        self.nodes.append(Node("Identity", [self.named(tensor)], [name], {}))
        self.output = name

    def new_name(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"{stem}_{self._count}"
