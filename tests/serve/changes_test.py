"""Adding, listing and erasing through the JSON interface: what is kept, under which names, and what is not."""

import asyncio
import errno
import json
import socket
import threading
import time

import httpx2
import pytest
from made_colours import finished, packed, picture, search

from reid_jax.errors import InputError
from reid_jax.gallery import Facts, Filter
from reid_jax.serve import fields
from reid_jax.serve.forms import Upload


def add(client, files, **data):
    return client.post("/api/images", files=[("image", file) for file in files], data=data)


def test_images_are_added_once_and_found(client, gallery):
    files = [("blue.png", picture("blue")), ("b/broken.png", b"no image")]
    answer = add(client, files, camera="3", person="Cleo", time="4000.5", tag=["a", "b", ""])
    assert answer.status_code == 200
    found = answer.json()
    assert (found["known"], [each["source"] for each in found["refused"]]) == (0, ["b/broken.png"])
    assert "no image of a kind" in found["refused"][0]["reason"]
    (entry,) = gallery.page(Filter(ids=tuple(found["new"]))).entries
    assert (entry.source, entry.camera, entry.person, entry.time, entry.tags) == (
        "blue.png",
        "3",
        "Cleo",
        4000.5,
        ("a", "b"),
    )
    assert search(client, "blue").json()["nearest"] == pytest.approx(0, abs=1e-3)
    again = add(client, files[:1]).json()
    assert (again["new"], again["known"]) == ([], 1)
    assert client.get("/api/status").json()["images"] == 4


def test_where_no_image_can_be_taken_nothing_is_added(client, gallery):
    answer = add(client, [("a.png", b"x"), ("b.png", picture("blue")[:45])])
    assert answer.status_code == 422
    assert [each["source"] for each in answer.json()["refused"]] == ["a.png", "b.png"]
    assert answer.json()["error"].startswith("a.png: ")
    assert gallery.count() == 3


def test_images_of_one_name_are_told_apart(client, gallery):
    found = add(client, [("image.png", picture(colour)) for colour in ("red", "green", "blue")]).json()
    sources = [entry.source for entry in gallery.page(Filter(ids=tuple(found["new"]))).entries]
    assert sources == ["image.png", "image.png (2)", "image.png (3)"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\people\\..\\a.png", "C_/people/a.png"),
        ("a/./b//c.png", "a/b/c.png"),
        ("..", "image"),
        ("tab\there\u202e.png", "tab_here_.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        (
            "\u06a9\u0648\u0647\u200c\u0646\u0648\u0631.png",
            "\u06a9\u0648\u0647\u200c\u0646\u0648\u0631.png",
        ),  # a letter that joins nothing
        ("x" * 5000, "x" * 1000),
    ],
)
def test_no_name_leads_anywhere(client, gallery, name, kept):
    found = add(client, [("image", picture("blue"))], source=name).json()
    (entry,) = gallery.page(Filter(ids=tuple(found["new"]))).entries
    assert entry.source == kept


def test_folders_may_name_people_or_cameras(client, gallery):
    files = [("image", picture("blue")), ("image", picture("green"))]
    found = add(client, files, source=["day/Ada/1.png", "2.png"], folders="person", person="nobody").json()
    people = [entry.person for entry in gallery.page(Filter(ids=tuple(found["new"]))).entries]
    assert people == ["Ada", "nobody"]
    assert "'folders' is 'time'" in add(client, files, folders="time").json()["error"]
    assert "1 sources and 2 images" in add(client, files, source="a").json()["error"]


def test_a_zip_is_added_in_the_background(client, gallery):
    files = {f"Ada/{number}.png": picture((number, 99, 250 - number)) for number in range(70)}
    files |= {"Ada/broken.png": b"x", "notes.txt": b"hello", "__MACOSX/._1.png": b"x", "Ada/.hidden.png": b"x"}
    answer = client.post("/api/archives", files={"archive": ("p.zip", packed(files))}, data={"folders": "person"})
    assert answer.status_code == 202
    state = finished(client, answer.json()["id"])
    assert client.get(answer.headers["location"]).json() == state
    assert (state["state"], state["done"], state["total"], state["new"]) == ("done", 71, 71, 70)
    assert [each["source"] for each in state["refused"]] == ["Ada/broken.png"]
    assert gallery.count(Filter(people=("Ada",))) == 72


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"no zip", "cannot be read as a zip"),
        (packed({"a.txt": b"x"}), "the zip holds no image"),
        (packed({"../a.png": picture("red")}), "no name inside an archive"),
    ],
    ids=range(3),
)
def test_a_zip_that_cannot_be_taken_is_one_line(client, data, words):
    answer = client.post("/api/archives", files={"archive": ("p.zip", data)})
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_a_zip_that_is_stopped_keeps_what_was_confirmed(start, gallery, monkeypatch):
    client = start(archives=1)
    first, go = threading.Event(), threading.Event()
    add_batch = client.service._add

    def slowly(*arguments):
        added = add_batch(*arguments)
        first.set()
        assert go.wait(20)
        return added

    monkeypatch.setattr(client.service, "_add", slowly)
    data = packed({f"{number:03}.png": picture((number, 99, 200)) for number in range(130)})
    id = client.post("/api/archives", files={"archive": ("p.zip", data)}).json()["id"]
    assert first.wait(20)
    busy = client.post("/api/archives", files={"archive": ("p.zip", data)})
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "10")
    assert client.delete(f"/api/archives/{id}").status_code == 200
    go.set()
    state = finished(client, id)
    assert (state["state"], state["new"], gallery.count()) == ("stopped", 64, 67)
    monkeypatch.undo()
    id = client.post("/api/archives", files={"archive": ("p.zip", data)}).json()["id"]
    state = finished(client, id)
    assert (state["state"], state["new"], state["known"]) == ("done", 66, 64)


def test_a_zip_that_is_stopped_while_it_waits_is_not_looked_at(client, monkeypatch):
    first, go = threading.Event(), threading.Event()
    add_batch, named = client.service._add, []

    def slowly(*arguments):
        first.set()
        assert go.wait(20)
        return add_batch(*arguments)

    def sources_of(names):
        named.append(list(names))
        return fields.sources_of(names)

    monkeypatch.setattr(client.service, "_add", slowly)
    monkeypatch.setattr("reid_jax.serve.archives.sources_of", sources_of)
    ids = []
    for name in ("a.png", "b.png"):
        files = {"archive": ("p.zip", packed({name: picture("blue")}))}
        ids.append(client.post("/api/archives", files=files).json()["id"])
        assert first.wait(20)
    client.delete(f"/api/archives/{ids[1]}")
    go.set()
    assert [finished(client, id)["state"] for id in ids] == ["done", "stopped"]
    assert named == [["a.png"]]


def test_a_zip_has_its_place_from_before_it_arrives(start, running):
    address = running(start(archives=1, rate=0.0))

    def status():
        return httpx2.post(f"{address}api/archives", files={"archive": ("p.zip", b"no zip")}).status_code

    def becomes(code):
        until = time.monotonic() + 20
        while (found := status()) != code and time.monotonic() < until:
            time.sleep(0.02)
        return found == code

    assert status() == 422
    begun = (
        b"POST /api/archives HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=a\r\n"
        b"Content-Length: 1000000\r\n\r\n--a\r\n"
        b'Content-Disposition: form-data; name="archive"; filename="a.zip"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", int(address.strip("/").rpartition(":")[2]))) as upload:
        upload.sendall(begun)
        assert becomes(503)
    assert becomes(422)  # it went away


def test_photos_are_read_when_it_is_their_turn(client, monkeypatch):
    reads, read = [], Upload.read

    def noted(upload):
        try:
            asyncio.get_running_loop()
            reads.append("while the request is taken")
        except RuntimeError:
            reads.append("where it is decoded")
        return read(upload)

    monkeypatch.setattr(Upload, "read", noted)
    assert search(client, "red", "rose").status_code == 200
    assert add(client, [("blue.png", picture("blue"))]).status_code == 200
    assert reads == ["where it is decoded"] * 3


def test_the_end_of_the_server_keeps_what_was_confirmed(start, gallery, monkeypatch):
    client = start()
    first = threading.Event()
    add_batch = client.service._add
    monkeypatch.setattr(client.service, "_add", lambda *arguments: (add_batch(*arguments), first.set())[0])
    data = packed({f"{number:04}.png": picture((number % 250, number // 250, 200)) for number in range(1000)})
    client.post("/api/archives", files={"archive": ("p.zip", data)})
    assert first.wait(20)
    client.service.close()
    kept = gallery.count() - 3
    assert kept % 64 == 0
    assert 0 < kept < 1000
    assert gallery.check() == []


def test_a_full_disk_is_said_and_nothing_is_half_written(client, gallery, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "vectors")

    monkeypatch.setattr("reid_jax.gallery.vector_files.write_at", full)
    answer = add(client, [("blue.png", picture("blue"))])
    assert answer.status_code == 507
    assert "No space left on device" in answer.json()["error"]
    id = client.post("/api/archives", files={"archive": ("p.zip", packed({"a.png": picture("blue")}))}).json()["id"]
    state = finished(client, id)
    assert state["state"] == "failed"
    assert "No space left on device (vectors); what was added before stays; send the zip again" in state["error"]
    monkeypatch.undo()
    assert (gallery.count(), gallery.check()) == (3, [])
    assert len(add(client, [("blue.png", picture("blue"))]).json()["new"]) == 1


def test_a_full_disk_does_not_claim_that_nothing_was_erased(client, gallery, monkeypatch):
    erase = type(gallery).erase

    def half(*arguments):
        erase(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device", "vectors")

    monkeypatch.setattr(type(gallery), "erase", half)
    answer = client.post("/api/erase", json={"ids": [1]})
    assert answer.status_code == 507
    assert "No space left on device (vectors); what was named may be off the list" in answer.json()["error"]
    assert gallery.count() == 2


def test_a_disk_that_fills_up_while_a_file_arrives_is_said(client, gallery, monkeypatch):
    async def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("starlette.datastructures.UploadFile.write", full)
    for answer in (
        add(client, [("blue.png", picture("blue"))]),
        search(client, "blue"),
        client.post("/api/archives", files={"archive": ("p.zip", packed({"a.png": picture("blue")}))}),
    ):
        assert (answer.status_code, "No space left" in answer.json()["error"]) == (507, True)
    assert gallery.count() == 3


def test_the_listing_goes_on_where_it_was(client):
    first = client.get("/api/images", params={"limit": 2}).json()
    assert ([image["id"] for image in first["images"]], first["after"], first["total"]) == ([1, 2], 2, 3)
    rest = client.get("/api/images", params={"limit": 2, "after": first["after"]}).json()
    assert ([image["source"] for image in rest["images"]], rest["after"]) == (["green"], None)
    assert client.get("/api/images", params={"camera": ["2"], "person": "Ben"}).json()["total"] == 1
    for wrong in ({"after": "-1"}, {"limit": "1e9"}, {"after": str(2**63)}, {"person": "\0"}, {"cameras": "1"}):
        assert client.get("/api/images", params=wrong).status_code == 422


def test_what_is_erased_is_gone(client, gallery, tmp_path):
    crop = client.get("/api/images/1/crop").content
    assert client.post("/api/erase", json={"people": ["Ada"], "cameras": ["1"]}).json() == {"erased": 1}
    assert client.get("/api/images/1/crop").status_code == 404
    assert [match["source"] for match in search(client, "red").json()["matches"]] == ["rose", "green"]
    assert not any(crop in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert client.post("/api/erase", json={"ids": [2, 3, 99]}).json() == {"erased": 2}


@pytest.fixture
def put(gallery):
    """put(person, camera="", tag="a") adds an entry, as others than the page may name it, and returns its id."""

    def add_one(person, camera="", tag="a"):
        number = gallery.count() + 1
        facts = Facts(source=f"{number}", digest=f"{number:064x}", person=person, camera=camera, tags=(tag,))
        (id,) = gallery.add([facts], gallery.vectors([1])[1]).new
        return id

    return add_one


LONG = "L" * fields.LONGEST_NAME


@pytest.mark.parametrize("name", [" Ada", "Ada ", " ", "\u2003", "a\nb", LONG], ids=range(6))
def test_a_name_in_a_filter_is_taken_to_the_letter(client, gallery, put, name):
    (id, *others) = put(name, camera=name, tag=name), put(""), put("Ada")
    if "\n" not in name:  # which a form may carry as another line end
        for field in ("person", "camera", "tag"):
            found = client.get("/api/images", params={field: name}).json()
            assert [image["id"] for image in found["images"]] == [id]
            assert search(client, "red", **{field: name}).json()["searched"] == 1
    assert client.post("/api/erase", json={"cameras": [name], "people": [name], "tags": [name]}).json()["erased"] == 1
    assert gallery.count(Filter(ids=(id,))) == 0
    assert gallery.count(Filter(ids=tuple(others))) == 2


@pytest.mark.parametrize("name", ["", " ", "\u2003"])
def test_a_blank_is_no_person_to_erase(client, gallery, put, name):
    put(""), put("  ")
    answer = client.post("/api/erase", json={"people": ["Ada", name]})
    assert (answer.status_code, "by their ids" in answer.json()["error"]) == (422, True)
    assert gallery.count() == 5


def test_a_filter_takes_names_as_long_as_a_gallery_keeps():
    Facts(source="a", digest="0" * 64, person=LONG).check()
    with pytest.raises(InputError, match="at most 500 letters"):
        Facts(source="a", digest="0" * 64, person=LONG + "L").check()


def test_many_names_that_become_alike_are_told_apart_at_a_go(monkeypatch):
    tries = []

    class Name(str):
        """A name that counts how often a number is put to it."""

        def __format__(self, form):
            tries.append(self)
            return str(self)

    names = ["a.png"] * 3000 + ["a.png (2)", "b.png", "b.png"]
    monkeypatch.setattr(fields, "source", Name)
    found = fields.sources_of(names)
    assert len(tries) < len(names)
    assert list(found.values()) == list(range(3003))
    assert list(found)[:3] == ["a.png", "a.png (2)", "a.png (3)"]
    assert list(found)[2999:] == ["a.png (3000)", "a.png (2) (2)", "b.png", "b.png (2)"]


@pytest.mark.parametrize(
    "which",
    [{}, {"ids": []}, {"ids": [0]}, {"ids": [2**63]}, {"ids": ["1"]}, {"ids": [True]}, {"ids": 1}, {"id": [1]}]
    + [{"people": [1]}, {"people": ["\ud800"]}, {"since": "x"}, {"since": True}, [1], {"people": ["Ada"], "x": 1}],
)
def test_an_erasing_that_does_not_say_what_erases_nothing(client, gallery, which):
    headers = {"content-type": "application/json"}
    answer = client.post("/api/erase", content=json.dumps(which), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert gallery.count() == 3


def test_json_that_is_none_is_refused(client):
    headers = {"content-type": "application/json"}
    for body, status in ((b"{", 400), (b'{"ids": [1], "ids": [2]}', 400), (b"[" * 100_000, 400), (b"x" * 200_000, 413)):
        assert client.post("/api/erase", content=body, headers=headers).status_code == status
    assert client.post("/api/erase", content=b'{"ids": [1]}', headers={"content-type": "text/plain"}).status_code == 415
