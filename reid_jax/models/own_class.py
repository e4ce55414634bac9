"""A network's class from outside the package, named as `module:Class`."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterator

from reid_jax.errors import InputError, did_you_mean, shown
from reid_jax.progress import tell

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)

_imported: dict[str, tuple[type, str | None]] = {}  # name -> class, the file of its module


def is_own(name: str) -> bool:
    """Whether `name` is meant as `module:Class`."""
    return ":" in name


def own_class(name: str) -> type:
    """Imports the class that `name`, 'module:Class', names; a process imports it once.

    A note on stderr says from which file, for a config may come with weights of someone else. The module is looked for
    as any import is, in the working directory too, and beside a config file while that is read.
    Raises InputError where there is no such module or class, where the module itself raises, and where a module
    of the same name was imported from another file before.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"model.name is {shown(name)!r}; a class of your own is named MODULE:CLASS, such as mine:Tiny")
    module_name, class_name = match.groups()
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise InputError(f"model.name is {shown(name)!r}, but {module_name} is a module of Python's own")
    with _working_directory_importable():
        file = _file_of(module_name)
        if name in _imported:
            known, known_file = _imported[name]
            if file not in (None, known_file):
                raise InputError(
                    f"model.name is {shown(name)!r}, which is in {known_file} and in {file}; rename one of the modules"
                )
            return known
        if file:
            tell(f"the network is {name}, a class of {file}, whose code is run")
        module = _import(name, module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        hint = did_you_mean(class_name, classes)
        raise InputError(f"model.name is {shown(name)!r}, but {module_name} has no class {class_name}{hint}")
    _imported[name] = found, file
    return found


@contextlib.contextmanager
def _working_directory_importable() -> Iterator[None]:
    """The command's own `sys.path` begins with the folder that it is installed in, not with the working directory."""
    here = os.getcwd()
    importlib.invalidate_caches()  # a file written a moment ago is found too
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _file_of(module_name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module_name)
    except Exception:  # a package on the way to it may raise anything: importing it tells
        return None
    return os.path.realpath(spec.origin) if spec and spec.origin else None


def _import(name: str, module_name: str):
    try:
        return importlib.import_module(module_name)
    except Exception as error:  # the user's own code: it may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise InputError(
                f"model.name is {shown(name)!r}, but there is no module {shown(error.name)}; start from the folder "
                "that has it, or name that folder in PYTHONPATH"
            ) from error
        lines = traceback.extract_tb(error.__traceback__)
        where = f", {os.path.basename(lines[-1].filename)} line {lines[-1].lineno}" if lines else ""
        raise InputError(
            f"model.name is {shown(name)!r}, but importing {module_name} fails: {type(error).__name__}{where}: "
            f"{shown(error)}"
        ) from error
