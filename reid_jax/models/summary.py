"""What a network costs: parameters from its variables, multiply-adds from its traced computation, per component."""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from reid_jax.models import ops
from reid_jax.models.attention_network import AttentionNetwork

# Rows of the table: the first folder of a parameter's path, attention split into its two kinds.
_ATTENTION = {"soft": "soft attention", "hard": "hard attention"}


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one image: parameters, multiply-adds of convolutions and linear layers, and element-wise work.

    `statistics` counts BatchNorm's running means and variances, which are no parameters; `batch_norm_elements`
    and `relu_elements` count the activations that pass through a BatchNorm and a ReLU.
    """

    parameters: int = 0
    statistics: int = 0
    multiply_adds: int = 0
    batch_norm_elements: int = 0
    relu_elements: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    @property
    def with_elementwise(self) -> int:
        """Multiply-adds + 3 per BatchNorm element + 1 per ReLU element: what the paper's Table 1 prints as FLOPs."""
        return self.multiply_adds + 3 * self.batch_norm_elements + self.relu_elements


def component_costs(network: AttentionNetwork, image_size: tuple[int, int]) -> dict[str, Cost]:
    """Returns the cost of each component of `network` for one image of (height, width), classifiers apart.

    Nothing is computed: parameters are counted in the abstract variable tree, multiply-adds in the jaxpr of the
    forward pass, by shape. Resizes and crops (interpolation) are not counted, as usual.
    """
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    costs: dict[str, Cost] = collections.defaultdict(Cost)
    for kind, field in (("params", "parameters"), ("batch_stats", "statistics")):
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables[kind]):
            keys = [entry.key for entry in path]
            costs[_component(keys)] += Cost(**{field: int(np.prod(leaf.shape))})
    with ops.traced_for(ops.ANY):  # the count is of what the network means, on whatever platform this runs
        forward = jax.make_jaxpr(lambda v, i: network.apply(v, i, train=False).embedding)(variables, image)
    for scopes, equation in _equations(forward.jaxpr, ()):
        # Flax opens a scope for each module, the network's own first.
        modules = [scope for scope in scopes if not scope.startswith(type(network).__name__)]
        if modules and "interpolation" not in scopes:
            costs[_component(modules)] += _equation_cost(scopes, equation)
    return {name: costs[name] for name in sorted(costs, key=_order)}


def total(costs: dict[str, Cost]) -> Cost:
    """Returns the sum of all components but the classifiers, which serve training only."""
    return sum((cost for name, cost in costs.items() if name != "classifiers"), Cost())


def format_costs(costs: dict[str, Cost]) -> str:
    """Returns the table of components, with totals, as text."""
    rows = [("component", "parameters", "statistics", "multiply-adds")]
    body = {name: cost for name, cost in costs.items() if name != "classifiers"}
    for name, cost in (*body.items(), ("total", total(costs))):
        rows.append((name, f"{cost.parameters:,}", f"{cost.statistics:,}", f"{cost.multiply_adds:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    rule = "-" * len(lines[0])
    lines = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
    lines.append(f"with 3 per BatchNorm and 1 per ReLU element: {total(costs).with_elementwise:,}")
    if "classifiers" in costs:
        lines.append(f"classifiers, training only: {costs['classifiers'].parameters:,} parameters")
    return "\n".join(lines)


def _component(keys: list[str]) -> str:
    first = keys[0]
    if first.startswith("attention"):
        return f"{_ATTENTION.get(keys[1], f'{keys[1]} attention')} {first[-1]}"
    for kind in ("classifier", "pool", "neck"):
        if first.startswith(f"{kind}_"):
            return {"classifier": "classifiers", "pool": "pooling", "neck": "necks"}[kind]
    return first.replace("_", " ")


def _order(component: str) -> tuple[float, str]:
    """The order of the layer table, by level within a kind; parts of other networks come before their classifiers."""
    kinds = ("conv1", "stage", "soft", "hard", "local", "pooling", "fc", "necks", "classifiers")
    known = (number for number, kind in enumerate(kinds) if component.startswith(kind))
    return next(known, len(kinds) - 1.5), component


def _equations(jaxpr: core.Jaxpr, scopes: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields every equation, those of inner jaxprs too, with the scopes that it stands in."""
    for equation in jaxpr.eqns:
        inside = (*scopes, *filter(None, str(equation.source_info.name_stack).split("/")))
        inner = [value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
        if not inner:
            yield inside, equation
        for value in inner:
            yield from _equations(getattr(value, "jaxpr", value), inside)


def _equation_cost(scopes: tuple[str, ...], equation: Any) -> Cost:
    name, shape = equation.primitive.name, getattr(equation.outvars[0].aval, "shape", ())
    elements = int(np.prod(shape))
    if name == "dot_general":
        (left, _), _ = equation.params["dimension_numbers"]
        contracted = np.prod([equation.invars[0].aval.shape[axis] for axis in left])
        return Cost(multiply_adds=int(elements * contracted))
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape  # HWIO: O filters of H x W x I
        return Cost(multiply_adds=elements * int(np.prod(kernel[:3])))
    if name == "mul" and "depthwise_conv" in scopes:
        return Cost(multiply_adds=elements)
    if name == "mul" and scopes[-1] == "batch_norm":
        return Cost(batch_norm_elements=elements)
    if name == "max" and scopes[-1] == "relu":
        return Cost(relu_elements=elements)
    return Cost()
