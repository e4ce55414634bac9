"""What the interface does, without HTTP: search, add, list, erase, and say what there is."""

import asyncio
import contextlib
import dataclasses
import functools
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar

import numpy as np

from reid_jax.cpu import cores
from reid_jax.data.decode import MOST_PIXELS
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError
from reid_jax.extractor import Extractor
from reid_jax.gallery import Entry, Filter, Gallery, Match
from reid_jax.gallery.adding import AddedImages, add_images
from reid_jax.gallery.labels import Labels
from reid_jax.serve.archives import Archive, Archives, images
from reid_jax.serve.embedder import Embedder
from reid_jax.serve.fields import sources_of
from reid_jax.serve.limits import Limits
from reid_jax.serve.photos import Box, read_photo
from reid_jax.serve.refusal import Refusal, full_disk

FOLDERS = ("", "person", "camera")  # what the folder of an image may name
_MOST_TAGS = 1000  # of a gallery that are listed
_ERASING = "what was named may be off the list already, and is overwritten with the next change"
_DECODERS = 4  # images that are decoded at once: one of the most pixels takes 150 MB

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class LabelRule:
    """What is known of images that are added together. labels: of all of them. folders: see `FOLDERS`."""

    labels: Labels
    folders: str = ""

    def of(self, source: str) -> Labels:
        """What is known of one of them."""
        folder = PurePosixPath(source).parent.name
        if not self.folders or not folder:
            return self.labels
        return dataclasses.replace(self.labels, **{self.folders: folder[:200]})


class Service:
    """A gallery and the weights that made it, for many clients at once."""

    def __init__(self, gallery: Gallery, extractor: Extractor, limits: Limits, name: str):
        self.gallery, self.limits, self.name = gallery, limits, name
        self._embedder = Embedder(extractor.encoder, extractor.flip)
        self._extractor = Extractor(self._embedder)
        self._archives = Archives(limits.archives, limits.photo_bytes)
        self._decoders = ThreadPoolExecutor(min(_DECODERS, cores()), "decoding")
        self._readers = ThreadPoolExecutor(4, "reading")  # of the gallery
        self._writers = ThreadPoolExecutor(2, "writing")
        self._open = 0

    def start(self) -> None:
        """Compiles the network and starts the threads."""
        self._embedder.start()
        self._archives.start()

    def close(self, seconds: float = 2.0) -> None:
        """Stops the zip at work after its batch, for which it waits as long as it is told, and the threads."""
        self._archives.close(seconds)
        for pool in (self._decoders, self._readers, self._writers):
            pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def admitted(self) -> Iterator[None]:
        """Counts a request that will embed images; raises Refusal (503) where too many are open."""
        if self._open >= self.limits.open_requests:
            raise Refusal(503, f"{self._open} requests are being answered or wait already; try again", wait=1)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def status(self) -> dict[str, object]:
        """What the gallery holds, and what may be asked."""
        summary = await self._read(self.gallery.summary)
        thresholds = sorted(summary.thresholds, key=lambda each: each.threshold)
        return {
            "name": self.name,
            "version": version("reid_jax"),
            "images": summary.entries,
            "people": summary.people,
            "cameras": [{"name": name, "images": count} for name, count in summary.cameras.items()],
            "tags": [{"name": name, "images": count} for name, count in list(summary.tags.items())[:_MOST_TAGS]],
            "first": summary.first,
            "last": summary.last,
            "weights": summary.digest,
            "dimensions": summary.dimensions,
            "image_size": list(self._embedder.image_size),
            "thresholds": [
                {"rate": each.rate, "distance": each.threshold, "missed": each.false_new} for each in thresholds
            ],
            "limits": {
                "photo_bytes": self.limits.photo_bytes,
                "photo_pixels": MOST_PIXELS,
                "archive_bytes": self.limits.archive_bytes,
                "photos": self.limits.photos,
                "images": self.limits.images,
                "results": self.limits.results,
            },
            "kinds": list(IMAGE_ENDINGS),
        }

    async def search(
        self,
        photos: Sequence[tuple[str, Callable[[], bytes], Box | None]],
        where: Filter,
        top: int,
        threshold: float | None,
        by_person: bool,
    ) -> dict[str, object]:
        """The nearest images to photos of one person, each (name, what reads its file, box).

        Each is read when its turn to be decoded comes, so that what waits is not in memory. `threshold` None takes the
        one of the lowest known false-positive rate.
        """
        size = self._embedder.image_size

        def decode(name: str, read: Callable[[], bytes], box: Box | None) -> np.ndarray:
            return read_photo(name, read(), box, size)

        pixels = [await self._in(self._decoders, decode, *photo) for photo in photos]
        embedding = await asyncio.wrap_future(self._embedder.submit(np.stack(pixels)))

        def find() -> tuple[list[Match], int, float | None]:
            found = self.gallery.search(self.gallery.pooled(embedding), top, where, by_person=by_person)[0]
            known = self.gallery.thresholds
            at = threshold if threshold is not None or not known else known[0].threshold
            return found, self.gallery.count(where), at

        found, searched, at = await self._read(find)
        nearest = found[0].distance if found else None
        return {
            "matches": [match_object(each) for each in found],
            "searched": searched,
            "nearest": nearest,
            "threshold": at,
            "nobody": None if at is None else nearest is None or nearest >= at,
        }

    async def add(self, files: Sequence[tuple[str, Callable[[], bytes]]], rule: LabelRule) -> dict[str, object]:
        """Adds image files, each (what it is called, what reads it); raises Refusal (422) where none can be taken.

        They are read when their turn comes, so that what waits is not in memory.
        """
        row_of = sources_of([name for name, _ in files])
        work = functools.partial(self._add, list(row_of), lambda source: files[row_of[source]][1](), rule)
        added = await self._in(self._writers, _gallery_call, work)
        refused = [{"source": source, "reason": reason} for source, reason in added.broken.items()]
        if refused and len(refused) == len(files):
            raise Refusal(422, f"{refused[0]['source']}: {refused[0]['reason']}", more={"refused": refused})
        return {"new": added.ids, "known": added.known, "refused": refused}

    async def add_archive(self, file: BinaryIO, rule: LabelRule) -> Archive:
        """Hands in a zip of images, which is added in the background; the file is closed then, or where it is refused.

        Call it within `place_for_archive`. Raises Refusal (422) where it is no zip or holds no image.
        """

        def add(names: list[str], read: Callable[[str], bytes]) -> AddedImages:
            return self._add(names, read, rule)

        try:
            return self._archives.submit(file, await self._in(self._readers, images, file), add)
        except BaseException:
            file.close()
            raise

    def archive(self, id: str) -> Archive:
        """A zip that was handed in; raises Refusal (404)."""
        return self._archives.find(id)

    def place_for_archive(self) -> contextlib.AbstractContextManager[None]:
        """Keeps a place for a zip from before it arrives; raises Refusal (503) where there is none."""
        return self._archives.place()

    async def page(self, where: Filter, after: int, limit: int) -> dict[str, object]:
        """Part of the listing, by rising ids."""
        page, total = await self._read(
            lambda: (self.gallery.page(where, after=after, limit=limit), self.gallery.count(where))
        )
        return {"images": [entry_object(each) for each in page.entries], "after": page.after, "total": total}

    async def crop(self, id: int) -> bytes:
        """The small JPEG of an image; raises Refusal (404) where there is none."""
        crop = await self._read(lambda: self.gallery.crop(id))
        if crop is None:
            raise Refusal(404, f"there is no image {id}, or no crop of it is kept")
        return crop

    async def erase(self, where: Filter) -> int:
        """Erases what the filter leaves; returns how many images that were.

        Raises Refusal (422) for a person of blanks alone, but where just that is somebody's name: what has no name is
        nobody's to be erased by it.
        """

        def erase() -> int:
            for name in where.people:
                if not name.strip() and not (name and self.gallery.count(Filter(people=(name,)))):
                    raise Refusal(422, f"no person is called {name!r}; images without a name are erased by their ids")
            return self.gallery.erase(where)

        return await self._in(self._writers, _gallery_call, erase, _ERASING)

    def _add(self, names: list[str], read: Callable[[str], bytes], rule: LabelRule) -> AddedImages:
        return add_images(self.gallery, self._extractor, names, read, labels=rule.of)

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._in(self._readers, _gallery_call, work)

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


def entry_object(entry: Entry) -> dict[str, object]:
    """What is told of an image."""
    return {
        "id": entry.id,
        "source": entry.source,
        "camera": entry.camera,
        "time": entry.time,
        "person": entry.person,
        "tags": list(entry.tags),
        "crop": f"/api/images/{entry.id}/crop" if entry.has_crop else None,
    }


def match_object(match: Match) -> dict[str, object]:
    """What is told of a match."""
    return {**entry_object(match), "distance": match.distance}


def archive_object(archive: Archive) -> dict[str, object]:
    """What is told of a zip."""
    return {
        "id": archive.id,
        "state": archive.state,
        "done": archive.done,
        "total": archive.total,
        "new": archive.new,
        "known": archive.known,
        "refused": [{"source": source, "reason": reason} for source, reason in archive.refused],
        "error": archive.error or None,
    }


def gallery_name(address: str) -> str:
    """What the page calls a gallery: its folder's or database's name, nothing of the server's address."""
    parts = urllib.parse.urlsplit(address)
    path = parts.path if parts.netloc or parts.query else address
    return PurePosixPath(path).name or "gallery"


def _gallery_call(work: Callable[[], T], *kept: str) -> T:
    """What the gallery does; what it cannot do is not the client's fault, whose fields were checked before.

    kept: see `full_disk`.
    """
    try:
        return work()
    except Exception as error:
        if refusal := full_disk(error, *kept):
            raise refusal from error
        if isinstance(error, InputError):
            raise Refusal(503, f"the gallery cannot do this now: {error}") from error
        raise
