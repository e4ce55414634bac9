"""Breaks a run of two processes again and again: `python tests/faults.py [--faults=20] [--seed=0] [--only=cut]`.

The same command starts the run each time, on what looks like two hosts: network namespaces, joined by a cable that can
be pulled (this takes root and Linux's `ip`; without them both are on this host, and no cable is pulled). A start may
find the run moved, its hosts under other names, the clock set back by days (with libfaketime), or one host with two
devices instead of two with one. Then something happens, at a random moment from the first imports to the last picture.
What has to follow: every process ends within its bound and says why in a line, and the same command resumes. A run
that comes to its end is compared byte by byte with one that nothing happened to, and another begins.
Prints a table; exit code 1 where anything differs, or takes longer.
"""

import argparse
import atexit
import dataclasses
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ("weights.safetensors", "swag.safetensors", "metrics.jsonl", "results.json", "config.json")
FAULTS = ("kill 0", "kill 1", "SIGTERM to 0", "SIGTERM to 1", "suspend 0", "suspend 1", "cut briefly", "cut")
SHORT = 4.0  # seconds of a suspension, or of a brief cut
BOUND = {"kill": 30, "SIGTERM": 60, "cut": 60}  # seconds in which every process has to end, once they have met
TO_MEET = 300  # seconds that they wait for one another before
SETTINGS = ["epochs=8", "schedule.cycle_epochs=4", "eval_every=4", "checkpoint_every=1", "steps_per_dispatch=1"]
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


class Cable:
    """Two network namespaces and the cable between them."""

    def __init__(self):
        self.names = [f"reid{os.getpid()}-{end}" for end in range(2)]
        self.addresses = ["10.213.7.1", "10.213.7.2"]

    def __enter__(self) -> "Cable":
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", "reid0", "netns", self.names[0], "type", "veth", "peer", "reid1", "netns", self.names[1])
        for end, (name, address) in enumerate(zip(self.names, self.addresses, strict=True)):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", f"reid{end}")
            _ip("-n", name, "link", "set", "lo", "up")
        self.plug(True)
        return self

    def __exit__(self, *_):
        for name in self.names:
            _ip("netns", "delete", name)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def plug(self, on: bool) -> None:
        """Plugs the cable in, or pulls it."""
        _ip("-n", self.names[0], "link", "set", "reid0", "up" if on else "down")
        _ip("-n", self.names[1], "link", "set", "reid1", "up" if on else "down")

    def on_host(self, end: int, host: str) -> list[str]:
        """What comes before a command that runs at one end, on a host of this name."""
        folder = Path(f"/etc/netns/{self.names[end]}")
        folder.mkdir(parents=True, exist_ok=True)  # `ip` puts its files over those of /etc
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{self.addresses[end]} {host}\n")
        named = f'hostname {host} && exec "$@"'
        return ["ip", "netns", "exec", self.names[end], "unshare", "--uts", "sh", "-c", named, "sh"]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclasses.dataclass
class Start:
    """How a run is started."""

    processes: int = 2
    hosts: tuple[str, str] = ("one", "two")
    days_back: int = 0

    def describe(self) -> str:
        """A few words."""
        words = [f"{self.processes} x {2 // self.processes}"]
        words += [f"on {'+'.join(self.hosts[: self.processes])}"] if self.hosts != Start.hosts else []
        words += [f"{self.days_back} days ago"] if self.days_back else []
        return " ".join(words)


def launch(start: Start, folder: Path, workdir: Path, cable: Cable | None) -> list[subprocess.Popen]:
    """Starts the processes; what each prints goes to FOLDER/PROCESS.out and .err."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "reid_jax.main", "train", f"--config={ROOT / 'tests' / 'own_network' / 'config.py'}"]
    line += [f"--config.{setting}" for setting in SETTINGS]
    line += [f"--config.data_dir={folder / 'data'}", f"--workdir={workdir}"]
    processes = []
    for number in range(start.processes):
        environment = {
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false "
            f"--xla_force_host_platform_device_count={2 // start.processes}",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        if start.processes > 1:
            environment |= {
                "JAX_COORDINATOR_ADDRESS": f"{cable.addresses[0] if cable else '127.0.0.1'}:{port}",
                "JAX_NUM_PROCESSES": str(start.processes),
                "JAX_PROCESS_ID": str(number),
            }
        if start.days_back:
            environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"-{start.days_back}d"}
            environment |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        before = cable.on_host(number, start.hosts[number]) if cable else []
        with (folder / f"{number}.out").open("w") as out, (folder / f"{number}.err").open("w") as err:
            processes.append(
                subprocess.Popen([*before, *line], cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=err)
            )
    return processes


def ended(processes: list[subprocess.Popen], seconds: float) -> bool:
    """Waits until all have ended, at most so long."""
    until = time.monotonic() + seconds
    while any(process.poll() is None for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def latest_step(workdir: Path) -> int:
    """The step of the newest checkpoint; 0 without one."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def strike(fault: str, processes: list[subprocess.Popen], cable: Cable | None) -> None:
    """Lets it happen; the brief ones are over when this returns."""
    word, victim = fault.split()[0], processes[int(fault[-1])] if fault[-1].isdigit() else None
    if word == "kill":
        victim.kill()
    elif word == "SIGTERM":
        victim.terminate()
    elif word == "suspend":
        victim.send_signal(signal.SIGSTOP)
        time.sleep(SHORT)
        victim.send_signal(signal.SIGCONT)
    else:
        cable.plug(False)
        if fault == "cut briefly":
            time.sleep(SHORT)
            cable.plug(True)


def what_is_wrong(fault: str, processes: list[subprocess.Popen], folder: Path, in_time: bool) -> list[str]:
    """Looks at how processes that did not come to the end of their run have ended."""
    wrong = [] if in_time else ["not all have ended in time"]
    said = [(folder / f"{number}.err").read_text() for number in range(len(processes))]
    out = (folder / "0.out").read_text()
    for number, process in enumerate(processes):
        killed = fault == f"kill {number}"
        if killed:
            wanted = (-signal.SIGKILL,)
        elif fault == f"SIGTERM to {number}" or fault.startswith("SIGTERM") and "devices" in out:
            wanted = (0,)
        else:  # one that waits for another that was stopped before they met, too
            wanted = (0, 1, 2) if fault.startswith("SIGTERM") else (1, 2)
        if process.returncode not in wanted:
            wrong.append(f"process {number} ended with {process.returncode}")
        # Not what it says in any case: whose class the network is, and how far it has come.
        lines = [line for line in said[number].splitlines() if line.strip() and not line.startswith("note: ")]
        lines = [line for line in lines if "%|" not in line]
        if fault.startswith("SIGTERM") and "stopped at step" in out:
            lines += ["stopped at step"]  # which process 0 says for both
        if not killed and len(lines) != 1:
            wrong.append(f"process {number} said {len(lines)} lines: {' / '.join(lines)[:1500]}")
    return wrong


def main() -> int:
    """Runs the loop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only faults that begin so")
    arguments = parser.parse_args()
    able = os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare")
    with tempfile.TemporaryDirectory() as name:
        if not able:
            return loop(arguments, Path(name), None)
        with Cable() as cable:
            return loop(arguments, Path(name), cable)


def loop(arguments: argparse.Namespace, folder: Path, cable: Cable | None) -> int:
    """Breaks runs until enough has happened, and lets the last one end."""
    chance = random.Random(arguments.seed)
    faults = [fault for fault in FAULTS if fault.startswith(arguments.only) and (cable or "cut" not in fault)]
    for _ in range(2):  # the first draws its people and compiles
        shutil.rmtree(folder / "undisturbed", ignore_errors=True)
        begin = time.monotonic()
        processes = launch(Start(), folder, folder / "undisturbed", cable)
        ended(processes, 1800)
        if any(process.returncode for process in processes):
            print((folder / "0.err").read_text(), (folder / "1.err").read_text(), file=sys.stderr)
            return 1
        seconds = time.monotonic() - begin
    wanted = {name: (folder / "undisturbed" / name).read_bytes() for name in RESULTS}
    print(f"an undisturbed run of two processes took {seconds:.1f} s; {'two hosts' if cable else 'one host'}")
    print("fault  run  start                      what          after s  ended in s  step  outcome", flush=True)
    happened, run, right, bad, workdir = 0, 1, 0, 0, folder / "run1"
    processes = []
    atexit.register(lambda: [process.kill() for process in processes])
    while True:
        last = happened == arguments.faults
        start = draw(chance, cable)
        if workdir.exists() and chance.random() < 0.25:
            workdir = workdir.rename(folder / f"run{run}-moved{happened}")
        processes[:] = launch(start, folder, workdir, cable)
        fault = "none" if last else chance.choice([each for each in faults if start.processes > 1 or each[-1] == "0"])
        delay, begin = chance.uniform(0, seconds), time.monotonic()
        over = ended(processes, 1800 if last else delay)
        if not over:
            happened += 1
            strike(fault, processes, cable)
            brief = fault.split()[0] == "suspend" or fault == "cut briefly"
            since = time.monotonic()
            bound = BOUND.get(fault.split()[0], 0)
            if "devices" not in (folder / "0.out").read_text():
                bound += TO_MEET
            in_time = ended(processes, 1800 if brief else bound)
            took = time.monotonic() - since
            if fault == "cut":
                cable.plug(True)
            for process in processes:
                process.kill()
                process.wait()
            done = (workdir / "results.json").exists() and all(process.returncode == 0 for process in processes)
            if not done:
                wrong = what_is_wrong(fault, processes, folder, in_time)
                bad += bool(wrong)
                row(happened, run, start, fault, delay, took, workdir, "; ".join(wrong) or "resumable")
                continue
        else:
            seconds = min(seconds, time.monotonic() - begin)
        said = f"{fault}, survived" if not over else "none"
        codes = [process.returncode for process in processes]
        if any(codes):
            words, good = f"exit codes {codes}: {(folder / '0.err').read_text()[-1500:]}", False
        else:
            other = [name for name in RESULTS if (workdir / name).read_bytes() != wanted[name]]
            words, good = f"differs: {', '.join(other)}" if other else "every byte is the same", not other
        row(happened, run, start, said, delay, time.monotonic() - begin, workdir, f"ended: {words}")
        right, bad = right + good, bad + (not good)
        if last or bad and any(codes):
            break
        run += 1
        workdir = folder / f"run{run}"
    print(f"{happened} faults, {run} runs ended, {right} of them as the undisturbed one to the last byte, {bad} wrong")
    return 1 if bad else 0


def draw(chance: random.Random, cable: Cable | None) -> Start:
    """Draws how the next start finds the world."""
    start = Start()
    if cable and chance.random() < 0.3:
        start.hosts = chance.choice([("two", "one"), ("three", "four")])
    if chance.random() < 0.2:
        start.processes = 1
    if FAKETIME.exists() and chance.random() < 0.05:  # it also makes a start several times slower
        start.days_back = chance.randint(1, 400)
    return start


def row(happened, run, start, fault, delay, took, workdir, outcome) -> None:
    """Prints a line of the table."""
    print(
        f"{happened:5}  {run:3}  {start.describe():25}  {fault:12}  {delay:7.1f}  {took:10.1f}  "
        f"{latest_step(workdir):4}  {outcome}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
