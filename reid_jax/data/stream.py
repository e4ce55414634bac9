"""Batches of a split that does not fit into memory: read and decoded ahead, in the order in which a run takes them.

What a step reads is a function of its number, so reading begins at any step: a resumed run reads on where it stopped.
Google's `grain` reads ahead, in threads or in processes of their own.
"""

import threading
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
from absl import flags

from reid_jax.cpu import cores
from reid_jax.data.split import StoredSplit
from reid_jax.errors import InputError

_THREADS_PER_CORE = 2  # one waits for the disk while the other decodes
_AHEAD = 2  # reads that are decoded before they are asked for


class _Steps:
    """The images of every step, as grain reads a source: element i is uint8 [batch, h, w, 3]."""

    def __init__(self, images: StoredSplit, rows_of: Callable[[int], np.ndarray], steps: int):
        self._images, self._rows_of, self._steps = images, rows_of, steps
        self._drawing = threading.Lock()  # else all threads would draw the same epoch at its beginning

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> np.ndarray:
        with self._drawing:
            rows = self._rows_of(int(step))
        return self._images.pixels(rows)

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_drawing"}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._drawing = threading.Lock()


class Stream:
    """Reads the images of a run's steps ahead.

    Example:
      stream = Stream(images, functools.partial(sampler.indices, seed), steps=1000, at_once=20)
      first = stream.read(0, 20)  # uint8 [20, batch, h, w, 3]
    """

    def __init__(
        self,
        images: StoredSplit,
        rows_of: Callable[[int], np.ndarray],
        *,
        steps: int,
        at_once: int,
        workers: int = 0,
    ):
        """Reads nothing yet.

        Args:
          images: the split, on disk.
          rows_of: step -> the numbers of its images, int [batch].
          steps: of the whole run.
          at_once: steps that are read in one call, at most; two times as many are kept in memory beside them.
          workers: processes that decode; 0 for threads of this one.

        Raises InputError where grain is not installed.
        """
        grain = require_grain()
        ahead, threads = _AHEAD * at_once, cores() * _THREADS_PER_CORE
        if workers:
            ahead, threads = -(-ahead // workers), 1
        self._steps = grain.MapDataset.source(_Steps(images, rows_of, steps))
        self._reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, ahead))
        self._workers = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=1) if workers else None
        self._next, self._iterator = 0, None

    def read(self, begin: int, end: int) -> np.ndarray:
        """Returns the images of steps `begin` to `end`, uint8 [end - begin, batch, h, w, 3].

        From another step than the one after the last, reading ahead begins anew. Raises InputError for images that
        cannot be decoded.
        """
        if self._iterator is None or begin != self._next:
            self.close()
            self._iterator = self._from(begin)
        images = [next(self._iterator) for _ in range(end - begin)]
        self._next = end
        return np.stack(images)

    def close(self) -> None:
        """Stops reading ahead, until `read` is called again."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator = None

    def _from(self, step: int) -> Iterator[np.ndarray]:
        steps = self._steps[step:].to_iter_dataset(self._reading)
        if self._workers is not None:
            if not flags.FLAGS.is_parsed():  # grain asks for flags of its own, which only absl's programs parse
                flags.FLAGS.mark_as_parsed()
            steps = steps.mp_prefetch(self._workers)
        return iter(steps)


def require_grain() -> ModuleType:
    """Returns the package grain; raises InputError where it is not installed."""
    try:
        import grain
    except ImportError as error:
        raise InputError(
            "training images that do not fit into memory are read by the package grain, which is not installed: pip "
            "install 'reid_jax[stream]', or give config.train_images=resident"
        ) from error
    return grain
