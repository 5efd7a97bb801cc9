"""What low precision has to keep of each model, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.accuracy.measured import label_of

SIGNIFICANT = 0.05  # McNemar's p from which on a drop is no more than chance


@dataclass(frozen=True, slots=True)
class Bar:
    """For rows of Alula whose mode begins with one of `modes`; shares of pictures, 0 to 1.

    `drop` is the largest loss of top-1 that needs no excuse: a larger one has to be within chance.  `best_other` asks
    for more agreement and signal to noise than every other engine's calibrated int8.
    """

    subject: str
    modes: tuple[str, ...]
    agree: float = 0.0
    drop: float = 1.0
    right: int = 0
    best_other: bool = False

    def __str__(self) -> str:
        wanted = [f"agreement >= {self.agree:.2%}"] if self.agree else []
        wanted += [f"drop <= {100 * self.drop:.2f} points or p > {SIGNIFICANT}"] if self.drop < 1 else []
        wanted += [f">= {self.right} right"] if self.right else []
        wanted += (
            ["agreement and signal to noise above every other engine's calibrated int8"] if self.best_other else []
        )
        return ", ".join(wanted)

    def held(self, row: dict[str, Any], others: list[dict[str, Any]]) -> bool:
        """Whether a row keeps to it; `others` are the other engines' calibrated rows."""
        agreement, chance = row["agreement"]["accuracy"], row["mcnemar_p"] > SIGNIFICANT
        better = all(agreement > other["agreement"]["accuracy"] and _snr(row) > _snr(other) for other in others)
        return (
            agreement >= self.agree
            and (-row["difference"] <= self.drop or chance)
            and row["top1"]["correct"] >= self.right
            and (better or not self.best_other)
        )


FLOAT32, NARROW, INT8 = ("force_float32",), ("force_float16", "force_bfloat16"), ("qint8",)
BARS = (
    Bar("volo_cifar10", FLOAT32, agree=0.9998),
    Bar("volo_cifar10", NARROW, agree=0.997, drop=0.0005),
    Bar("volo_cifar10", INT8, agree=0.985, drop=0.0015),
    Bar("deit_tiny", FLOAT32, agree=1.0),
    Bar("deit_tiny", INT8, agree=638 / 650, right=521),
    Bar("mobilenet_v1", FLOAT32, agree=1.0),
    Bar("mobilenet_v1", INT8, agree=585 / 650, right=417, best_other=True),
    Bar("squeezenet", FLOAT32, agree=1.0),
    Bar("squeezenet", INT8, best_other=True),
    Bar("volo_digits", FLOAT32, agree=1.0),
)


def verdicts(models: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every bar for every row of Alula that it is for, JSON-ready."""
    for model in models:
        others = [row for row in model["rows"] if row["engine"] != "alula" and row["calibration"]]
        for bar in (bar for bar in BARS if bar.subject == model["name"]):
            for row in model["rows"]:
                if row["engine"] == "alula" and row["mode"].startswith(bar.modes):
                    held = bar.held(row, others)
                    yield {"model": model["title"], "row": label_of(row), "bar": str(bar), "held": held}


def _snr(row: dict[str, Any]) -> float:
    return float("inf") if row["snr_db"] is None else float(row["snr_db"])
