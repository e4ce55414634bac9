"""Modules of a file that is run by its path: found beside it while it runs, and forgotten afterwards."""

import contextlib
import importlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_modules(file: Path) -> Iterator[None]:
    """Makes the folder of `file` and the one above it importable within the `with` block.

    What is imported from them belongs to this file: it is taken out of `sys.modules` at the end, so that files of
    different folders, one read within another too, each get the modules beside them. Python's own modules, installed
    packages, this one, and what was imported from these folders before are left as they are.
    """
    folders = file.resolve().parents[:2]
    names = {_top(name) for name in sys.modules}
    foreign = {name for name in names if _beside(name, folders) not in (None, _origin(name)) and not _fixed(name)}
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
        own = {name for name in map(_top, sys.modules) if name not in kept and _beside(name, folders) == _origin(name)}
        for name in [name for name in sys.modules if _top(name) in own]:
            del sys.modules[name]
        sys.modules.update(aside)


def _top(name: str) -> str:
    return name.partition(".")[0]


def _beside(name: str, folders: list[Path]) -> Path | None:
    """The file, or the folder of a package, that `import name` finds in the folders."""
    for folder in folders:
        package, module = folder / name, folder / f"{name}.py"
        if module.is_file() and not (package / "__init__.py").is_file():
            return module.resolve()
        if package.is_dir():
            return package.resolve()
    return None


def _origin(name: str) -> Path | None:
    """The file, or the folder of a package, that an imported module comes from; None for a built-in."""
    module = sys.modules.get(name)
    origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    path = Path(origin).resolve() if origin else None
    return path.parent if path and path.name == "__init__.py" else path


def _fixed(name: str) -> bool:
    """Whether an imported module is Python's, installed, or this package: nothing beside a file takes its place."""
    roots = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    path = _origin(name)
    return name in sys.stdlib_module_names or name == _top(__name__) or not path or not roots.isdisjoint(path.parents)
