"""`Gallery`: the calls that a folder and a PostgreSQL server answer alike."""

import abc
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from reid_jax.errors import InputError
from reid_jax.gallery.entries import EVERYTHING, Added, Entry, Facts, Filter, Match, Page, Summary, composed
from reid_jax.gallery.kind import Kind
from reid_jax.gallery.thresholds import known_thresholds
from reid_jax.ranges import whole
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.tracking.thresholds import Calibration, Threshold

MOST_RESULTS = 10_000
_QUERIES = 256  # that are compared with a file of vectors at once: 64 MiB of scores
_SPARE = 16  # candidates beside the k: engines round scores, so near the k-th one may stand for another
_ROUNDING = 4e-6  # of a squared distance of unit vectors in float32, generously
_OFF_NORM = 1e-3  # by which a vector's norm may differ from 1


class Gallery(abc.ABC):
    """Descriptors of people and what is known of each; made by `open_gallery`.

        with open_gallery("gallery", extractor) as gallery:
            found = gallery.search(gallery.pooled(extractor(["anna_1.jpg", "anna_2.jpg"])), k=10)[0]

    Every call may be made from several threads and processes at once. Search is exact: the k nearest of the entries
    that the filter leaves, by float64 distances of the float32 vectors; at equal distances the lower id comes first.

    address: where it is, as messages show it: without a password.
    kind: the digest of the weights, and the widths of the vectors that a descriptor concatenates.
    """

    address: str
    kind: Kind

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def dimensions(self) -> int:
        """d, the length of a descriptor."""
        return self.kind.dimensions

    # What is there ----------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def summary(self) -> Summary:
        """Returns what the gallery holds."""

    @abc.abstractmethod
    def count(self, where: Filter = EVERYTHING) -> int:
        """Returns the number of entries that `where` leaves."""

    @abc.abstractmethod
    def page(self, where: Filter = EVERYTHING, *, after: int = 0, limit: int = 100) -> Page:
        """Returns the first `limit` entries that `where` leaves and whose ids are above `after`."""

    @abc.abstractmethod
    def crop(self, id: int) -> bytes | None:
        """Returns the small JPEG that is kept of an entry; None where none is, or there is no such entry."""

    @abc.abstractmethod
    def known(self, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Returns those of `keys`, each (source, digest), that are in the gallery: they need no embedding."""

    @abc.abstractmethod
    def vectors(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns (ids int64 [m], vectors float32 [m, d]) of those of `ids` that are there, in the order of ids."""

    def blocks(self, where: Filter = EVERYTHING, *, size: int = 4096) -> Iterator[tuple[tuple[Entry, ...], np.ndarray]]:
        """Yields all entries that `where` leaves with their vectors float32 [m, d], in the order of ids."""
        after: int | None = 0
        while after is not None:
            page = self.page(where, after=after, limit=size)
            ids, embedding = self.vectors([entry.id for entry in page.entries])
            there = set(ids.tolist())
            entries = tuple(entry for entry in page.entries if entry.id in there)  # without those erased meanwhile
            if entries:
                yield entries, embedding
            after = page.after

    # Search -----------------------------------------------------------------------------------------------------------

    def pooled(self, embedding: np.ndarray) -> np.ndarray:
        """Returns one query of several images of a person: float32 [n, d] -> [1, d], the mean, renormalised."""
        return renormalise(self._checked(embedding).mean(0, keepdims=True), self.kind.streams)

    def search(
        self,
        embedding: np.ndarray,
        k: int = 20,
        where: Filter = EVERYTHING,
        *,
        nearer: float | None = None,
        by_person: bool = False,
        approximate: bool = False,
    ) -> list[list[Match]]:
        """Finds the k nearest entries of each query, nearest first.

        Args:
          embedding: float32 [q, d], unit norm, q queries, each searched by itself; see `pooled`.
          k: at most 10,000. Fewer come back only where the filter, or `nearer`, leaves fewer.
          where: which entries are searched; they are chosen before ranking.
          nearer: a distance; only matches below it come back. An empty list says "nobody here". See `threshold_at`.
          by_person: of each person only the nearest entry comes back; an entry without a person stands for itself.
          approximate: use the index that `build_index` made, which is sooner and may miss some of the nearest. Where
            there is none, as in a folder, search stays exact.

        Raises InputError for vectors of another length or norm, or k out of its range.
        """
        embedding = self._checked(embedding)
        if not whole(1, MOST_RESULTS).holds(k):
            raise InputError(f"search: k is {k}; it takes {whole(1, MOST_RESULTS)}")
        if not len(embedding):
            return []
        search = self._grouped if by_person else self._nearest
        found = []
        for start in range(0, len(embedding), _QUERIES):
            found += search(embedding[start : start + _QUERIES], k, where, approximate)
        if nearer is None:
            return found
        return [[match for match in matches if match.distance < nearer] for matches in found]

    def _nearest(
        self, embedding: np.ndarray, k: int, where: Filter, approximate: bool, besides: Sequence[str] = ()
    ) -> list[list[Match]]:
        """The k nearest of each query, of other people than `besides`.

        Engines round dot products in their own ways. So the distances of a few more than k candidates are computed
        anew, by this code whatever found them, and more are taken where the last of them is as near as the k-th.
        """
        spare = _SPARE
        while True:
            candidates = self._candidates(embedding, k + spare, where, approximate, besides)
            ranked = self._ranked(embedding, candidates)
            full = [
                len(distance) == k + spare and distance[-1] ** 2 - distance[k - 1] ** 2 < _ROUNDING
                for _, distance in ranked
            ]
            if not any(full):
                break
            spare *= 8
        ranked = [(ids[:k], distance[:k]) for ids, distance in ranked]
        needed = np.unique(np.concatenate([ids for ids, _ in ranked]))
        entries = {entry.id: entry for entry in self._entries(needed.tolist())}
        return [
            [
                Match(**_fields(entries[id]), distance=float(distance))
                for id, distance in zip(ids.tolist(), distances, strict=True)
                if id in entries
            ]
            for ids, distances in ranked
        ]

    def _ranked(self, embedding: np.ndarray, candidates: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each query's candidates, nearest first, the lower id first at equal distances: (ids, distances float64)."""
        ids, vectors = self.vectors(np.unique(np.concatenate(candidates)).tolist())
        ranked = []
        for query, mine in zip(embedding, candidates, strict=True):
            mine = np.sort(mine)
            rows = np.searchsorted(ids, mine)
            rows = rows[ids[np.minimum(rows, len(ids) - 1)] == mine] if len(ids) else rows[:0]  # without those erased
            distance = np.linalg.norm(vectors[rows].astype(np.float64) - query.astype(np.float64), axis=1)
            order = np.lexsort((ids[rows], distance))
            ranked.append((ids[rows[order]], distance[order]))
        return ranked

    def _grouped(self, embedding: np.ndarray, k: int, where: Filter, approximate: bool) -> list[list[Match]]:
        """The k nearest people: a few entries for each are ranked; then, without the people found, as many again."""
        found: list[list[Match]] = [[] for _ in embedding]
        open_queries = list(range(len(embedding)))
        for depth in (4 * k, 16 * k):
            ranked = self._nearest(embedding[open_queries], depth, where, approximate)
            for row, matches in zip(open_queries, ranked, strict=True):
                found[row] = _with_people([], matches)
            full = [len(matches) == depth for matches in ranked]  # else all were ranked
            open_queries = [row for row, more in zip(open_queries, full, strict=True) if more and len(found[row]) < k]
            if not open_queries:
                break
        for row in open_queries:
            is_full, met = True, {match.person for match in found[row]}
            while is_full and len(found[row]) < k:
                besides = tuple(met - {""})
                (matches,) = self._nearest(embedding[row : row + 1], depth, where, approximate, besides)
                found[row] = _with_people(found[row], matches)
                met.update(match.person for match in matches)  # a name may be kept in several forms
                is_full = len(matches) == depth
        return [people[:k] for people in found]

    @abc.abstractmethod
    def _candidates(
        self, embedding: np.ndarray, k: int, where: Filter, approximate: bool, besides: Sequence[str]
    ) -> list[np.ndarray]:
        """Of each query the ids int64 [<= k] of the entries with the largest dot products, in any order.

        besides: people whose entries are not meant.
        """

    @abc.abstractmethod
    def _entries(self, ids: Sequence[int]) -> Iterable[Entry]:
        """The entries of these ids, of those that are there."""

    # Thresholds -------------------------------------------------------------------------------------------------------

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """Distances of two images with their false-positive rates, lowest rate first; () where none are known.

        Those of the calibration that was attached, or of the weights' entry in the zoo. A rate is a share of
        comparisons: among n entries of other people, about rate * n lie nearer than the threshold.
        """
        attached = self.calibration
        found = attached.images.at if attached else known_thresholds(self.kind.digest)
        return tuple(sorted(found, key=lambda each: each.rate))

    def threshold_at(self, rate: float) -> float:
        """Returns the distance of a false-positive rate; raises InputError where it is none of the known ones."""
        found = self.thresholds
        for each in found:
            if each.rate == rate:
                return each.threshold
        rates = ", ".join(f"{each.rate:g}" for each in found) or "none"
        raise InputError(
            f"the gallery knows no threshold of rate {rate:g} (known: {rates}); attach a calibration of these weights "
            "by reid-jax gallery add --calibration=FILE, which reid-jax track calibrate --json=FILE writes"
        )

    def attach(self, calibration: Calibration) -> None:
        """Keeps the thresholds of a calibration; raises InputError where it is of other weights."""
        if calibration.digest != self.kind.digest:
            raise InputError(
                "the calibration is not of the weights that made this gallery's vectors; calibrate these by reid-jax "
                "track calibrate SEQUENCE ... --weights=WEIGHTS --json=FILE"
            )
        self._attach(calibration)

    @property
    @abc.abstractmethod
    def calibration(self) -> Calibration | None:
        """The calibration that was attached; None where none was."""

    @abc.abstractmethod
    def _attach(self, calibration: Calibration) -> None:
        """Keeps a calibration of these weights in place of what was there."""

    # Changes ----------------------------------------------------------------------------------------------------------

    def add(self, facts: Sequence[Facts], embedding: np.ndarray, crops: Sequence[bytes | None] | None = None) -> Added:
        """Adds images that are not there yet: all of them or, where it fails, none. When it returns they are on disk.

        Args:
          facts: of n images. One whose key is there already, or stands twice, changes nothing. Texts are kept in
            Unicode's form NFC.
          embedding: float32 [n, d], unit norm, by the weights of `kind`.
          crops: a small JPEG of each, see `crops.small_jpeg`, or None.

        Raises InputError for facts or vectors that cannot be kept, OSError for a full disk.
        """
        embedding = self._checked(embedding)
        crops = [None] * len(facts) if crops is None else crops
        if not len(facts) == len(embedding) == len(crops):
            raise InputError(f"add: {len(facts)} facts, {len(embedding)} vectors and {len(crops)} crops")
        facts = [each.composed() for each in facts]
        for each in facts:
            each.check()
        return self._add(facts, embedding, crops)

    @abc.abstractmethod
    def _add(self, facts: Sequence[Facts], embedding: np.ndarray, crops: Sequence[bytes | None]) -> Added:
        """See `add`; what is given has been checked."""

    def erase(self, where: Filter) -> int:
        """Erases the entries that `where` leaves: facts, vectors and crops; returns how many.

        When it returns, no byte of them is left in the gallery's files. An erasing that is killed is ended by the next
        change, or the next `erase`. Raises InputError for a filter that names nothing: it would erase all.
        """
        if not where:
            raise InputError("erase: nothing is named; name ids, people, cameras, tags or times")
        return self._erase(where)

    @abc.abstractmethod
    def _erase(self, where: Filter) -> int:
        """See `erase`."""

    def build_index(self) -> None:
        """Builds what `search(approximate=True)` uses; raises InputError as `require_indexable`."""
        self.require_indexable()

    def require_indexable(self) -> None:
        """Raises InputError where the gallery has no such index, or none for vectors as long as its own."""
        raise InputError(
            "a gallery in a folder has no index, it searches exactly; an index takes --gallery=postgresql://…"
        )

    @abc.abstractmethod
    def has_unfinished_erasing(self) -> bool:
        """Whether an erasing was killed, and nothing has ended it since."""

    @abc.abstractmethod
    def check(self) -> list[str]:
        """Reads everything and returns what is damaged, a line each, with what to do; [] where all is sound."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of files and connections; no call may follow."""

    def _checked(self, embedding: np.ndarray) -> np.ndarray:
        """The vectors as float32 [n, d]; raises InputError where they are none of this gallery's."""
        embedding = np.ascontiguousarray(embedding, np.float32)
        if embedding.ndim != 2 or embedding.shape[1] != self.dimensions:
            raise InputError(
                f"vectors have shape {list(embedding.shape)}, but the gallery has [n, {self.dimensions}]; take the "
                "weights that made it"
            )
        norm = np.linalg.norm(embedding, axis=1)
        wrong = np.flatnonzero(~(np.abs(norm - 1) < _OFF_NORM))  # where a number is NaN, too
        if len(wrong):
            raise InputError(
                f"{len(wrong):,} of {len(embedding):,} vectors are not of norm 1, such as row {wrong[0]} (norm "
                f"{norm[wrong[0]]:g}); divide each by its norm"
            )
        return embedding


def _with_people(found: Sequence[Match], matches: Sequence[Match]) -> list[Match]:
    """`found`, and of those matches that are of other people the first of each."""
    people = {composed(match.person) or match.id: match for match in found}
    for match in matches:
        people.setdefault(composed(match.person) or match.id, match)
    return list(people.values())


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _fields(entry: Entry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in _names(Entry)}
