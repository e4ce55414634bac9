"""How time and memory are measured: a call that is not counted, then rounds; the median and the range of these.

Times are wall-clock seconds of whole calls, results on the host or waited for.
"""

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reid_jax.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Seconds of each round, and the peak of host memory in bytes beyond what was held before the first.

    The peak is the process's own: where making the data took more memory than the work, it is that, an upper bound.
    """

    seconds: tuple[float, ...]
    peak: int

    def __str__(self) -> str:
        return (
            f"{statistics.median(self.seconds):8.2f} s (median of {len(self.seconds)}, {min(self.seconds):.2f} to "
            f"{max(self.seconds):.2f})   peak {self.peak / 2**30:.2f} GiB beyond the embeddings"
        )


def seconds_of(work: Callable[[], object]) -> float:
    """The seconds of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(work: Callable[[], object], rounds: int) -> Measurement:
    """Times `rounds` calls of `work` after one that is not counted; the peak covers that one too."""
    before = held_memory()
    (seconds,) = in_turn([work], rounds)
    return Measurement(seconds, peak_memory() - before)


def in_turn(works: Sequence[Callable[[], object]], rounds: int, preceded: bool = False) -> list[tuple[float, ...]]:
    """Times `rounds` rounds in which each work is called once, after a call each that is not counted.

    What slows the machine for a while then slows them all. With `preceded` a call of the same work that is not timed
    comes right before each call that is, as in a run that does nothing else. Returns the seconds [rounds] of each.
    """
    seconds: list[list[float]] = [[] for _ in works]
    with progress_bar((rounds + 1) * len(works), "measuring", "turns") as bar:
        for number in range(rounds + 1):
            for work, own in zip(works, seconds, strict=True):
                if number and preceded:
                    work()
                spent = seconds_of(work)
                if number:
                    own.append(spent)
                bar.update()
    return [tuple(own) for own in seconds]


def held_memory() -> int:
    """The memory in bytes that this process holds now; off Linux the most that it has held so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory()
    return pages * resource.getpagesize()


def peak_memory() -> int:
    """The most memory in bytes that this process has held so far."""
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
