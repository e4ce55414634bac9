"""Who may call: tokens, names of the server, pages of other sites; and how often."""

import httpx2
import pytest
from made_colours import search

from reid_jax.errors import InputError
from reid_jax.serve.access import Access
from reid_jax.serve.rate import RateLimit
from reid_jax.serve.server import access_for

TOKEN = "a token of sufficient length"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ADDRESSES = [
    ("GET", "/api/status"),
    ("GET", "/api/images"),
    ("GET", "/api/images/1/crop"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/archives/1"),
    ("DELETE", "/api/archives/1"),
    ("POST", "/api/search"),
    ("POST", "/api/images"),
    ("POST", "/api/archives"),
    ("POST", "/api/erase"),
    ("GET", "/api/nothing"),
]


@pytest.fixture
def guarded(start):
    return start(Access(TOKEN))


@pytest.mark.parametrize(("method", "path"), ADDRESSES)
def test_nothing_is_answered_without_the_token(guarded, method, path):
    for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}, {"cookie": f"token={TOKEN}"}):
        answer = guarded.request(method, path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.request(method, path, headers=BEARER).status_code != 401


def test_the_page_asks_for_the_token_and_a_cookie_stands_for_it(guarded):
    answer = guarded.get("/")
    assert answer.status_code == 401
    assert 'action="/login"' in answer.text
    assert guarded.get("/static/page.css").status_code == 200
    wrong = guarded.post("/login", data={"token": "another"})
    assert wrong.status_code == 401
    assert "That is not the token." in wrong.text
    right = guarded.post("/login", data={"token": f" {TOKEN} "}, follow_redirects=False)
    assert (right.status_code, right.headers["location"]) == (303, "/")
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert TOKEN not in cookie
    assert 'id="search"' in guarded.get("/").text
    assert search(guarded, "red").status_code == 200


def test_behind_tls_the_cookie_is_secure(guarded):
    guarded.base_url = "https://localhost"
    right = guarded.post("/login", data={"token": TOKEN}, follow_redirects=False)
    assert "secure" in right.headers["set-cookie"].lower()


def test_guessing_is_slowed_down(start):
    guarded = start(Access(TOKEN))
    codes = [guarded.get("/api/status", headers={"authorization": f"Bearer {n}"}).status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    answer = guarded.post("/login", data={"token": "x"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert guarded.get("/api/status", headers=BEARER).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", "", "10.0.0.1"]
)
def test_another_name_is_not_answered_to(client, host):
    for path in ("/", "/api/status", "/static/page.js"):
        assert client.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_its_own_names_are_answered_to(client, host):
    assert client.get("/api/status", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9"},
        {"origin": "file://localhost"},
        {"origin": "http://[localhost"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_a_page_of_another_site_may_not_call(client, gallery, headers):
    assert client.post("/api/erase", json={"ids": [1]}, headers=headers).status_code == 403
    assert client.get("/api/images/1/crop", headers=headers).status_code == 403
    assert search(client, "red").status_code == 200
    assert gallery.count() == 3


def test_a_link_to_the_page_is_followed_and_its_own_calls_go_through(client, gallery):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.post("/api/erase", json={"ids": [1]}, headers=own).json() == {"erased": 1}


@pytest.mark.parametrize(
    ("host", "names", "asks", "answers", "refuses"),
    [
        ("127.0.0.1", [], False, ["localhost", "127.0.0.1"], ["people.example", "10.0.0.7"]),
        ("localhost", [], False, ["localhost"], ["people.example"]),
        ("0.0.0.0", [], True, ["10.0.0.7", "localhost"], ["people.example"]),
        ("127.0.0.1", ["People.example"], True, ["people.example", "localhost"], ["10.0.0.7"]),
        ("127.0.0.1", ["people.example:8443"], True, ["people.example"], ["8443"]),
        ("127.0.0.1", ["B\u00fccher.example"], True, ["xn--bcher-kva.example"], ["10.0.0.7"]),
        (
            "127.0.0.1",
            ["stra\u00dfe.example", "[fe80::1]:80", "fe80::2"],
            True,
            ["xn--strae-oqa.example", "fe80::1", "fe80::2"],
            ["fe80"],
        ),
        ("camera.lan", [], True, ["camera.lan", "10.0.0.7", "fe80::1"], ["people.example"]),
    ],
)
def test_who_others_reach_asks_for_a_token(start, host, names, asks, answers, refuses):
    access, made = access_for(host, names, None)
    assert made == asks
    assert (access.token is not None) == asks
    client = start(access)
    headers = {"authorization": f"Bearer {access.token}"} if asks else {}
    for name in answers + refuses:
        literal = f"[{name}]" if ":" in name else name
        answer = client.get("/api/status", headers={**headers, "host": f"{literal}:8000"})
        assert answer.status_code == (200 if name in answers else 421), name


def test_tokens_are_long_and_made_anew():
    assert len({access_for("0.0.0.0", [], None)[0].token for _ in range(50)}) == 50
    assert access_for("0.0.0.0", [], TOKEN) == (access_for("0.0.0.0", [], TOKEN)[0], False)
    with pytest.raises(InputError, match="the token has 5 letters; give 16 or more"):
        access_for("0.0.0.0", [], "short")
    for token in ("ein Schlüssel, der lang ist", "two lines\nof sufficient length"):
        with pytest.raises(InputError, match="letters that no header takes"):
            access_for("0.0.0.0", [], token)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        ":80",
        "https://people.example",
        "people.example/page",
        "people.example:https",
        "*.example",
        "a b.example",
    ]
    + ["\u2603.example", "\u00fc b.example", "[people.example"],
)
def test_a_name_that_no_request_can_have_is_refused(name):
    with pytest.raises(InputError, match="--name is '.*'; give it as people.example.org"):
        access_for("127.0.0.1", [name], TOKEN)


@pytest.mark.parametrize(("behind_proxy", "last"), [(False, 429), (True, 200)])
def test_whose_a_request_is_says_a_proxy_alone(start, running, behind_proxy, last):
    address = running(start(rate=1e-3, burst=1), behind_proxy=behind_proxy)
    answers = [
        httpx2.post(f"{address}api/erase", json={"ids": [99]}, headers={"X-Forwarded-For": f"10.0.0.{n}"})
        for n in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, last]


def test_requests_of_an_address_are_bounded(start):
    client = start(rate=1.0, burst=3)
    answers = [client.post("/api/erase", json={"ids": [99]}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert "too many requests" in answers[-1].json()["error"]


def test_a_bucket_fills_with_time():
    now = [0.0]
    limit = RateLimit(2.0, 3, lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 1]
    assert limit.wait("b") == 0
    now[0] = 1.0
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 1]
    now[0] = 1000.0
    assert [limit.wait("a", 0.5) for _ in range(7)] == [0] * 6 + [1]
    assert [RateLimit(0, 0).wait("a") for _ in range(9)] == [0] * 9


def test_one_subscriber_of_version_6_is_one_address():
    limit = RateLimit(1.0, 2)
    assert [limit.wait(f"2001:db8::{n}") for n in range(3)] == [0, 0, 1]
    assert limit.wait("2001:db8:0:1::1") == 0
