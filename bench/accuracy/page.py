"""The tables in Markdown, and the report: one HTML file that holds its pictures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import Any

from bench.accuracy.measured import label_of
from bench.accuracy.questions import QUESTIONS, Question
from bench.page import table

TITLE = "Accuracy by precision"
COLUMNS = (
    *("mode", "top-1", "top-5", "change, points", "agreement", "lost", "won", "still wrong", "McNemar p"),
    *("scores' SNR, dB", "int8 of the multiply-adds"),
)
LAYER_COLUMNS = ("mode", "product", "its own SNR, dB", "share of the outputs' error")
WORST = 3  # products of a mode
BAR_COLUMNS = ("model", "mode", "bar", "held")
WORST_TITLE = "What does most to the outputs, each product's error alone:"
READING = """\
Every row is compared, picture by picture, with the framework that the model comes from in float32. `agreement` counts
pictures with the same class, `lost` those that were right before and are wrong now, `won` the reverse; McNemar's exact
p says how likely so uneven a split is by chance. `draw` numbers the random choice of calibration pictures, of which
none is evaluated. Other engines' int8 models are made by their own tools from the same pictures: ONNX Runtime's
`quantize_dynamic` and `quantize_static` (products and convolutions, weights by channel), NNCF's `quantize` with its
preset for transformers. `make accuracy` writes this page.
"""
STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } h2 { margin-top: 2.5rem } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 12px } th, td { padding: 2px 8px; border-bottom: 1px solid #ddd }
td { text-align: right } td:first-child { text-align: left; white-space: nowrap }
"""


def markdown(found: dict[str, Any], pictures: dict[str, str]) -> str:
    """The page: a table for each model, the bars, and the pictures, which are files beside it."""
    lines = [f"# {TITLE}", ""]
    for model in found["models"]:
        lines += [f"## {model['title']}", "", _reference(model), "", *table(COLUMNS, list(_cells(model))), ""]
        lines += [WORST_TITLE, "", *table(LAYER_COLUMNS, list(_worst(model))), ""]
    lines += ["## Bars", "", *table(BAR_COLUMNS, list(_bar_cells(found))), ""]
    for question in _answered(pictures):
        lines += [f"## {question.text}", "", question.reading, "", f"![{question.text}]({question.name}.svg)", ""]
    return "\n".join([*lines, "## How to read it", "", READING])


def html(found: dict[str, Any], pictures: dict[str, str]) -> str:
    """The report; `pictures` are the questions' SVG by name."""
    parts = [f"<h1>{TITLE}</h1>"]
    for question in _answered(pictures):
        source = b64encode(pictures[question.name].encode()).decode()
        image = f'<img alt="{escape(question.text)}" src="data:image/svg+xml;base64,{source}">'
        parts += [f"<h2>{escape(question.text)}</h2>", f"<p>{escape(question.reading)}</p>", image]
    for model in found["models"]:
        parts += [f"<h2>{escape(model['title'])}</h2>", f"<p>{escape(_reference(model))}</p>"]
        parts += [*_html_table(COLUMNS, _cells(model)), f"<p>{escape(WORST_TITLE)}</p>"]
        parts += _html_table(LAYER_COLUMNS, _worst(model))
    parts += ["<h2>Bars</h2>", *_html_table(BAR_COLUMNS, _bar_cells(found)), f"<p>{escape(READING)}</p>"]
    head = f'<meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>'
    return "\n".join(['<!doctype html><html lang="en"><head>', head, "</head><body>", *parts, "</body></html>", ""])


def _answered(pictures: dict[str, str]) -> list[Question]:
    return [question for question in QUESTIONS if question.name in pictures]


def _reference(model: dict[str, Any]) -> str:
    reference, machine = model["reference"], model["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    top1, top5 = (f"{reference[top]['accuracy']:.2%} ({reference[top]['correct']:,})" for top in ("top1", "top5"))
    return (
        f"{model['pictures']:,} pictures; {reference['engine']}: top-1 {top1}, top-5 {top5}. "
        f"{machine['date']}, {machine['processor']}, target {machine['target']}; {versions}."
    )


def _cells(model: dict[str, Any]) -> Iterator[list[str]]:
    for row in model["rows"]:
        flips, share = row["flips"], row["int8_share"]
        yield [
            label_of(row),
            *(f"{row[top]['accuracy']:.2%} ({row[top]['correct']:,})" for top in ("top1", "top5")),
            f"{100 * row['difference']:+.2f}",
            f"{row['agreement']['accuracy']:.2%} ({row['agreement']['correct']:,})",
            *(str(flips[kind]) for kind in flips),
            f"{row['mcnemar_p']:.2g}",
            "equal" if row["snr_db"] is None else f"{row['snr_db']:.1f}",
            "-" if share is None else f"{share:.1%}",
        ]


def _worst(model: dict[str, Any]) -> Iterator[list[str]]:
    for mode, errors in model["layers"].items():
        for error in sorted(errors, key=lambda error: -error["output_share"])[:WORST]:
            snr = "equal" if error["snr_db"] is None else f"{error['snr_db']:.1f}"
            yield [mode, error["op"], snr, f"{error['output_share']:.0%}"]


def _bar_cells(found: dict[str, Any]) -> Iterator[list[str]]:
    for verdict in found["bars"]:
        yield [verdict["model"], verdict["row"], verdict["bar"], "yes" if verdict["held"] else "NO"]


def _html_table(columns: tuple[str, ...], rows: Iterator[list[str]]) -> Iterator[str]:
    yield '<div class="wide"><table>'
    yield f"<tr>{''.join(f'<th>{escape(name)}</th>' for name in columns)}</tr>"
    for cells in rows:
        yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</table></div>"
