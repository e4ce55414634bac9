"""Whatever goes wrong in drawing is one line: a package that is missing or broken, settings, fonts, a full disk."""

import contextlib
import functools
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Concatenate, ParamSpec, TypeVar

from reid_jax.errors import InputError, shown

File = str | os.PathLike
P = ParamSpec("P")
T = TypeVar("T")


def one_line_failures(draw: Callable[Concatenate[File, P], T]) -> Callable[Concatenate[File, P], T]:
    """Decorates a function that draws into the file it takes first: whatever goes wrong is an InputError of one line.

    Matplotlib, its settings, its fonts and Pillow raise what they please. Figures have Matplotlib's own look, whatever
    its user has set.
    """

    @functools.wraps(draw)
    def wrapper(path: File, *args: P.args, **options: P.kwargs) -> T:
        try:
            with _default_look():
                return draw(path, *args, **options)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{shown(path)} cannot be drawn: {_one_line(error)}") from error

    return wrapper


@contextlib.contextmanager
def _default_look() -> Iterator[None]:
    try:
        require("matplotlib")
    except InputError:  # not every picture needs it
        yield
        return
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def require(*packages: str) -> None:
    """Raises InputError where one of 'matplotlib' and 'scikit-learn' is missing or broken: known before long work."""
    for package in packages:
        try:
            if package == "matplotlib":
                _import_matplotlib()
            else:
                importlib.import_module("sklearn.manifold")
        except ImportError as error:
            raise InputError(f"this picture needs {package}, which is missing; pip install 'reid_jax[plot]'") from error
        except Exception as error:  # from its settings, say
            raise InputError(
                f"{package} cannot be loaded: {_one_line(error)}; mend its installation or settings"
            ) from error


def _import_matplotlib() -> None:
    # A notebook names its own backend to the commands it starts, where it may not be there; pictures here need none.
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        matplotlib = importlib.import_module("matplotlib")
        importlib.import_module("matplotlib.figure")
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # as Matplotlib does: the caller may go on to draw with it


def _one_line(error: Exception) -> str:
    return shown(" ".join(f"{type(error).__name__}: {error}".split()))
