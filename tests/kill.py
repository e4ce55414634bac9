"""Kills a tiny run again and again, and compares what it ends with: `python tests/kill.py [--kills=20] [--seed=0]`.

The run is started by the same command each time and killed (SIGKILL) at a random moment, from the first imports to the
last picture. Where it ends before that, its results are compared byte by byte with those of an uninterrupted run, and
another one begins. Prints a table; exit code 1 where anything differs, or a start after a kill failed.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ("weights.safetensors", "best.safetensors", "metrics.jsonl", "results.json", "ranked.png.json", "config.json")


def start(folder: Path, workdir: Path) -> subprocess.Popen:
    """Starts the run; `folder` holds its data and compiled code."""
    environment = {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    line = [sys.executable, "-m", "reid_jax.main", "train", f"--config={ROOT / 'tests' / 'tiny_config.py'}"]
    line += [f"--config.data_dir={folder / 'data'}", f"--workdir={workdir}"]
    return subprocess.Popen(
        line, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def contents(workdir: Path) -> dict[str, bytes]:
    """The bytes of the results."""
    return {name: (workdir / name).read_bytes() for name in RESULTS}


def latest_step(workdir: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def left_over(workdir: Path) -> list[str]:
    """Temporary files that a finished run should not leave."""
    return sorted(path.name for path in workdir.iterdir() if path.name.startswith("."))


def main() -> int:
    """Runs the loop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.monotonic()
        process = start(folder, folder / "uninterrupted")
        output = process.communicate()[0]
        if process.returncode:
            print(output, file=sys.stderr)
            return 1
        seconds = time.monotonic() - begin
        wanted = contents(folder / "uninterrupted")
        print(f"an uninterrupted run took {seconds:.1f} s, drawing its people and compiling included")
        print("kill  run  after s  newest checkpoint  outcome", flush=True)
        kills, run, bad = 0, 1, 0
        while kills < arguments.kills:
            workdir = folder / f"run{run}"
            delay = moments.uniform(0, seconds)
            begin = time.monotonic()
            process = start(folder, workdir)
            try:
                output = process.communicate(timeout=delay)[0]
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                print(f"{kills:4}  {run:3}  {delay:7.1f}  {latest_step(workdir):17}  killed", flush=True)
                continue
            bad += not told(run, process.returncode, output, workdir, wanted)
            run += 1
            seconds = min(seconds, time.monotonic() - begin)  # without drawing and compiling
        workdir = folder / f"run{run}"
        process = start(folder, workdir)
        output = process.communicate()[0]
        bad += not told(run, process.returncode, output, workdir, wanted)
        print(f"{kills} kills, {run} runs ended, {run - bad} of them as the uninterrupted one to the last byte")
    return 1 if bad else 0


def told(run: int, code: int, output: str, workdir: Path, wanted: dict[str, bytes]) -> bool:
    """Prints how a run that was not killed ended, and returns whether it ended well."""
    if code:
        words, good = f"exit code {code}: {output[-2000:]}", False
    else:
        found = contents(workdir)
        words = ", ".join(name for name in RESULTS if found[name] != wanted[name])
        words = f"differs: {words}" if words else "every byte is the same"
        good = found == wanted
        if left_over(workdir):
            words, good = f"{words}; left behind: {', '.join(left_over(workdir))}", False
    print(f"      {run:3}           {latest_step(workdir):17}  ended: {words}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
