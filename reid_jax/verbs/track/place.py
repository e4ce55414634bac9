"""What `track reenter` and `track calibrate` share: the cameras of one place, their people, and what describes them."""

import argparse
import dataclasses
import hashlib
from pathlib import Path

import numpy as np

import reid_jax
from reid_jax.errors import InputError, shown
from reid_jax.ranges import whole
from reid_jax.tracking.appearance import histogram, of_extractor, of_extractors
from reid_jax.tracking.frames import SequenceFrames
from reid_jax.tracking.looks import describe_visits
from reid_jax.tracking.mot_files import PEDESTRIAN, UNKNOWN, Rows, join, read_ground_truth
from reid_jax.tracking.motdt import Embed
from reid_jax.tracking.reentry import QUERY_SECONDS, Described
from reid_jax.tracking.sequences import Sequence, read_sequence
from reid_jax.tracking.visits import Visit, cut

HISTOGRAM = "histogram"
_CUT_SECONDS = 1.0  # out of all cameras for so long, a person of the ground truth has left


def add_place(parser: argparse.ArgumentParser) -> None:
    """Adds SEQUENCE, --weights or --embedder, --swag_samples with its --data_dir, and --nearest."""
    parser.add_argument(
        "sequences", metavar="SEQUENCE", nargs="+", help="sequence folders, a camera each, counted from 1 in this order"
    )
    looks = parser.add_mutually_exclusive_group(required=True)
    looks.add_argument(
        "--weights", help="what people look like by a network: a run's workdir, a .safetensors file or zoo:NAME"
    )
    looks.add_argument("--embedder", choices=(HISTOGRAM,), help="by colours")
    parser.add_argument(
        "--swag_samples",
        type=whole(2, 10_000),
        help="average descriptors over so many samples of a second-phase run's weights (SWAG); how far these disagree "
        "about somebody is a spread",
    )
    parser.add_argument("--data_dir", help="the folder of that run's data set, which samples need (default: the run's)")
    parser.add_argument(
        "--nearest", type=whole(1, 1000), default=1, help="crops of a gallery that count, the nearest (default 1)"
    )


@dataclasses.dataclass(frozen=True)
class Place:
    """The sequences of one place's cameras, `query_frames` of which answer who somebody is, and who is there in truth.

    truth: the people of all cameras' ground truth; None where one has none.
    """

    sequences: list[Sequence]
    query_frames: int
    truth: Rows | None

    @property
    def inputs(self) -> list[tuple[str, Path]]:
        """What is read of the sequences; see `Sequence.inputs`."""
        return [read for sequence in self.sequences for read in sequence.inputs]

    def cut_truth(self) -> Rows:
        """The ground truth cut into visits; raises InputError where a sequence has none."""
        if self.truth is None:
            missing = next(each for each in self.sequences if not each.ground_truth.is_file())
            raise InputError(f"{shown(missing.folder)} has no ground truth; name sequences with gt/gt.txt")
        return cut(self.truth, round(_CUT_SECONDS * self.sequences[0].frame_rate))

    def describe(self, embed: Embed, rows: Rows, visits: list[Visit]) -> list[Described]:
        """Describes visits by what `looks_by` gives."""
        cameras = {number: SequenceFrames.of(sequence, True) for number, sequence in enumerate(self.sequences, 1)}
        return describe_visits(rows, visits, cameras, embed, self.query_frames, "describing")


def place_of(args: argparse.Namespace) -> Place:
    """Reads the sequences; raises InputError where one is none, or their frame rates differ."""
    sequences = [read_sequence(folder) for folder in args.sequences]
    rates = sorted({sequence.frame_rate for sequence in sequences})
    if len(rates) > 1:
        raise InputError(f"the sequences have {rates} frames a second; cameras of one place must have the same")
    return Place(sequences, max(1, round(QUERY_SECONDS * rates[0])), _truth(sequences))


def looks_by(args: argparse.Namespace) -> tuple[Embed, str]:
    """What describes people as the options say, and the digest of its weights; '' where it has none."""
    if args.swag_samples and not args.weights:
        raise InputError("--swag_samples draws weights; give --weights=RUN of a second phase, or leave it out")
    if args.data_dir and not args.swag_samples:
        raise InputError("--data_dir is the data set's that --swag_samples needs; give both, or leave it out")
    if args.embedder:
        return histogram, ""
    if args.swag_samples:
        return _looks_by_samples(args)
    extractor = reid_jax.Extractor(args.weights)  # imports JAX
    return of_extractor(extractor), extractor.digest


def _looks_by_samples(args: argparse.Namespace) -> tuple[Embed, str]:
    """The same by samples of the weights; their digest goes by the mean's and the number of samples."""
    # Colours need no JAX, which these bring along.
    from reid_jax import parallel
    from reid_jax.describe import Encoder
    from reid_jax.progress import with_progress
    from reid_jax.verbs.swag_samples import encoders_of_samples
    from reid_jax.weights import AVERAGED, load_weights

    weights, mesh = load_weights(args.weights, AVERAGED), parallel.create_mesh()
    data_dir = args.data_dir or weights.config.data_dir
    encoders = encoders_of_samples(weights, args.swag_samples, data_dir, mesh)
    extractors = [
        reid_jax.Extractor(encoder) for encoder in with_progress(encoders, "drawing", "samples", args.swag_samples)
    ]
    mean = Encoder.of(weights, mesh).digest
    return of_extractors(extractors), hashlib.sha256(f"{mean} {args.swag_samples} samples".encode()).hexdigest()


def name_of(args: argparse.Namespace) -> str:
    """What describes people, as tables call it."""
    return Path(args.weights).name if args.weights else args.embedder


def _truth(sequences: list[Sequence]) -> Rows | None:
    if not all(sequence.ground_truth.is_file() for sequence in sequences):
        return None
    parts = []
    for number, sequence in enumerate(sequences, 1):
        rows = read_ground_truth(sequence.ground_truth)
        people = rows.select((rows.confidence != 0) & np.isin(rows.category, (UNKNOWN, PEDESTRIAN)))
        parts.append(dataclasses.replace(people, camera=np.full(len(people), number)))
    return join(parts)
