"""`reid-jax track run`: people followed through a sequence, a folder of frames or a video."""

import argparse
import contextlib
import dataclasses
import os
from pathlib import Path

import reid_jax
from reid_jax.data.builders.files import is_image
from reid_jax.errors import InputError, shown
from reid_jax.files.writing import require_apart, require_writable, require_writable_folder
from reid_jax.ranges import real, whole
from reid_jax.tracking import detections
from reid_jax.tracking.appearance import histogram, of_extractor, read_features
from reid_jax.tracking.follow import follow
from reid_jax.tracking.frames import VIDEO_FORMAT_OF, Frames, SequenceFrames, open_frames, require_av
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.motdt import APPEARANCE, Settings
from reid_jax.tracking.render import VIDEO_ENDINGS, film
from reid_jax.tracking.results_file import ResultsFile, partial_of, require_results

HELP = "follow people through a sequence folder, a folder of frames or a video, given their detections"
EXAMPLES = """\
  reid-jax track run MOT16/train/MOT16-02 --weights=runs/1x --results=MOT16-02.txt
  reid-jax track run street.mp4 --weights=runs/1x --detections=street.json --results=street.txt --render=seen.mp4
  reid-jax track run frames --embedder=histogram --detections=det.txt --results=seen.txt --render=seen
  reid-jax track run MOT16/train/MOT16-02 --embeddings=MOT16-02.npy --results=MOT16-02.txt
Results are MOTChallenge text. Until a run has ended they are in RESULTS.partial, whose last line says how far it is."""

HISTOGRAM, NONE = "histogram", "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    defaults = Settings()
    parser.add_argument(
        "source", metavar="SOURCE", help="a sequence folder of MOTChallenge, a folder of frames, or a video file"
    )
    looks = parser.add_mutually_exclusive_group(required=True)
    looks.add_argument(
        "--weights", help="what people look like by a network: a run's workdir, a .safetensors file or zoo:NAME"
    )
    looks.add_argument("--embedder", choices=(HISTOGRAM, NONE), help="by colours, or not at all: by motion alone")
    looks.add_argument("--embeddings", help="by descriptors [n, d] of the n detections in their order, .npy or .npz")
    parser.add_argument(
        "--detections",
        help="MOTChallenge text, COCO's .json, or a .csv with named columns (default: det/det.txt of a sequence)",
    )
    parser.add_argument(
        "--category", type=whole(0, 2**31 - 1), help="of people in COCO's JSON or a CSV, where none is so named"
    )
    parser.add_argument(
        "--min_confidence", type=real(-1e9, 1e9), help="leave out detections below it (default: none is left out)"
    )
    parser.add_argument("--results", required=True, help="the file to write, MOTChallenge text")
    parser.add_argument(
        "--render",
        metavar="FOLDER|FILE",
        help=f"also draw boxes, identities and trails: a folder of JPEGs, or a video ({', '.join(VIDEO_ENDINGS)})",
    )
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")
    parser.add_argument(
        "--most_distance",
        type=real(0, 2),
        help=f"between descriptors of one person; it belongs to the network (default {defaults.most_distance})",
    )
    parser.add_argument(
        "--lost_frames",
        type=whole(0, 10**6),
        default=defaults.lost_frames,
        help="for which somebody lost may be found again (default %(default)s)",
    )
    parser.add_argument(
        "--box_score",
        choices=(APPEARANCE,),
        help="weigh predictions by how near they look to their own track (default: by how long ago it was detected)",
    )


def run(args: argparse.Namespace) -> None:
    """Follows people and writes the results; what is wrong with the options is said before anything long begins."""
    require_results("--results", args.results)
    to_video = args.render is not None and Path(args.render).suffix.lower() in VIDEO_ENDINGS
    if to_video:
        require_writable("--render", args.render)
        require_av()
    elif args.render is not None:
        if Path(args.render).suffix.lower() in VIDEO_FORMAT_OF:
            raise InputError(
                f"--render is {shown(args.render)}; videos are written as {' or '.join(VIDEO_ENDINGS)}, and a folder "
                "of images has no such ending"
            )
        require_writable_folder("--render", args.render)
    if args.most_distance is not None and args.embedder == NONE:
        raise InputError(
            "--most_distance is of descriptors, and --embedder=none has none; give another, or leave it out"
        )
    if args.flip and not args.weights:
        raise InputError("--flip is of descriptors that a network makes; give --weights, or leave it out")
    looks_at_frames = bool(args.weights) or args.embedder == HISTOGRAM
    if args.box_score and not looks_at_frames:
        raise InputError("--box_score=appearance needs --weights or --embedder=histogram")
    frames = open_frames(args.source, looks_at_frames or args.render is not None)
    _require_apart(args, frames)
    found = _detections(args, frames)
    features = None
    if args.embeddings:
        features = read_features(args.embeddings, len(found))
    if args.min_confidence is not None:
        enough = found.confidence >= args.min_confidence
        found, features = found.select(enough), None if features is None else features[enough]
    embed = histogram if args.embedder == HISTOGRAM else None
    if args.weights:
        embed = of_extractor(reid_jax.Extractor(args.weights, flip=args.flip))  # imports JAX
    settings = Settings(lost_frames=args.lost_frames)
    if args.most_distance is not None:
        settings = dataclasses.replace(settings, most_distance=args.most_distance)
    results = ResultsFile(args.results, frames.count)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(results)
            drawn = stack.enter_context(film(args.render, frames.frame_rate)) if args.render else None
            followed = follow(
                frames,
                found,
                results,
                embed=embed,
                features=features,
                box_score=args.box_score,
                settings=settings,
                film=drawn,
                progress=True,
            )
    except InputError as error:
        if not results.frames:
            raise
        raise InputError(f"{error}; results to frame {results.frames:,} are in {shown(results.partial)}") from error
    print(f"{os.fspath(args.results)}: {followed}")
    if args.render:
        print(f"{os.fspath(args.render)}: {followed.frames:,} frames")


def _require_apart(args: argparse.Namespace, frames: Frames) -> None:
    """Raises InputError where an output would be written over what is read, or over another output."""
    outputs = [("--results", args.results), ("--results until it is whole", partial_of(args.results))]
    inputs = [("SOURCE", args.source)]
    folder = Path(args.source)
    if isinstance(frames, SequenceFrames):
        inputs = frames.sequence.inputs
        folder = folder / frames.sequence.images
    if is_image(Path(args.results).name):
        inputs.append(("a frame", folder / Path(args.results).name))
    inputs += [(f"--{name}", getattr(args, name)) for name in ("detections", "embeddings", "weights")]
    require_apart([*outputs, ("--render", args.render)], inputs)


def _detections(args: argparse.Namespace, frames: Frames) -> Rows:
    """The detections of --detections, or those of a sequence folder."""
    if args.detections:
        return detections.read(args.detections, args.category)
    if not isinstance(frames, SequenceFrames):
        raise InputError(f"{shown(args.source)} is no sequence folder, which has detections; give --detections=FILE")
    return detections.read(frames.sequence.detections, args.category)
