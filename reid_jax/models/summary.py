"""What a network costs: parameters from its variables, multiply-adds from its traced computation, per component."""

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from reid_jax.models import ops
from reid_jax.models.contract import is_classifier
from reid_jax.text_table import format_table

CLASSIFIERS = "classifiers"  # the row of what serves training only
_ITSELF = "the network itself"  # of what no module of the network computes or has


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


def component_costs(network: nn.Module, image_size: tuple[int, int]) -> dict[str, Cost]:
    """Returns the cost of each component of `network` for one image of (height, width), classifiers apart.

    The components are those of the network's class (`COMPONENTS`, see `reid_jax.models.contract`), else the modules of
    the network in the order of their calls.
    Nothing is computed: parameters are counted in the abstract variable tree, multiply-adds in the jaxpr of the
    forward pass, by shape. Resizes and crops (interpolation) are not counted, as usual.
    """
    image = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.float32)
    variables = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    patterns = getattr(network, "COMPONENTS", ())
    costs: dict[tuple[int, str], Cost] = collections.defaultdict(Cost)

    called: set[str] = set()

    def record(call, arguments, options, context):
        """A row for each module, in the order of their calls; the work of Flax's own BatchNorm, which has no scope."""
        module, entry = context.module, _component(context.module.path, patterns)
        called.update(module.path[:1])
        if module.path and (entry[0] != len(patterns) or not patterns):
            flaxs = isinstance(module, nn.BatchNorm) and context.method_name == "__call__"
            costs[entry] += Cost(batch_norm_elements=int(np.prod(arguments[0].shape)) if flaxs else 0)
        return call(*arguments, **options)

    # The count is of what the network means, on whatever platform this runs.
    with ops.traced_for(ops.ANY), nn.intercept_methods(record):
        forward = jax.make_jaxpr(lambda v, i: network.apply(v, i, train=False).embedding)(variables, image)
    for scopes, times, equation in _equations(forward.jaxpr, (), 1):
        cost = Cost() if "interpolation" in scopes else _equation_cost(scopes, times, equation)
        if cost != Cost():
            # Flax opens a scope for each module, the network's own among them; 'module.method' is another method's.
            modules = [scope.partition(".")[0] for scope in scopes]
            modules = [each for each in modules if each != type(network).__name__]
            costs[_component(modules if modules[:1] and modules[0] in called else [], patterns)] += cost
    for kind, field in (("params", "parameters"), ("batch_stats", "statistics")):
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables.get(kind, {})):
            modules = [entry.key for entry in path][:-1]
            costs[_component(modules, patterns)] += Cost(**{field: int(np.prod(leaf.shape))})
    # Rows of the class's patterns in their order, by name within one; others in that of their calls.
    calls = [*costs]
    return {
        row: costs[number, row]
        for number, row in sorted(
            calls, key=lambda key: (key[0], key[1] if key[0] < len(patterns) else calls.index(key))
        )
    }


def total(costs: dict[str, Cost]) -> Cost:
    """Returns the sum of all components but the classifiers, which serve training only."""
    return sum((cost for name, cost in costs.items() if name != CLASSIFIERS), Cost())


def format_costs(costs: dict[str, Cost]) -> str:
    """Returns the table of components, with totals, as text."""
    rows = [("component", "parameters", "statistics", "multiply-adds")]
    body = {name: cost for name, cost in costs.items() if name != CLASSIFIERS}
    for name, cost in (*body.items(), ("total", total(costs))):
        if name != _ITSELF or cost.parameters or cost.multiply_adds:
            rows.append((name, f"{cost.parameters:,}", f"{cost.statistics:,}", f"{cost.multiply_adds:,}"))
    lines = [format_table(rows, rules=(0, len(rows) - 2))]
    lines.append(f"with 3 per BatchNorm and 1 per ReLU element: {total(costs).with_elementwise:,}")
    if CLASSIFIERS in costs:
        lines.append(f"classifiers, training only: {costs[CLASSIFIERS].parameters:,} parameters")
    return "\n".join(lines)


def _component(modules: Sequence[str], patterns: Sequence[tuple[str, str]]) -> tuple[int, str]:
    """(number of the first pattern that the modules' path begins with, row); classifiers come last of all."""
    path = "/".join(modules)
    for number, (pattern, row) in enumerate(patterns):
        if match := re.match(pattern, path):
            return number, match.expand(row)
    if is_classifier(path):
        return len(patterns) + 1, CLASSIFIERS
    return len(patterns), modules[0].replace("_", " ") if modules else _ITSELF


def _equations(jaxpr: core.Jaxpr, scopes: tuple[str, ...], times: int) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    """Yields every equation, those of inner jaxprs too, with the scopes that it stands in and how often it is done."""
    for equation in jaxpr.eqns:
        inside = (*scopes, *filter(None, str(equation.source_info.name_stack).split("/")))
        if equation.params.get("name") == "relu":  # `jax.nn.relu`
            inside = (*inside, "relu")
        again = times * equation.params["length"] if equation.primitive.name == "scan" else times
        inner = [value for value in equation.params.values() if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
        if not inner:
            yield inside, times, equation
        for value in inner:
            yield from _equations(getattr(value, "jaxpr", value), inside, again)


def _equation_cost(scopes: tuple[str, ...], times: int, equation: Any) -> Cost:
    name, shape = equation.primitive.name, getattr(equation.outvars[0].aval, "shape", ())
    elements = times * int(np.prod(shape))
    if name == "dot_general":
        (left, _), _ = equation.params["dimension_numbers"]
        contracted = np.prod([equation.invars[0].aval.shape[axis] for axis in left])
        return Cost(multiply_adds=int(elements * contracted))
    if name == "conv_general_dilated":
        # A number of the result sums over the window and over the inputs of its group.
        kernel, axes = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
        return Cost(multiply_adds=elements * int(np.prod(kernel)) // kernel[axes[0]])
    if name == "mul" and "depthwise_conv" in scopes:
        return Cost(multiply_adds=elements)
    if name == "mul" and scopes[-1:] == ("batch_norm",):
        return Cost(batch_norm_elements=elements)
    if name == "max" and scopes[-1:] == ("relu",):
        return Cost(relu_elements=elements)
    return Cost()
