"""What XLA has compiled, kept for the next start: JAX's persistent cache, made safe enough to be on by default.

The folder is the user's own, below $XDG_CACHE_HOME or ~/.cache, shared by all runs and processes. JAX's variables rule:
JAX_COMPILATION_CACHE_DIR names another folder, which is then JAX's own affair, JAX_ENABLE_COMPILATION_CACHE=false
switches it off, JAX_COMPILATION_CACHE_MAX_SIZE bounds it in bytes.

JAX's own files are written in place and never replaced: what a killed process or a full disk left of one fails again at
every start; its bound needs a package more, and fails for good where one file is missing. Here an entry is written
beside its name and renamed, holds its digest, and goes where it is damaged. Code for a CPU runs on CPUs of its kind
only, and JAX's key does not say which: each kind has a folder of its own.
"""

import contextlib
import hashlib
import os
import platform
import sys
import time
import warnings
from pathlib import Path

MOST_BYTES = 2**30  # one network's programs take some ten megabytes
_DIGEST = hashlib.sha256().digest_size
_DEAD = 3600  # seconds after which a file that was not renamed is a dead process's
_UNLOADABLE = b"does not load"  # an entry that XLA refuses: kept, so that it is not tried again at every start


def keep() -> None:
    """Turns the cache on for this process, unless JAX's variables say otherwise; to be called behind `import jax`.

    Nothing raises: where the folder cannot be made, the cache is off, which `Programs` tells.
    """
    import jax
    from jax._src import compilation_cache

    programs.listen(jax.monitoring)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or not jax.config.jax_enable_compilation_cache:
        return
    if sys.platform == "darwin" and jax.version.__version_info__ < (0, 10):
        return  # there jaxlib loads programs of many kernels by recursion, off the end of its stack
    if not hasattr(compilation_cache, "get_file_cache"):  # another JAX
        return
    try:
        folder = _folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # the latter where there is no home
        programs.trouble = getattr(error, "strerror", None) or str(error)
        return
    most = jax.config.jax_compilation_cache_max_size
    cache = Cache(folder, MOST_BYTES if most < 0 else most)
    compilation_cache.get_file_cache = lambda path: (cache, path)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # An entry that XLA refuses is compiled anew, and remembered: see `Cache.put`.
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")


def _folder() -> Path:
    """This kind of CPU's folder; RuntimeError where the user has no home."""
    if sys.platform == "darwin":
        usual = Path("~/Library/Caches")
    else:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return usual.expanduser() / "reid_jax" / "compiled" / _kind_of_cpu()


def _kind_of_cpu() -> str:
    """Names the kind: architecture, and a digest of the model and what it can do, as Linux tells them."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        keys = ("model name", "flags", "Features", "CPU implementer", "CPU part")  # the latter three on ARM
        about = "\n".join(line for line in first.splitlines() if line.startswith(keys))
    except OSError:
        about = platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"


class Cache:
    """Compiled programs by JAX's key, as files of a folder; what JAX asks of a cache: `get` and `put`.

    Safe with several processes and threads at a time: an entry is there whole or not at all. Beyond `most` bytes the
    entries go that were not used for longest.
    """

    def __init__(self, folder: Path, most: int):
        self._path = folder  # JAX's name
        self._most, self._size = most, None
        self._given: set[str] = set()

    def get(self, key: str) -> bytes | None:
        """Returns the entry; None where there is none, or none that can be used."""
        file = self._path / key
        try:
            data = file.read_bytes()
        except OSError:
            return None
        digest, value = data[:_DIGEST], data[_DIGEST:]
        sound = hashlib.sha256(value).digest() == digest
        with contextlib.suppress(OSError):  # a folder that can only be read
            if sound or data == _UNLOADABLE:
                os.utime(file)  # it was used
            else:
                file.unlink()
        if not sound:
            return None
        self._given.add(key)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keeps an entry; what the disk does not take is not kept, which `Programs` tells."""
        # Compiled although it was there: XLA could not load it.
        data = _UNLOADABLE if key in self._given else hashlib.sha256(value).digest() + value
        temporary = self._path / f".{os.getpid()}-{key}"
        try:
            if len(data) > self._most:
                return
            try:
                temporary.write_bytes(data)
                os.replace(temporary, self._path / key)
            finally:
                temporary.unlink(missing_ok=True)
            if self._size is not None:
                self._size += len(data)
            if self._size is None or self._size > self._most:
                self._make_room()
        except OSError as error:
            programs.trouble = error.strerror or str(error)

    def _make_room(self) -> None:
        """Counts what is there and removes the entries not used for longest, to three quarters of the bound."""
        entries, now = [], time.time()
        for file in os.scandir(self._path):
            with contextlib.suppress(OSError):  # another process was there first
                about = file.stat()
                if not file.is_file():
                    continue  # XLA's own, on GPUs
                if not file.name.startswith("."):
                    entries.append((about.st_mtime, about.st_size, file.path))
                elif about.st_mtime < now - _DEAD:
                    os.unlink(file.path)
        self._size = sum(size for _, size, _ in entries)
        if self._size > self._most:
            for _, size, path in sorted(entries):
                if self._size <= self._most * 3 / 4:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                self._size -= size


class Programs:
    """Counts what this process has compiled, and what of it came out of the cache."""

    def __init__(self):
        self.compiled = self.found = 0
        self.seconds = self.saved = 0.0
        self.trouble = ""
        self._listens = False

    def listen(self, monitoring) -> None:
        """Hears JAX's events, from the first call on."""
        if self._listens:
            return
        self._listens = True
        monitoring.register_event_listener(self._count)
        monitoring.register_event_duration_secs_listener(self._add)

    def _count(self, event: str, **_: object) -> None:
        self.found += event == "/jax/compilation_cache/cache_hits"

    def _add(self, event: str, seconds: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            self.compiled += 1
            self.seconds += seconds
        elif event == "/jax/compilation_cache/compile_time_saved_sec":
            self.saved += seconds

    def describe(self) -> str:
        """Returns one line: how many programs there are so far, and how many of them an earlier start had compiled."""
        import jax

        folder = jax.config.jax_compilation_cache_dir if jax.config.jax_enable_compilation_cache else None
        line = f"compiled    {self.compiled} programs in {self.seconds:.1f} s"
        if not folder:
            return f"{line}; none is kept ({self.trouble or 'the cache is off'})"
        line += f", {self.found} of them out of {folder}"
        if self.saved >= 1:
            line += f", which saved {self.saved:.0f} s"
        return f"{line}; not all are kept ({self.trouble})" if self.trouble else line


programs = Programs()
