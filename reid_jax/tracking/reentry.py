"""Who has been here before: identities given again to people who left and come back (section 5.1).

An external tracker gives a visit for each time that somebody is in the room. When a person enters, a few early crops
are compared with small galleries of everyone who was seen before and is not there now. Nearer than τ it is the nearest
one, otherwise somebody new. Boxes are never moved, only whole visits renamed, so that all but the identities is the
tracker's. A wrong answer stays: from then on its crops are in the wrong person's gallery. Where several samples of the
weights describe people, a visit whose early crops they disagree about may be called new for that alone.

People who enter in the same frame are answered together, and no two of them get the same identity: the least sum of
distances, where "new" costs each of them τ.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from reid_jax.errors import InputError
from reid_jax.tracking.assignment import assign
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.visits import NOBODY, Visit, diverse

QUERY_CROPS = 8  # of a visit's beginning
QUERY_SECONDS = 2.0  # that they are from
GALLERY_CROPS = 16  # that are kept of an identity

# All are answered once they have been there for as long as their query crops are from. So answers come in the order of
# entries, even where somebody leaves sooner.


@dataclasses.dataclass(frozen=True)
class Described:
    """What is known of a visit's looks: unit descriptors.

    query: float32 [q, d], of its beginning.
    gallery: float32 [g, d], of all of it, with frame and camera, int64 [g], of each.
    spread: how far several networks disagree about the query, the root mean square distance of their descriptors from
      their mean, 0 to 1; 0 where there is only one.
    """

    query: np.ndarray
    gallery: np.ndarray
    frame: np.ndarray
    camera: np.ndarray
    spread: float = 0.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """Who a visit is said to be.

    identity: the id of that person's first visit; the visit's own for somebody new.
    nearest: distance to the nearest of `candidates` identities; infinite without any.
    """

    identity: int
    nearest: float
    candidates: int


@dataclasses.dataclass
class _Person:
    last: int  # frame
    gallery: np.ndarray
    frame: np.ndarray
    camera: np.ndarray


def distance(query: np.ndarray, gallery: np.ndarray, nearest: int = 1) -> float:
    """How far query crops [q, d] are from a gallery [g, d]: the mean over them of the distance to the nearest crop.

    Euclidean, between unit descriptors, 0 to 2. With `nearest` k the mean of the k smallest stands for the smallest
    one. Infinite where either is empty.
    """
    if not len(query) or not len(gallery):
        return float("inf")
    apart = np.sqrt(np.maximum(2 - 2 * query @ gallery.T, 0))
    return float(np.sort(apart, axis=1)[:, :nearest].mean())


def answer(
    visits: Sequence[Visit],
    described: Sequence[Described],
    threshold: float,
    *,
    most_spread: float = np.inf,
    nearest: int = 1,
    gallery_crops: int = GALLERY_CROPS,
) -> list[Answer]:
    """Says of each visit who it is, in the order of entering; one answer for each of `visits`, in their order.

    Args:
      visits: by `visits.visits_of`, in any order.
      described: the same number.
      threshold: τ. At 0 everybody is new.
      most_spread: a visit of a larger spread is new, whoever it is near.
      nearest: see `distance`.
      gallery_crops: kept of an identity, the most diverse of all its visits.
    """
    if len(visits) != len(described):
        raise InputError(f"{len(visits)} visits have {len(described)} descriptions; give one for each")
    people: dict[int, _Person] = {}
    answers: dict[int, Answer] = {}
    for entering in _entries(visits):
        first = visits[entering[0]].first
        absent = sorted(identity for identity, person in people.items() if person.last < first)
        apart = np.array(
            [[distance(described[v].query, people[identity].gallery, nearest) for identity in absent] for v in entering]
        ).reshape(len(entering), len(absent))
        unsure = np.array([described[v].spread > most_spread for v in entering])
        to_assign = np.where(unsure[:, None], np.inf, apart)
        known = dict(zip(*(part.tolist() for part in assign(to_assign, threshold)), strict=True))
        for row, v in enumerate(entering):
            identity = absent[known[row]] if row in known else visits[v].identity
            answers[v] = Answer(identity, float(apart[row].min(initial=np.inf)), len(absent))
            # Nobody looks at it before it is absent, so what is learnt of a visit can be put there at once.
            people[identity] = _joined(people.get(identity), visits[v], described[v], gallery_crops)
    return [answers[v] for v in range(len(visits))]


def oracle(visits: Sequence[Visit], truth: np.ndarray) -> list[Answer]:
    """The right answers: visits of the same true person, int [visits], share an identity; of `NOBODY` each is new.

    Where a tracker has the same person twice at once, the second is new: one person cannot enter while being there.
    """
    last: dict[int, int] = {}
    named: dict[int, int] = {}
    answers: dict[int, Answer] = {}
    for entering in _entries(visits):
        for v in entering:
            person, visit = int(truth[v]), visits[v]
            absent = person != NOBODY and person in named and last[person] < visit.first
            identity = named[person] if absent else visit.identity
            answers[v] = Answer(identity, 0.0 if absent else float("inf"), int(absent))
            if person != NOBODY and last.get(person, 0) < visit.first:
                last[person], named[person] = visit.last, identity
    return [answers[v] for v in range(len(visits))]


def _entries(visits: Sequence[Visit]) -> list[list[int]]:
    """The visits that begin in each frame, in the order of frames and, within one, of ids."""
    order = sorted(range(len(visits)), key=lambda v: (visits[v].first, visits[v].identity))
    groups: dict[int, list[int]] = {}
    for v in order:
        groups.setdefault(visits[v].first, []).append(v)
    return list(groups.values())


def _joined(person: _Person | None, visit: Visit, described: Described, crops: int) -> _Person:
    """The person after this visit, with the most diverse of all crops."""
    gallery, frame, camera = described.gallery, described.frame, described.camera
    if person is not None:
        gallery = np.concatenate([person.gallery, gallery])
        frame = np.concatenate([person.frame, frame])
        camera = np.concatenate([person.camera, camera])
    kept = diverse(gallery, frame, camera, crops)
    return _Person(visit.last, gallery[kept], frame[kept], camera[kept])


def relabel(rows: Rows, visits: Sequence[Visit], answers: Sequence[Answer], delay: int = 0) -> Rows:
    """The rows under the identities of the answers; boxes stay.

    Offline (`delay` 0) a whole visit is renamed. Online the answer comes `delay` frames after a person entered, and
    the rows before keep the visit's own id.
    """
    identity = rows.identity.copy()
    for visit, said in zip(visits, answers, strict=True):
        known = visit.rows[rows.frame[visit.rows] >= visit.first + delay]
        identity[known] = said.identity
    return dataclasses.replace(rows, identity=identity)


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """How answers fared against the truth.

    returns: visits of somebody who had been there before, as the tracker saw it; false_new: of these, called new.
    false_merge: visits given the identity of somebody else, returns among them; right: returns given their own.
    visits: of somebody, in all.
    """

    visits: int
    returns: int
    right: int
    false_new: int
    false_merge: int


def mistakes(visits: Sequence[Visit], answers: Sequence[Answer], truth: np.ndarray) -> Mistakes:
    """Counts mistakes; an identity belongs to the person whose visit it was first, `truth` int [visits].

    Visits of `NOBODY` are not counted, but a visit given the identity that such a one began is a false merge. A person
    who returns while still there for the tracker has not returned.
    """
    owner = {visit.identity: int(person) for visit, person in zip(visits, truth, strict=True)}
    right_answers = oracle(visits, truth)
    returns = right = false_new = false_merge = counted = 0
    for visit, said, best, person in zip(visits, answers, right_answers, truth.tolist(), strict=True):
        if person == NOBODY:
            continue
        counted += 1
        returned = best.identity != visit.identity
        merged = said.identity != visit.identity
        returns += returned
        false_new += returned and not merged
        false_merge += merged and owner[said.identity] != person
        right += returned and merged and owner[said.identity] == person
    return Mistakes(counted, returns, right, false_new, false_merge)


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A visit as it begins: its right identity, the distances to everyone absent, and how long that one was away."""

    visit: int
    identity: int
    apart: dict[int, float]
    away: int  # frames since the person left; 0 for somebody who has not been there


def _right_entries(
    visits: Sequence[Visit], described: Sequence[Described], truth: np.ndarray, nearest: int, gallery_crops: int
) -> list[_Entry]:
    """Every entry as it is where all answers before were right."""
    people: dict[int, _Person] = {}
    answers = oracle(visits, truth)
    found = []
    for entering in _entries(visits):
        first = visits[entering[0]].first
        absent = [identity for identity, person in people.items() if person.last < first]
        for v in entering:
            identity = answers[v].identity
            apart = {each: distance(described[v].query, people[each].gallery, nearest) for each in absent}
            away = first - people[identity].last if identity in people else 0
            found.append(_Entry(v, identity, apart, away))
        for v in entering:
            identity = answers[v].identity
            people[identity] = _joined(people.get(identity), visits[v], described[v], gallery_crops)
    return found


def compare(
    visits: Sequence[Visit],
    described: Sequence[Described],
    truth: np.ndarray,
    *,
    nearest: int = 1,
    gallery_crops: int = GALLERY_CROPS,
) -> tuple[np.ndarray, np.ndarray]:
    """The distances at every entry, all earlier answers being right: (to the same person [n], to other people [m]).

    Of each visit of somebody to everyone absent. What a threshold is chosen by, in `calibration`; see `answer` for the
    arguments, and `visits.true_identities` for `truth`, int [visits].
    """
    owner = {visit.identity: int(person) for visit, person in zip(visits, truth, strict=True)}
    same, others = [], []
    for entry in _right_entries(visits, described, truth, nearest, gallery_crops):
        person = owner[visits[entry.visit].identity]
        for identity, apart in entry.apart.items():
            if person != NOBODY and owner[identity] != NOBODY:
                (same if owner[identity] == person else others).append(apart)
    return np.array(same), np.array(others)


def merges(
    visits: Sequence[Visit],
    described: Sequence[Described],
    truth: np.ndarray,
    threshold: float,
    *,
    nearest: int = 1,
    gallery_crops: int = GALLERY_CROPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Which visits of somebody would be given an identity, each by itself and all earlier answers being right.

    Returns (visit int64 [n], wrong bool [n]), wrong where the identity is somebody else's. See `compare` for the other
    arguments.
    """
    visit, wrong = [], []
    for entry in _right_entries(visits, described, truth, nearest, gallery_crops):
        closest = min(entry.apart, key=entry.apart.__getitem__, default=None)
        if closest is not None and entry.apart[closest] < threshold and truth[entry.visit] != NOBODY:
            visit.append(entry.visit)
            wrong.append(closest != entry.identity)
    return np.array(visit, np.int64), np.array(wrong, bool)


@dataclasses.dataclass(frozen=True)
class Reassociation:
    """Where the right person stood among all who were absent: `rank` from 1, `away` frames after leaving."""

    away: int
    rank: int
    candidates: int


def reassociations(
    visits: Sequence[Visit],
    described: Sequence[Described],
    truth: np.ndarray,
    *,
    nearest: int = 1,
    gallery_crops: int = GALLERY_CROPS,
) -> list[Reassociation]:
    """The rank of the right person at each return, all earlier answers being right: a measure without a threshold.

    The mean of 1 / rank is the mean reciprocal rank, over all returns or over those after so many frames. Of equal
    distances the right one counts as the farthest.
    """
    found = []
    for entry in _right_entries(visits, described, truth, nearest, gallery_crops):
        if entry.identity in entry.apart:
            rank = sum(other <= entry.apart[entry.identity] for other in entry.apart.values())
            found.append(Reassociation(entry.away, rank, len(entry.apart)))
    return found


def mean_reciprocal_rank(found: Sequence[Reassociation]) -> float:
    """The mean of 1 / rank; NaN where nobody returned."""
    return float(np.mean([1 / one.rank for one in found])) if found else float("nan")
