"""What `check` found in a data set: counts beside the published ones, problems, notes, a verdict, and all as text."""

import dataclasses

from reid_jax.data.builders.source import Counts
from reid_jax.text_table import format_table


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What one split holds beside what was published, None where nothing was.

    `junk` images are dropped; `distractors` are images of no query's person; `tracklets` counts those of a video set;
    `single_camera` counts identities of one camera only, and `unknown_camera` images whose camera is unknown.
    """

    split: str
    found: Counts
    expected: Counts | None
    junk: int
    distractors: int
    tracklets: int
    single_camera: int
    unknown_camera: int


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of one check: `problems` make a run unsound, `notes` do not.

    `trainable` and `testable` say whether `train` and `evaluate` can start on the images of this set; `train` scores as
    well, and takes the images for that from config.test_dataset where this set has none.

    Files are named relative to the data set's folder, every one of them: `unreadable` with the reason; `empty` (0
    bytes, unreadable as well); `odd_sized`, where the set fixes a size; `misnamed`, of another kind than the name says;
    `duplicates`, in training with bytes that are in the test splits too; `self_matches`, queries with the bytes of a
    gallery image of their person that the protocol does not remove; `contradictory`, with bytes that another identity
    has too, both in training or both in test. `sizes` is the least and the largest (height, width) by axis.
    """

    dataset: str
    place: str = ""
    trainable: bool = False
    testable: bool = False
    splits: tuple[SplitReport, ...] = ()
    queries_without_match: int = 0
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    empty: tuple[str, ...] = ()
    odd_sized: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    self_matches: tuple[str, ...] = ()
    contradictory: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether what can start on this data set, `train` or `evaluate` or both, would be sound."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """What can start, in one line."""
        if not self.sound:
            return "not sound: mend the above, then check again"
        if not self.testable:
            return (
                "sound for training only: there is no query and gallery, so that evaluate cannot start, and train "
                "needs config.test_dataset"
            )
        if not self.trainable:
            return "sound for evaluation only: there are no training images, so that train cannot start"
        return "sound: train and evaluate can start"

    def table(self) -> str:
        """The report as lines of text for a reader."""
        lines = [f"{self.dataset} in {self.place}" if self.place else self.dataset]
        if self.splits:
            lines += format_table(self._rows()).splitlines()
            lines.append(
                f"queries without a match: {self.queries_without_match:,}; unreadable: {len(self.unreadable):,}, "
                f"of 0 bytes: {len(self.empty):,}; odd-sized: {len(self.odd_sized):,}; "
                f"in training and test alike: {len(self.duplicates):,}; "
                f"in query and gallery alike: {len(self.self_matches):,}"
            )
        if self.sizes:
            (low, narrow), (high, wide) = self.sizes
            lines.append(f"height x width: {low}x{narrow} to {high}x{wide}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        lines.append(self.verdict)
        return "\n".join(lines)

    def _rows(self) -> list[list[str]]:
        video = any(item.tracklets for item in self.splits)
        head = ["split", "images", "expected", "identities", "expected", "cameras", "expected"]
        rows = [[*head, "junk dropped", "distractors", "one camera only", *(["tracklets"] if video else [])]]
        for item in self.splits:
            expected = item.expected or Counts(None, None, None)
            pairs = zip(dataclasses.astuple(item.found), dataclasses.astuple(expected), strict=True)
            counts = [*(count for pair in pairs for count in pair), item.junk, item.distractors, item.single_camera]
            counts += [item.tracklets] if video else []
            rows.append([item.split, *("-" if count is None else f"{count:,}" for count in counts)])
        return rows
