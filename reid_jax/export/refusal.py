"""The one error of a network that cannot be written as ONNX."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

from reid_jax.errors import InputError, shown

WAY_OUT = "export it with --out=NAME.stablehlo, which takes any network"


def refuse(what: str) -> NoReturn:
    """Raises InputError for a network that computes `what`, naming the way out."""
    raise InputError(f"the network computes {what}, which is not written as ONNX here; {WAY_OUT}")


@contextlib.contextmanager
def refusing_failures() -> Iterator[None]:
    """Makes the same error of whatever else is raised: a network of a user's own may compute what nobody thought of."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {shown(str(error).partition(chr(10))[0])}"
        raise InputError(f"the network computes what cannot be written as ONNX here ({reason}); {WAY_OUT}") from error
