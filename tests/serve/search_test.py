"""Searching through the JSON interface, and what it says to photos that it cannot take."""

import io
import struct
import zlib

import numpy as np
import pytest
from made_colours import COLOURS, picture, search
from PIL import Image

from reid_jax.gallery import Gallery


def test_the_nearest_come_first_with_all_that_is_known_of_them(client):
    found = search(client, "red").json()
    assert [match["source"] for match in found["matches"]] == ["red", "rose", "green"]
    first = found["matches"][0]
    assert first["distance"] == pytest.approx(0, abs=1e-3)
    assert first == {
        "id": 1,
        "source": "red",
        "camera": "1",
        "time": 1000.0,
        "person": "Ada",
        "tags": ["staff"],
        "crop": "/api/images/1/crop",
        "distance": first["distance"],
    }
    assert found["nearest"] == first["distance"]
    assert (found["searched"], found["threshold"], found["nobody"]) == (3, 0.3, False)
    assert Image.open(io.BytesIO(client.get(first["crop"]).content)).size == (8, 16)


def test_nobody_is_an_answer_that_still_tells_the_nearest(client):
    found = search(client, "blue").json()
    assert found["nobody"] is True
    assert found["nearest"] > 0.3
    assert len(found["matches"]) == 3
    assert search(client, "blue", threshold="2").json()["nobody"] is False
    found = search(client, "red", camera="nowhere").json()
    assert (found["matches"], found["nearest"], found["searched"], found["nobody"]) == ([], None, 0, True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"camera": "1"}, ["red"]),
        ({"camera": ["1", "2"], "person": "Ben"}, ["green"]),
        ({"tag": "staff"}, ["red"]),
        ({"since": "2000", "until": "3000"}, ["rose"]),
        ({"by_person": "true"}, ["red", "green"]),
        ({"top": "2"}, ["red", "rose"]),
    ],
)
def test_filters(client, fields, expected):
    assert [match["source"] for match in search(client, "red", **fields).json()["matches"]] == expected


def test_several_photos_are_searched_as_one(client, extractor, gallery):
    found = search(client, "green", "red").json()
    photos = [Image.new("RGB", (8, 16), COLOURS[colour]) for colour in ("green", "red")]
    expected = gallery.search(gallery.pooled(extractor(photos)), 3)[0]
    assert [match["id"] for match in found["matches"]] == [match.id for match in expected]
    assert found["nearest"] == pytest.approx(expected[0].distance, abs=1e-6)


def test_a_box_is_what_is_searched_in_the_photo_as_it_is_seen(client):
    pixels = np.zeros((60, 40, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:] = COLOURS["red"], COLOURS["green"]

    def nearest(box, exif=None):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", exif=exif or Image.Exif())
        answer = client.post("/api/search", files={"image": ("a.png", file.getvalue())}, data={"box": box})
        return answer.json()["matches"][0]["source"]

    assert nearest("0,0,20,60") == "red"
    assert nearest("19.6,-5,1e4,60") == "green"
    turned = Image.Exif()
    turned[0x0112] = 6  # seen with its left side on top
    assert nearest("0,0,60,20", turned) == "red"
    assert nearest("0,20,60,40", turned) == "green"


def huge_png(side):
    """A PNG whose header says side x side pixels, and that holds none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = []
    for name, data in chunks:
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "box", "status", "words"),
    [  # of 200 million pixels, and of 100
        (huge_png(14_200), "", 413, "a.png: it has more than the 50,000,000 pixels"),
        (huge_png(10_000), "0,0,9,9", 413, "10,000 x 10,000 pixels, more than the 50,000,000"),
        (b"hello", "", 415, "no image of a kind that is read (JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "", 415, "no image of a kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "", 415, "no image of a kind"),
        (picture("red")[:45], "", 422, "damaged"),
        (b"", "", 422, "a.png is empty (0 bytes)"),
        (picture("red"), "4,4,4,9", 422, "has no area"),
        (picture("red"), "9,4,4,9", 422, "has no area"),
        (picture("red"), "100,100,200,200", 422, "shows no pixel of a.png, which has 8 x 16"),
        (picture("red"), "nan,0,4,4", 422, "left,top,right,bottom"),
        (picture("red"), "1,2,3", 422, "left,top,right,bottom"),
        (picture("red"), "' OR 1=1", 422, "left,top,right,bottom"),
    ],
    ids=range(13),
)
def test_a_photo_that_cannot_be_taken_is_one_line(client, data, box, status, words):
    answer = client.post("/api/search", files={"image": ("a.png", data)}, data={"box": box})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"top": "0"}, "'top' is '0'; give a whole number from 1 to 200"),
        ({"top": "²"}, "'top'"),
        ({"threshold": "NaN"}, "'threshold' is 'NaN'; give a number from 0 to 2"),
        ({"since": "yesterday"}, "'since'"),
        ({"since": ["1", "2"]}, "'since' stands 2 times"),
        ({"camera": "a\0b"}, "'camera'"),
        ({"camera": "x" * 501}, "'camera'"),
        ({"by_person": "yes"}, "'by_person'"),
        ({"cam": "1"}, "there is no field 'cam'"),
        ({"box": ["", ""]}, "2 boxes and 1 images"),
    ],
)
def test_a_field_that_cannot_be_taken_is_one_line(client, fields, words):
    answer = search(client, "red", **fields)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_what_is_no_form_is_refused(client):
    assert client.post("/api/search", json={}).status_code == 415
    assert client.post("/api/search", data={"image": "red"}).status_code == 422
    multipart = {"content-type": "multipart/form-data"}
    assert client.post("/api/search", content=b"x", headers=multipart).status_code == 400
    broken = {"content-type": "multipart/form-data; boundary=a"}
    assert client.post("/api/search", content=b"--b\r\n\r\n", headers=broken).status_code == 400
    nine = [("image", ("a.png", picture("red")))] * 9
    assert "at most 8" in client.post("/api/search", files=nine).json()["error"]


def test_sizes_are_bounded_before_and_while_a_body_arrives(start):
    client = start(photo_bytes=2000, request_bytes=5000)
    large = {"image": ("a.png", b"x" * 3000)}
    answer = client.post("/api/search", files=large)
    assert (answer.status_code, answer.json()["error"]) == (413, "a.png has 3,000 bytes; at most 2,000 are taken")
    assert client.post("/api/search", files={"image": ("a.png", b"x" * 6000)}).status_code == 413

    def pieces():  # without a length in the header
        yield b'--a\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        yield from [b"x" * 1000] * 6

    headers = {"content-type": "multipart/form-data; boundary=a"}
    answer = client.post("/api/search", content=pieces(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "the request has more than the 5,000 bytes that are taken",
    )


def test_a_gallery_that_fails_is_the_servers_fault(client, monkeypatch, gallery):
    from reid_jax.errors import InputError

    def gone(*_, **__):
        raise InputError("postgresql://localhost/people cannot be reached; start it again")

    for name in ("search", "page", "summary", "crop", "erase"):
        monkeypatch.setattr(type(gallery), name, gone)
    answers = [
        search(client, "red"),
        client.get("/api/images"),
        client.get("/api/status"),
        client.get("/api/images/1/crop"),
        client.post("/api/erase", json={"ids": [1]}),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert "cannot be reached" in answer.json()["error"]


def test_without_a_calibration_nobody_is_not_claimed(client, monkeypatch, gallery):
    monkeypatch.setattr(type(gallery), "thresholds", ())
    found = search(client, "blue").json()
    assert (found["threshold"], found["nobody"]) == (None, None)
    assert client.get("/api/status").json()["thresholds"] == []
    assert search(client, "blue", threshold="0.1").json()["nobody"] is True


def test_what_goes_wrong_inside_is_printed_here_and_not_told(client, monkeypatch, capsys):
    def wrong(*_, **__):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Gallery, "search", wrong)
    answer = search(client, "red")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "/secret/path" in capsys.readouterr().err
