"""Modules of a file that is run by its path: found beside it while it runs, and forgotten afterwards."""

import contextlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


@contextlib.contextmanager
def own_modules(file: Path) -> Iterator[None]:
    """Makes the folder of `file` and the one above it importable within the `with` block.

    What is imported from them belongs to this file: it is taken out of `sys.modules` at the end, so that files of
    different folders, one read within another too, each get the modules beside them. Python's own modules, installed
    packages, this one, and what was imported from these folders before are left as they are.
    """
    folders = file.resolve().parents[:2]
    names = {_top(name) for name in sys.modules}
    foreign = {name for name in names if _beside(name, folders) and not _lies_in(name, folders) and not _fixed(name)}
    aside = {name: module for name, module in sys.modules.items() if _top(name) in foreign}
    for name in aside:
        del sys.modules[name]
    importlib.invalidate_caches()  # a file written a moment ago is found too
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(str(folder))
        kept = names - foreign
        own = {name for name in map(_top, sys.modules) if name not in kept and _lies_in(name, folders)}
        for name in [name for name in sys.modules if _top(name) in own]:
            del sys.modules[name]
        sys.modules.update(aside)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _beside(name: str, folders: list[Path]) -> bool:
    """Whether `import name` would find something in the folders."""
    return any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for folder in folders)


def _place(module: ModuleType | None) -> Path | None:
    """The file of a module, or the folder of a package; None for a built-in."""
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    path = Path(place).resolve() if place else None
    return path.parent if path and path.name == "__init__.py" else path


def _lies_in(name: str, folders: list[Path]) -> bool:
    """Whether an imported module lies in one of the folders themselves."""
    place = _place(sys.modules.get(name))
    return place is not None and place.parent in folders


def _fixed(name: str) -> bool:
    """Whether an imported module is Python's, installed, or this package: nothing beside a file takes its place."""
    roots = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    place = _place(sys.modules[name])
    return name in sys.stdlib_module_names or name == _top(__name__) or not place or not roots.isdisjoint(place.parents)
