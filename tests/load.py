"""Searches in parallel through `reid-jax serve`: `python tests/load.py [--clients=50] [--searches=10]`.

A gallery of made vectors and the server are started; each client is a thread that sends one search after the other, a
photo of 1280x720 with a box on it, and tries again where it is told to wait. Prints how many were answered, how many
were asked to wait, and how long an answer took; exit code 1 where one was lost.
"""

import argparse
import http.client
import io
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BOUNDARY = "boundary-of-the-form"


def photo(seed: int) -> bytes:
    """A JPEG of noise, 1280x720."""
    rough = np.random.default_rng(seed).integers(0, 256, (45, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(rough).resize((1280, 720)).save(file, "JPEG")
    return file.getvalue()


def form(seed: int) -> bytes:
    """The body of a search."""
    box = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="box"\r\n\r\n400,100,600,700\r\n'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return box.encode() + head.encode() + photo(seed) + f"\r\n--{BOUNDARY}--\r\n".encode()


def make_gallery(folder: Path, weights: str, entries: int) -> None:
    """Fills a gallery with random unit vectors."""
    from reid_jax.extractor import Extractor
    from reid_jax.gallery import Facts, open_gallery

    random = np.random.default_rng(0)
    with open_gallery(folder, Extractor(weights), create=True) as gallery:
        for start in range(0, entries, 10_000):
            numbers = range(start, min(start + 10_000, entries))
            vectors = random.normal(size=(len(numbers), gallery.dimensions)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            gallery.add([Facts(source=f"{n}", digest=f"{n:064x}", camera=f"{n % 8}") for n in numbers], vectors)


class Client(threading.Thread):
    """One client. seconds: of each answered search, from its first sending; waits: how often it was asked to wait."""

    def __init__(self, port: int, searches: int, seed: int):
        super().__init__()
        self.port, self.searches, self.body = port, searches, form(seed)
        self.seconds: list[float] = []
        self.waits = 0
        self.lost: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        for _ in range(self.searches):
            begin = time.monotonic()
            try:
                while True:
                    connection.request("POST", "/api/search", self.body, headers)
                    answer = connection.getresponse()
                    value = json.loads(answer.read())
                    if answer.status not in (429, 503) or "Retry-After" not in answer.headers:
                        break
                    self.waits += 1
                    time.sleep(int(answer.headers["Retry-After"]))
                if answer.status != 200 or len(value["matches"]) != 20:
                    raise ValueError(f"{answer.status}: {value.get('error')}")
                self.seconds.append(time.monotonic() - begin)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.lost.append(str(error))
                connection.close()


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--searches", type=int, default=10, help="of each client")
    parser.add_argument("--entries", type=int, default=100_000, help="of the gallery")
    parser.add_argument("--weights", default="zoo:street")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "gallery"
        make_gallery(folder, arguments.weights, arguments.entries)
        line = [sys.executable, "-m", "reid_jax.main", "serve", f"--gallery={folder}", f"--weights={arguments.weights}"]
        server = subprocess.Popen([*line, "--port=0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            address = next(text for text in server.stdout if text.startswith("page"))
            port = int(re.search(r":(\d+)/", address)[1])
            Client(port, 1, 0).run()
            clients = [Client(port, arguments.searches, seed) for seed in range(arguments.clients)]
            begin = time.monotonic()
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            took = time.monotonic() - begin
        finally:
            server.terminate()
            server.wait()
    seconds = np.array([second for client in clients for second in client.seconds])
    lost = [words for client in clients for words in client.lost]
    print(f"{arguments.clients} clients, {arguments.searches} searches each, {arguments.entries:,} entries")
    print(f"answered {len(seconds):,}, lost {len(lost):,}, asked to wait {sum(client.waits for client in clients):,}")
    if len(seconds):
        middle, high = np.quantile(seconds, [0.5, 0.99])
        rate, longest = len(seconds) / took, seconds.max()
        print(f"{rate:.1f} a second; median {middle:.2f} s, p99 {high:.2f} s, longest {longest:.2f} s")
    for words in sorted(set(lost)):
        print(f"lost: {words}", file=sys.stderr)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
