"""Waiting requests are described together, each gets its own, and what is too much is asked to wait."""

import concurrent.futures
import threading
import time

import numpy as np
import pytest
from made_colours import COLOURS, SIZE, Slow, search

from reid_jax.errors import InputError
from reid_jax.serve.embedder import MOST_AT_ONCE, Embedder


def images(*colours):
    return np.stack([np.full((*SIZE, 3), COLOURS[colour], np.uint8) for colour in colours])


@pytest.fixture
def slow(extractor):
    slow = Slow(extractor.encoder)
    slow.go.set()
    return slow


@pytest.fixture
def embedder(slow):
    embedder = Embedder(slow)
    embedder.start()
    slow.sizes.clear()
    slow.go.clear()
    yield embedder
    slow.go.set()
    embedder.close()


def test_what_waits_is_described_together_and_everybody_gets_their_own(embedder, slow, extractor):
    names = [list(COLOURS)[n % 4] for n in range(50)]
    first = embedder.submit(images("blue"))
    while embedder._waiting.qsize():
        time.sleep(0.001)
    futures = [embedder.submit(images(name)) for name in names]
    slow.go.set()
    expected = dict(zip(COLOURS, extractor.encoder.describe(images(*COLOURS)), strict=True))
    for name, future in zip(names, futures, strict=True):
        np.testing.assert_allclose(future.result(20)[0], expected[name], atol=1e-6)
    np.testing.assert_allclose(first.result(20)[0], expected["blue"], atol=1e-6)
    assert slow.sizes == [1, MOST_AT_ONCE, 50 - MOST_AT_ONCE]


def test_one_requests_fault_is_not_the_others(embedder, slow):
    real = slow.encoder.describe

    def describe(batch, flip):
        if (batch == 0).all((1, 2, 3)).any():
            raise InputError("1 of them is not finite")
        return real(batch)

    slow.encoder = type("Failing", (), {"describe": staticmethod(describe)})
    futures = [embedder.submit(batch) for batch in (images("red"), np.zeros((2, *SIZE, 3), np.uint8), images("blue"))]
    slow.go.set()
    assert futures[0].result(20).shape == (1, 3)
    with pytest.raises(InputError, match="not finite"):
        futures[1].result(20)
    assert futures[2].result(20).shape == (1, 3)


def test_whoever_went_away_is_not_described(embedder, slow):
    embedder.submit(images("red"))
    while embedder._waiting.qsize():
        time.sleep(0.001)
    gone = embedder.submit(images("red", "red"))
    assert gone.cancel()
    last = embedder.submit(images("green"))
    slow.go.set()
    last.result(20)
    assert slow.sizes == [1, 1]


def test_a_long_list_lets_others_between(embedder, slow):
    begun = threading.Event()
    real = slow.describe
    slow.describe = lambda batch, flip: (begun.set(), real(batch))[1]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        long = pool.submit(embedder.describe, np.zeros((100, *SIZE, 3), np.uint8) + 9)
        assert begun.wait(20)
        short = embedder.submit(images("red"))
        slow.go.set()
        short.result(20)
        assert long.result(20).shape == (100, 3)
    assert slow.sizes[0] == 16
    assert max(slow.sizes) <= 17


def test_beyond_the_queue_is_503_and_nothing_is_lost(start, extractor):
    slow = Slow(extractor.encoder)
    slow.go.set()
    client = start(encoder=slow, open_requests=3)
    slow.go.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(search, client, "red") for _ in range(3)]
        until = time.monotonic() + 20
        while client.service._open < 3 and time.monotonic() < until:
            time.sleep(0.01)
        refused = search(client, "red")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/api/status").status_code == 200
        slow.go.set()
        assert [one.result(20).status_code for one in waiting] == [200] * 3
    assert search(client, "red").status_code == 200
