"""CMC, ROC, height and training curves: what is drawn where, what the files hold, what is refused."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from made_evaluation import crowd
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.evaluate import Protocol, score
from reid_jax.retrieval import metrics
from reid_jax.retrieval.risk import risk_coverage
from reid_jax.retrieval.verification import Verification
from reid_jax.visualize import curve_points, drawing
from reid_jax.visualize.curves import (
    cmc_figure,
    height_figure,
    risk_figure,
    roc_figure,
    write_curves,
    write_height_curve,
    write_risk_curve,
)
from reid_jax.visualize.training import training_curves, training_figure

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def evaluation():
    return crowd()[2]


def _lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_cmc_is_drawn_in_percent_and_named_with_several(evaluation):
    (axes,) = cmc_figure({"a": evaluation}, 5).axes
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), 100 * metrics.cmc(evaluation.ranking, 5))
    (axes,) = cmc_figure({"a": evaluation, "b": evaluation}).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert [label.split(":")[0] for label in labels] == ["a", "b"]
    assert len({line.get_color() for line in axes.get_lines()}) == 2


def test_names_that_begin_with_an_underscore_are_in_the_legends(evaluation):
    for draw, others in ((cmc_figure, []), (roc_figure, ["guessing"])):
        legend = draw({"_a": evaluation, "b": evaluation}).axes[0].get_legend()
        assert [text.get_text().split(":")[0] for text in legend.get_texts()] == [*others, "_a", "b"]


def test_cmc_is_that_of_the_draws_under_single_gallery_shot(evaluation, tmp_path):
    protocol = Protocol(single_gallery_shot=True, draws=3)
    one = score(evaluation.query, evaluation.gallery, (8,), evaluation.mesh, protocol=protocol)
    curve = one.cmc(12)
    assert [curve[k - 1] for k in (1, 5, 10)] == pytest.approx([one.metrics[f"rank{k}"] for k in (1, 5, 10)])
    assert curve[-1] == 1 > curve[0]  # of 12 identities
    assert (curve != metrics.cmc(one.ranking, 12)).any()
    (axes,) = cmc_figure({"a": one}, 12).axes
    (line,) = axes.get_lines()
    np.testing.assert_allclose(line.get_ydata(), 100 * curve)
    (label,) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label == f"rank-1 {100 * one.metrics['rank1']:.1f} %, mAP {100 * one.metrics['mAP']:.1f} %"
    write_curves(tmp_path / "curves.png", {"a": one}, max_rank=12)
    assert json.loads((tmp_path / "curves.png.json").read_text())["a"]["cmc"] == curve.tolist()


def test_roc_never_promises_more_than_a_threshold_reaches(evaluation):
    (axes,) = roc_figure({"a": evaluation}).axes
    assert axes.get_xscale() == "log"
    (line,) = [line for line in axes.get_lines() if line.get_drawstyle() == "steps-post"]
    verification = evaluation.verification
    for rate, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
        reached = verification.true_positive_rate[verification.false_positive_rate <= rate + 1e-12]
        assert value == pytest.approx(100 * reached.max())
    marks = {float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_marker() == "o"}
    assert marks == {1e-3, 1e-2}


def test_a_long_roc_is_thinned_and_keeps_the_marked_rates(evaluation):
    n = 100_000
    false, true = np.linspace(0, 1, n), np.linspace(0, 1, n) ** 0.1
    long = Verification(np.linspace(0, 2, n, dtype=np.float32), false, true, 10, n, evaluation.verification.metrics)
    rate, share, distance = curve_points.thin_roc(long, 1e-5)
    assert len(rate) <= 400
    for marked in (1e-3, 1e-2):
        at = np.flatnonzero(rate == marked)
        assert len(at) == 1
        assert share[at[0]] == true[np.searchsorted(false, marked, "right") - 1]
    assert (np.diff(rate) > 0).all()
    assert (np.diff(share) >= 0).all()
    assert (np.diff(distance) >= 0).all()


def test_written_curves_hold_their_points_as_json_that_anyone_reads(evaluation, tmp_path):
    broken = dict(evaluation.verification.metrics, **{"distance_at_fpr_1e-3": float("nan")})
    odd = dataclasses.replace(evaluation)
    odd.__dict__["verification"] = dataclasses.replace(evaluation.verification, metrics=broken)
    write_curves(tmp_path / "curves.png", {"a": evaluation, "b": odd}, max_rank=3)
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "curves.png.json"]

    def refuse(constant):
        raise AssertionError(constant)

    held = json.loads((tmp_path / "curves.png.json").read_text(), parse_constant=refuse)
    assert held["a"]["cmc"] == metrics.cmc(evaluation.ranking, 3).tolist()
    assert held["a"]["metrics"]["mAP"] == evaluation.metrics["mAP"]
    assert held["b"]["verification"]["distance_at_fpr_1e-3"] is None
    rates = [point["false_positive_rate"] for point in held["a"]["roc"]]
    assert rates == sorted(rates)
    assert held["a"]["roc"][-1]["true_positive_rate"] == 1


def test_height_curve(tmp_path):
    by_height = {80: {"rank1": 0.7, "mAP": 0.5}, 20: {"rank1": 0.3, "mAP": 0.2}}
    (axes,) = height_figure(by_height).axes
    lines = _lines(axes)
    assert lines["rank-1"].get_xdata().tolist() == [20, 80]
    np.testing.assert_allclose(lines["mAP"].get_ydata(), [20, 50])
    write_height_curve(tmp_path / "height.png", by_height)
    assert os.listdir(tmp_path) == ["height.png"]


def test_risk_curve(tmp_path):
    wrong = np.array([False, True, False, False])
    by = {"spread": risk_coverage(wrong, np.array([0.1, 0.4, 0.2, 0.3]))}
    lines = _lines(risk_figure(by).axes[0])
    np.testing.assert_allclose(lines["by spread, 6.2 %"].get_ydata(), [0, 0, 0, 25])
    np.testing.assert_allclose(lines["oracle, 6.2 %"].get_ydata(), [0, 0, 0, 25])
    write_risk_curve(tmp_path / "risk.png", by)
    assert os.listdir(tmp_path) == ["risk.png"]


def test_nothing_to_draw_and_wrong_endings_are_refused(evaluation, tmp_path):
    with pytest.raises(InputError, match="no evaluation to draw curves of"):
        write_curves(tmp_path / "a.png", {})
    with pytest.raises(InputError, match="no uncertainty"):
        write_risk_curve(tmp_path / "a.png", {})
    with pytest.raises(InputError, match="no query height"):
        write_height_curve(tmp_path / "a.png", {})
    with pytest.raises(InputError, match=r"a\.svg; let it end in \.png"):
        write_curves(tmp_path / "a.svg", {"a": evaluation})
    assert not os.listdir(tmp_path)


def test_styles_of_points_and_lines_differ():
    points, lines = drawing.point_styles(), drawing.line_styles()
    assert len({tuple(next(points).values()) for _ in range(42)}) == 42
    assert len({tuple(next(lines).values()) for _ in range(24)}) == 24


def test_training_curves_draws_what_the_records_have(tmp_path):
    records = [{"step": i, "epoch": i / 2, "loss": 7.0 / i, "learning_rate": 1e-3} for i in range(1, 30)]
    training_curves(tmp_path / "few.png", records)
    records += [{"step": 20, "epoch": 10.0, "val_mAP": 0.5, "accuracy": None}, {"step": 31}]
    training_curves(tmp_path / "more.png", {"run": records})
    sizes = []
    for name in ("few.png", "more.png"):
        with Image.open(tmp_path / name) as image:
            sizes.append(image.size)
            assert len(np.unique(np.asarray(image.convert("L")))) > 10
    # Two panels stand side by side; the third begins a second line.
    assert sizes[1] == (sizes[0][0], 2 * sizes[0][1])
    assert sorted(os.listdir(tmp_path)) == ["few.png", "more.png"]


def test_several_runs_have_a_colour_each_in_every_panel():
    first = [{"step": i, "epoch": i / 2, "loss": 7.0 / i, "triplet": 1.0, "val_mAP": 0.1} for i in range(1, 9)]
    second = [{"step": i, "epoch": i / 2, "loss": 6.0 / i} for i in range(1, 5)]
    figure = training_figure({"first": first, "second": second})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Loss", "Validation mAP (%)"]
    loss = [line for line in figure.axes[0].get_lines() if len(line.get_xdata())]
    assert [line.get_ydata()[0] for line in loss] == [7.0, 6.0]
    (mean,) = figure.axes[1].get_lines()
    assert mean.get_color() == loss[0].get_color() != loss[1].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["first", "second"]


def test_gems_exponents_are_drawn_where_there_are_any():
    records = [{"step": i, "loss": 1.0, "gem_p_global": 3 + 0.1 * i, "gem_p_local": 3 - 0.1 * i} for i in range(1, 5)]
    *_, panel = training_figure({"run": records}).axes
    assert panel.get_title(loc="left") == "GeM's exponent p"
    assert [line.get_ydata()[-1] for line in panel.get_lines()] == pytest.approx([3.4, 2.6])
    several = training_figure({"a": records, "b": records[:2]})
    assert [axes.get_title(loc="left") for axes in several.axes][1:] == [
        f"GeM's exponent p, {stream} stream" for stream in ("global", "local")
    ]


def test_training_curves_tells_what_is_missing(tmp_path, monkeypatch):
    good = [{"step": 1, "loss": 2.0}]
    with pytest.raises(InputError, match="none of 1 records of the run has a value to draw"):
        training_curves(tmp_path / "a.png", [{"step": 1, "other": 2.0}])
    with pytest.raises(InputError, match="none of 0 records of b has"):
        training_curves(tmp_path / "a.png", {"a": good, "b": []})
    with pytest.raises(InputError, match="no run"):
        training_curves(tmp_path / "a.png", {})
    with pytest.raises(InputError, match="lack both 'step' and 'epoch'"):
        training_curves(tmp_path / "a.png", [{"loss": 2.0}])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r"matplotlib.*pip install 'reid_jax\[plot\]'"):
        training_curves(tmp_path / "a.png", good)
    assert not os.listdir(tmp_path)
