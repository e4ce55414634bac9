"""A gallery of made vectors: adding, searching, with and without a filter; memory and disk; faiss beside it."""

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reid_jax.bench.contest import OURS, Contest, Contestant, run_contest
from reid_jax.bench.quantities import format_bytes, format_rate, format_seconds
from reid_jax.errors import InputError
from reid_jax.gallery import EVERYTHING, Facts, Filter, Gallery, Match, open_gallery
from reid_jax.gallery.kind import Kind
from reid_jax.progress import progress_bar

K = 20
QUERIES = (1, 32)

_PEOPLE_EVERY = 10  # entries to a person
_NOISE = 0.7  # of a vector, beside its person's direction of norm 1
_CAMERAS = 20  # of which a filter leaves one
_BATCH = 4096  # entries that are confirmed at a time
_FILTER = Filter(cameras=("camera 7",))


@dataclasses.dataclass(frozen=True)
class GalleryMeasurement:
    """Adding `entries` took `added` seconds; `disk` bytes. searches: (number of queries, filtered) -> the contest.

    memory: bytes of the process's own that the searches took at most, without mapped files, of which the system keeps
    what it has room for. Of a peer: seconds that it took to fill, and bytes of its own.
    """

    entries: int
    dimensions: int
    added: float
    disk: int
    memory: int
    peer: tuple[float, int] | None
    searches: dict[tuple[int, bool], Contest]

    def __str__(self) -> str:
        lines = [
            f"add       {format_seconds(self.added)}, {format_rate(self.entries / self.added)} entries/s, confirmed on "
            f"disk {_BATCH:,} at a time; {format_bytes(self.disk)} on disk",
            f"memory    {format_bytes(self.memory)} beside the mapped files",
        ]
        if self.peer:
            seconds, held = self.peer
            lines.append(f"the peer  filled in {format_seconds(seconds)} in memory alone; holds {format_bytes(held)}")
        for (queries, filtered), contest in self.searches.items():
            which = f"one camera of {_CAMERAS}" if filtered else "all"
            lines.append(f"search {which}, queries at a time: {queries}\n{contest.table()}")
        return "\n".join(lines)

    def figures(self) -> dict[str, Any]:
        """The measurement as plain values for JSON."""
        searches = [
            {"queries": queries, "filtered": filtered, "contestants": contest.figures()}
            for (queries, filtered), contest in self.searches.items()
        ]
        values = {name: getattr(self, name) for name in ("entries", "dimensions", "added", "disk", "memory", "peer")}
        return values | {"searches": searches}


def bench_gallery(
    address: str, entries: int, dimensions: int, rounds: int, peers: Sequence[str], approximate: bool = False
) -> GalleryMeasurement:
    """Fills an empty gallery at `address` with made vectors and times searches in it.

    With `approximate` a PostgreSQL server's index is built and used. A difference is the share of our matches that
    are not a peer's, or of the approximate ones that are not the exact ones. Raises InputError where the
    gallery has entries.
    """
    kind = Kind(hashlib.sha256(b"made").hexdigest(), (dimensions,))
    with open_gallery(address, kind, create=True) as gallery:
        if gallery.count():
            raise InputError(f"{gallery.address} holds entries already; name a place where there is no gallery")
        if approximate:
            gallery.require_indexable()
        added = _fill(gallery, entries)
        if approximate:
            begin = time.perf_counter()
            gallery.build_index()
            print(f"index     {format_seconds(time.perf_counter() - begin)}", flush=True)
        index, peer = _fill_peer(gallery, peers)
        before = _own_memory()
        queries = _queries(entries, dimensions)
        searches, memory = {}, 0
        for where in (EVERYTHING, _FILTER):
            meant = np.arange(entries) % _CAMERAS == 7 if where else None
            for count in QUERIES:
                contestants = _contestants(gallery, queries[:count], where, approximate, index, meant)
                searches[count, bool(where)] = run_contest(contestants, rounds, "queries")
                memory = max(memory, _own_memory() - before)
        return GalleryMeasurement(entries, dimensions, added, gallery.summary().bytes, memory, peer, searches)


def _contestants(gallery, query, where, approximate, index, meant) -> list[Contestant]:
    def ours():
        return gallery.search(query, K, where, approximate=approximate)

    difference = None
    if approximate:  # how much of the exact answer is missing
        difference = _differing(ours(), [[match.id for match in found] for found in gallery.search(query, K, where)])
    found = [Contestant(OURS, ours, len(query), difference)]
    if index is not None:
        from reid_jax.bench.peers import faiss_peer

        search = faiss_peer.searcher(index, query, K, meant)
        found.append(Contestant(faiss_peer.NAME, search, len(query), _differing(ours(), (search() + 1).tolist())))
    return found


def _differing(found: Sequence[Sequence[Match]], others: Sequence[Sequence[int]]) -> float:
    """The share of the matches of all queries that are not among `others`, ids."""
    missing = sum(len({match.id for match in one} - set(other)) for one, other in zip(found, others, strict=True))
    return missing / max(1, sum(map(len, found)))


def _fill_peer(gallery: Gallery, peers: Sequence[str]) -> tuple[Any, tuple[float, int] | None]:
    if "faiss" not in peers:
        return None, None
    from reid_jax.bench.peers import faiss_peer

    held, begin = _own_memory(), time.perf_counter()
    index = faiss_peer.fill(gallery.dimensions, (vectors for _, vectors in _made(gallery.count(), gallery.dimensions)))
    return index, (time.perf_counter() - begin, _own_memory() - held)


def _fill(gallery: Gallery, entries: int) -> float:
    """Adds made entries; returns the seconds that adding took, without making them."""
    seconds = 0.0
    with progress_bar(entries, "adding", "entries") as bar:
        for rows, vectors in _made(entries, gallery.dimensions):
            facts = [
                Facts(
                    source=f"camera {row % _CAMERAS}/{row:09d}.jpg",
                    digest=hashlib.sha256(str(row).encode()).hexdigest(),
                    camera=f"camera {row % _CAMERAS}",
                    time=1.7e9 + row,
                    person=f"person {row // _PEOPLE_EVERY}",
                )
                for row in rows
            ]
            begin = time.perf_counter()
            gallery.add(facts, vectors)
            seconds += time.perf_counter() - begin
            bar.update(len(rows))
    return seconds


def _made(entries: int, dimensions: int) -> Iterator[tuple[range, np.ndarray]]:
    """The rows of each batch, and their vectors float32 [m, d], which every call makes alike."""
    for start in range(0, entries, _BATCH):
        rows = range(start, min(start + _BATCH, entries))
        random = np.random.default_rng([start, dimensions])
        people = random.standard_normal((-(-len(rows) // _PEOPLE_EVERY), dimensions), np.float32)
        yield rows, _noisy(np.repeat(people, _PEOPLE_EVERY, 0)[: len(rows)], random)


def _queries(entries: int, dimensions: int) -> np.ndarray:
    """Other images of some of the people: float32 [32, d]."""
    _, vectors = next(_made(entries, dimensions))
    few = vectors[np.arange(max(QUERIES)) * 7 % len(vectors)]
    return _noisy(few, np.random.default_rng(1))


def _noisy(direction: np.ndarray, random: np.random.Generator) -> np.ndarray:
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    noise = random.standard_normal(direction.shape, np.float32)
    vectors = direction + _NOISE * noise / np.float32(direction.shape[1] ** 0.5)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _own_memory() -> int:
    """The bytes of this process that are no mapped file's; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)
