"""`reid-jax serve` as a process: what it prints, how it ends, and what it refuses to begin with."""

import argparse
import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import types
import urllib.request

import pytest
from made_colours import packed, picture
from places import ROOT
from uvicorn.server import ServerState

from reid_jax.gallery import open_gallery
from reid_jax.main import main
from reid_jax.serve import server
from reid_jax.serve.service import gallery_name
from reid_jax.verbs import serve

# The command, with a network that compiles in no time.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, "tests")
from made_colours import SIZE, MeanColour
from reid_jax import main, parallel
from reid_jax.describe import Encoder
from reid_jax.extractor import Extractor
from reid_jax.serve.service import gallery_name
from reid_jax.verbs import serve
encoder = Encoder(MeanColour(), {"params": {}, "batch_stats": {}}, SIZE, parallel.create_mesh())
serve.Extractor = lambda weights, flip: Extractor(encoder)
sys.argv[1:1] = ["serve", "--weights=colours"]
sys.exit(main.main())
"""


@pytest.mark.parametrize("line", [line for line in serve.EXAMPLES.splitlines() if line.startswith("  reid")])
def test_examples_parse(line):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    parser.parse_args(line.split()[2:])


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("SIGTERM", 143, "ended by SIGTERM"), ("SIGINT", 130, "interrupted"), ("SIGHUP", 129, "ended by SIGHUP")],
)
def test_a_signal_ends_it_and_what_was_confirmed_is_kept(tmp_path, name, code, words):
    arguments = [f"--gallery={tmp_path / 'people'}", "--create", "--port=0"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[0] == "gallery     0 images of 0 people, 0 cameras\n", process.communicate()
        assert lines[1].startswith("thresholds  none known")
        page = lines[2].split()[1]
        assert page.startswith("http://127.0.0.1:")
        assert b'id="search"' in urllib.request.urlopen(page).read()
        answer = send_zip(page, packed({f"{n:04}.png": picture((n % 250, n // 250, 200)) for n in range(5000)}))
        state = answer
        while not state["new"]:
            time.sleep(0.02)
            state = json.load(urllib.request.urlopen(f"{page}api/archives/{answer['id']}"))
        begin = time.monotonic()
        process.send_signal(getattr(signal, name))
        _, told = process.communicate(timeout=30)
        assert time.monotonic() - begin < 15
    finally:
        process.kill()
    assert told == f"reid-jax serve: {words}\n"
    assert process.returncode == code
    with open_gallery(tmp_path / "people") as gallery:
        assert state["new"] <= gallery.count() < 5000
        assert gallery.count() % 64 == 0
        assert gallery.check() == []


def send_zip(page, data):
    body = b'--a\r\nContent-Disposition: form-data; name="archive"; filename="a.zip"\r\n\r\n' + data + b"\r\n--a--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=a"}
    return json.load(urllib.request.urlopen(urllib.request.Request(f"{page}api/archives", body, headers)))


@pytest.fixture
def refused(capsys, monkeypatch, extractor, tmp_path):
    """refused(*options) -> the line that the command ends with."""
    monkeypatch.setattr(serve, "Extractor", lambda weights, flip: extractor)

    def run(*options):
        assert main(["serve", "--weights=colours", "--port=0", *map(str, options)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


class Clock:
    """A loop whose timers wait for the test. timers: their seconds and what they call, as they were set."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, call):
        timer = types.SimpleNamespace(seconds=seconds, call=call, cancel=lambda: self.timers.remove(timer))
        self.timers.append(timer)
        return timer

    def create_task(self, work):
        return asyncio.get_running_loop().create_task(work)


class Line(asyncio.Transport):
    """A connection from an address that goes nowhere. sent: what the server answered."""

    def __init__(self, address):
        super().__init__({"peername": (address, 1), "sockname": ("10.0.0.1", 80)})
        self.sent, self.closed = b"", False

    def write(self, data):
        self.sent += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


@pytest.fixture
def connect():
    """connect(address, app=None) -> (connection of one server to the address, its `Line`, its `Clock`)."""
    state = ServerState()

    def begin(address, app=None):
        config = server.server_of(app).config
        config.load()
        line, clock = Line(address), Clock()
        connection = config.http_protocol_class(config, state, {}, _loop=clock)
        connection.connection_made(line)
        return connection, line, clock

    return begin


def test_a_request_whose_head_does_not_come_is_closed(connect):
    async def tell():
        go = asyncio.Event()

        async def app(scope, receive, send):
            await go.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        connection, line, clock = connect("10.0.0.7", app)
        first = list(clock.timers)
        assert [timer.seconds for timer in first] == [10]
        connection.data_received(b"GET / HTTP/1.1\r\nHost: local")
        assert clock.timers == first  # more of it makes it no later
        connection.data_received(b"host\r\n\r\n")
        assert clock.timers == []  # an answer takes as long as it takes
        go.set()
        await asyncio.gather(*connection.tasks)
        assert line.sent.startswith(b"HTTP/1.1 204")
        connection.data_received(b"G")
        (last,) = clock.timers
        assert not line.closed
        last.call()
        assert line.closed
        connection.connection_lost(None)
        assert clock.timers == []

    asyncio.run(tell())


def test_a_body_that_is_answered_early_may_still_come(connect):
    async def tell():
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body"})

        connection, line, clock = connect("10.0.0.7", app)
        connection.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        await asyncio.gather(*connection.tasks)
        assert line.sent.startswith(b"HTTP/1.1 401")
        (first,) = (timer for timer in clock.timers if timer.seconds == 10)
        connection.data_received(b"def")
        (second,) = (timer for timer in clock.timers if timer.seconds == 10)
        assert second is not first  # later with each part
        assert not line.closed
        second.call()
        assert line.closed
        connection.connection_lost(None)

    asyncio.run(tell())


def test_the_limit_of_open_files_is_raised_as_far_as_it_goes(monkeypatch):
    limits = []
    monkeypatch.setattr(server.resource, "setrlimit", lambda kind, pair: limits.append(pair))
    for has in ((256, 4096), (256, server.resource.RLIM_INFINITY), (9000, 9000)):
        monkeypatch.setattr(server.resource, "getrlimit", lambda kind, has=has: has)
        server.allow_files()
    assert limits == [(4096, 4096), (8192, server.resource.RLIM_INFINITY)]


def test_one_address_does_not_take_all_connections(connect, monkeypatch):
    monkeypatch.setattr(server, "_OF_ONE_ADDRESS", 3)
    addresses = ["10.0.0.7"] * 4 + ["10.0.0.8"] + [f"2001:db8::{n}" for n in range(4)] + ["127.0.0.1"] * 5
    made = [connect(address) for address in addresses]
    assert [n for n, (_, line, _) in enumerate(made) if line.closed] == [3, 8]
    for connection, line, _ in made:
        if line.closed:
            connection.connection_lost(None)
    made[0][0].connection_lost(None)
    assert not connect("10.0.0.7")[1].closed


@pytest.mark.parametrize(("options", "heeded"), [([], False), (["--name=people.example"], True)])
def test_a_proxy_is_heeded_where_a_name_says_that_there_is_one(
    monkeypatch, gallery, extractor, tmp_path, options, heeded
):
    made = []

    class Unheard(server._Server):
        def run(self, sockets):
            made.append(self.config.proxy_headers)

    monkeypatch.setattr(serve, "Extractor", lambda weights, flip: extractor)
    monkeypatch.setattr(server, "_Server", Unheard)
    assert main(["serve", "--weights=colours", "--port=0", f"--gallery={tmp_path / 'gallery'}", *options]) == 0
    assert made == [heeded]


def test_a_gallery_of_other_weights_is_refused(refused, gallery, tmp_path):
    database = sqlite3.connect(tmp_path / "gallery" / "facts.sqlite")
    database.execute("UPDATE meta SET value = ? WHERE key = 'digest'", ["ab" * 32])
    database.commit()
    database.close()
    assert "holds vectors of other weights (digest abababababab" in refused(f"--gallery={tmp_path / 'gallery'}")


def test_a_gallery_of_a_newer_version_is_refused(refused, gallery, tmp_path):
    database = sqlite3.connect(tmp_path / "gallery" / "facts.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert "is a gallery of version 99" in refused(f"--gallery={tmp_path / 'gallery'}")


def test_what_is_not_installed_is_named(refused, gallery, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "reid_jax.serve.server")
    monkeypatch.delattr("reid_jax.serve.server")
    assert "serve needs uvicorn, which is not installed: pip install -e '.[web]'" in refused()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("people", "people"),
        ("/data/people/", "people"),
        ("postgresql://user:password@host/people", "people"),
        ("postgresql://user:password@host", "gallery"),
        ("postgresql:///people?host=/tmp&password=secret", "people"),
    ],
)
def test_the_page_tells_no_password(address, name):
    assert gallery_name(address) == name


def test_no_gallery_is_made_unasked(refused, tmp_path):
    assert "there is no gallery" in refused(f"--gallery={tmp_path / 'typo'}")
    assert not (tmp_path / "typo").exists()


def test_a_port_that_is_taken_and_a_bad_token_are_one_line(refused, gallery, tmp_path):
    folder = f"--gallery={tmp_path / 'gallery'}"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "cannot listen on 127.0.0.1, port" in refused(folder, f"--port={taken.getsockname()[1]}")
    assert "cannot listen on no.such.host.invalid" in refused(folder, "--host=no.such.host.invalid")
    assert "which cannot be read" in refused(folder, f"--token_file={tmp_path / 'none'}")
    (tmp_path / "token").write_text("short\n")
    assert "the token has 5 letters" in refused(folder, f"--token_file={tmp_path / 'token'}")
