"""From image files to entries: what is there already is not embedded again, and each batch is confirmed by itself."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from reid_jax.cpu import cores
from reid_jax.data.decode import decode
from reid_jax.descriptors import Descriptors
from reid_jax.errors import InputError
from reid_jax.extractor import Extractor
from reid_jax.gallery.entries import Added, Facts, Filter
from reid_jax.gallery.gallery import Gallery
from reid_jax.gallery.labels import Labels
from reid_jax.gallery.small_jpeg import small_jpeg

BATCH = 256  # images that are embedded, and confirmed, at a time
_VECTORS = 4096  # the same of vectors that are there already
_FACTS = tuple(field.name for field in dataclasses.fields(Facts))


@dataclasses.dataclass
class AddedImages:
    """How far an addition is. done: images looked at, of `total`. new, known: of these, what was added or there.

    broken: name -> what is wrong with an image that could not be added. ids: of the new entries.
    """

    total: int
    new: int = 0
    known: int = 0
    broken: dict[str, str] = dataclasses.field(default_factory=dict)
    ids: list[int] = dataclasses.field(default_factory=list)

    @property
    def done(self) -> int:
        """See the class."""
        return self.new + self.known + len(self.broken)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A batch that is read: what is new of it, and the names that are broken."""

    facts: list[Facts]
    pixels: list[np.ndarray]
    crops: list[bytes | None]
    known: int
    broken: dict[str, str]


def add_images(
    gallery: Gallery,
    extractor: Extractor,
    names: Sequence[str],
    read: Callable[[str], bytes],
    *,
    labels: Callable[[str], Labels] = lambda name: Labels(),
    crops: bool = True,
    report: Callable[[AddedImages], object] = lambda added: None,
) -> AddedImages:
    """Adds image files to a gallery, 256 at a time.

    Args:
      gallery, extractor: of the same weights.
      names: of the images, each becomes an entry's source. read: gives a file's bytes by its name, in threads.
      labels: what is known of an image by its name.
      crops: keep a small JPEG of each.
      report: called after each batch, with how far it is.

    An image that cannot be read or decoded is noted, and the others are added. A killed call loses nothing that was
    reported; the next one goes on where it was. Raises InputError as `Gallery.add` and `labels` do.
    """
    added = AddedImages(len(names))
    with ThreadPoolExecutor(cores()) as pool:
        for batch in _ahead(names, lambda part: _prepare(gallery, extractor, part, read, labels, crops, pool)):
            added.broken |= batch.broken
            added.known += batch.known
            if batch.facts:
                embedding = extractor.encoder.describe(np.stack(batch.pixels), extractor.flip)
                _count(added, gallery.add(batch.facts, embedding, batch.crops))
            report(added)
    return added


def add_descriptors(
    gallery: Gallery,
    descriptors: Descriptors,
    labels: Sequence[Labels],
    digests: Sequence[str],
    report: Callable[[AddedImages], object] = lambda added: None,
) -> AddedImages:
    """Adds descriptors without their images, thousands at a time: see `add_images`.

    labels: of each. digests: of each one's image, '' where it is unknown, for which the vector's stands.
    """
    added = AddedImages(len(descriptors))
    for start in range(0, len(descriptors), _VECTORS):
        part = slice(start, start + _VECTORS)
        vectors = descriptors.embedding[part]
        named = zip(descriptors.name[part].tolist(), vectors, labels[part], digests[part], strict=True)
        facts = [
            Facts(source=name, digest=digest or _digest(vector.tobytes()), **vars(label))
            for name, vector, label, digest in named
        ]
        _count(added, gallery.add(facts, vectors))
        report(added)
    return added


def copy_entries(
    gallery: Gallery, other: Gallery, where: Filter, report: Callable[[AddedImages], object] = lambda added: None
) -> AddedImages:
    """Adds the entries of a gallery that a filter leaves to another one of the same weights, crops too.

    The other gets the calibration that is attached to the gallery, where it has none.
    """
    if gallery.calibration and not other.calibration:
        other.attach(gallery.calibration)
    added = AddedImages(gallery.count(where))
    for entries, vectors in gallery.blocks(where, size=_VECTORS):
        facts = [Facts(**{name: getattr(entry, name) for name in _FACTS}) for entry in entries]
        _count(added, other.add(facts, vectors, [gallery.crop(entry.id) for entry in entries]))
        report(added)
    return added


def _count(added: AddedImages, done: Added) -> None:
    added.new += len(done.new)
    added.known += done.known
    added.ids += done.new


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _ahead(names: Sequence[str], prepare: Callable[[Sequence[str]], _Prepared]) -> Iterator[_Prepared]:
    """Batches, each prepared while the one before it is embedded."""
    with ThreadPoolExecutor(1) as next_one:
        pending = None
        for start in range(0, len(names), BATCH):
            following = next_one.submit(prepare, names[start : start + BATCH])
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


def _prepare(gallery, extractor, names, read, labels, crops, pool) -> _Prepared:
    broken: dict[str, str] = {}

    def or_note(function, name, *arguments):
        try:
            return function(*arguments)
        except InputError as error:
            broken[name] = str(error)
            return None

    def facts_of(name: str, data: bytes) -> Facts:
        facts = Facts(source=name, digest=_digest(data), **vars(labels(name))).composed()
        facts.check()
        return facts

    data = dict(zip(names, pool.map(lambda name: or_note(read, name, name), names), strict=True))
    facts = {name: or_note(facts_of, name, name, data[name]) for name in names if data[name] is not None}
    facts = {name: each for name, each in facts.items() if each is not None}
    known = gallery.known([each.key for each in facts.values()])
    new = [name for name, each in facts.items() if each.key not in known]

    def load(name: str) -> tuple[np.ndarray, bytes | None]:
        return decode(data[name], extractor.image_size), small_jpeg(data[name]) if crops else None

    loaded = dict(zip(new, pool.map(lambda name: or_note(load, name, name), new), strict=True))
    sound = [name for name in new if loaded[name] is not None]
    return _Prepared(
        [facts[name] for name in sound],
        [loaded[name][0] for name in sound],
        [loaded[name][1] for name in sound],
        len(facts) - len(new),
        broken,
    )
