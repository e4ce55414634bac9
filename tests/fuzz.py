"""Mutates small valid inputs and hands them to what reads inputs: each must end in a value or in an InputError.

  python tests/fuzz.py                                  # 5,000 inputs for each parser, half an hour on a slow core
  python tests/fuzz.py --inputs=200 --seed=7 zips images
  python tests/fuzz.py --only=1234 torch                # one input again, with its traceback

Another exception, the end of the process, more than 10 s of a core or more than 1 GiB for one input is a finding,
printed with what shows it again. Inputs are read in a process of their own, which is started anew when one ends it.
Of MATLAB files the reader may end its process, for a process of its own is what it has: then the whole way is tried.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import os
import pathlib
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable

from reid_jax.errors import InputError

# Tests that write the files which are mutated here.
sys.path += [str(pathlib.Path(__file__).parent / folder) for folder in ("convert", "data/builders")]

SECONDS = 10  # of a core, for one input
MEMORY = 2**30  # bytes, for one input, beside what a worker has before the first
SILENCE = 300  # seconds, by the clock, after which a worker that hears no signal ends itself
LONGEST_MESSAGE = 3000

Mutate = Callable[[random.Random, bytes], bytes]
Read = Callable[[bytes, pathlib.Path], object]

NUMBERS = ("0", "-1", "1", "2147483648", "99999999999", "1" + "0" * 30, "9" * 5000, "1e999", "NaN", "Infinity", "0.5")
WORDS = (
    *(b"\0", b"\n", b"\r", b'"', b"'", b"\\", b"/", b"../", b"=", b",", b";", b"\t", b" ", b"(", b")", b"[", b"]"),
    *(b"{", b"}", b"*", b"+", b"?", b"|", b"(?P<", b"{99999999999}", b"[" * 2000, b"(" * 2000, b'{"a":' * 2000),
    *(b"\xff\xfe", b"\xc3\x28", "\u0663\u0661".encode(), "\u2028".encode(), b"null", b"true", b"-1", b"x" * 5000),
)


def integers(size: int, length: int) -> list[int]:
    """Values of `size` bytes that a length or a count is likely to be wrong by."""
    most = 256**size - 1
    return [value & most for value in (0, 1, 2, most, most // 2, most // 2 + 1, length - 1, length, length + 1, 65536)]


def change(rng: random.Random, data: bytes) -> bytes:
    """Changes one place."""
    data = bytearray(data or b"\0")
    at = rng.randrange(len(data))
    end = min(len(data), at + 1 + int(rng.expovariate(1 / 16)))
    kind = rng.randrange(11)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * rng.choice((1, 1, 2, 50))
    elif kind == 4:
        data[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 5:
        other = rng.randrange(len(data))
        data[other:other] = data[at:end]
    elif kind == 6:
        size, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "big"))
        data[at : at + size] = rng.choice(integers(size, len(data))).to_bytes(size, order)
    elif kind == 7:
        places = [match.span() for match in re.finditer(rb"\d+", bytes(data[:200_000]))]
        if places:
            start, stop = rng.choice(places)
            data[start:stop] = rng.choice(NUMBERS).encode()
    elif kind == 8:
        data[at:at] = rng.choice(WORDS)
    elif kind == 9 and rng.random() < 0.3:
        del data[at:]
    else:
        other = rng.randrange(len(data))
        length = min(end - at, len(data) - other)
        data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    return bytes(data)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Changes one to four places."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        data = change(rng, data)
    return data


# Formats that check or measure their parts: a part is changed, and the rest made to agree with it.


def mutate_png(rng: random.Random, data: bytes) -> bytes:
    """Changes a chunk and its checksum with it."""
    place, chunks = 8, []
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append([data[place + 4 : place + 8], data[place + 8 : place + 8 + length]])
        place += 12 + length
    chunk = rng.choice(chunks)
    chunk[1] = mutate(rng, chunk[1])
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), [rng.choice((b"tEXt", b"zTXt", b"iCCP", b"fcTL", b"eXIf")), chunk[1]])
    body = b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return data[:8] + body


def mutate_zip(rng: random.Random, data: bytes) -> bytes:
    """Changes a member's content or name, and its headers with it."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        chosen = rng.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            if name == chosen and rng.random() < 0.8:
                content = mutate(rng, content)
            elif name == chosen:
                name = mutate(rng, name.encode()).decode("latin-1")[:60_000].replace("\0", "_") or "_"
            new.writestr(name, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return changed.getvalue()


def mutate_safetensors(rng: random.Random, data: bytes) -> bytes:
    """Changes the header and its length with it."""
    length = int.from_bytes(data[:8], "little")
    header = mutate(rng, data[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def sometimes(special: Mutate) -> Mutate:
    """The special way half of the time."""

    def either(rng: random.Random, data: bytes) -> bytes:
        with contextlib.suppress(IndexError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile):
            if rng.random() < 0.5:
                return special(rng, data)
        return mutate(rng, data)

    return either


# Parsers: each gives valid inputs, the way to mutate them, and what reads one, with a folder of its own.


def weights(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    import jax
    import numpy as np

    from reid_jax import config
    from reid_jax import weights as module

    settings = config.default()
    settings.model.name, settings.image_size = "nano", (32, 32)
    settings.model.stem, settings.model.widths, settings.model.repeats = 8, (16, 16, 16), (1, 1, 1)
    settings.model.global_width = settings.model.local_width = 8
    network = module.network_of(settings, 3)
    image = jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)
    arrays = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    module.save_weights(folder / "a.safetensors", module.Weights(settings, 3, dict(arrays)))
    build, known = module._expected, {}

    def expected(path, settings, identities, claims):
        """Most inputs are of the same network, which is traced once."""
        key = (settings.to_json(), identities, tuple(sorted(claims.items())))
        if key not in known:
            known[key] = build(path, settings, identities, claims)
        return known[key]

    module._expected = expected

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "b.safetensors").write_bytes(data)
        return module.load_weights(folder / "b.safetensors")

    return [(folder / "a.safetensors").read_bytes()], sometimes(mutate_safetensors), read


def torch(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    import numpy as np
    from torch_file_test import ordered, tensor, write_legacy, write_zip

    from reid_jax.convert.torch_file import read_state_dict

    entries = {
        "conv.weight": tensor("FloatStorage", "0", 24, (4, 6), (6, 1)),
        "conv.bias": tensor("LongStorage", "1", 4, (4,), (1,)),
        "half": tensor("HalfStorage", "2", 3, (3,), (1,), offset=0, rebuild="_rebuild_tensor"),
    }
    storages = {"0": np.ones(24, np.float32), "1": np.arange(4), "2": np.ones(3, np.float16)}
    seeds = [write(folder / "m.pth", ordered(entries), storages).read_bytes() for write in (write_zip, write_legacy)]

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "m.pth").write_bytes(data)
        return read_state_dict(folder / "m.pth")

    return seeds, sometimes(mutate_zip), read


def _images(folder: pathlib.Path) -> None:
    from made_sets import jpeg

    for split in ("train", "query", "gallery"):
        for identity in (1, 2):
            path = folder / split / f"{identity}" / f"c{identity}_{split}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(identity, (8, 16)))


def tables(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from reid_jax.data.datasets import find_source

    _images(folder)
    rows = [f"{path.relative_to(folder)}" for path in sorted(folder.rglob("*.jpg"))]
    lines = [f"{row},{row.split('/')[1]},{place},{row.split('/')[0]},{place}" for place, row in enumerate(rows)]
    comma = "\n".join(["path,identity,camera,split,tracklet", *lines])

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "people.csv").write_bytes(data)
        source = find_source("csv:people.csv", folder)
        return {split: source.files(split) for split in source.splits}

    return (
        [comma.encode(), comma.replace(",", ";").encode(), comma.replace(",", "\t").encode("utf-8-sig")],
        mutate,
        read,
    )


def patterns(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from reid_jax.data.datasets import find_source

    _images(folder)
    texts = [
        r"(?P<split>train|query|gallery)/(?P<identity>\d+)/c(?P<camera>\d)_.*",
        r"train/(?P<pid>[^/]+)/(?:c(?P<camera>[0-9]{1,2}))_(?P<tracklet>\w+?)\.jpe?g",
        r"(?i)(?P<split>\w+)/(?=\d)(?P<identity>\d)/\S+",
    ]

    def read(data: bytes, folder: pathlib.Path) -> object:
        source = find_source(f"regex:{data.decode(errors='surrogateescape')}", folder)
        return {split: source.files(split) for split in source.splits}

    return [text.encode() for text in texts], mutate, read


def names(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from reid_jax.data.datasets import find_source

    texts = (
        *(
            "market1501:distractors=true",
            "msmt17:version=1,val=train",
            "cuhk03:protocol=classic,images=labelled,split=7",
        ),
        *("mars:frames=8,gallery=all", "dukemtmcreid", "csv:people.csv", "market1501+msmt17:version=2"),
    )

    def read(data: bytes, folder: pathlib.Path) -> object:
        name = data.decode(errors="surrogateescape")
        return None if name.startswith("synthetic") else find_source(name, folder)

    return [text.encode() for text in texts], mutate, read


def lists(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    """MSMT17's four lists and MARS' names, one after the other in one text; and torchreid's splits of CUHK03."""
    import numpy as np
    import scipy.io
    from made_sets import jpeg

    from reid_jax.data.builders import matlab, matlab_reader
    from reid_jax.data.builders.cuhk03 import _read_json_people
    from reid_jax.data.builders.files import FileTree
    from reid_jax.data.datasets import find_source

    matlab._read = matlab_reader.read_variables  # these are sound
    path = "0000/0000_000_01_0303morning_0008_0.jpg"
    frames = [f"0001C{camera}T0001F00{frame}.jpg" for camera in (1, 2) for frame in (1, 2, 3)]
    (folder / "mars" / "info").mkdir(parents=True)
    (folder / "mars" / "bbox_train" / "0001").mkdir(parents=True)
    for frame in frames:
        (folder / "mars" / "bbox_train" / "0001" / frame).write_bytes(jpeg(1, (8, 16)))
    info = {"track_train_info": np.array([[1, 3, 1, 1], [4, 6, 1, 2]], np.uint16)}
    scipy.io.savemat(folder / "mars" / "info" / "tracks_train_info.mat", info)
    msmt = folder / "msmt" / "MSMT17_V1"
    (msmt / "train" / "0000").mkdir(parents=True)
    (msmt / "train" / path).write_bytes(jpeg(1, (8, 16)))
    (msmt / "list_val.txt").write_text("")
    split = [{"query": [["x/1_001_1_01.png", 0, 1]], "gallery": []}]

    def read(data: bytes, folder: pathlib.Path) -> object:
        if data[:1] == b"M":
            (folder / "mars" / "info" / "train_name.txt").write_bytes(data[1:])
            return find_source("mars:frames=0", folder).files("train")
        if data[:1] == b"[":
            (folder / "splits.json").write_bytes(data)
            return _read_json_people(FileTree(folder), "splits.json", 0)
        (msmt / "list_train.txt").write_bytes(data)
        return find_source("msmt17:version=1,val=drop", folder / "msmt").files("train")

    return (
        [f"{path} 0\n".encode(), "\r\n".join(["M" + frames[0], *frames[1:]]).encode(), json.dumps(split).encode()],
        mutate,
        read,
    )


def matlab(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    import numpy as np
    import scipy.io

    from reid_jax.data.builders import matlab_reader

    cells = np.empty((3, 1), object)
    cells[:, 0] = ["1_001_1_01.png", "1_001_2_06.png", ""]
    content = {"tracks": np.arange(8, dtype=np.uint16).reshape(2, 4), "filelist": cells, "x": np.ones((2, 2))}
    seeds = []
    for options in ({}, {"do_compression": True}, {"format": "4"}):
        buffer = io.BytesIO()
        kept = {key: value for key, value in content.items() if key != "filelist"} if options.get("format") else content
        scipy.io.savemat(buffer, kept, **options)
        seeds.append(buffer.getvalue())

    def read(data: bytes, folder: pathlib.Path) -> object:
        try:
            found = matlab_reader.read_variables(data, ["tracks", "filelist", "x"])
        except Exception as error:  # which `matlab_reader.main` makes one line
            raise InputError(str(error)) from error
        assert not any(value.dtype.hasobject for value in found.values())
        return found

    return seeds, mutate, read


def matlab_whole_way(data: bytes, folder: pathlib.Path) -> object:
    """Reads a MATLAB file that ended its reader as every caller does: in another process."""
    from reid_jax.data.builders.files import FileTree
    from reid_jax.data.builders.matlab import read_mat

    (folder / "a.mat").write_bytes(data)
    return read_mat(FileTree(folder), "a.mat", ("tracks", "filelist", "x"), "")


def hdf5(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from cuhk03_test import write_mat

    from reid_jax.data.builders.cuhk03_images import MatImages
    from reid_jax.data.builders.files import FileTree

    seed = write_mat(folder / "cuhk-03.mat", ["detected"]).read_bytes()

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "cuhk-03.mat").write_bytes(data)
        images = MatImages(FileTree(folder), "cuhk-03.mat", "detected")
        entries = images.entries()
        with images.reader() as read_image:
            found = [read_image(entry.name) for entry in entries]
        return found, images.test_people(0)

    return [seed], mutate, read


def zips(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from made_sets import MARKET, jpeg

    from reid_jax.data.datasets import find_source

    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for split, members in MARKET.items():
                for name in members:
                    archive.writestr(f"Market/{split}/{name}", jpeg(len(name), (8, 16)))
        seeds.append(buffer.getvalue())

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "market1501.zip").write_bytes(data)
        source = find_source("market1501", folder)
        with source.reader() as read_member:
            return [read_member(file.name) for split in source.splits for file in source.files(split)]

    return seeds, sometimes(mutate_zip), read


def runs(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    from reid_jax import config
    from reid_jax.reporting.groups import gather
    from reid_jax.reporting.runs import read_run

    settings = config.to_dict(config.default())
    scores = {"rank1": 0.5, "rank5": 0.6, "rank10": 0.7, "mAP": 0.4}
    files = {
        "config.json": json.dumps(settings, indent=1),
        "metrics.jsonl": "".join(
            json.dumps({"step": s, "epoch": s / 2, "loss": 1.0, "val_mAP": 0.5}) + "\n" for s in (1, 2)
        ),
        "results.json": json.dumps({"market1501": {"trained": scores, "untrained": scores}}),
    }

    def read(data: bytes, folder: pathlib.Path) -> object:
        name, _, text = data.partition(b"\n")
        run = folder / "run"
        run.mkdir(exist_ok=True)
        for file, sound in files.items():
            (run / file).write_text(sound)
        name = name.decode(errors="replace")
        (run / (name if name in files else "config.json")).write_bytes(text)
        gather([run])
        return read_run(run)

    return [f"{name}\n{text}".encode() for name, text in files.items()], mutate, read


def images(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    import numpy as np
    from made_sets import encoded
    from PIL import Image

    from reid_jax.data.decode import decode, kind

    warnings.simplefilter("ignore")
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 8, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [encoded(pixels, name) for name in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", "DIB")]
    seeds += [encoded(pixels, "JPEG", exif=exif, progressive=True), encoded(pixels, "PNG", exif=exif)]
    seeds += [encoded(pixels, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")]
    seeds += [
        encoded(pixels, name, save_all=True, append_images=[pixels]) for name in ("GIF", "PNG", "TIFF", "WEBP", "MPO")
    ]
    seeds += [encoded(pixels.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]
    seeds += [encoded(pixels.convert("CMYK"), "JPEG"), encoded(pixels, "WEBP", lossless=True)]

    def either(rng: random.Random, data: bytes) -> bytes:
        return sometimes(mutate_png)(rng, data) if data[:4] == b"\x89PNG" else mutate(rng, data)

    def read(data: bytes, folder: pathlib.Path) -> object:
        kind(data)
        decoded = decode(data, (160, 64))
        assert decoded.shape == (160, 64, 3)
        assert decoded.dtype == np.uint8
        return decode(data)

    return seeds, either, read


def descriptors(folder: pathlib.Path) -> tuple[list[bytes], Mutate, Read]:
    import numpy as np

    from reid_jax.descriptors import Descriptors, read_descriptors, write_descriptors

    one = Descriptors.unlabelled(["a.jpg", "b.jpg"], np.eye(2, 4, dtype=np.float32), (2, 2), "0" * 64)
    seeds = []
    for sets in (one, {"query": one, "gallery": one}):
        write_descriptors(folder / "seed.npz", sets)
        seeds.append((folder / "seed.npz").read_bytes())

    def read(data: bytes, folder: pathlib.Path) -> object:
        (folder / "a.npz").write_bytes(data)
        with contextlib.suppress(InputError):
            read_descriptors(folder / "a.npz", "query")
        return read_descriptors(folder / "a.npz")

    return seeds, sometimes(mutate_zip), read


PARSERS = {
    parser.__name__: parser
    for parser in (weights, torch, tables, patterns, names, lists, matlab, hdf5, zips, runs, images, descriptors)
}


class _SlowError(BaseException):
    """Raised in the middle of whatever takes too long; no `except Exception` may catch it."""


def input_of(parser: str, seed: int, number: int, seeds: list[bytes], mutation: Mutate) -> bytes:
    """The input that a seed and a number stand for."""
    rng = random.Random(f"{seed} {parser} {number}")
    return mutation(rng, rng.choice(seeds))


def work(parser: str, seed: int, numbers: range, whole_way: bool) -> None:
    """A worker's whole life: a line on stdout before each input, and one after it."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        folder = pathlib.Path(folder)
        (folder / "seeds").mkdir()
        seeds, mutation, read = PARSERS[parser](folder / "seeds")
        read = matlab_whole_way if whole_way else read
        for data in seeds:  # before memory is bounded: everything is imported then
            with contextlib.suppress(InputError):
                read(data, folder / "seeds")
        signal.signal(signal.SIGPROF, _slow)
        taken = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in numbers:
            print("start", number, file=out, flush=True)
            faulthandler.dump_traceback_later(SILENCE, exit=True)
            data = input_of(parser, seed, number, seeds, mutation)
            print("end", number, _outcome(read, data, folder / "seeds"), file=out, flush=True)


def _slow(*_) -> None:
    raise _SlowError


def _outcome(read: Read, data: bytes, folder: pathlib.Path) -> str:
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        read(data, folder)
        return "value"
    except InputError as error:
        print(f"InputError: {error}", file=sys.stderr)
        if len(str(error)) > LONGEST_MESSAGE:
            return f"finding: a message of {len(str(error)):,} letters: {str(error)[:60]!r}"
        return "InputError"
    except _SlowError:
        return f"finding: more than {SECONDS} s"
    except BaseException as error:
        traceback.print_exc()
        frame = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "reid_jax" in f.filename]
        at = ours[-1] if ours else frame
        return f"finding: {type(error).__name__} at {pathlib.Path(at.filename).name}:{at.lineno}: {str(error)[:80]!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def watch(parser: str, seed: int, numbers: range, tell: bool = False, whole_way: bool = False) -> dict[int, str]:
    """Runs workers until each input has its outcome; `tell` lets through what they and the libraries say of it."""
    outcomes: dict[int, str] = {}
    place = numbers.start
    while place < numbers.stop:
        command = [sys.executable, __file__, "--worker", f"--seed={seed}", f"--range={place},{numbers.stop}", parser]
        command += ["--whole_way"] * whole_way
        errors = None if tell else subprocess.DEVNULL
        started = None
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as worker:
            for line in worker.stdout:
                word, number, *outcome = line.rstrip("\n").split(" ", 2)
                started = int(number)
                if word == "end":
                    outcomes[started], place = outcome[0], started + 1
        if place == numbers.stop:
            break
        if started != place:
            raise SystemExit(f"the worker of {parser} does not start; see why by --only={place} {parser}")
        if parser == "matlab" and not whole_way:
            outcomes |= watch(parser, seed, range(place, place + 1), tell, whole_way=True)
        else:
            code = worker.returncode
            ended = signal.Signals(-code).name if code < 0 else f"exit code {code}, or after {SILENCE} s"
            outcomes[place] = f"finding: the process ended with {ended}"
        place += 1
    return outcomes


def main() -> int:
    """Returns the exit code: 1 where there are findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=f"some of {', '.join(PARSERS)}; all by default")
    parser.add_argument("--inputs", type=int, default=5000, help="for each parser")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="this input alone, with its traceback")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--whole_way", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--range", help=argparse.SUPPRESS)
    args = parser.parse_args()
    unknown = [name for name in args.parsers if name not in PARSERS]
    if unknown:
        parser.error(f"no parser {unknown[0]}; there are {', '.join(PARSERS)}")
    if args.worker:
        work(args.parsers[0], args.seed, range(*map(int, args.range.split(","))), args.whole_way)
        return 0
    numbers = range(args.inputs) if args.only is None else range(args.only, args.only + 1)
    print(f"{'parser':<10}{'inputs':>8}{'values':>8}{'InputErrors':>13}{'findings':>10}", flush=True)
    total = 0
    for name in args.parsers or PARSERS:
        outcomes = watch(name, args.seed, numbers, tell=args.only is not None)
        found = {number: said for number, said in outcomes.items() if said.startswith("finding")}
        counts = [sum(said == word for said in outcomes.values()) for word in ("value", "InputError")]
        print(f"{name:<10}{len(outcomes):>8,}{counts[0]:>8,}{counts[1]:>13,}{len(found):>10,}", flush=True)
        kinds: dict[str, list[int]] = {}
        for number, said in sorted(found.items()):
            kinds.setdefault(re.sub(r"'.*", "", said), []).append(number)
        for places in kinds.values():
            first = found[places[0]]
            print(f"  {len(places):,} x {first}; again: --seed={args.seed} --only={places[0]} {name}", flush=True)
        total += len(found)
    return 1 if total else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.exit(main())
