"""The picture and the page that show how the configurations compare."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

INK, QUIET, LINE = "#1d2733", "#6b7785", "#dfe4ea"
COLOURS = {
    "logistic": "#3b6fb6",
    "svm": "#c8553d",
    "neighbours": "#2a9d8f",
    "forest": "#6a8d3a",
    "boosting": "#d99a2b",
    "network": "#7b5ea7",
}
MOST_ROWS = 24


def write_plot(found: dict[str, Any], target: Path) -> None:
    """Two panels: the score of each configuration, and what the best one takes for what."""
    shown = found["ranking"][:MOST_ROWS]
    style = {"font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.edgecolor": LINE}
    with plt.rc_context({**style, "axes.labelcolor": QUIET, "xtick.color": QUIET, "ytick.color": INK}):
        tall = max(4.6, 1.6 + 0.34 * len(shown))
        figure, (scores, matrix) = plt.subplots(1, 2, figsize=(13, tall), width_ratios=[1.25, 1], layout="constrained")
        draw_scores(scores, shown, found["metric"])
        draw_confusion(matrix, np.array(found["best"]["confusion"]), found["data"]["classes"], found["best"]["title"])
        figure.savefig(target, dpi=130, facecolor="white", metadata={"Software": None})
        plt.close(figure)


def draw_scores(axes: Axes, shown: list[dict[str, Any]], metric: str) -> None:
    """A dot per fold, a bar from the weakest to the strongest fold and a mark at the mean; best on top."""
    for row, one in enumerate(shown):
        colour = COLOURS[one["configuration"]["model"]]
        values = [fold[metric] for fold in one["folds"]]
        axes.plot(
            [min(values), max(values)],
            [row, row],
            color=colour,
            alpha=0.25,
            linewidth=7,
            solid_capstyle="round",
        )
        axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.45, markersize=3.5, markeredgewidth=0)
        axes.plot(one[metric], row, "o", color=colour, markersize=8, markeredgecolor="white", markeredgewidth=1.2)
        axes.annotate(f"{one[metric]:.3f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", color=QUIET)
    axes.set_yticks(range(len(shown)), [one["title"] for one in shown])
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.invert_yaxis()
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    finish(axes, f"{metric} in cross-validation", "dots: folds, large: mean")


def draw_confusion(axes: Axes, confusion: np.ndarray, classes: list[str], title: str) -> None:
    """Shares of each true class; numbers are rows of the data."""
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares**0.6, cmap="GnBu", vmin=0, vmax=1)
    if len(classes) <= 20:
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                colour = "white" if shares[row, column] > 0.55 else INK
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    names = [name if len(name) <= 12 else f"{name[:11]}…" for name in classes]
    turned = 45 if max(map(len, names)) > 3 else 0
    axes.set_xticks(range(len(names)), names, rotation=turned, ha="right" if turned else "center")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylabel("true class")
    finish(axes, f"best: {title}", "predicted class")


def finish(axes: Axes, title: str, below: str) -> None:
    """Title on the left, quiet frame."""
    axes.set_title(title, loc="left", fontweight="bold", fontsize=12, pad=12)
    axes.set_xlabel(below)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:62rem;margin:2.5rem auto;padding:0 1.25rem}
h1{font-size:1.6rem;margin-bottom:.2rem} p{color:#4a5665} img{width:100%;margin:1rem 0}
table{border-collapse:collapse;width:100%}
td,th{padding:.4rem .6rem;border-bottom:1px solid #dfe4ea;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums} tr:first-child td{font-weight:600}
pre{background:#f4f6f8;padding:.9rem 1rem;border-radius:6px;overflow:auto}
"""

LOADING = """import skops.io
model = skops.io.load("best_model.skops", trusted=skops.io.get_untrusted_types(file="best_model.skops"))
model.predict(rows)   # rows: the report's columns in their order; answers are positions in its classes"""


def page(found: dict[str, Any], plot: Path) -> str:
    """The report as one HTML page with its picture inside."""
    data, best, metric = found["data"], found["best"], found["metric"]
    picture = base64.b64encode(plot.read_bytes()).decode()
    said = (
        f"{len(found['ranking'])} configurations, {found['folds']} folds, {data['rows']} rows, "
        f"{len(data['columns'])} columns, {len(data['classes'])} classes, seed {found['seed']}."
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_safe(data["name"])}</title>'
        f"<style>{STYLE}</style><h1>{_safe(best['title'])}</h1>"
        f"<p>The best on <b>{_safe(data['name'])}</b>: "
        f"{metric} {best[metric]:.4f} ± {best[metric + '_deviation']:.4f}."
        f' {said}</p><img alt="Scores and confusion matrix" src="data:image/png;base64,{picture}">'
        f"{_table(found['ranking'])}<h2>Use the model</h2><pre>{_safe(LOADING)}</pre></html>\n"
    )


def _table(ranking: list[dict[str, Any]]) -> str:
    titles = ("accuracy", "±", "macro F1", "±")
    head = '<th class="n">#<th>configuration' + "".join(f'<th class="n">{title}' for title in titles)
    names = ("accuracy", "accuracy_deviation", "f1", "f1_deviation")
    rows = [
        f'<tr><td class="n">{one["rank"]}<td>{_safe(one["title"])}' + "".join(f'<td class="n">{one[name]:.4f}' for name in names)
        for one in ranking
    ]
    return f"<table><thead><tr>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _safe(text: str) -> str:
    return html.escape(str(text))
