"""The page and the records that it is made of."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.engines import ENGINES
from bench.subject import Subject
from bench.zoo import records
from bench.zoo.page import markdown
from bench.zoo.records import BATCH, TIMED, Records

MACHINE = {
    "date": "2026-01-01 00:00 UTC",
    "processor": "a processor",
    "cores": 2,
    "target": "avx2",
    "peak_gflops": {"f32": {"2": 100.0}},
    "load_average": 0.1,
    "versions": {"alula": "1"},
}
SPREAD = {"median": 0.5, "min": 0.4, "max": 0.6}


def checked(**onnx: Any) -> dict[str, Any]:
    way = {"error": 1e-6, "holds": True, "ops": {"linear": 3, "add": 1}}
    int8 = {"error": 0.02, "cosine": 0.9}
    return {"parameters": 1_500_000, "macs": 2_000_000_000, "int8": int8, "torch": way, "onnx": way | onnx}


def timed(ratio: float = 0.5) -> dict[str, Any]:
    rows = [
        {
            "model": "m",
            "engine": name,
            "precision": ENGINES[name].precision.name,
            "median_ms": 1.0 + number,
            "batch": BATCH,
            "threads": 2,
            "busy_cores": 2.0,
            "refused": False,
        }
        for number, name in enumerate(TIMED)
    ]
    best = [
        {"precision": name, "best": engine, "alula_ratio": SPREAD | {"median": ratio}}
        for name, engine in (("float32", "openvino"), ("int8", "openvino-int8"))
    ]
    return {"machine": MACHINE, "against_best": best, "results": rows}


def test_a_model_in_one_row() -> None:
    text = markdown({"unet": {"checked": checked()}})
    assert "| U-Net | 256 | 1.5 | 2.00 | 1.0e-06 | 1.0e-06 | 0.02 | 3 linear, 1 add |" in text
    assert "## Time" not in text


def test_wrong_answers_and_other_graphs_are_said() -> None:
    text = markdown({"unet": {"checked": checked(error=0.5, holds=False, ops={"linear": 2})}})
    assert "| 5.0e-01 **wrong** |" in text
    assert "3 linear, 1 add; from ONNX: 2 linear |" in text


def test_times_with_the_faster_of_an_engines_forms_and_the_geometric_mean() -> None:
    text = markdown({"unet": {"checked": checked(), "timed": timed(0.25)}, "vit_b16": {"timed": timed(1.0)}})
    assert "| U-Net | 1.00 | 2.00 | 3.00 | OpenVINO f32 | 0.25 (0.40-0.60) |" in text
    assert "| U-Net | 6.00 | 8.00 | 10.00 | OpenVINO int8, rest bf16 | 0.25 (0.40-0.60) |" in text
    assert text.count("| **geometric mean** |  |  |  |  | **0.50** |") == 2
    assert "a processor" in text


def test_models_that_are_gone_are_left_out() -> None:
    assert "| gone" not in markdown({"gone": {"checked": checked()}})


def test_records_keep_what_they_are_not_told_anew(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert records.read() == {}
    records.update("unet", checked=checked())
    records.update("unet", timed=timed())
    records.update("vit_b16", checked=checked())
    assert set(records.read()) == {"unet", "vit_b16"}
    assert set(records.read()["unet"]) == {"checked", "timed"}
    assert (tmp_path / "models.md").read_text() == markdown(records.read())


def test_an_engine_that_cannot_read_a_model_is_named_and_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = "openvino"

    def answers(subject: Subject, name: str) -> None:
        if name.startswith(broken):
            raise RuntimeError("no such kernel\nSummary: ...")

    monkeypatch.setattr(records, "_answers", answers)
    subject = Subject("unet", torch.nn.Identity(), (3, 8, 8), tmp_path)
    assert records.usable(subject) == [name for name in records.TIMED if "openvino" not in name]
    assert "note: unet: OpenVINO f32 is left out: RuntimeError: no such kernel\n" in capsys.readouterr().err
    broken = "alula-int8"
    with pytest.raises(RuntimeError, match="no such kernel"):
        records.usable(subject)
