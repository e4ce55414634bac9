"""Kills what changes a gallery, again and again: `python tests/gallery/kill.py [--kills=50] [--gallery=ADDRESS]`.

Two processes add entries while a third erases some of those that were confirmed; all are killed (SIGKILL) at a random
moment. Then everything that was confirmed and not erased has to be there and sound, and what was erased gone. Prints a
line for each kill; exit code 1 where anything is wrong.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reid_jax.gallery import Filter, open_gallery

HERE = Path(__file__).resolve().parent
ERASE = """
import sys, time
from reid_jax.gallery import Filter, open_gallery
with open_gallery(sys.argv[1]) as gallery:
    while True:
        entries = gallery.page(limit=1000).entries
        those = entries[int(sys.argv[2]) % 7 :: 50]
        print("begin", *(entry.source for entry in those), flush=True)
        gallery.erase(Filter(ids=tuple(entry.id for entry in those)))
        print("done", *(entry.source for entry in those), flush=True)
"""


def start(*line: object) -> subprocess.Popen:
    """Starts a Python process with this package."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    return subprocess.Popen(
        [sys.executable, *map(str, line)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def main() -> int:
    """Runs the loop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gallery", help="default: a temporary folder")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    bad, begun, erased, confirmed = 0, set(), set(), set()
    with tempfile.TemporaryDirectory() as folder:
        print("kill  after s  confirmed  erased  in the gallery", flush=True)
        for kill in range(1, arguments.kills + 1):
            address = arguments.gallery or f"{folder}/gallery{kill // 10}"
            if kill % 10 == 0 and not arguments.gallery:  # a new one: a large one takes long to check
                begun, erased, confirmed = set(), set(), set()
            names = [f"{kill}-{number}" for number in range(2)]
            adders = [start(HERE / "add_forever.py", address, sys.maxsize, name) for name in names]
            said = [adder.stdout.readline() for adder in adders]  # they are at work
            eraser = start("-c", ERASE, address, kill)
            said.append(eraser.stdout.readline())
            delay = moments.uniform(0, 2)
            time.sleep(delay)
            for process in (*adders, eraser):
                process.kill()
            for name, adder, first in zip(names, adders, said, strict=False):
                for line in (first + adder.communicate()[0]).splitlines():
                    if line.isdecimal():
                        confirmed |= {f"{name}/{number}" for number in range(int(line))}
                    else:
                        print(line)
                        bad += 1
            for line in (said[2] + eraser.communicate()[0]).splitlines():
                word, *sources = line.split()
                if word not in ("begin", "done"):
                    print(line)
                    bad += 1
                (begun if word == "begin" else erased).update(sources)
            with open_gallery(address) as gallery:
                gallery.erase(Filter(ids=(2**60,)))  # ends what was killed
                lines = gallery.check()
                there = {entry.source for block, _ in gallery.blocks() for entry in block}
            lost = confirmed - there - begun
            left = erased & there
            print(f"{kill:4}  {delay:7.1f}  {len(confirmed):9}  {len(erased):6}  {len(there):14}", flush=True)
            for line in lines + [f"lost: {sorted(lost)[:5]}"] * bool(lost) + [f"left: {sorted(left)[:5]}"] * bool(left):
                print(f"      {line}")
                bad += 1
    print("nothing was lost" if not bad else f"{bad} things are wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
