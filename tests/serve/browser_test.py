"""The page in a browser (Chromium, without a screen): every step of a search, an addition and an erasing."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from made_colours import COLOURS, packed, picture
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'reid_jax[test]'")
expect = playwright.expect

from reid_jax.serve.access import Access  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    with playwright.sync_playwright() as start:
        try:
            browser = start.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser is installed: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, running, start):
    """visit(client=None, **options of the browser's context) -> the page, which must not complain."""
    complaints, contexts = [], []

    def go(client=None, path="", **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(running(client or start()) + path)
        page.wait_for_selector("#search[data-ready]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def photo(colour, name=None):
    return {"name": name or f"{colour}.png", "mimeType": "image/png", "buffer": picture(colour)}


def look_for(page, *colours):
    page.set_input_files("#file", [photo(colour) for colour in colours])
    expect(page.locator("#search-answer")).to_be_visible()


def people(page, side):
    return page.locator(f".card.{side} .person").all_inner_texts()


def test_a_photo_is_answered_and_the_threshold_parts_near_from_far(visit):
    page = visit()
    expect(page.locator("#holds")).to_have_text("3 images · 2 people · 2 cameras")
    look_for(page, "red")
    expect(page.locator("#answer-words")).to_have_text("2 possible matches")
    expect(page.locator("#told")).to_have_text(
        "2 possible matches. The nearest image is at distance 0.000. Named: Ada."
    )
    assert (people(page, "near"), people(page, "far")) == (["Ada", "Ada"], ["Ben"])
    first = page.locator(".card").first
    expect(first).to_contain_text("Camera 1")
    expect(first).to_contain_text("staff")
    expect(page.locator("#threshold-rate")).to_have_text(
        "False-positive rate: 1 in 1,000. Of 3 images of other people, about 0.003 would be this near."
    )
    expect(page.locator("#threshold-missed")).to_have_text("Of pairs of one person, 50 % are farther and missed.")
    page.locator("#threshold").fill("0.4")
    expect(page.locator("#threshold-rate")).to_contain_text("between 1 in 1,000 and 1 in 100.")
    page.locator("#threshold").fill("1.5")
    expect(page.locator("#threshold-rate")).to_contain_text("more than 1 in 100.")
    expect(page.locator("#answer-words")).to_have_text("3 possible matches")
    page.get_by_role("button", name="1 in 100 wrong").click()
    expect(page.locator("#threshold-distance")).to_have_text("0.600")


def test_nobody_is_an_answer(visit):
    page = visit()
    look_for(page, "blue")
    expect(page.locator("#answer-words")).to_have_text("Nobody here")
    expect(page.locator("#answer-more")).to_have_text(
        re.compile(r"The nearest image is at distance [01]\.\d{3}, not below 0\.300\.")
    )
    assert people(page, "near") == []
    assert len(people(page, "far")) == 3


def test_filters_and_each_person_once(visit):
    page = visit()
    look_for(page, "red")
    page.get_by_label("Each person once").check()
    expect(page.locator(".card")).to_have_count(2)
    page.locator("#search-cameras").get_by_label("2").check()
    expect(page.locator("#answer-words")).to_have_text("1 possible match")
    page.locator("#search-until").fill("1970-01-01T00:10")
    expect(page.locator("#answer-words")).to_have_text("Nothing to search")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator(".card")).to_have_count(2)


@pytest.fixture
def two_people(tmp_path):
    """A photo with red on its left and green on its right."""
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[:, :200], pixels[:, 200:] = COLOURS["red"], COLOURS["green"]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"name": "two.png", "mimeType": "image/png", "buffer": file.getvalue()}


def test_a_box_is_drawn_moved_and_taken_back(visit, two_people):
    page = visit()
    page.set_input_files("#file", two_people)
    expect(page.locator("#search-answer")).to_be_visible()
    frame = page.locator("#stage").bounding_box()

    def drag(start, end):
        page.mouse.move(frame["x"] + start[0] * frame["width"], frame["y"] + start[1] * frame["height"])
        page.mouse.down()
        page.mouse.move(frame["x"] + end[0] * frame["width"], frame["y"] + end[1] * frame["height"], steps=4)
        page.mouse.up()

    drag((0.05, 0.1), (0.35, 0.9))
    expect(page.locator(".card").first).to_contain_text("0.000")
    assert people(page, "near") == ["Ada", "Ada"]
    drag((0.2, 0.5), (0.8, 0.5))
    expect(page.locator(".card.near .person")).to_have_text(["Ben"])
    expect(page.locator("#box")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#box")).to_have_class("box whole")


def test_a_box_by_keyboard_and_by_numbers(visit, two_people):
    page = visit()
    page.set_input_files("#file", two_people)
    expect(page.locator("#search-answer")).to_be_visible()
    page.locator("#box").focus()
    for _ in range(13):
        page.keyboard.press("Shift+Alt+ArrowLeft")
    expect(page.locator(".card.near .person")).to_have_text(["Ada", "Ada"])
    expect(page.locator("#box")).to_have_attribute("aria-label", re.compile("right 140, bottom 300"))
    page.get_by_text("Keyboard and numbers").click()
    for side, value in (("Right", "400"), ("Left", "250")):
        page.get_by_label(side, exact=True).fill(value)
        page.keyboard.press("Tab")
    expect(page.locator(".card.near .person")).to_have_text(["Ben"])
    page.get_by_label("Right", exact=True).fill("10")
    page.keyboard.press("Tab")
    expect(page.get_by_role("alert").filter(has_text="The box is empty")).to_be_visible()


def test_photos_are_dropped_pasted_and_searched_as_one(visit):
    page = visit()
    hand_over = """(kind) => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob(window.photo), (letter) => letter.charCodeAt(0));
      data.items.add(new File([bytes], `${kind}.png`, { type: "image/png" }));
      const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
                                    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.getElementById("start").dispatchEvent(event);
    }"""
    for kind, colour in (("drop", "red"), ("paste", "green")):
        page.evaluate("data => { window.photo = data; }", base64.b64encode(picture(colour)).decode())
        page.evaluate(hand_over, kind)
        expect(page.locator("#photos .show")).to_have_count(1 if kind == "drop" else 2)
    expect(page.locator("#answer-words")).to_have_text("Nobody here")
    page.get_by_role("button", name="Remove photo 1").click()
    expect(page.locator("#photos .show")).to_have_count(1)
    expect(page.locator(".card.near .person")).to_have_text(["Ben"])
    page.get_by_role("button", name="Remove photo 1").click()
    expect(page.locator("#search-empty")).to_be_visible()
    expect(page.locator("#pick")).to_be_focused()


def test_what_cannot_be_taken_is_said(visit):
    page = visit()
    page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    message = page.get_by_role("alert").filter(has_text="a.png is no image of a kind that is read")
    expect(message).to_be_visible()
    expect(page.locator("#search-busy")).to_be_hidden()
    expect(message.get_by_role("button", name="Try again")).to_be_visible()


def test_an_image_is_opened_and_searched_with(visit):
    page = visit()
    look_for(page, "blue")
    page.get_by_role("button", name=re.compile("^Open distance .*Ben")).click()
    dialog = page.get_by_role("dialog", name="Ben")
    expect(dialog).to_contain_text("Camera")
    expect(dialog).to_contain_text("1 Jan 1970")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("^Open distance .*Ben"))).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Search with this").click()
    expect(page.locator("#photos .show")).to_have_count(2)


def test_erasing_asks_first(visit, gallery):
    page = visit()
    page.get_by_role("link", name="Browse").click()
    expect(page.locator("#browse-count")).to_have_text("3 images")
    page.get_by_role("checkbox", name=re.compile("^Pick Ben")).check()
    page.get_by_role("button", name="Erase…").click()
    dialog = page.get_by_role("dialog", name="Erase 1 image?")
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert gallery.count() == 3
    page.get_by_role("button", name="Erase…").click()
    dialog.get_by_role("button", name="Erase").click()
    expect(page.locator("#told")).to_have_text("1 image was erased.")
    expect(page.locator("#browse-count")).to_have_text("2 images")
    expect(page.locator("#picked")).to_be_hidden()
    expect(page.locator("#main")).to_be_focused()
    assert gallery.count() == 2
    page.get_by_role("button", name=re.compile("^Open Ada, camera 1")).click()
    page.get_by_role("button", name="Erase person…").click()
    page.get_by_role("dialog", name="Erase every image of Ada?").get_by_role("button", name="Erase").click()
    expect(page.locator("#holds")).to_have_text("0 images")
    assert gallery.count() == 0


def test_a_folder_is_added_with_progress(visit, gallery, tmp_path):
    for number in range(20):
        folder = tmp_path / "crops" / f"person {number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(picture((number, 99, 200)))
    (tmp_path / "crops" / "broken.png").write_bytes(b"x")
    (tmp_path / "crops" / "notes.txt").write_bytes(b"x")
    page = visit()
    page.get_by_role("link", name="Add", exact=True).click()
    page.get_by_label("Folders are named after").select_option("the person")
    page.get_by_label("Camera").fill("door")
    page.set_input_files("#add-directory", tmp_path / "crops")
    expect(page.locator("#add-words")).to_have_text("Done: 21 of 21 images (20 new, 0 already there, 1 refused)")
    expect(page.locator("#add-refused")).to_contain_text("crops/broken.png: it is no image")
    expect(page.locator("#holds")).to_have_text("23 images · 4 people · 3 cameras")
    assert {entry.source for entry in gallery.page(after=3).entries} >= {
        "crops/person 0/0.png",
        "crops/person 1/19.png",
    }
    page.set_input_files("#add-directory", tmp_path / "crops")
    expect(page.locator("#add-words")).to_have_text("Done: 21 of 21 images (0 new, 20 already there, 1 refused)")


def test_a_zip_is_added_with_progress(visit):
    page = visit(path="#add")
    data = packed({f"{number}.png": picture((number, 99, 200)) for number in range(70)})
    page.set_input_files("#add-file", {"name": "people.zip", "mimeType": "application/zip", "buffer": data})
    expect(page.locator("#add-words")).to_have_text("Done: 70 of 70 images (70 new, 0 already there)")
    page.set_input_files("#add-file", {"name": "people.zip", "mimeType": "application/zip", "buffer": b"x"})
    expect(page.get_by_role("alert").filter(has_text="cannot be read as a zip")).to_be_visible()


def test_no_name_becomes_markup(visit, start):
    client = start()
    evil = "<img src=x onerror=alert(1)>"
    data = {"source": f"{evil}/{evil}.png", "person": evil, "camera": evil, "tag": evil}
    assert client.post("/api/images", files={"image": ("a", picture("blue"))}, data=data).status_code == 200
    page = visit(client)
    look_for(page, "blue")
    expect(page.locator(".card.near .person")).to_have_text([evil])
    page.locator(".card.near .open").click()
    expect(page.get_by_role("dialog", name=evil)).to_contain_text(f"{evil}.png")
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(visit, scheme):
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce", has_touch=True)
    look_for(page, "red")
    page.get_by_role("checkbox", name=re.compile("^Pick distance")).first.check()
    for view in ("Search", "Browse", "Add"):
        page.get_by_role("link", name=view, exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) > 384) == (scheme == "light")
    assert page.evaluate("getComputedStyle(document.getElementById('search-busy'), '::before').animationName") == "none"


def test_every_control_has_a_name_and_the_keyboard_reaches_it(visit):
    page = visit()
    look_for(page, "red")
    nameless = """() => [...document.querySelectorAll("button, input, select, a, [role=application]")].filter((each) =>
      !(each.getAttribute("aria-label") || each.labels?.[0]?.textContent.trim() || each.textContent.trim()))
      .map((each) => each.outerHTML)"""
    assert page.evaluate(nameless) == []
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = ["skip", "box", "show", "remove", "plus", "search-since", "threshold", "open"]
    assert [each for each in dict.fromkeys(reached) if each in wanted] == wanted
    page.get_by_role("link", name="Browse").click()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#browse")).to_be_visible()


def test_a_link_with_the_token_opens_the_page(visit, start):
    token = "a token of sufficient length"
    page = visit(start(Access(token)), path=f"#token={token}")
    assert "token" not in page.url
    expect(page.locator("#holds")).to_have_text("3 images · 2 people · 2 cameras")
    look_for(page, "red")
    expect(page.locator("#answer-words")).to_have_text("2 possible matches")
