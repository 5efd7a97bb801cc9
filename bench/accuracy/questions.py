"""The questions that the report answers, each by one picture: a panel for every model, a line for every row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from bench.accuracy.measured import KINDS, label_of

Model = dict[str, Any]
OURS, OTHERS, CHANCE = "#1f5fa8", "#9a9a9a", "#c05020"
FLIPS = dict(zip(KINDS, ("#c05020", "#2f8f4e", "#c9c9c9"), strict=True))
LINE, TITLE = 0.24, 0.9  # inches of height
LAYER_LINES = 22


@dataclass(frozen=True, slots=True)
class Question:
    """`draw` puts one model on axes; `lines` says how many rows of text it takes there, 0 to leave the model out."""

    name: str
    text: str
    reading: str
    draw: Callable[[Any, Model], None]
    lines: Callable[[Model], int]


def pictures(models: list[Model]) -> dict[str, str]:
    """The picture of every question that some of the models say anything about, by name, as SVG."""
    return {
        question.name: picture(question, shown)
        for question in QUESTIONS
        if (shown := [model for model in models if question.lines(model)])
    }


def picture(question: Question, shown: list[Model]) -> str:
    """The picture as SVG, the same for the same figures."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    heights = [TITLE + LINE * question.lines(model) for model in shown]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alula", "font.size": 8}):
        figure = Figure(figsize=(9, sum(heights)), layout="constrained")
        panels = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, model in zip(panels, shown, strict=True):
            question.draw(axes, model)
            axes.set_title(f"{model['title']}, {model['pictures']:,} pictures", loc="left", fontsize=9)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _rows(model: Model) -> int:
    return len(model["rows"])


def _named(axes: Any, rows: list[dict[str, Any]]) -> None:
    axes.set_yticks(range(len(rows)), [label_of(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)


def _points(
    axes: Any, rows: list[dict[str, Any]], ends: Callable[[dict[str, Any]], tuple[float, float, float]]
) -> None:
    """A point with its interval for each row, in percent or points."""
    for place, row in enumerate(rows):
        low, middle, high = (100 * end for end in ends(row))
        colour = OURS if row["engine"] == "alula" else OTHERS
        spread = [[max(0.0, middle - low)], [max(0.0, high - middle)]]  # an end may be the middle but for its last bit
        axes.errorbar([middle], [place], xerr=spread, fmt="o", color=colour, capsize=2, markersize=4)
    _named(axes, rows)


def _interval(share: dict[str, Any]) -> tuple[float, float, float]:
    return share["low_95"], share["accuracy"], share["high_95"]


def _top1(axes: Any, model: Model) -> None:
    _points(axes, model["rows"], lambda row: _interval(row["top1"]))
    axes.axvline(100 * model["reference"]["top1"]["accuracy"], color=CHANCE, linewidth=1)
    axes.set_xlabel("top-1, %, with its 95 % interval; the line is the framework in float32")


def _flips(axes: Any, model: Model) -> None:
    rows = model["rows"]
    left = [0.0] * len(rows)
    for kind, colour in FLIPS.items():
        widths = [row["flips"][kind] for row in rows]
        axes.barh(range(len(rows)), widths, left=left, color=colour, label=kind, height=0.7)
        left = [end + width for end, width in zip(left, widths, strict=True)]
    for place, end in enumerate(left):
        axes.text(end, place, f" {end:.0f}", va="center")
    _named(axes, rows)
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlabel("pictures whose class changed")
    axes.legend(loc="lower right")


def _difference(axes: Any, model: Model) -> None:
    def ends(row: dict[str, Any]) -> tuple[float, float, float]:
        low, high = row["difference_95"]
        return low, row["difference"], high

    _points(axes, model["rows"], ends)
    axes.axvline(0, color=CHANCE, linewidth=1)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlabel("change of top-1 in points, with its 95 % interval for pairs")


def _int8(model: Model) -> list[dict[str, Any]]:
    return [row for row in model["rows"] if "int8" in row["mode"] or "int8" in row["engine"]]


def _agreement(axes: Any, model: Model) -> None:
    _points(axes, _int8(model), lambda row: _interval(row["agreement"]))
    axes.set_xlabel("pictures with the float32 class, %, with its 95 % interval")


def _draws(model: Model) -> list[dict[str, Any]]:
    rows = [row for row in model["rows"] if row["engine"] == "alula" and row["calibration"]]
    return rows if len({tuple(row["calibration"].values()) for row in rows}) > 1 else []


def _calibration(axes: Any, model: Model) -> None:
    _points(axes, _draws(model), lambda row: _interval(row["agreement"]))
    axes.set_xlabel("pictures with the float32 class, %, with its 95 % interval")


def _layers(axes: Any, model: Model) -> None:
    for mode, errors in model["layers"].items():
        values = [float("nan") if error["snr_db"] is None else error["snr_db"] for error in errors]
        axes.plot(values, marker=".", linewidth=1, label=mode)
    names = [error["op"] for error in next(iter(model["layers"].values()))]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=4)
    axes.set_ylabel("signal to noise, dB")
    axes.grid(color="#e6e6e6")
    axes.legend()


QUESTIONS = (
    Question(
        "top1",
        "How many pictures does each precision get right?",
        "Intervals of single figures are wide: what two precisions differ by is the third question.",
        _top1,
        _rows,
    ),
    Question(
        "flips",
        "How many answers change?",
        "Of the pictures whose class is not the framework's in float32: `lost` were right before, `won` are right now, "
        "`still wrong` were wrong in another way.",
        _flips,
        _rows,
    ),
    Question(
        "difference",
        "Is a drop more than chance?",
        "Where the interval holds zero, lost and won pictures balance as tosses of a coin do.",
        _difference,
        _rows,
    ),
    Question(
        "engines",
        "How near to float32 is int8, beside other engines' int8?",
        "Every engine's own tool, calibrated on the same pictures; NNCF with its preset for transformers.",
        _agreement,
        lambda model: len(_int8(model)),
    ),
    Question(
        "calibration",
        "Does it matter which pictures calibrate, and how many?",
        "Each draw is another choice of pictures, none of them evaluated.",
        _calibration,
        lambda model: len(_draws(model)),
    ),
    Question(
        "layers",
        "Which layers make the error?",
        "Every product of linear layers, convolutions and attention beside the float32 graph's, in the model's order: "
        "its own error alone, on operands that are right. Higher is better.",
        _layers,
        lambda model: LAYER_LINES if model["layers"] else 0,
    ),
)
