"""The report on runs whose files are made up here: groups, spread, the paper's tables, figures, what is left out."""

import csv
import html
import json
import statistics

import pytest
from made_variables import made_variables
from PIL import Image

from reid_jax import config as run_config
from reid_jax import main
from reid_jax.errors import InputError
from reid_jax.models.registry import network_of
from reid_jax.reporting import groups, paper, tables
from reid_jax.reporting.cycle_curves import CURVES, cycle_curves
from reid_jax.reporting.groups import gather
from reid_jax.reporting.plots import parameters_figure
from reid_jax.reporting.runs import HEADLINE
from reid_jax.visualize.drawing import new_figure, take_names_as_written
from reid_jax.weights import AVERAGED, LAST, Weights, save_weights

pytest.importorskip("matplotlib")


def config_of(switches=paper.COLUMNS["g"], size="nano", **keys):
    config = run_config.default()
    config.dataset = "synthetic"
    paper.set_switches(config, switches, size)
    config.update_from_flattened_dict(keys)
    return config


def write_run(folder, config, results, records=()):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(run_config.to_dict(config)))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def scores(rank1, mean, **others):
    return {"untrained": {"rank1": 0.01, "mAP": 0.02}, "trained": {"rank1": rank1, "mAP": mean, "mINP": 0.1}, **others}


def second_phase(config, start, cycles=5, cycle_epochs=3.0, **keys):
    second = config.copy_and_resolve_references()
    second.init_from = str(start)
    second.schedule.name = "cyclic_cosine"
    second.schedule.cycle_epochs = cycle_epochs
    second.epochs = cycles * cycle_epochs
    second.swag.collect = True
    second.update_from_flattened_dict(keys)
    return second


def cells(table, *begin):
    """The cells of the lines of a Markdown table whose first cells are `begin`."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return [line[len(begin) :] for line in lines if line[: len(begin)] == list(begin)]


@pytest.fixture
def folder(tmp_path):
    """Three seeds of g, one of a, two second phases of g; folder names say nothing."""
    for seed, (rank1, mean) in enumerate([(0.70, 0.60), (0.74, 0.62), (0.72, 0.64)]):
        config = config_of(seed=seed, epochs=20.0)
        config.schedule.warmup_epochs, config.schedule.boundaries = 10 * 20 / 350, (150 * 20 / 350, 225 * 20 / 350)
        first = write_run(tmp_path / f"x{seed}", config, {"synthetic": scores(rank1, mean)})
        if seed < 2:
            swag = {name: {"rank1": rank1 + 0.01, "mAP": mean + add} for name, add in (("swa", 0.02), ("swag", 0.03))}
            records = [
                {"step": 10 * e, "epoch": float(e), "loss": 1.0}
                | {f"{c}_{m}": 0.5 + 0.01 * e + 0.02 * seed for c in CURVES for m in HEADLINE}
                for e in (3, 6, 9)
            ]
            results = {"synthetic": scores(rank1, mean + 0.01, **swag)}
            write_run(tmp_path / f"y{seed}", second_phase(config, first), results, records)
    write_run(tmp_path / "z", config_of(paper.COLUMNS["a"]), {"synthetic": scores(0.5, 0.4)})
    (tmp_path / "x0.log").write_text("a sweep's log")
    return tmp_path


def test_runs_that_differ_in_the_seed_alone_are_one_group(folder):
    groups = gather([folder]).groups
    assert [(group.nearest, group.second_phase, len(group.runs)) for group in groups] == [
        ("a", False, 1),
        ("g", False, 3),
        ("g", True, 2),
    ]
    score = groups[1].score("synthetic", "trained")
    assert score.mean("mAP") == pytest.approx(0.62)
    assert score.spread("rank1") == pytest.approx(statistics.stdev([0.70, 0.74, 0.72]))
    assert score.text == "72.0 ± 2.0 / 62.0 ± 2.0"
    assert groups[0].score("synthetic", "trained").text == "50.0 / 40.0"
    assert groups[1].differs == {"dataset": "synthetic", "epochs": "20"}
    assert groups[2].later == {"cycles": "5 x 3 epochs"}


def test_keys_without_effect_set_no_runs_apart_and_every_other_key_does(tmp_path):
    same = {"data_dir": "elsewhere", "steps_per_dispatch": 7, "eval_every": 3.0, "tensorboard": True}
    same |= {"swag.samples": 3, "schedule.cycle_epochs": 2.0, "loss.margin": 0.5}  # without effect here
    for number, keys in enumerate([{}, same, {"schedule.peak": 0.1}, {"model.pooling": "max"}]):
        config = config_of(seed=number)
        config.update_from_flattened_dict(keys)
        write_run(tmp_path / str(number), config, {"synthetic": scores(0.5, 0.4)})
    labels = {groups.label(group, "synthetic"): len(group.runs) for group in gather([tmp_path]).groups}
    assert labels == {"nano g": 2, "nano g: schedule.peak=0.1": 1, "near nano g: model.pooling=max": 1}


def test_table2_is_filled_by_what_the_runs_are(folder):
    table = tables.table2(gather([folder]))
    columns = list(paper.COLUMNS)
    assert cells(table, "")[0] == columns
    (printed,) = cells(table, "paper, market1501")
    assert printed[columns.index("robust")] == "96.2 / 89.7"
    # Column a ran for all 350 epochs: it shares no row with the others.
    (lone,) = cells(table, "ours, synthetic; nano")
    assert {columns[i]: cell for i, cell in enumerate(lone) if cell} == {"a": "50.0 / 40.0"}
    (short,) = cells(table, "ours, synthetic; nano; epochs=20; second phase cycles=5 x 3 epochs")
    assert {columns[i]: cell for i, cell in enumerate(short) if cell} == {
        "g": "72.0 ± 2.0 / 62.0 ± 2.0 (n=3)",
        "h": "73.0 ± 2.8 / 64.0 ± 1.4 (n=2)",
    }


def test_table2_ticks_are_those_printed():
    table = tables.table2(groups.Gathered([], []))
    ticks = {row: "".join("x" if cell else "." for cell in cells(table, row)[0]) for row in paper.ROWS}
    assert ticks == {
        "bag of tricks": ".xxxxxxxxxx",
        "soft triplet": "...xxxxxxxx",
        "L2 normalisation": "..x.xxxxxxx",
        "shuffle blocks": "..xx.xxxxxx",
        "soft margin": "...xx.xxxxx",
        "GeM": "..xxxx.xxxx",
        "deeper and wider": "..xxxxx..xx",
        "SWAG": "........x.x",
    }


def test_table3_takes_the_cyclic_rate_and_swag_from_a_second_phase(folder):
    table = tables.table3(gather([folder]))
    assert cells(table, "1", "paper, market1501") == [["93.8 / 83.6", "94.3 / 84.8", "94.5 / 85.3"]]
    row = "ours, synthetic; nano; epochs=20; second phase cycles=5 x 3 epochs"
    assert cells(table, "2", row) == [
        ["72.0 ± 2.0 / 62.0 ± 2.0 (n=3)", "72.0 ± 2.8 / 62.0 ± 1.4 (n=2)", "73.0 ± 2.8 / 64.0 ± 1.4 (n=2)"]
    ]
    assert not cells(table, "3", row)


def test_table4_takes_runs_scored_on_the_set_they_were_trained_on(tmp_path):
    for data, rank1 in (("market1501", 0.95), ("dukemtmcreid", 0.88)):
        config = config_of(size="paper", dataset=data)
        first = write_run(tmp_path / f"first-{data}", config, {data: scores(0.9, 0.8)})
        swag = {"swag": {"rank1": rank1, "mAP": 0.7}}
        results = {data: scores(0.9, 0.8, **swag)}
        if data == "market1501":
            results["dukemtmcreid"] = scores(0.3, 0.2, swag={"rank1": 0.31, "mAP": 0.21})
        write_run(tmp_path / data, second_phase(config, first, 15, 35.0), results)
    table = tables.table4(gather([tmp_path]))
    assert cells(table, "Robust-ReID 1x with SWAG, paper") == [["95.8 / 88.7", "88.8 / 78.9"]]
    assert cells(table, "Robust-ReID 1x with SWAG, ours") == [["95.0 / 70.0", "88.0 / 70.0"]]
    assert cells(table, "Robust-ReID 1x with SWAG, ours; dataset=market1501") == [["", "31.0 / 21.0"]]
    assert cells(table, "Robust-ReID 2x with SWAG, ours") == [["", ""]]


def test_figure6_spreads_over_epochs_and_over_seeds(folder):
    gathered = gather([folder])
    ((group, curves),) = cycle_curves(gathered)
    assert len(group.runs) == 2
    assert curves["epoch"][""].tolist() == [3.0, 6.0, 9.0]
    assert curves["swag"]["mAP"].round(4).tolist() == [[0.53, 0.56, 0.59], [0.55, 0.58, 0.61]]
    begin = "nano g, second phase: epochs=20, cycles=5 x 3 epochs"
    (numbers,) = cells(tables.figure6(gathered), begin, "last", "rank-1")
    assert numbers == ["60.00", "60.00", "3.00", "1.41"]


def test_held_out_identities_are_a_data_set_of_their_own(tmp_path):
    records = [{"step": s, "epoch": s / 10, "val_rank1": s / 100, "val_mAP": s / 200} for s in (10, 20)]
    write_run(tmp_path / "a", config_of(val_identities=50), {"synthetic": scores(0.5, 0.4)}, records)
    (group,) = gather([tmp_path]).groups
    assert group.score("held out, 50 identities of synthetic", "trained").text == "20.0 / 10.0"


def test_what_is_unfinished_or_broken_is_listed_and_the_rest_is_reported(folder, capsys):
    records = [{"step": 5, "epoch": 1.5, "loss": 2.0}]
    write_run(folder / "running", config_of(seed=9), None, records)
    write_run(folder / "broken", config_of(seed=8), None)
    (folder / "broken" / "results.json").write_text("{")
    write_run(folder / "older", config_of(seed=7), {"trained": {"rank1": 0.1, "mAP": 0.1}})
    write_run(folder / "copy", run_config.from_dict(json.loads((folder / "z" / "config.json").read_text())), {"a": {}})
    (folder / "copy" / "results.json").write_text((folder / "z" / "results.json").read_text())
    write_run(folder / "foreign", config_of(), None)
    (folder / "foreign" / "config.json").write_text('{"lr": 1}')
    (folder / "empty").mkdir()
    arguments = [str(path) for path in sorted(folder.iterdir())]
    left_out = {path.name: reason for path, reason in gather(arguments).left_out}
    assert set(left_out) == {"running", "broken", "older", "z", "foreign", "empty"}
    assert "epoch 1.5 of 350" in left_out["running"]
    assert "no JSON" in left_out["broken"]
    assert "no scores of weights" in left_out["older"]
    assert "same config and seed as" in left_out["z"]
    assert "'lr'" in left_out["foreign"]
    assert "no run" in left_out["empty"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("results.json", "[]", "does not hold"),
        ("results.json", '{"a": 5}', "does not hold"),
        ("results.json", '{"a": {"trained": {"rank1": [1], "mAP": [1]}}}', "does not hold"),
        ("results.json", '{"a": {"trained": {"rank1": 95.4, "mAP": 87.3}}}', "does not hold"),
        ("results.json", '{"a": {"trained": {"rank1": NaN, "mAP": 0.5}}}', "no JSON"),
        ("results.json", '{"a": {"trained": {"rank1": null, "mAP": 0.5}}}', "does not hold"),
        ("config.json", "5", "no config"),
        ("config.json", "[" * 100_000, "cannot be read"),
        ("config.json", '{"seed": ' + "9" * 5000 + "}", "cannot be read"),
        ("config.json", '{"model": {"stem": ' + str(10**30) + "}}", "config.model.stem"),
        ("config.json", '{"model": {"widths": [1000000000, 16, 16]}}', "config.model.widths"),
        ("config.json", '{"model": {"repeats": [20000, 1, 1]}}', "config.model.repeats"),
        ("config.json", '{"model": 5}', "unknown key 'model'"),
        ("config.json", '{"image_size": [640000, 320000]}', "config.image_size"),
        ("config.json", '{"epochs": 1e300}', "config.epochs"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_one_run_that_cannot_be_read_costs_no_other(tmp_path, file, content, reason):
    write_run(tmp_path / "good", config_of(), {"synthetic": scores(0.5, 0.4)})
    bad = write_run(tmp_path / "bad", config_of(seed=1), {"synthetic": scores(0.5, 0.4)})
    (bad / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    gathered = gather([tmp_path])
    assert [len(group.runs) for group in gathered.groups] == [1]
    ((path, told),) = gathered.left_out
    assert path == bad
    assert reason in told
    assert len(told) <= 501
    assert "\n" not in told


@pytest.mark.parametrize(
    "line",
    [
        b"[1, 2]\n",
        b'{"step": 1}\n',
        b'{"step": -1, "epoch": 1}\n',
        b'{"step": 1, "epoch": [1]}\n',
        b'{"step": 1, "epoch": 1, "val_mAP": [1]}\n',
        b'{"step": 1, "epoch": 1, "swag_mAP": "x"}\n',
        b"\xff\xfe\n",
    ],
)
def test_a_line_that_is_no_record_costs_no_run(tmp_path, line):
    run = write_run(tmp_path / "run", config_of(), {"synthetic": scores(0.5, 0.4)})
    (run / "metrics.jsonl").write_bytes(line + b'{"step": 2, "epoch": 0.5, "loss": 1.0}\n')
    gathered = gather([tmp_path])
    assert gathered.left_out == []
    assert [run.records for group in gathered.groups for run in group.runs] == [
        [{"step": 2, "epoch": 0.5, "loss": 1.0}]
    ]


ODD_NAMES = ["$x_^{$", "a|b", "<script>", "*bold* _it_ `code`", "new\nline", "人物", "\ud800", "x" * 5000]


def test_odd_names_are_written_and_drawn_as_they_are(tmp_path, capsys, recwarn):
    for number, name in enumerate(ODD_NAMES):
        write_run(tmp_path / "runs" / str(number), config_of(dataset=name), {name: scores(0.5, 0.4)})
    out = tmp_path / "out"
    assert main.main(["report", str(tmp_path / "runs"), f"--out={out}"]) == 0
    assert {path.name for path in out.iterdir()} == {"report.md", "runs.csv", "groups.csv", "runs.png", "figure1.png"}
    assert [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)] == []
    text = (out / "report.md").read_text(encoding="utf-8")
    table = text.partition("# Table 2")[0]
    shown = [html.unescape(line.split("|")[1]).strip() for line in table.splitlines() if line.startswith("|")][2:]
    x = "x" * 100
    wanted = ["$x_^{$", "a|b", "<script>", "*bold* _it_ `code`", r"new\nline", "人物", r"\ud800", f"{x}…{x}"]
    assert sorted(shown) == sorted(wanted)
    assert not any(mark in table.partition("| data set")[2] for mark in ("<", "*", "`", "$"))


def test_names_are_no_formulas_and_ticks_of_logarithmic_axes_are():
    figure, (axes,) = new_figure(3, 3)
    axes.set_title("$x_^{$")
    axes.set_xscale("log")
    axes.plot([1, 1000], [1, 2], label="$a$")
    axes.set_yticks([1, 2], ["$one", "two$"])
    axes.legend()
    take_names_as_written(figure)
    names = [axes.title, *axes.get_yticklabels(), *axes.get_legend().get_texts()]
    assert [text.get_parse_math() for text in names] == [False] * 4
    assert all(text.get_parse_math() for text in axes.get_xticklabels())
    figure.canvas.draw()


def test_a_second_phase_whose_first_is_gone_says_so_and_fills_no_column(folder):
    for name in ("x0", "x1", "x2"):
        (folder / name / "config.json").rename(folder / name / "gone.json")
    gathered = gather([folder])
    lost = [group for group in gathered.groups if group.second_phase]
    assert len(lost) == 2
    assert all("which is not there" in groups.label(group) for group in lost)
    assert "73.0" not in tables.table2(gathered)


def test_a_first_phase_is_found_from_another_folder(tmp_path, monkeypatch):
    config = config_of()
    write_run(tmp_path / "work" / "runs" / "one", config, {"synthetic": scores(0.5, 0.4)})
    swag = {"swag": {"rank1": 0.6, "mAP": 0.5}}
    second = second_phase(config, "runs/one", 15, 35.0)
    two = write_run(tmp_path / "work" / "runs" / "two", second, {"synthetic": scores(0.5, 0.4, **swag)})
    monkeypatch.chdir(tmp_path)
    (group,) = gather([two]).groups
    assert group.reached("swag") == paper.COLUMNS["h"]


def test_runs_of_one_seed_that_start_from_different_weights_are_told_apart(tmp_path):
    config = config_of()
    first = write_run(tmp_path / "first", config, {"synthetic": scores(0.5, 0.4)})
    weights = Weights(config, 2, made_variables(network_of(config, 2), config.image_size))
    lone = tmp_path / "elsewhere" / "lone.safetensors"
    for file in (first / LAST, first / AVERAGED, lone):
        save_weights(file, weights)
    starts = [first, first / LAST, first / AVERAGED, lone]
    for number, start in enumerate(starts):
        write_run(tmp_path / f"run{number}", second_phase(config, start), {"synthetic": scores(0.6, 0.5)})
    gathered = gather([tmp_path])
    assert [path.name for path, _ in gathered.left_out] == ["run1"]
    later = [group.later.get("starts from") for group in gathered.groups if group.second_phase]
    assert sorted(later, key=str) == sorted([None, AVERAGED, str(lone)], key=str)


def test_what_a_run_starts_from_sets_its_row_apart(tmp_path):
    write_run(tmp_path / "scratch", config_of(), {"synthetic": scores(0.5, 0.4)})
    for number, start in enumerate(["zoo:street", str(tmp_path / "scratch"), "gone/run"]):
        write_run(tmp_path / f"run{number}", config_of(init_from=start), {"synthetic": scores(0.6, 0.5)})
    labels = {groups.label(group, "synthetic") for group in gather([tmp_path]).groups}
    starts = ("zoo:street", tmp_path / "scratch", "gone/run")
    assert labels == {"nano g", *(f"near nano g: starts from={start}" for start in starts)}


def test_a_run_that_was_scored_once_more_on_another_set_keeps_both_scores(tmp_path):
    for name, data in (("a", "market1501"), ("b", "msmt17"), ("c", "msmt17")):
        config = config_of(dataset="market1501", test_dataset=data)
        write_run(tmp_path / name, config, {data: scores(0.5, 0.4)})
    gathered = gather([tmp_path])
    (group,) = gathered.groups
    assert {data: group.score(data, "trained").count for data in group.sets} == {"market1501": 1, "msmt17": 1}
    reasons = {path.name: reason for path, reason in gathered.left_out}
    assert "msmt17" in reasons["b"]
    assert reasons["c"] == f"the same config and seed as {tmp_path / 'a'}"


def test_held_out_scores_that_are_no_fractions_are_refused(tmp_path):
    records = [{"step": 1, "epoch": 1.0, "val_rank1": 50, "val_mAP": -3}]
    write_run(tmp_path / "a", config_of(val_identities=50), {"synthetic": scores(0.5, 0.4)}, records)
    ((_, reason),) = gather([tmp_path]).left_out
    assert "held-out" in reason


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(tmp_path, monkeypatch):
    write_run(tmp_path / "a", config_of(), {"synthetic": scores(0.5, 0.4)})
    monkeypatch.setattr("reid_jax.reporting.plots.label", lambda *_: "_own")
    legend = parameters_figure(gather([tmp_path])).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["_own"]


def test_the_verb_writes_tables_and_plots(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(main.VERBS, "report", "gather runs into tables")
    out = tmp_path / "out"
    (folder / "nothing").mkdir()
    (folder / "odd\nname").mkdir()
    assert main.main(["report", str(folder), str(folder / "nothing"), str(folder / "odd\nname"), f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "72.0 ± 2.0" in printed
    assert "left out:" in printed
    assert r"odd\nname" in printed
    assert {path.name for path in out.iterdir()} == {
        "report.md",
        "runs.csv",
        "groups.csv",
        "runs.png",
        "figure1.png",
        "figure6.png",
    }
    for name in ("runs.png", "figure1.png", "figure6.png"):
        with Image.open(out / name) as image:
            image.load()
    with (out / "runs.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * 2 + 2 * 4 + 2
    assert {line["seed"] for line in lines if line["weights"] == "swag"} == {"0+0", "1+1"}
    with (out / "groups.csv").open(newline="") as file:
        (swag,) = [line for line in csv.DictReader(file) if line["weights"] == "swag"]
    assert float(swag["mAP_mean"]) == pytest.approx(0.64)
    assert float(swag["mAP_std"]) == pytest.approx(statistics.stdev([0.63, 0.65]))
    assert "Table 4" in (out / "report.md").read_text()


def test_nothing_finished_is_an_error_and_a_missing_path_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(main.VERBS, "report", "gather runs into tables")
    write_run(tmp_path / "a", config_of(), None)
    assert main.main(["report", str(tmp_path / "a"), f"--out={tmp_path / 'out'}"]) == 2
    assert "no finished run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="does not exist"):
        gather([tmp_path / "b"])


def test_a_second_phase_from_the_zoo_has_a_first_one_where_its_weights_are_here(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_JAX_ZOO", str(tmp_path / "own"))
    for name in ("zoo:street", "zoo:market-1x"):
        write_run(tmp_path / name, second_phase(config_of(), name), {"synthetic": scores(0.5, 0.4)})
        (group,) = gather([tmp_path / name]).groups
        assert ("starts from" in group.differs) == (name == "zoo:market-1x")
