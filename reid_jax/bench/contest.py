"""Several contestants at the same work: timed in turn, compared with ours round by round."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from reid_jax.bench.measure import in_turn
from reid_jax.bench.quantities import format_rate, format_seconds
from reid_jax.text_table import format_table

OURS = "reid_jax"


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    name: `OURS`, or the peer's with its memory layout or precision.
    work: one round of it, done when it returns.
    items: what a round gets through: images, queries.
    difference: the largest absolute difference between its results and ours, where they were compared.
    compile_seconds: what it took to compile, where it compiles.
    """

    name: str
    work: Callable[[], object]
    items: int
    difference: float | None = None
    compile_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """How fast a contestant was: seconds [rounds], and `ratio`, how many times as fast ours was (1 for ours itself)."""

    contestant: Contestant
    seconds: tuple[float, ...]
    ratio: float

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)

    @property
    def rate(self) -> float:
        """Items a second in the middle round."""
        return self.contestant.items / self.median


@dataclasses.dataclass(frozen=True)
class Contest:
    """The results, ours first, of work on `unit`s that each cost `gflop`, on devices that reach `peak` GFLOP/s."""

    results: tuple[Result, ...]
    unit: str
    gflop: float | None = None
    peak: float | None = None

    @property
    def ours(self) -> Result:
        """The result of reid_jax."""
        return self.results[0]

    def table(self) -> str:
        """The results as text; columns that say nothing are left out."""
        columns: list[tuple[str, Callable[[Result], str]]] = [
            ("", lambda s: s.contestant.name),
            ("a round", lambda s: format_seconds(s.median)),
            ("from - to", lambda s: f"{format_seconds(min(s.seconds))} - {format_seconds(max(s.seconds))}"),
            (f"{self.unit}/s", lambda s: format_rate(s.rate)),
        ]
        if self.gflop is not None:
            columns.append(("GFLOP/s", lambda s: format_rate(s.rate * self.gflop)))
        if self.peak is not None:
            columns.append(("of peak", lambda s: f"{100 * s.rate * self.gflop / self.peak:.1f} %"))
        if self.ours.contestant.name == OURS and len(self.results) > 1:
            columns.append((f"{OURS} is", lambda s: "" if s is self.ours else f"{s.ratio:.2f}x"))
        for head, field, text in (
            ("compiled in", "compile_seconds", format_seconds),
            ("differs by", "difference", lambda difference: f"{difference:.0e}"),
        ):
            if any(getattr(s.contestant, field) is not None for s in self.results):
                columns.append((head, lambda s, f=field, t=text: _or_nothing(getattr(s.contestant, f), t)))
        return format_table([[h for h, _ in columns], *([cell(s) for _, cell in columns] for s in self.results)])

    def figures(self) -> list[dict[str, Any]]:
        """The results as plain values for JSON."""
        rows = []
        for result in self.results:
            contestant = result.contestant
            row = {"name": contestant.name, "seconds": result.seconds, "median_seconds": result.median}
            row |= {self.unit: contestant.items, f"{self.unit}_per_second": result.rate, "ratio": result.ratio}
            if self.gflop is not None:
                row["gflops"] = result.rate * self.gflop
            if self.peak is not None:
                row["share_of_peak"] = result.rate * self.gflop / self.peak
            row |= {"compile_seconds": contestant.compile_seconds, "difference": contestant.difference}
            rows.append({key: value for key, value in row.items() if value is not None})
        return rows


def run_contest(
    contestants: Sequence[Contestant],
    rounds: int,
    unit: str,
    gflop: float | None = None,
    peak: float | None = None,
    preceded: bool = False,
) -> Contest:
    """Times the contestants, ours first, for `rounds` rounds in turn; see `in_turn` and `Contest` for the rest."""
    seconds = in_turn([contestant.work for contestant in contestants], rounds, preceded)
    per_item = [
        [spent / contestant.items for spent in own] for contestant, own in zip(contestants, seconds, strict=True)
    ]
    results = tuple(
        Result(contestant, own, median_ratio(each, per_item[0]))
        for contestant, own, each in zip(contestants, seconds, per_item, strict=True)
    )
    return Contest(results, unit, gflop, peak)


def median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as fast ours is: the median of the rounds' ratios, each of two times close to each other."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))


def _or_nothing(value: float | None, text: Callable[[float], str]) -> str:
    return "" if value is None else text(value)
