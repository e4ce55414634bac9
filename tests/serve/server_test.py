"""`reid-jax serve` as a process: what it prints, how it ends, and what it refuses to begin with."""

import argparse
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pytest
from made_colours import packed, picture
from places import ROOT

from reid_jax.gallery import open_gallery
from reid_jax.main import main
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
