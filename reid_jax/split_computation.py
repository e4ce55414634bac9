"""A traced computation in two parts: what its first arguments alone decide, and the rest.

Before a network looks at an image it puts channels in order, casts kernels and folds BatchNorm into them: a third of
the kernels that a GPU launches for a forward pass. Who describes many images with the same weights computes that part
once. It is found in the trace, equation by equation, so no network needs to know of it.
"""

import functools
from collections.abc import Iterable, Sequence

from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var

# What XLA makes of a small array as it reads it; made ahead, it would be read from memory at its full size.
_MADE_AS_READ = frozenset(("broadcast_in_dim",))


@functools.lru_cache(maxsize=64)
def split(traced: ClosedJaxpr, count: int) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """Splits `traced` at its first `count` arguments into (ahead, rest):

        traced(*first, *others) = rest(*ahead(*first), *others)

    The same trace gives the same two objects. What has effects or depends on no argument stays in the rest; a function
    with a `jit` of its own is in either part as a whole. `jax.extend.core.jaxpr_as_fun` makes functions of them.
    """
    whole = traced.jaxpr
    first, others = whole.invars[:count], whole.invars[count:]
    decided = _decided_by(first, whole.eqns, whole.constvars)
    as_read = {each for equation in whole.eqns if equation.primitive.name in _MADE_AS_READ for each in equation.outvars}
    later, handed = _computing(whole.outvars, whole.eqns, [each for each in decided if each not in as_read])
    sooner, _ = _computing(handed, [each for each in whole.eqns if not each.effects], first)
    return _part(traced, sooner, first, handed), _part(traced, later, [*handed, *others], whole.outvars)


def _decided_by(first: Sequence[Var], equations: Sequence[JaxprEqn], constants: Sequence[Var]) -> list[Var]:
    """The `first` variables and those that are computed from them and constants alone, in order."""
    decided, constant = dict.fromkeys(first), set(constants)
    for each in equations:
        read = _variables(each.invars)
        if each.effects:
            continue
        if constant.issuperset(read):
            constant.update(each.outvars)
        elif all(variable in constant or variable in decided for variable in read):
            decided |= dict.fromkeys(each.outvars)
    return list(decided)


def _computing(
    results: Sequence[Var], equations: Sequence[JaxprEqn], given: Sequence[Var]
) -> tuple[list[JaxprEqn], list[Var]]:
    """The equations that lead from `given` variables to `results`, and those of the given that they read."""
    known, wanted, chosen = set(given), _variables(results), []
    for each in reversed(equations):
        if each.effects or not (wanted.isdisjoint(each.outvars) or known.issuperset(each.outvars)):
            chosen.append(each)
            wanted |= _variables(each.invars)
    return chosen[::-1], [each for each in given if each in wanted]


def _part(
    traced: ClosedJaxpr, equations: Sequence[JaxprEqn], inputs: Sequence[Var], outputs: Sequence[Var]
) -> ClosedJaxpr:
    read = _variables(outputs).union(*(_variables(each.invars) for each in equations))
    constants = {var: value for var, value in zip(traced.jaxpr.constvars, traced.consts, strict=True) if var in read}
    jaxpr = traced.jaxpr.replace(
        constvars=list(constants),
        invars=list(inputs),
        outvars=list(outputs),
        eqns=list(equations),
        effects={effect for each in equations for effect in each.effects},
    )
    return ClosedJaxpr(jaxpr, list(constants.values()))


def _variables(atoms: Iterable[Var | Literal]) -> set[Var]:
    return {each for each in atoms if not isinstance(each, Literal)}
