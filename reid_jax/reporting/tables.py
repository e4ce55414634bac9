"""Many runs in one table: mean and spread over seeds, and Tables 2 to 4 and Figure 6 of arXiv 1910.07038."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from reid_jax.files.csv_text import csv_text
from reid_jax.files.writing import replace_file
from reid_jax.reporting import paper
from reid_jax.reporting.cycle_curves import CURVES, cycle_curves
from reid_jax.reporting.groups import Gathered, label, remarks, scored_rows, shared_differences
from reid_jax.reporting.markdown import escaped, markdown_table
from reid_jax.reporting.runs import HELD_OUT, METRICS


def markdown(gathered: Gathered) -> str:
    """The whole report as Markdown: all runs, Tables 2 to 4, Figure 6 in numbers, and what was left out."""
    parts = ["# Runs", all_runs(gathered), "# Table 2", table2(gathered), "# Table 3", table3(gathered)]
    parts += ["# Table 4", table4(gathered)]
    if cycle_curves(gathered):
        parts += ["# Figure 6 in numbers", figure6(gathered)]
    if gathered.left_out:
        parts += [
            "# Left out",
            "\n".join(f"- {escaped(path)}: {escaped(reason)}" for path, reason in gathered.left_out),
        ]
    return "\n\n".join(parts) + "\n"


def all_runs(gathered: Gathered) -> str:
    """Every group's mean and spread, a row for each data set and kind of weights, in percent."""
    if not gathered.groups:
        return "No finished run."
    shared = shared_differences(gathered.groups)
    header = ["data set", "runs", "weights", "seeds", "parameters", "rank-1", "mAP", "mINP"]
    lines = []
    for group, data, weights, score in scored_rows(gathered):
        figures = [score.percent(metric) for metric in ("rank1", "mAP", "mINP")]
        lines.append([data, label(group, data, shared), weights, str(score.count), f"{group.parameters:,}", *figures])
    text = markdown_table(header, lines)
    if shared:
        settings = ", ".join(f"{key}={value}" for key, value in shared.items())
        text = f"All runs: {settings}.\n\n{text}"
    return (
        f"{text}\n\nPercent; mean ± standard deviation over the seeds. A letter is the column of Table 2 whose "
        "switches the runs have; near: the column that comes closest."
    )


def table2(gathered: Gathered) -> str:
    """Table 2 with the paper's figures and ours, rank-1 / mAP in percent."""
    columns = paper.COLUMNS
    lines = [[name, *("✓" if on(switches) else "" for switches in columns.values())] for name, on in paper.ROWS.items()]
    lines.append(["paper, market1501", *(_figures(paper.TABLE2[name]) for name in columns)])
    for row, cells in _ours(gathered, {switches: name for name, switches in columns.items()}):
        lines.append(["; ".join(("ours, " + row[0], *row[1:])), *(cells.get(name, "") for name in columns)])
    return markdown_table(["", *columns], lines)


def table3(gathered: Gathered) -> str:
    """Table 3 with the paper's figures and ours, rank-1 / mAP in percent."""
    lines = []
    for setup, switches in paper.SETUPS.items():
        lines.append([setup, "paper, market1501", *(_figures(paper.TABLE3[setup][update]) for update in paper.UPDATES)])
        wanted = {dataclasses.replace(switches, update=update): update for update in paper.UPDATES}
        for row, cells in _ours(gathered, wanted):
            lines.append(
                [setup, "; ".join(("ours, " + row[0], *row[1:])), *(cells.get(update, "") for update in paper.UPDATES)]
            )
    return markdown_table(["setup", "", "no update", "+ LR scheme", "+ SWAG"], lines)


def table4(gathered: Gathered) -> str:
    """Table 4 with the figures printed there and ours, rank-1 / mAP in percent, without re-ranking."""
    lines = [[name, *map(_figures, figures)] for name, figures in paper.TABLE4_RIVALS.items()]
    for size, figures in paper.TABLE4.items():
        lines.append([f"Robust-ReID {size} with SWAG, paper", *map(_figures, figures)])
    for size, column in paper.TABLE4_COLUMN.items():
        merged: dict[tuple[str, ...], dict[str, str]] = {}
        for (data, *rest), cells in _ours(gathered, {paper.COLUMNS[column]: column}):
            if data in paper.TABLE4_SETS:
                merged.setdefault(tuple(rest), {})[data] = cells[column]
        for rest, cells in merged.items() or [((), {})]:
            name = "; ".join((f"Robust-ReID {size} with SWAG, ours", *rest))
            lines.append([name, *(cells.get(data, "") for data in paper.TABLE4_SETS)])
    return markdown_table(["", *paper.TABLE4_SETS], lines)


def _ours(gathered: Gathered, columns: Mapping[paper.Switches, str]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """[((data set, what else differs...), column -> 'rank-1 / mAP (seeds)')], a row for runs that differ in switches.

    A row holds first phases and the second ones that continue them; second phases of another kind get their own row.
    """
    cells: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}  # row -> remarks on the second phase -> column -> text
    for group, data, weights, score in scored_rows(gathered):
        column = columns.get(group.reached(weights))
        if column is None or data.startswith(HELD_OUT):
            continue
        first, later = remarks(group, data)
        row = tuple(filter(None, (data, "" if group.size == "paper" else group.size, first)))
        seeds = f" (n={score.count})" if score.count > 1 else ""
        later = f"second phase {later}" if later else ""
        cells.setdefault(row, {}).setdefault(later, {})[column] = score.text + seeds
    lines = []
    for row, phases in cells.items():
        plain = phases.pop("", {})
        for later, others in phases.items():
            if not plain.keys() & others.keys():
                others, plain = plain | others, {}
            lines.append(((*row, later), others))
        if plain:
            lines.append((row, plain))
    return lines


def figure6(gathered: Gathered) -> str:
    """The curves of Figure 6 in numbers: where they end, and how they spread over epochs and over seeds, in percent."""
    lines = []
    shared = shared_differences(gathered.groups)
    for group, curves in cycle_curves(gathered):
        for curve in (name for name in CURVES if name in curves):
            for metric, values in curves[curve].items():
                over_epochs = values.std(1, ddof=1).mean() if values.shape[1] > 1 else None
                over_seeds = values.std(0, ddof=1).mean() if values.shape[0] > 1 else None
                numbers = (values[:, -1].mean(), values.max(1).mean(), over_epochs, over_seeds)
                cells = ["" if number is None else f"{100 * number:.2f}" for number in numbers]
                lines.append([label(group, shared=shared), curve, {"rank1": "rank-1"}.get(metric, metric), *cells])
    header = ["runs", "weights", "metric", "at the end", "best cycle", "spread over epochs", "spread over seeds"]
    return markdown_table(header, lines) + (
        "\n\nPercent. Spread over epochs: standard deviation over the ends of cycles, mean of the seeds; over seeds: "
        "standard deviation over seeds, mean of the ends of cycles."
    )


def runs_csv(gathered: Gathered) -> str:
    """A line for each run, data set and kind of weights, untrained ones too; metrics are fractions."""
    lines = []
    for group in gathered.groups:
        for run in group.runs:
            for data, kinds in run.scores.items():
                for weights, metrics in kinds.items():
                    figures = [metrics.get(metric, "") for metric in METRICS]
                    seeds = "+".join(map(str, run.seeds))
                    lines.append([run.workdir, label(group, data), seeds, data, weights, group.parameters, *figures])
    return csv_text([["workdir", "runs", "seed", "data_set", "weights", "parameters", *METRICS], *lines])


def groups_csv(gathered: Gathered) -> str:
    """A line for each group, data set and kind of weights: mean and standard deviation of each metric, fractions."""
    lines = []
    for group, data, weights, score in scored_rows(gathered):
        figures = []
        for metric in METRICS:
            known = metric in score.values
            spread = score.spread(metric) if known else None
            figures += [score.mean(metric) if known else "", "" if spread is None else spread]
        lines.append([label(group, data), score.count, data, weights, group.parameters, *figures])
    names = [f"{metric}_{what}" for metric in METRICS for what in ("mean", "std")]
    return csv_text([["runs", "seeds", "data_set", "weights", "parameters", *names], *lines])


def write_tables(gathered: Gathered, folder: str | os.PathLike) -> list[Path]:
    """Writes report.md, runs.csv and groups.csv into `folder`; returns the files."""
    folder = Path(folder)
    files = {"report.md": markdown(gathered), "runs.csv": runs_csv(gathered), "groups.csv": groups_csv(gathered)}
    for name, text in files.items():
        data = text.encode("utf-8", "backslashreplace")  # a name may hold what is no letter
        replace_file(folder / name, lambda temporary, data=data: temporary.write_bytes(data))
    return [folder / name for name in files]


def _figures(figures: paper.Figures | None) -> str:
    return "" if figures is None else f"{figures[0]:.1f} / {figures[1]:.1f}"
