"""One thread that describes the images of all requests that wait, together."""

import concurrent.futures
import queue
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from reid_jax.describe import Describer

MOST_AT_ONCE = 32  # images: their pass takes a moment, and what came meanwhile is next
_SHAPES = (1, 16, 32)  # numbers of images whose batches, filled up, are all that there are up to the most
_PART = 16  # images of a long list that are handed in at a time: whoever searches meanwhile comes between

_Waiting = tuple[np.ndarray, concurrent.futures.Future]


class Embedder(Describer):
    """Describes images for many threads, in the order in which they are handed in.

    Devices take one batch at a time, and a batch of thirty costs far less than thirty batches of one: what waits while
    one is computed goes into the next.
    """

    def __init__(self, encoder: Describer, flip: bool = False):
        """With `flip` a descriptor is the mean of the image's and its mirror image's."""
        self._encoder, self._flip = encoder, flip
        self.image_size, self.mesh = encoder.image_size, encoder.mesh
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._next: _Waiting | None = None  # taken from the queue, and too much for the batch before
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)

    @property
    def streams(self) -> tuple[int, ...]:
        """See `Describer`."""
        return self._encoder.streams

    @property
    def digest(self) -> str:
        """See `Describer`."""
        return self._encoder.digest

    def start(self) -> None:
        """Compiles what it will run, which takes seconds, and starts the thread."""
        for count in _SHAPES:
            self._describe_now(np.zeros((count, *self.image_size, 3), np.uint8))
        self._thread.start()

    def close(self) -> None:
        """Ends the thread once what was handed in is done."""
        self._waiting.put(None)
        self._thread.join()

    def submit(self, images: np.ndarray) -> concurrent.futures.Future:
        """Hands in images uint8 [n, h, w, 3], RGB, n at most 32; the future gives descriptors float32 [n, d].

        It raises InputError where one of them is not finite.
        """
        self._check(images)
        future: concurrent.futures.Future = concurrent.futures.Future()
        self._waiting.put((images, future))
        return future

    def _described(self, blocks: Iterable[np.ndarray], flip: bool) -> Iterator[np.ndarray]:
        if flip:
            raise ValueError("whether mirror images count is said once, when it is made")
        for images in blocks:
            for start in range(0, len(images), _PART):
                yield self.submit(images[start : start + _PART]).result()

    def _work(self) -> None:
        while batch := self._take():
            images = [images for images, _ in batch]
            try:
                embedding = self._describe_now(np.concatenate(images))
            except Exception as error:
                if len(batch) == 1:
                    batch[0][1].set_exception(error)
                    continue
                for each, future in batch:  # one request's fault is not the others'
                    self._describe_alone(each, future)
                continue
            ends = np.cumsum([len(each) for each in images])[:-1]
            for (_, future), part in zip(batch, np.split(embedding, ends), strict=True):
                future.set_result(part)

    def _describe_alone(self, images: np.ndarray, future: concurrent.futures.Future) -> None:
        try:
            future.set_result(self._describe_now(images))
        except Exception as error:
            future.set_exception(error)

    def _describe_now(self, images: np.ndarray) -> np.ndarray:
        return self._encoder.describe(images, self._flip)

    def _take(self) -> list[_Waiting]:
        """What waits, up to the most images; waits where nothing does. Empty at the end."""
        batch: list[_Waiting] = []
        total = 0
        while total < MOST_AT_ONCE:
            try:
                one = self._next or self._waiting.get(block=not batch)
            except queue.Empty:
                break
            self._next = None
            if one is None:
                if batch:
                    self._waiting.put(None)  # for the next call
                break
            images, future = one
            if batch and total + len(images) > MOST_AT_ONCE:
                self._next = one
                break
            if future.set_running_or_notify_cancel():
                batch.append(one)
                total += len(images)
        return batch
