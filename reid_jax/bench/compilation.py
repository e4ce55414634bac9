"""Compile time: cold, and out of JAX's persistent cache."""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import jax
from jax.experimental.compilation_cache import compilation_cache

from reid_jax.bench.quantities import format_seconds

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class CompileTimes:
    """Seconds to trace, lower and compile: into an empty cache, and again out of it, None where there is none.

    Between the two everything compiled is dropped from memory; only the folder of the cache is left, as for a process
    that starts anew.
    """

    cold: float
    cached: float | None

    def __str__(self) -> str:
        again = "this backend keeps none" if self.cached is None else format_seconds(self.cached)
        return f"{format_seconds(self.cold)} cold, from the persistent cache {again}"

    def less(self, seconds: float) -> "CompileTimes":
        """The times without `seconds` of running, for work that also runs what it compiles."""
        return CompileTimes(
            max(0.0, self.cold - seconds), None if self.cached is None else max(0.0, self.cached - seconds)
        )


def compile_times(compile_once: Callable[[], T]) -> tuple[T, CompileTimes]:
    """Returns what `compile_once` returns, and the seconds of its call, cold and out of the cache.

    The cache is a temporary folder for these calls; what a user set of JAX's cache holds again afterwards.
    """
    jax.clear_caches()
    with _empty_cache() as folder:
        begin = time.perf_counter()
        compiled = compile_once()
        cold = time.perf_counter() - begin
        kept = any(folder.iterdir())
        jax.clear_caches()
        begin = time.perf_counter()
        compile_once()
        cached = time.perf_counter() - begin
    return compiled, CompileTimes(cold, cached if kept else None)


@contextlib.contextmanager
def _empty_cache() -> Iterator[Path]:
    options = {
        "jax_enable_compilation_cache": True,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    with tempfile.TemporaryDirectory() as folder:
        options["jax_compilation_cache_dir"] = folder
        before = {name: getattr(jax.config, name) for name in options}
        try:
            _set(options)
            yield Path(folder)
        finally:
            _set(before)


def _set(options: dict[str, object]) -> None:
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it remembers its folder otherwise
