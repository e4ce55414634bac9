"""What a graph computes, in fewer nodes: BatchNorm within the convolution before it, means, padding, no node twice.

A rule looks at a node and at what computes its inputs, and returns the nodes that take its place, or None. It takes in
only what nothing else reads: else that would be computed twice.
"""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from reid_jax.export.graph import Graph, Node

_ROUNDING = 1e-6  # of a factor that is one but for rounding, as 9 times 1/9


def simplify(graph: Graph) -> None:
    """Rewrites the nodes until no rule applies, and drops what nothing reads."""
    while any([_apply_rules(graph), _join_equal(graph), _drop_unread(graph)]):
        pass
    last = graph.nodes[-1]
    maker = next((node for node in graph.nodes if last.inputs[0] in node.outputs), None)
    if maker and sum(last.inputs[0] in node.inputs for node in graph.nodes) == 1:
        maker.outputs = [graph.output if name == last.inputs[0] else name for name in maker.outputs]
        graph.nodes.pop()


class _View:
    """The nodes so far: what computes a tensor, and how many read it."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.maker: dict[str, Node] = {}
        self.readers = collections.Counter(name for node in graph.nodes for name in node.inputs)

    def constant(self, name: str) -> np.ndarray | None:
        """The constant of this name, None for what is computed."""
        return self.graph.constants.get(name)

    def only(self, name: str, *operators: str) -> Node | None:
        """The node that computes `name`, if it is one of these operators and nothing else reads it."""
        node = self.maker.get(name)
        return node if node is not None and node.operator in operators and self.readers[name] == 1 else None

    def with_constant(self, node: Node) -> Iterator[tuple[str, np.ndarray]]:
        """(what is computed, constant) of a node's two inputs, where one is a constant and one is not."""
        for one, other in (node.inputs, node.inputs[::-1]):
            if self.constant(one) is None and (constant := self.constant(other)) is not None:
                yield one, constant

    def node(self, like: Node, operator: str, *inputs: Any, **attributes: Any) -> Node:
        """A node with the outputs of another one, in whose place it is."""
        return Node(operator, [self.graph.named(each) for each in inputs], like.outputs, attributes)


Rule = Callable[[_View, Node], list[Node] | None]


def _apply_rules(graph: Graph) -> bool:
    view, nodes, changed = _View(graph), [], False
    for node in graph.nodes:
        new = next((new for rule in RULES.get(node.operator, ()) if (new := rule(view, node))), None)
        changed |= new is not None
        for each in new or [node]:
            nodes.append(each)
            view.maker |= dict.fromkeys(each.outputs, each)
        if new:
            view.readers.subtract(node.inputs)
            view.readers.update(name for each in new for name in each.inputs)
    graph.nodes = nodes
    return changed


def _join_equal(graph: Graph) -> bool:
    """Has what is computed twice computed once."""
    seen: dict[str, list[str]] = {}
    instead: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        node.inputs = [instead.get(name, name) for name in node.inputs]
        key = repr((node.operator, node.inputs, node.attributes))
        if graph.output in node.outputs:
            kept.append(node)
        elif node.operator == "Identity":
            instead[node.outputs[0]] = node.inputs[0]
        elif key in seen:
            instead |= dict(zip(node.outputs, seen[key], strict=True))
        else:
            seen[key] = node.outputs
            kept.append(node)
    changed = len(kept) < len(graph.nodes)
    graph.nodes = kept
    return changed


def _drop_unread(graph: Graph) -> bool:
    read, kept = {graph.output}, []
    for node in reversed(graph.nodes):
        if read & set(node.outputs):
            kept.append(node)
            read |= set(node.inputs)
    changed = len(kept) < len(graph.nodes)
    graph.nodes = kept[::-1]
    graph.constants = {name: array for name, array in graph.constants.items() if name in read}
    return changed


# Numbers.


def _difference(view: _View, node: Node) -> list[Node] | None:
    """x - c = x + (-c)."""
    constant = view.constant(node.inputs[1])
    if constant is None or constant.dtype.kind != "f":
        return None
    return [view.node(node, "Add", node.inputs[0], -constant)]


def _quotient(view: _View, node: Node) -> list[Node] | None:
    """x / c = x (1 / c)."""
    constant = view.constant(node.inputs[1])
    if constant is None or constant.dtype.kind != "f" or not constant.all():
        return None
    return [view.node(node, "Mul", node.inputs[0], 1 / constant)]


def _times_reciprocal(view: _View, node: Node) -> list[Node] | None:
    """x (1 / y) = x / y."""
    for one, other in (node.inputs, node.inputs[::-1]):
        if reciprocal := view.only(other, "Reciprocal"):
            return [view.node(node, "Div", one, reciprocal.inputs[0])]
    return None


def _nothing_added(view: _View, node: Node) -> list[Node] | None:
    """x + 0 = x."""
    for x, constant in view.with_constant(node):
        if constant.ndim == 0 and constant == 0:
            return [view.node(node, "Identity", x)]
    return None


def _times_one(view: _View, node: Node) -> list[Node] | None:
    """x 1 = x."""
    for x, constant in view.with_constant(node):
        if constant.ndim == 0 and constant.dtype.kind == "f" and abs(constant - 1) < _ROUNDING:
            return [view.node(node, "Identity", x)]
    return None


def _twice(view: _View, node: Node) -> list[Node] | None:
    """(x + c) + d = x + (c + d), and so for products."""
    join = {"Add": np.add, "Mul": np.multiply}[node.operator]
    for x, constant in view.with_constant(node):
        if before := view.only(x, node.operator):
            for y, other in view.with_constant(before):
                return [view.node(node, node.operator, y, join(other, constant))]
    return None


def _scaled_sum(view: _View, node: Node) -> list[Node] | None:
    """(x + c) d = x d + c d: factors go first, into a convolution if there is one."""
    for x, scale in view.with_constant(node):
        if before := view.only(x, "Add"):
            for y, offset in view.with_constant(before):
                scaled = Node("Mul", [y, view.graph.constant(scale)], [view.graph.new_name("mul")], {})
                return [scaled, view.node(node, "Add", scaled.outputs[0], offset * scale)]
    return None


def _mean(view: _View, node: Node) -> list[Node] | None:
    """A sum of n numbers times 1/n is their mean."""
    for x, constant in view.with_constant(node):
        total = view.only(x, "ReduceSum")
        if total and constant.ndim == 0 and abs(constant * total.terms - 1) < _ROUNDING:
            return [view.node(node, "ReduceMean", *total.inputs, **total.attributes)]
    return None


def _sum_of_squares(view: _View, node: Node) -> list[Node] | None:
    """The sum of x x, in one."""
    square = view.only(node.inputs[0], "Mul")
    if square and square.inputs[0] == square.inputs[1]:
        return [view.node(node, "ReduceSumSquare", square.inputs[0], node.inputs[1], **node.attributes)]
    return None


# Layers: convolutions and matrix products by constants.


def _scaled_layer(view: _View, node: Node) -> list[Node] | None:
    """A layer times a number for each channel: one with scaled weights."""
    for x, constant in view.with_constant(node):
        layer = view.only(x, "Conv", "Gemm", "MatMul")
        weights, bias, place = _weights(view, layer) if layer else (None, None, 0)
        scale = None if weights is None else _by_channel(constant, weights, place)
        if scale is not None:
            along = [-1 if each == place else 1 for each in range(weights.ndim)]
            bias = [] if bias is None else [bias * scale]
            return [
                view.node(
                    node, layer.operator, layer.inputs[0], weights * scale.reshape(along), *bias, **layer.attributes
                )
            ]
    return None


def _layer_with_bias(view: _View, node: Node) -> list[Node] | None:
    """A layer plus a number for each channel: one with a bias, which a product of more than two axes cannot have."""
    for x, constant in view.with_constant(node):
        layer = view.only(x, "Conv", "Gemm")
        weights, bias, place = _weights(view, layer) if layer else (None, None, 0)
        offset = None if weights is None else _by_channel(constant, weights, place)
        if offset is not None:
            bias = offset if bias is None else bias + offset
            return [view.node(node, layer.operator, *layer.inputs[:2], bias, **layer.attributes)]
    return None


def _weights(view: _View, layer: Node) -> tuple[np.ndarray | None, np.ndarray | None, int]:
    """(weights, bias, which dimension of the weights is the channels of the result); None for what is no constant."""
    weights, *bias = map(view.constant, layer.inputs[1:])
    if weights is None or (layer.operator != "Conv" and weights.ndim != 2) or (bias and bias[0] is None):
        return None, None, 0
    return weights, bias[0] if bias else None, 0 if layer.operator == "Conv" else 1


def _by_channel(constant: np.ndarray, weights: np.ndarray, place: int) -> np.ndarray | None:
    """A constant, beside what such weights make, as one number a channel; None where it differs otherwise."""
    channels = weights.shape[place]
    along = 1 if place == 0 else weights.ndim - 1  # where the channels lie in the result
    shape = [1] * (weights.ndim - constant.ndim) + list(constant.shape)
    if len(shape) > weights.ndim or shape[along] not in (1, channels) or constant.size != shape[along]:
        return None
    return np.broadcast_to(constant.reshape(-1), channels)


def _padded(view: _View, node: Node) -> list[Node] | None:
    """What pads before a window is the window's own padding: zeros, or for a maximum what is below all numbers."""
    padding = view.only(node.inputs[0], "Pad")
    if padding is None:
        return None
    ends, filling = (view.constant(name) for name in padding.inputs[1:])
    wanted = -np.inf if node.operator == "MaxPool" else 0
    ends = ends.reshape(2, -1)
    if filling != wanted or ends[:, :2].any() or (ends < 0).any():
        return None
    more = ends[:, 2:].reshape(-1).tolist()
    pads = [a + b for a, b in zip(node.attributes.get("pads", [0] * len(more)), more, strict=True)]
    return [view.node(node, node.operator, padding.inputs[0], *node.inputs[1:], **node.attributes | {"pads": pads})]


# Where things lie.


def _reshaped_twice(view: _View, node: Node) -> list[Node] | None:
    """Only the last shape counts."""
    before = view.only(node.inputs[0], "Reshape")
    return [view.node(node, "Reshape", before.inputs[0], node.inputs[1])] if before else None


RULES: dict[str, tuple[Rule, ...]] = {
    "Add": (_nothing_added, _twice, _layer_with_bias),
    "AveragePool": (_padded,),
    "Conv": (_padded,),
    "Div": (_quotient,),
    "MaxPool": (_padded,),
    "Mul": (_times_reciprocal, _times_one, _twice, _scaled_sum, _mean, _scaled_layer),
    "ReduceSum": (_sum_of_squares,),
    "Reshape": (_reshaped_twice,),
    "Sub": (_difference,),
}
