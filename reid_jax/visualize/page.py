"""One HTML page for an evaluation: figures, metrics, ranked results, attention and maps in a single file.

It asks the network for nothing: images and plots are inside, and a content security policy says so to the browser.
"""

import base64
import html
import io
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.files.writing import replace_file
from reid_jax.retrieval import metrics, protocol
from reid_jax.visualize import attention as attention_module
from reid_jax.visualize import curves, embedding_map, training
from reid_jax.visualize.attention import Attention, attend
from reid_jax.visualize.drawing import COLORS, picture, require
from reid_jax.visualize.page_style import SCRIPT, STYLE
from reid_jax.visualize.ranked import RankedQuery, Result, choose_rows, rank_queries
from reid_jax.visualize.svg import VARIABLES, inline_svg

if TYPE_CHECKING:
    from reid_jax.data.images import Images
    from reid_jax.describe import Encoder
    from reid_jax.evaluate import Evaluation
    from reid_jax.retrieval.verification import Verification

ROWS = 6
ATTENTION_ROWS = 6
IMAGE_HEIGHT = 192  # pixels, at most, of an image in the file
JPEG_QUALITY = 88

# What the metrics say, in plain words.
WORDS = {
    "rank1": ("Rank-1", "queries whose nearest gallery item is the right person"),
    "rank5": ("Rank-5", "queries with the right person among the nearest 5"),
    "rank10": ("Rank-10", "queries with the right person among the nearest 10"),
    "rank20": ("Rank-20", "queries with the right person among the nearest 20"),
    "mAP": ("mAP", "mean average precision: how early all items of the person come, not only the first"),
    "mAP_trapezoid": ("mAP, trapezoid", "the same by the rule of Market-1501's own script, usually a little lower"),
    "mINP": ("mINP", "how early the hardest item of the person comes: 100 % when nothing wrong stands before it"),
}
TITLES = {
    "worst": ("Worst queries", "Those with the lowest average precision: what the network gets wrong."),
    "best": ("Best queries", "Those with the highest average precision."),
    "random": ("Random queries", "Drawn at random, so neither the best nor the worst case."),
}


@picture
def write_page(
    path: str | os.PathLike,
    evaluation: "Evaluation",
    query: "Images",
    gallery: "Images",
    *,
    title: str,
    facts: Mapping[str, str] | None = None,
    encoder: "Encoder | None" = None,
    runs: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    by_height: Mapping[int, Mapping[str, float]] | None = None,
    rows: int = ROWS,
    top: int = 10,
    items: int = embedding_map.ITEMS,
    seed: int = 0,
) -> None:
    """Writes the page of an evaluation.

    Args:
      path: of the .html file.
      evaluation: of `query` and `gallery`, whose images are decoded where they are shown.
      title: the heading, such as 'quickstart on market1501'.
      facts: further lines of what was evaluated, in order: weights, data set, network.
      encoder: for the attention, which is left out without it.
      runs: metric records by run, for the training curves; left out without them.
      by_height: metrics by the height of the queries in pixels; left out without them.
      rows: queries in each of the lists worst, best and random. top: results in a row.
      items: in the embedding map, at most. seed: of what is drawn at random.

    Raises:
      InputError: the path does not end in .html, rows, top or items are too small, or Matplotlib or scikit-learn is
        missing.
    """
    path = html_path(path)
    require("matplotlib", "scikit-learn")
    precision = metrics.average_precision(evaluation.ranking)
    lists = {
        order: rank_queries(query, gallery, evaluation, choose_rows(precision, rows, order, seed), top)
        for order in TITLES
    }
    sections = [("metrics", "Metrics", _metrics(evaluation)), ("curves", "CMC and ROC", _curves(evaluation))]
    if by_height:
        sections.append(("height", "Small queries", _height(by_height)))
    sections.append(("ranked", "Ranked results", _ranked(lists)))
    if encoder is not None:
        shown = attend(encoder, query, _attention_rows(evaluation, precision, seed))
        sections.append(("attention", "Attention", _attention(shown)))
    sections.append(("map", "Embedding map", _map(evaluation, items, seed)))
    if runs:
        sections.append(("training", "Training", _training(runs)))
    text = _document(title, evaluation, facts or {}, sections)
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def html_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the path; raises InputError where it does not end in .html."""
    path = pathlib.Path(path)
    if path.suffix.lower() != ".html":
        raise InputError(f"a page is written as HTML, but the path is {path}; let it end in .html")
    return path


def _document(
    title: str, evaluation: "Evaluation", facts: Mapping[str, str], sections: Sequence[tuple[str, str, str]]
) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    links = "".join(f'<a href="#{name}">{_escape(heading)}</a>' for name, heading, _ in sections)
    body = "\n".join(
        f'<section id="{name}">\n<h2>{_escape(heading)}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{_escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{_escape(title)}</h1>
<p class="note">Person re-identification: each query is a picture of a person; the gallery is ordered by how near its
pictures are to it for the network. The right answers are those of the same person.</p>
{_tiles(evaluation)}
{_facts(evaluation, facts)}
<nav aria-label="sections">{links}</nav>
</header>
<main>
{body}
</main>
<dialog aria-label="image in large"><img src="data:," alt=""><p></p></dialog>
<script>
{SCRIPT}</script>
</body>
</html>
"""


def _tiles(evaluation: "Evaluation") -> str:
    shown = [(WORDS[key][0], evaluation.metrics[key]) for key in ("rank1", "mAP", "mINP") if key in evaluation.metrics]
    decision, _ = _decision(evaluation)
    if decision:
        shown.append(("TPR at FPR 0.001", decision.metrics["tpr_at_fpr_1e-3"]))
    tiles = "".join(f"<li><b>{_percent(value, 1)}</b><span>{_escape(name)}</span></li>" for name, value in shown)
    return f'<ul class="tiles">{tiles}</ul>'


def _facts(evaluation: "Evaluation", facts: Mapping[str, str]) -> str:
    query, gallery = evaluation.query, evaluation.gallery
    shared = len(np.intersect1d(query.identity, gallery.identity))
    of_query, of_gallery = (len(np.unique(side.identity)) for side in (query, gallery))
    lines = {
        **facts,
        "Queries": f"{len(query.identity):,}, of {of_query:,} identities",
        "Gallery": f"{len(gallery.identity):,}, of {of_gallery:,} identities; {shared:,} of them are queried",
        "Cameras": _cameras(evaluation),
        "Protocol": str(evaluation.protocol),
    }
    pairs = "".join(f"<dt>{_escape(name)}</dt><dd>{_escape(value)}</dd>" for name, value in lines.items())
    return f"<dl>{pairs}</dl>"


def _cameras(evaluation: "Evaluation") -> str:
    query, gallery = evaluation.query.camera, evaluation.gallery.camera
    known = np.union1d(query, gallery)
    count = f"{np.count_nonzero(known >= 0)}; a query's own person in its own camera does not count"
    return protocol.removal_note(query, gallery) or count


def _decision(evaluation: "Evaluation") -> tuple["Verification | None", str]:
    """The same-or-different decision, or None and why there is none; the ranking stands without it."""
    try:
        return evaluation.verification, ""
    except InputError as error:
        return None, str(error)


def _metrics(evaluation: "Evaluation") -> str:
    figures = evaluation.metrics
    rows = "".join(
        f'<tr><th scope="row">{_escape(WORDS[key][0] if key in WORDS else key.replace("_", " "))}</th>'
        f'<td class="number">{_percent(value, 2)}</td><td>{_escape(WORDS[key][1] if key in WORDS else "")}</td></tr>'
        for key, value in figures.items()
        if not key.startswith("queries")
    )
    without = int(figures.get("queries_without_match", 0))
    note = "Every query has a match in the gallery."
    if without:
        note = f"{without:,} of {int(figures['queries']):,} queries have no match in the gallery and are not counted."
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">metric</th><th scope="col" class="number">value</th>'
        f'<th scope="col">what it says</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f'<p class="note">{note}</p>{_verification(evaluation)}'
    )


def _verification(evaluation: "Evaluation") -> str:
    verification, why_not = _decision(evaluation)
    if not verification:
        return f'<p class="note">Same person or not: {_escape(why_not)}.</p>'
    figures = verification.metrics
    decisions = [
        ("at most 1 wrong in 1,000", "tpr_at_fpr_1e-3", "distance_at_fpr_1e-3"),
        ("at most 1 wrong in 100", "tpr_at_fpr_1e-2", "distance_at_fpr_1e-2"),
    ]
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td class="number">{_number(figures[distance])}</td>'
        f'<td class="number">{_percent(figures[rate], 2)}</td></tr>'
        for name, rate, distance in decisions
    )
    equal = figures["equal_error_rate"]
    rows += (
        f'<tr><th scope="row">as many wrong as missed ({_percent(equal, 2)})</th>'
        f'<td class="number">{_number(figures["distance_at_equal_error"])}</td>'
        f'<td class="number">{_percent(1 - equal, 2)}</td></tr>'
    )
    return (
        "<h3>Same person or not</h3>"
        "<p>The decision on a single pair: two pictures are taken for one person where their distance is at most a "
        "threshold. Of pairs of two people some are wrongly taken for one (the false-positive rate, FPR); of pairs of "
        "one person some are found (the true-positive rate, TPR).</p>"
        '<div class="scroll"><table><thead><tr><th scope="col">pairs of two people</th>'
        '<th scope="col" class="number">distance at most</th><th scope="col" class="number">pairs of one person found'
        f"</th></tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="note">{verification.positives:,} pairs of one person, {verification.negatives:,} of two.</p>'
    )


def _curves(evaluation: "Evaluation") -> str:
    name = {"this network": evaluation}
    first = float(evaluation.cmc(1)[0])
    words = "The share of queries with a match among the nearest k."
    if evaluation.protocol.single_gallery_shot:
        words = "The share of queries whose own identity is among the nearest k, the mean of the draws."
    cmc = inline_svg(curves.cmc_figure(name), "cmc", f"CMC curve; it starts at rank-1 {_percent(first, 1)}")
    plots = _plot(cmc, words)
    verification, _ = _decision(evaluation)
    if verification:
        figures = verification.metrics
        rates = ", ".join(
            f"{_percent(figures[f'tpr_at_fpr_{rate}'], 1)} at a false-positive rate of {rate}"
            for rate in curves.MARKED_RATES
        )
        roc = inline_svg(curves.roc_figure(name), "roc", f"ROC curve; pairs of one person found: {rates}")
        thresholds = "; ".join(
            f"FPR {rate}: distance at most {_number(figures[f'distance_at_fpr_{rate}'])}"
            for rate in curves.MARKED_RATES
        )
        plots += _plot(roc, f"Dotted: the marked rates. Thresholds there: {thresholds}.")
    return f'<div class="plots">{plots}</div>'


def _height(by_height: Mapping[int, Mapping[str, float]]) -> str:
    drawn = inline_svg(curves.height_figure(by_height), "height", "rank-1 and mAP by the height of the queries")
    rows = "".join(
        f'<tr><th scope="row" class="number">{height}</th>'
        + "".join(f'<td class="number">{_percent(by_height[height][key], 2)}</td>' for key in ("rank1", "mAP"))
        + "</tr>"
        for height in sorted(by_height, reverse=True)
    )
    table = (
        '<div class="scroll"><table><thead><tr><th scope="col" class="number">height in pixels</th>'
        '<th scope="col" class="number">rank-1</th><th scope="col" class="number">mAP</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
    return f"<p>Queries scaled down to a height and up again, as a person far away is seen.</p>{table}{_plot(drawn)}"


def _ranked(lists: Mapping[str, Sequence[RankedQuery]]) -> str:
    parts = [
        '<div class="legend"><span><span class="swatch"></span>✓ same person</span>'
        '<span><span class="swatch wrong"></span>✗ another person</span>'
        '<span class="note">under an image: its rank and its distance to the query</span>'
        '<label class="tool" hidden>image size <input type="range" min="40" max="160" value="72"></label></div>'
    ]
    for order, queries in lists.items():
        heading, words = TITLES[order]
        parts.append(f'<h3 id="{order}">{heading}</h3><p class="note">{words}</p>')
        parts += [_query_row(query) for query in queries]
    return "\n".join(parts)


def _query_row(query: RankedQuery) -> str:
    precision = "" if math.isnan(query.average_precision) else f"<br>AP {_percent(query.average_precision, 1)}"
    about = f"{query.name}, {_labels(query.identity, query.camera)}"
    found = "".join(f"<li>{_result(result)}</li>" for result in query.results)
    return (
        f'<div class="query-row"><figure class="person">{_image(query.image, f"query: {about}", about)}'
        f"<figcaption>query<br>{query.note}{precision}</figcaption></figure>"
        f'<ol class="results">{found}</ol></div>'
    )


def _result(result: Result) -> str:
    kind, mark, words = ("right", "✓", "same person") if result.correct else ("wrong", "✗", "another person")
    about = f"{result.name}, {_labels(result.identity, result.camera)}"
    alt = f"rank {result.rank}, {words}, distance {result.distance:.3f}: {about}"
    return (
        f'<figure class="person {kind}">{_image(result.image, alt, about)}'
        f'<figcaption><span class="rank">{result.rank}</span> <i>{mark}</i> {result.distance:.3f}</figcaption></figure>'
    )


def _attention_rows(evaluation: "Evaluation", precision: np.ndarray, seed: int) -> np.ndarray:
    """Images of the query split: random queries, an identity once where there are enough."""
    found = choose_rows(precision, len(precision), "random", seed)
    mixed = np.random.default_rng(seed).permutation(found)
    once = mixed[np.sort(np.unique(evaluation.query.identity[mixed], return_index=True)[1])]
    again = np.setdiff1d(mixed, once, assume_unique=True)
    return evaluation.query.row[np.concatenate([once, again])[:ATTENTION_ROWS]]


def _attention(shown: Sequence[Attention]) -> str:
    ranges = attention_module.soft_ranges(shown)
    stops = attention_module.legend_colors(9)
    gradient = ",".join("#{:02x}{:02x}{:02x}".format(*color) for color in stops)
    scales = "".join(
        f'<span>level {level}: {low:.2f}<span class="scale" style="background:linear-gradient(90deg,{gradient})">'
        f"</span>{high:.2f}</span>"
        for level, (low, high) in enumerate(ranges, 1)
    )
    words = (
        "<p>After each of its three stages the network multiplies its features by a soft map: bright parts go on with "
        "more weight. What is shown is the mean of the map over all channels, in the blocks that it has; it lies "
        "between 0.5 and 1, and a level's colours span what the images here take.</p>"
        f'<div class="legend">{scales}</div>'
    )
    if shown[0].boxes:
        bars = "".join(
            f'<span><span class="swatch bar" style="border-color:{_variable(color)}"></span>region {number}</span>'
            for number, color in enumerate(attention_module.REGION_COLORS, 1)
        )
        words += (
            "<p>The hard attention places four regions at each level, as wide as the image and a quarter as high; the "
            "local stream reads these alone. A box is open where it leaves the image: there it reads zeros.</p>"
            f'<div class="legend">{bars}</div>'
        )
    else:
        words += '<p class="note">This network has no regions.</p>'
    return words + "\n".join(_attention_row(one, ranges) for one in shown)


def _attention_row(one: Attention, ranges: Sequence[tuple[float, float]]) -> str:
    height = min(max(one.image.shape[0], IMAGE_HEIGHT), 2 * IMAGE_HEIGHT)
    figures = [f"<figure>{_image(one.image, f'image: {one.name}', one.name)}<figcaption>image</figcaption></figure>"]
    for level, (soft, (low, high)) in enumerate(zip(one.soft, ranges, strict=True), 1):
        picture = attention_module.overlay(one.image, soft, low, high, height)
        alt = f"soft attention of level {level}, from {soft.min():.3f} to {soft.max():.3f}: {one.name}"
        figures.append(f"<figure>{_image_tag(_jpeg(picture), alt, alt)}<figcaption>soft {level}</figcaption></figure>")
    for level, boxes in enumerate(one.boxes, 1):
        figures.append(
            f"<figure>{_regions(one.image, boxes, f'regions of level {level}: {one.name}')}"
            f"<figcaption>regions {level}</figcaption></figure>"
        )
    items = "".join(f"<li>{figure}</li>" for figure in figures)
    return f'<div class="attention"><ul>{items}</ul><p>{_escape(one.name)}</p></div>'


def _regions(image: np.ndarray, boxes: np.ndarray, label: str) -> str:
    """The image with the four boxes as SVG: sharp at any size, with numbered bars beside it."""
    height, width = image.shape[:2]
    line, lane, gutter = 0.0125 * height, 0.03 * height, 0.14 * height
    # An svg within cuts off what lies outside of the image: a box that leaves it is open there.
    inner = f"{-line:.2f} {-line:.2f} {width + 2 * line:.2f} {height + 2 * line:.2f}"
    x, y, w, h = inner.split()
    parts = [
        f'<svg x="{x}" y="{y}" width="{w}" height="{h}" viewBox="{inner}">',
        f'<image href="{_data_uri(_jpeg(Image.fromarray(image)))}" width="{width}" height="{height}"/>',
    ]
    for box, color in zip(boxes, attention_module.REGION_COLORS, strict=True):
        left, top, right, bottom = (float(edge) for edge in box)
        for paint, thick in (("#ffffff", 1.8 * line), (_variable(color), line)):
            parts.append(
                f'<rect x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" height="{bottom - top:.2f}" '
                f'style="fill:none;stroke:{paint};stroke-width:{thick:.2f}"/>'
            )
    parts.append("</svg>")
    bars = attention_module.place_bars(boxes, height, apart=0.075 * height)
    for number, (lane_number, top, bottom, text) in enumerate(bars, 1):
        color = _variable(attention_module.REGION_COLORS[number - 1])
        outwards, beside = lane * (lane_number + 0.6), 2.2 * lane
        x, label_x, anchor = (-outwards, -beside, "end") if number % 2 else (width + outwards, width + beside, "start")
        parts.append(
            f'<path d="M{x:.2f} {top:.2f}V{bottom:.2f}" style="stroke:{color};stroke-width:{line:.2f}"/>'
            f'<text x="{label_x:.2f}" y="{text:.2f}" style="font-size:{0.07 * height:.1f}px;text-anchor:{anchor};'
            f'dominant-baseline:central;fill:var(--ink)">{number}</text>'
        )
    view = f"{-gutter:.2f} {-line:.2f} {width + 2 * gutter:.2f} {height + 2 * line:.2f}"
    return f'<svg viewBox="{view}" role="img" aria-label="{_escape(label)}">{"".join(parts)}</svg>'


def _map(evaluation: "Evaluation", items: int, seed: int) -> str:
    count = len(evaluation.query.identity) + len(evaluation.gallery.identity)
    if count < embedding_map.LEAST_ITEMS:
        return f'<p class="note">{count} items are too few for a map.</p>'
    shown = embedding_map.map_items(evaluation.query, evaluation.gallery, items=items, seed=seed)
    names = [
        f"{side}: {name}, {_labels(int(identity), int(camera))}"
        for side, name, identity, camera in zip(shown.side, shown.name, shown.identity, shown.camera, strict=True)
    ]
    plots = []
    for color in embedding_map.COLOR_BY:
        titles = {
            f"points-{number}": [names[row] for row in rows]
            for number, (_, rows) in enumerate(embedding_map.groups(shown, color))
        }
        figure = embedding_map.map_figure(shown, color)
        plots.append(_plot(inline_svg(figure, f"map-{color}", f"map of descriptors, coloured by {color}", titles)))
    return (
        f"<p>{len(shown):,} of {count:,} descriptors, placed so that near ones stay near (t-SNE). Good "
        "descriptors make an island of each person, and no island of a camera. Distances between islands mean "
        "little.</p>" + "\n".join(plots)
    )


def _training(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    return _plot(inline_svg(training.training_figure(runs), "training", f"training curves of {', '.join(runs)}"))


def _plot(svg: str, caption: str = "") -> str:
    caption = f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="plot">{svg}{caption}</figure>'


def _image(image: np.ndarray, alt: str, title: str) -> str:
    picture = Image.fromarray(image)
    if picture.height > IMAGE_HEIGHT:
        picture = picture.resize((round(picture.width * IMAGE_HEIGHT / picture.height), IMAGE_HEIGHT))
    return _image_tag(_jpeg(picture), alt, title)


def _image_tag(jpeg: tuple[bytes, tuple[int, int]], alt: str, title: str) -> str:
    data, (width, height) = jpeg
    encoded = base64.b64encode(data).decode()
    return (
        f'<img src="data:image/jpeg;base64,{encoded}" width="{width}" height="{height}" alt="{_escape(alt)}" '
        f'title="{_escape(title)}" loading="lazy">'
    )


def _data_uri(jpeg: tuple[bytes, tuple[int, int]]) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg[0]).decode()}"


def _jpeg(picture: Image.Image) -> tuple[bytes, tuple[int, int]]:
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return data.getvalue(), picture.size


def _labels(identity: int, camera: int) -> str:
    return f"identity {identity}, camera {'unknown' if camera < 0 else camera}"


def _variable(color: str) -> str:
    return f"var({VARIABLES[color]})" if color in COLORS else color


def _percent(value: float, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def _number(value: float) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _escape(text: str) -> str:
    return html.escape(str(text), quote=True)
