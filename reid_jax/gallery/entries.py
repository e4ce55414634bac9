"""What goes into a gallery and what comes out of it: plain values."""

import dataclasses
import math
import operator
import unicodedata
from collections.abc import Iterable

from reid_jax.errors import InputError, shown
from reid_jax.tracking.thresholds import Threshold

_LONGEST = 4096  # letters of a source
_LONGEST_LABEL = 500  # of a camera, a person or a tag: PostgreSQL's indexes take 2,700 bytes
_MOST_TAGS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an image before it is added.

    source: its name, relative to the folder or zip it came from, '/' separated; with `digest` it is the key by which an
      image is known to be there already.
    digest: SHA-256 of the file's bytes, 64 hexadecimal digits; of a vector without an image, of the vector's.
    camera, person: their names, '' where unknown. time: seconds since 1970 (UTC), None where unknown.
    tags: words, sorted, each once.
    """

    source: str
    digest: str
    camera: str = ""
    time: float | None = None
    person: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self):
        for name in ("source", "digest", "camera", "person"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise InputError(f"{name} is {shown(repr(text))}; give a text")
        object.__setattr__(self, "tags", tuple(sorted(set(_texts("tags", self.tags)))))
        object.__setattr__(self, "time", _seconds("time", self.time))

    @property
    def key(self) -> tuple[str, str]:
        """(source, digest): two images of the same key are one."""
        return self.source, self.digest

    def composed(self) -> "Facts":
        """Returns these facts with their texts in Unicode's form NFC, in which a gallery keeps them."""
        if all(unicodedata.is_normalized("NFC", text) for text in (self.source, self.camera, self.person, *self.tags)):
            return self
        texts = {name: composed(getattr(self, name)) for name in ("source", "camera", "person")}
        return dataclasses.replace(self, **texts, tags=tuple(map(composed, self.tags)))

    def check(self) -> None:
        """Raises InputError for what no gallery can keep: no source, a NUL, a text too long, a time without end."""
        texts = {"source": self.source, "camera": self.camera, "person": self.person}
        texts |= {f"tag {number}": tag for number, tag in enumerate(self.tags, 1)}
        for name, text in texts.items():
            most = _LONGEST if name == "source" else _LONGEST_LABEL
            if len(text) > most or "\0" in text or (not text and name not in ("camera", "person")) or _is_broken(text):
                raise InputError(
                    f"{shown(self.source)}: its {name} is {shown(text)!r}; it takes a Unicode text without a NUL, of "
                    f"at most {most:,} letters"
                )
        if len(self.tags) > _MOST_TAGS:
            raise InputError(f"{shown(self.source)} has {len(self.tags):,} tags; at most {_MOST_TAGS} are kept")
        if len(self.digest) != 64 or set(self.digest) - set("0123456789abcdef"):
            raise InputError(f"{shown(self.source)}: its digest is {shown(self.digest)!r}; give SHA-256, 64 digits")
        if self.time is not None and not math.isfinite(self.time):
            raise InputError(f"{shown(self.source)}: its time is {self.time}; give seconds since 1970, or None")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry(Facts):
    """What is known of an image in the gallery. id: its number, from 1, never another's. has_crop: see `crop`."""

    id: int
    has_crop: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match(Entry):
    """An entry that a search found; distance: Euclidean, from 0 (alike) to 2 (opposite)."""

    distance: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filter:
    """Which entries are meant: those for which every field that is given holds; without any, all.

    ids, cameras, people: one of these. tags: every one of these. since, until: since <= time < until, in seconds since
    1970; an entry without a time is in no range. A name is met as it is, composed as Windows and Linux write it, and
    decomposed as macOS does. Raises InputError for what is no name, id or time.
    """

    ids: tuple[int, ...] = ()
    cameras: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None

    def __post_init__(self):
        object.__setattr__(self, "ids", _ids(self.ids))
        for name in ("cameras", "people", "tags"):
            object.__setattr__(self, name, _texts(name, getattr(self, name)))
        for name in ("since", "until"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
            if (bound := getattr(self, name)) is not None and math.isnan(bound):
                raise InputError(f"{name} is nan; give seconds since 1970, or None")
        for text in (*self.cameras, *self.people, *self.tags):
            if "\0" in text or _is_broken(text):
                raise InputError(f"{shown(text)!r} is no name of a camera, a person or a tag: it is no Unicode text")

    def __bool__(self) -> bool:
        """Whether any field is given."""
        return self != Filter()


@dataclasses.dataclass(frozen=True)
class Added:
    """What an `add` did. new: the entries' ids, in the order given. known: how many were there already."""

    new: tuple[int, ...]
    known: int


@dataclasses.dataclass(frozen=True)
class Page:
    """Part of a listing, in the order of ids. after: to be given for the next page; None where this is the last."""

    entries: tuple[Entry, ...]
    after: int | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a gallery holds.

    address: the folder, or the server's address without its password. version: of the format.
    entries, people: their numbers; an entry without a person counts for none. with_crop: how many keep a crop.
    cameras, tags: name -> number of entries; the camera '' is an unknown one.
    first, last: the range of times, None where none is known.
    dimensions, streams, digest: of the vectors, and of the weights that made them.
    thresholds: see `Gallery.thresholds`. bytes: on the disk.
    """

    address: str
    version: int
    entries: int
    people: int
    with_crop: int
    cameras: dict[str, int]
    tags: dict[str, int]
    first: float | None
    last: float | None
    dimensions: int
    streams: tuple[int, ...]
    digest: str
    thresholds: tuple[Threshold, ...]
    bytes: int


def composed(text: str) -> str:
    """Returns a text in Unicode's form NFC: 'é' as one letter, as it is typed."""
    return unicodedata.normalize("NFC", text)


def forms(text: str) -> list[str]:
    """Returns a text as it is, in NFC and in NFD: one of these is what a gallery holds of an equal one."""
    return list(dict.fromkeys([text, composed(text), unicodedata.normalize("NFD", text)]))


def _several(name: str, values: object) -> tuple:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise InputError(f"{name} is {shown(repr(values))}; give several, such as ({shown(repr(values))},)")
    return tuple(values)


def _texts(name: str, values: object) -> tuple[str, ...]:
    texts = _several(name, values)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} holds {shown(repr(text))}; give texts")
    return texts


def _ids(values: object) -> tuple[int, ...]:
    ids = _several("ids", values)
    try:
        return tuple(map(operator.index, ids))  # NumPy's too
    except TypeError as error:
        raise InputError(f"ids hold what is no whole number ({shown(error)}); give numbers of entries") from error


def _seconds(name: str, value: object) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is {shown(repr(value))}; give seconds since 1970, or None") from error


def _is_broken(text: str) -> bool:
    """Whether a text cannot be written as UTF-8: bytes of a file name that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


EVERYTHING = Filter()
