"""What the page of an evaluation says, as plain values: the template decides how it looks.

A caller hands in a `PageSource`; `gather_content` makes of it the `PageContent` that the template reads.
"""

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.retrieval import metrics
from reid_jax.retrieval.protocol import Labels, removal_note
from reid_jax.visualize import curves, embedding_map, training
from reid_jax.visualize.attention import Attention, place_bars, soft_ranges
from reid_jax.visualize.attention_sheet import legend_colors, overlay, region_colors
from reid_jax.visualize.drawing import COLORS
from reid_jax.visualize.embedding_map_figure import map_figure
from reid_jax.visualize.ranked import RankedQuery, Result, choose_rows, rank_queries
from reid_jax.visualize.svg import VARIABLES, inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reid_jax.data.images import Images
    from reid_jax.evaluate import Evaluation
    from reid_jax.retrieval.verification import Verification

ROWS = 6
TOP = 10
ATTENTION_ROWS = 6
IMAGE_HEIGHT = 192  # pixels, at most, of an image in the file
JPEG_QUALITY = 88

# The sections of the page, in order.
HEADINGS = {
    "metrics": "Metrics",
    "curves": "CMC and ROC",
    "height": "Small queries",
    "ranked": "Ranked results",
    "attention": "Attention",
    "map": "Embedding map",
    "training": "Training",
}
# What the metrics say, in plain words.
METRICS = {
    "rank1": ("Rank-1", "queries whose nearest gallery item is the right person"),
    "rank5": ("Rank-5", "queries with the right person among the nearest 5"),
    "rank10": ("Rank-10", "queries with the right person among the nearest 10"),
    "rank20": ("Rank-20", "queries with the right person among the nearest 20"),
    "mAP": ("mAP", "mean average precision: how early all items of the person come, not only the first"),
    "mAP_trapezoid": ("mAP, trapezoid", "the same by the rule of Market-1501's own script, usually a little lower"),
    "mINP": ("mINP", "how early the hardest item of the person comes: 100 % when nothing wrong stands before it"),
}
ORDERS = {
    "worst": ("Worst queries", "Those with the lowest average precision: what the network gets wrong."),
    "best": ("Best queries", "Those with the highest average precision."),
    "random": ("Random queries", "Drawn at random, so neither the best nor the worst case."),
}


@dataclasses.dataclass(frozen=True)
class PageSource:
    """What a page is about.

    title: the heading, such as 'quickstart on market1501'.
    evaluation: of `query` and `gallery`, whose images are decoded where they are shown.
    facts: further lines of what was evaluated, in order: weights, data set, network.
    attention: of some images (`attention_rows` chooses them); none for a network that has no attention maps.
    runs: metric records by run, for the training curves. by_height: metrics by the height of the queries in pixels.
    rows: queries in each of the lists worst, best and random. top: results in a row.
    items: in the embedding map, at most. seed: of what is drawn at random.
    """

    title: str
    evaluation: "Evaluation"
    query: "Images"
    gallery: "Images"
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    attention: Sequence[Attention] = ()
    runs: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    by_height: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    rows: int = ROWS
    top: int = TOP
    items: int = embedding_map.ITEMS
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric, a fraction, with its name and what it says."""

    name: str
    value: float
    meaning: str = ""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold on the distance: the condition it keeps, and the share of pairs of one person it finds."""

    condition: str
    distance: float
    found: float


@dataclasses.dataclass(frozen=True)
class Decision:
    """Same person or not, by a threshold: the thresholds, and how many pairs of one and of two people there are."""

    thresholds: Sequence[Threshold]
    positives: int
    negatives: int


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot as an <svg> element, which is markup whose names are escaped, and the words under it."""

    svg: str
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class HeightRow:
    """The metrics, fractions, of queries of `height` pixels."""

    height: int
    rank1: float
    mAP: float  # noqa: N815 - its usual name


@dataclasses.dataclass(frozen=True)
class Heights:
    """Metrics by the height of the queries, the highest first, and their plot."""

    rows: Sequence[HeightRow]
    plot: Plot


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class ShownResult:
    """A gallery item in a query's list; `about`: its name, identity and camera."""

    picture: Picture
    about: str
    rank: int
    distance: float
    correct: bool


@dataclasses.dataclass(frozen=True)
class ShownQuery:
    """A query and its nearest gallery items; average_precision: None without a match."""

    picture: Picture
    about: str
    note: str
    average_precision: float | None
    results: Sequence[ShownResult]


@dataclasses.dataclass(frozen=True)
class RankedList:
    """Queries in one of `ORDERS`."""

    order: str
    title: str
    meaning: str
    queries: Sequence[ShownQuery]


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle to be stroked: position and size as SVG numbers, and the CSS colour and thickness of its line."""

    left: str
    top: str
    width: str
    height: str
    color: str
    thickness: str


@dataclasses.dataclass(frozen=True)
class Bar:
    """A vertical bar beside an image from `top` to `bottom`, and where its number stands; SVG numbers."""

    x: str
    top: str
    bottom: str
    color: str
    thickness: str
    text_x: str
    text_y: str
    font_size: str
    anchor: str


@dataclasses.dataclass(frozen=True)
class RegionDrawing:
    """An image with the boxes of its regions; view: the SVG's view box. inner: that of the image within it."""

    label: str
    picture: Picture
    width: int
    height: int
    view: str
    inner: Sequence[str]
    boxes: Sequence[Box]
    bars: Sequence[Bar]


@dataclasses.dataclass(frozen=True)
class SoftMap:
    """A soft-attention map over its image, and the least and the largest value in it."""

    picture: Picture
    least: float
    largest: float


@dataclasses.dataclass(frozen=True)
class AttentionRow:
    """An image, its soft maps and its regions, a level after the other."""

    name: str
    picture: Picture
    soft: Sequence[SoftMap]
    regions: Sequence[RegionDrawing]


@dataclasses.dataclass(frozen=True)
class AttentionSection:
    """Images with their attention; ranges: for each level the values of the two ends of the colours, `gradient`."""

    ranges: Sequence[tuple[float, float]]
    gradient: Sequence[str]
    region_colors: Sequence[str]
    rows: Sequence[AttentionRow]


@dataclasses.dataclass(frozen=True)
class MapSection:
    """The embedding map in several colourings; no plots where there are too few items."""

    items: int
    shown: int = 0
    plots: Sequence[Plot] = ()


@dataclasses.dataclass(frozen=True)
class PageContent:
    """All that the page says; what is None or empty has no section."""

    title: str
    tiles: Sequence[Metric]
    facts: Mapping[str, str]
    metrics: Sequence[Metric]
    queries: int
    queries_without_match: int
    decision: Decision | None
    no_decision: str
    curves: Sequence[Plot]
    height: Heights | None
    ranked: Sequence[RankedList]
    attention: AttentionSection | None
    map: MapSection
    training: Plot | None

    @property
    def sections(self) -> dict[str, str]:
        """The sections that there are: name -> heading."""
        return {name: heading for name, heading in HEADINGS.items() if getattr(self, name)}


def gather_content(source: PageSource) -> PageContent:
    """Computes and draws all that the page says.

    Raises:
      InputError: `rows`, `top` or `items` are too small.
    """
    evaluation = source.evaluation
    precision = metrics.average_precision(evaluation.ranking)
    ranked = [
        _ranked_list(order, rank_queries(source.query, source.gallery, evaluation, rows, source.top))
        for order in ORDERS
        for rows in [choose_rows(precision, source.rows, order, source.seed)]
    ]
    verification, no_decision = _verification(evaluation)
    return PageContent(
        title=source.title,
        tiles=_tiles(evaluation, verification),
        facts=_facts(evaluation, source.facts),
        metrics=_metrics(evaluation),
        queries=int(evaluation.metrics.get("queries", len(evaluation.query.identity))),
        queries_without_match=int(evaluation.metrics.get("queries_without_match", 0)),
        decision=_decision(verification) if verification else None,
        no_decision=no_decision,
        curves=_curves(evaluation, verification),
        height=_heights(source.by_height) if source.by_height else None,
        ranked=ranked,
        attention=_attention(source.attention) if source.attention else None,
        map=_map(evaluation, source.items, source.seed),
        training=_training(source.runs) if source.runs else None,
    )


def attention_rows(evaluation: "Evaluation", seed: int = 0) -> np.ndarray:
    """Chooses the images whose attention the page shows: int64 [at most 6], rows of the query split.

    Queries with a match are drawn at random, each identity once where there are enough.
    """
    precision = metrics.average_precision(evaluation.ranking)
    with_match = choose_rows(precision, len(precision), "random", seed)
    mixed = np.random.default_rng(seed).permutation(with_match)
    once = mixed[np.sort(np.unique(evaluation.query.identity[mixed], return_index=True)[1])]
    again = np.setdiff1d(mixed, once, assume_unique=True)
    return evaluation.query.row[np.concatenate([once, again])[:ATTENTION_ROWS]]


def _verification(evaluation: "Evaluation") -> tuple["Verification | None", str]:
    """The same-or-different decision, or None and why there is none; the ranking stands without it."""
    try:
        return evaluation.verification, ""
    except InputError as error:
        return None, str(error)


def _tiles(evaluation: "Evaluation", verification: "Verification | None") -> list[Metric]:
    known = evaluation.metrics
    tiles = [Metric(METRICS[key][0], known[key]) for key in ("rank1", "mAP", "mINP") if key in known]
    if verification:
        tiles.append(Metric("TPR at FPR 0.001", verification.metrics["tpr_at_fpr_1e-3"]))
    return tiles


def _facts(evaluation: "Evaluation", facts: Mapping[str, str]) -> dict[str, str]:
    query, gallery = evaluation.query, evaluation.gallery
    shared = len(np.intersect1d(query.identity, gallery.identity))
    of_query, of_gallery = (len(np.unique(side.identity)) for side in (query, gallery))
    return {
        **facts,
        "Queries": f"{len(query.identity):,}, of {of_query:,} identities",
        "Gallery": f"{len(gallery.identity):,}, of {of_gallery:,} identities; {shared:,} of them are queried",
        "Cameras": _cameras(Labels.of(query, gallery)),
        "Protocol": str(evaluation.protocol),
    }


def _cameras(labels: Labels) -> str:
    known = np.union1d(labels.query_camera, labels.gallery_camera)
    count = f"{np.count_nonzero(known >= 0)}; a query's own person in its own camera does not count"
    return removal_note(labels) or count


def _metrics(evaluation: "Evaluation") -> list[Metric]:
    shown = []
    for key, value in evaluation.metrics.items():
        if not key.startswith("queries"):
            name, meaning = METRICS.get(key, (key.replace("_", " "), ""))
            shown.append(Metric(name, value, meaning))
    return shown


def _decision(verification: "Verification") -> Decision:
    figures = verification.metrics
    thresholds = [
        Threshold(condition, figures[f"distance_at_fpr_{rate}"], figures[f"tpr_at_fpr_{rate}"])
        for condition, rate in (("at most 1 wrong in 1,000", "1e-3"), ("at most 1 wrong in 100", "1e-2"))
    ]
    equal = figures["equal_error_rate"]
    condition = f"as many wrong as missed ({percent(equal, 2)})"
    thresholds.append(Threshold(condition, figures["distance_at_equal_error"], 1 - equal))
    return Decision(thresholds, verification.positives, verification.negatives)


def _curves(evaluation: "Evaluation", verification: "Verification | None") -> list[Plot]:
    by_name = {"this network": evaluation}
    caption = "The share of queries with a match among the nearest k."
    if evaluation.protocol.single_gallery_shot:
        caption = "The share of queries whose own identity is among the nearest k, the mean of the draws."
    label = f"CMC curve; it starts at rank-1 {percent(float(evaluation.cmc(1)[0]), 1)}"
    plots = [_plot(curves.cmc_figure(by_name), "cmc", label, caption)]
    if verification:
        figures = verification.metrics
        rates = ", ".join(
            f"{percent(figures[f'tpr_at_fpr_{rate}'], 1)} at a false-positive rate of {rate}"
            for rate in curves.MARKED_RATES
        )
        thresholds = "; ".join(
            f"FPR {rate}: distance at most {distance(figures[f'distance_at_fpr_{rate}'])}"
            for rate in curves.MARKED_RATES
        )
        label = f"ROC curve; pairs of one person found: {rates}"
        caption = f"Dotted: the marked rates. Thresholds there: {thresholds}."
        plots.append(_plot(curves.roc_figure(by_name), "roc", label, caption))
    return plots


def _heights(by_height: Mapping[int, Mapping[str, float]]) -> Heights:
    rows = [
        HeightRow(height, by_height[height]["rank1"], by_height[height]["mAP"])
        for height in sorted(by_height, reverse=True)
    ]
    label = "rank-1 and mAP by the height of the queries"
    return Heights(rows, _plot(curves.height_figure(by_height), "height", label))


def _ranked_list(order: str, queries: Sequence[RankedQuery]) -> RankedList:
    title, meaning = ORDERS[order]
    return RankedList(order, title, meaning, [_query(query) for query in queries])


def _query(query: RankedQuery) -> ShownQuery:
    return ShownQuery(
        _picture(query.image),
        _about(query),
        query.note,
        None if math.isnan(query.average_precision) else query.average_precision,
        [
            ShownResult(_picture(result.image), _about(result), result.rank, result.distance, result.correct)
            for result in query.results
        ],
    )


def _about(item: RankedQuery | Result) -> str:
    return f"{item.name}, {_labels(item.identity, item.camera)}"


def _labels(identity: int, camera: int) -> str:
    return f"identity {identity}, camera {'unknown' if camera < 0 else camera}"


def _attention(images: Sequence[Attention]) -> AttentionSection:
    ranges = soft_ranges(images)
    return AttentionSection(
        ranges,
        ["#{:02x}{:02x}{:02x}".format(*color) for color in legend_colors(9)],
        [_variable(color) for color in region_colors(len(images[0].boxes[0]))] if images[0].boxes else [],
        [_attention_row(image, ranges) for image in images],
    )


def _attention_row(attention: Attention, ranges: Sequence[tuple[float, float]]) -> AttentionRow:
    height = min(max(attention.image.shape[0], IMAGE_HEIGHT), 2 * IMAGE_HEIGHT)
    soft = [
        SoftMap(_encoded(overlay(attention.image, level, low, high, height)), float(level.min()), float(level.max()))
        for level, (low, high) in zip(attention.soft, ranges, strict=True)
    ]
    regions = [
        _regions(attention.image, boxes, f"regions of level {level}: {attention.name}")
        for level, boxes in enumerate(attention.boxes, 1)
    ]
    return AttentionRow(attention.name, _picture(attention.image), soft, regions)


def _regions(image: np.ndarray, boxes: np.ndarray, label: str) -> RegionDrawing:
    """The image with the boxes of its regions as SVG: sharp at any size, with numbered bars beside it."""
    height, width = image.shape[:2]
    lanes, colors = -(-len(boxes) // 2), region_colors(len(boxes))
    line, lane, gutter = 0.0125 * height, 0.03 * height, (0.08 + 0.03 * lanes) * height
    strokes = []
    for box, color in zip(boxes, colors, strict=True):
        left, top, right, bottom = (float(edge) for edge in box)
        position = [f"{number:.2f}" for number in (left, top, right - left, bottom - top)]
        for paint, thickness in (("#ffffff", 1.8 * line), (_variable(color), line)):  # a light seam around every line
            strokes.append(Box(*position, paint, f"{thickness:.2f}"))
    bars = []
    for number, (bar_lane, top, bottom, text) in enumerate(place_bars(boxes, height, apart=0.075 * height), 1):
        outwards, beside = lane * (bar_lane + 0.6), (lanes + 0.2) * lane
        x, text_x, anchor = (-outwards, -beside, "end") if number % 2 else (width + outwards, width + beside, "start")
        bars.append(
            Bar(
                x=f"{x:.2f}",
                top=f"{top:.2f}",
                bottom=f"{bottom:.2f}",
                color=_variable(colors[number - 1]),
                thickness=f"{line:.2f}",
                text_x=f"{text_x:.2f}",
                text_y=f"{text:.2f}",
                font_size=f"{0.07 * height:.1f}",
                anchor=anchor,
            )
        )
    view = f"{-gutter:.2f} {-line:.2f} {width + 2 * gutter:.2f} {height + 2 * line:.2f}"
    inner = [f"{number:.2f}" for number in (-line, -line, width + 2 * line, height + 2 * line)]
    return RegionDrawing(label, _encoded(Image.fromarray(image)), width, height, view, inner, strokes, bars)


def _map(evaluation: "Evaluation", items: int, seed: int) -> MapSection:
    count = len(evaluation.query.identity) + len(evaluation.gallery.identity)
    if count < embedding_map.LEAST_ITEMS:
        return MapSection(count)
    placed = embedding_map.map_items(evaluation.query, evaluation.gallery, items=items, seed=seed)
    names = [
        f"{side}: {name}, {_labels(int(identity), int(camera))}"
        for side, name, identity, camera in zip(placed.side, placed.name, placed.identity, placed.camera, strict=True)
    ]
    plots = []
    for color in embedding_map.COLOR_BY:
        titles = {
            f"points-{number}": [names[row] for row in rows]
            for number, (_, rows) in enumerate(embedding_map.groups(placed, color))
        }
        label = f"map of descriptors, coloured by {color}"
        plots.append(Plot(inline_svg(map_figure(placed, color), f"map-{color}", label, titles)))
    return MapSection(count, len(placed), plots)


def _training(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Plot:
    return _plot(training.training_figure(runs), "training", f"training curves of {', '.join(runs)}")


def _plot(figure: "Figure", name: str, label: str, caption: str = "") -> Plot:
    return Plot(inline_svg(figure, name, label), caption)


def _picture(image: np.ndarray) -> Picture:
    shown = Image.fromarray(image)
    if shown.height > IMAGE_HEIGHT:
        shown = shown.resize((round(shown.width * IMAGE_HEIGHT / shown.height), IMAGE_HEIGHT))
    return _encoded(shown)


def _encoded(image: Image.Image) -> Picture:
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}", *image.size)


def percent(value: float, digits: int) -> str:
    """'36.0 %' of the fraction 0.36; a dash for what is not defined."""
    return "–" if math.isnan(value) else f"{100 * value:.{digits}f} %"


def distance(value: float) -> str:
    """A distance with three decimals; a dash where there is none."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _variable(color: str) -> str:
    return f"var({VARIABLES[color]})" if color in COLORS else color
