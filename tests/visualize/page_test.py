"""The page: one file that needs nothing else, well formed, with everything in it and every name escaped."""

import base64
import dataclasses
import html.parser
import importlib.resources
import io
import os
import re

import numpy as np
import pytest
from made_evaluation import crowd
from made_variables import made_variables
from PIL import Image

from reid_jax import parallel
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.models.registry import create_network
from reid_jax.visualize import PageSource, attend, page_content, write_page
from reid_jax.visualize.page_content import attention_rows

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

NASTY = '<script>alert("x")</script>&\'.jpg'
VOID = {"meta", "img", "br", "input", "link", "hr"}


class Reader(html.parser.HTMLParser):
    """Collects elements, text and ids, and checks that elements are closed in the order in which they opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.text = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    query, gallery, evaluation = crowd()
    name = np.array([f"{NASTY}{number}" for number in range(len(gallery))])
    evaluation = dataclasses.replace(evaluation, gallery=dataclasses.replace(evaluation.gallery, name=name))
    network = create_network("nano", 0, stem=8, widths=(16, 16, 32), repeats=(1, 1, 1), global_width=8, local_width=8)
    variables = made_variables(network, (64, 32))
    path = tmp_path_factory.mktemp("page") / "new" / "page.html"
    source = PageSource(
        title=f"weights on {NASTY}",
        evaluation=evaluation,
        query=query,
        gallery=gallery,
        facts={"Weights": NASTY},
        attention=attend(
            Encoder(network, variables, (64, 32), parallel.one_device()), query, attention_rows(evaluation)
        ),
        runs={NASTY: [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]},
        by_height={64: {"rank1": 0.5, "mAP": 0.4}, 32: {"rank1": 0.25, "mAP": 0.125}},
        rows=2,
        top=3,
    )
    write_page(path, source)
    text = path.read_text(encoding="utf-8")
    return path, text, Reader(text), evaluation


def test_it_is_one_complete_file(written):
    path, text, reader, _ = written
    assert os.listdir(path.parent) == ["page.html"]
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    for tag in ("html", "head", "body", "main", "h1", "style"):
        assert len(reader.all(tag)) == 1, tag
    assert os.path.getsize(path) < 6 * 2**20
    assert os.stat(path).st_mode & 0o444


def test_style_and_script_stand_in_it_as_they_are(written):
    text = written[1]
    templates = importlib.resources.files("reid_jax.visualize") / "templates"
    for name, tag in (("page.css", "style"), ("page.js", "script")):
        inside = text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        assert inside.strip() == (templates / name).read_text(encoding="utf-8").strip()
    assert "{{" not in text
    assert "{%" not in text


def test_it_loads_nothing_from_elsewhere(written):
    _, text, reader, _ = written
    assert not re.search(r"https?://", text)
    assert not reader.all("link")
    assert "@import" not in text
    ids = {attributes["id"] for _, attributes in reader.elements if "id" in attributes}
    for tag, attributes in reader.elements:
        for key in ("src", "href", "xlink:href", "data", "poster", "action", "srcset"):
            value = attributes.get(key)
            if value is not None:
                assert value.startswith(("data:", "#")), (tag, key, value[:60])
                assert not value.startswith("#") or value[1:] in ids, value
    for target in re.findall(r"url\(([^)]*)\)", text):
        assert target.startswith("#")
        assert target[1:] in ids
    (policy,) = [m["content"] for m in reader.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy


def test_ids_are_unique(written):
    ids = [attributes["id"] for _, attributes in written[2].elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_names_are_escaped_everywhere(written):
    _, text, reader, _ = written
    assert "<script>alert" not in text
    assert len(reader.all("script")) == 1
    assert any(NASTY in data for data in reader.text)
    assert any(NASTY in (one.get("title") or "") for one in reader.all("img"))
    assert not any("onerror" in attributes for _, attributes in reader.elements)


def test_every_picture_decodes_and_has_words(written):
    reader = written[2]
    images = [one for one in reader.all("img") if one["src"] != "data:,"]
    assert len(images) >= 3 * 2 * 4
    for one in images:
        data = base64.b64decode(one["src"].partition("base64,")[2])
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "JPEG"
            assert picture.size == (int(one["width"]), int(one["height"]))
        assert one["alt"]
    drawings = [one for one in reader.all("svg") if one.get("role") == "img"]
    assert len(drawings) >= 6
    assert all(one["aria-label"] for one in drawings)


def test_results_say_right_and_wrong_in_words_and_in_order(written):
    _, text, reader, evaluation = written
    worst = text[text.index('id="worst"') : text.index('id="best"')]
    found = re.findall(r'class="person (right|wrong)"><img[^>]*alt="rank (\d), (same|another) person', worst)
    assert [int(rank) for _, rank, _ in found] == [1, 2, 3] * 2
    assert all((kind == "right") == (words == "same") for kind, _, words in found)
    index, _ = evaluation.nearest(np.arange(len(evaluation.query)), 3)
    correct = evaluation.gallery.identity[index] == evaluation.query.identity[:, None]
    marks = [kind == "right" for kind, _, _ in found]
    assert any(marks == correct[[a, b]].ravel().tolist() for a in range(12) for b in range(12) if a != b)
    assert text.index('id="worst"') < text.index('id="best"') < text.index('id="random"')


def test_metrics_stand_in_the_page(written):
    text, evaluation = written[1], written[3]
    for key in ("rank1", "mAP", "mINP"):
        assert f"{100 * evaluation.metrics[key]:.2f} %" in text
    figures = evaluation.verification.metrics
    assert f"{figures['distance_at_fpr_1e-2']:.3f}" in text
    assert f"{100 * figures['equal_error_rate']:.2f} %" in text
    assert str(evaluation.protocol) in text
    for section in ("metrics", "curves", "height", "ranked", "attention", "map", "training"):
        assert f'<section id="{section}">' in text
        assert f'href="#{section}"' in text


def test_points_of_the_map_carry_their_names(written):
    text, evaluation = written[1], written[3]
    part = text[text.index('id="map"') :]
    assert part.count("<title>query: ") == 2 * len(evaluation.query)
    assert part.count("<title>gallery: ") == 2 * len(evaluation.gallery)


def test_plots_follow_the_pages_colours(written):
    text = written[1]
    used = set(re.findall(r"var\((--[a-z0-9-]+)", text))
    light, dark = re.findall(r":root\{(.*?)\}", text, re.S)[:2]  # and one for print
    for name in used:
        assert f"{name}:" in light
        assert f"{name}:" in dark or name == "--width"


def test_a_page_without_extras_leaves_their_sections_out(tmp_path):
    query, gallery, evaluation = crowd(identities=2, images=3)
    write_page(tmp_path / "page.html", PageSource("few", evaluation, query, gallery, rows=1))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    Reader(text)
    for section in ("height", "attention", "training"):
        assert f'id="{section}"' not in text
    assert "too few for a map" in text


def test_one_identity_leaves_no_pair_to_reject_and_unknown_cameras_are_told(tmp_path):
    query, gallery, evaluation = crowd(identities=1, images=4)
    gallery.camera[:] = -1
    write_page(tmp_path / "page.html", PageSource("one", evaluation, query, gallery))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    Reader(text)
    assert "Same person or not: query and gallery hold a single identity" in text
    assert "cameras are unknown" in text
    assert "ROC" not in text.replace("CMC and ROC", "")


def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    query, gallery, evaluation = crowd(identities=3)
    source = PageSource("a", evaluation, query, gallery)
    with pytest.raises(InputError, match=r"page\.pdf; let it end in \.html"):
        write_page(tmp_path / "page.pdf", source)
    with pytest.raises(InputError, match="sheet of 0 rows"):
        write_page(tmp_path / "page.html", dataclasses.replace(source, rows=0))
    monkeypatch.setattr(page_content, "_map", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"page\.html cannot be drawn: ZeroDivisionError"):
        write_page(tmp_path / "page.html", source)
    assert not os.listdir(tmp_path)
