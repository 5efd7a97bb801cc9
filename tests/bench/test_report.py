"""The page, the JSON and the plot of figures made up here, whose ratios are worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.agreement import Agreement
from bench.compare import Comparison
from bench.engines import ENGINES
from bench.measure import Timing
from bench.page import markdown
from bench.precision import BFLOAT16, FLOAT32, INT8, PRECISIONS
from bench.report import OURS, brief, figures, write_report

MACHINE = {
    "processor": "Toy",
    "cores": 2,
    "target": "avx2",
    "date": "2026-01-02 03:04 UTC",
    "load_average": 0.5,
    "peak_gflops": {"f32": {"2": 10.0}},
    "versions": {"python": "3.11"},
}


@pytest.fixture
def result() -> Comparison:
    result = Comparison("toy", batch=4, threads=2)
    result.agreements.update(
        {
            "alula": Agreement(FLOAT32, 1e-7, 1.0, 1.0),
            "torch": Agreement(FLOAT32, 0.0, 1.0, 1.0),
            "openvino": Agreement(FLOAT32, float("inf"), 0.0, 0.0),
            "alula-int8": Agreement(INT8, 0.03, 0.9, 0.75),
            "openvino-int8": Agreement(INT8, 0.02, 0.9, 1.0),
            "openvino-int8-f32": Agreement(INT8, 0.02, 0.9, 1.0),
            "torch-bf16": Agreement(BFLOAT16, 0.01, 0.95, 1.0),
        }
    )
    result.timings.update(
        {
            "alula": Timing(np.array([[0.002], [0.002], [0.003]]), 1.9),
            "torch": Timing(np.array([[0.008], [0.004], [0.004]]), 1.5),
            "alula-int8": Timing(np.array([[0.001], [0.002], [0.001]]), 1.9),
            "openvino-int8": Timing(np.array([[0.005], [0.005], [0.001]]), 1.9),
            "openvino-int8-f32": Timing(np.array([[0.004], [0.004], [0.004]]), 1.9),
            "torch-bf16": Timing(np.array([[0.001], [0.001], [0.001]]), 1.9),
        }
    )
    return result


@pytest.fixture
def found(result: Comparison) -> dict[str, object]:
    return figures([result], {"toy": 1_000_000}, MACHINE)


def test_brief_says_who_was_refused(result: Comparison) -> None:
    refused = "refused: relative error inf, cosine 0.000, arg-max equal for 0%"
    assert brief(result).startswith(f"alula 2.0 ms, torch 4.0 ms, openvino {refused}, alula-int8 1.0 ms, ")


def test_report_has_every_engine(found: dict[str, object]) -> None:
    ours, torch, openvino, *_ = found["results"]
    assert ours["median_ms"] == 2
    assert ours["images_per_s"] == 2000
    assert ours["peak_fraction"] == pytest.approx(2 * 4 * 1e6 / 0.002 / 10e9)
    assert torch["alula_ratio"] == {"median": 0.5, "min": 0.25, "max": 0.75}
    assert openvino["refused"]
    assert "median_ms" not in openvino
    lines = markdown(found).splitlines()
    start = "| 4 | 2 | PyTorch eager f32 | 4.0 | 1.0 | 1000.0 | 20% | 1.50 | 0.50 (0.25-0.75) |"
    assert f"{start} 0.0e+00 | 1.000 | 100% |" in lines
    assert "| 4 | 2 | OpenVINO f32 | refused: wrong answer | - | - | - | - | - | - | 0.000 | 0% |" in lines


def test_alula_is_compared_with_the_best_of_its_precision(found: dict[str, object]) -> None:
    float32, int8 = found["against_best"]
    assert (float32["precision"], float32["best"]) == ("float32", "torch")  # not the faster one in bfloat16
    assert (int8["precision"], int8["best"]) == ("int8", "openvino-int8-f32")  # by its median, not its best round
    assert int8["alula_ratio"] == {"median": 0.25, "min": 0.25, "max": 0.5}
    assert "| int8 | 4 | 2 | 0.2 | 1.0 | OpenVINO int8, rest f32 | 0.25 (0.25-0.50) |" in markdown(found).splitlines()


def test_the_page_has_a_table_for_each_precision(found: dict[str, object]) -> None:
    parts = markdown(found).split("\n### ")[1:]
    assert [part.split("\n")[0] for part in parts] == ["float32", "bfloat16", "int8"]
    assert [part.count("\n| 4 | 2 |") for part in parts] == [3, 1, 3]


def test_there_is_one_alula_for_each_precision_and_others_to_compare_it_with() -> None:
    assert list(dict.fromkeys(ENGINES[name].precision.name for name in OURS)) == list(PRECISIONS)
    others = {kind.precision.name for name, kind in ENGINES.items() if name not in OURS}
    assert others == set(PRECISIONS) - {"float16"}


def test_a_setting_without_its_processors_is_said_to_be_disturbed(result: Comparison) -> None:
    def page() -> str:
        return markdown(figures([result], {"toy": 1_000_000}, MACHINE))

    seconds = result.timings["alula"].seconds
    for name in list(result.agreements)[3:]:
        del result.agreements[name], result.timings[name]
    result.timings.update(alula=Timing(seconds, 0.8), torch=Timing(seconds, 1.4))
    assert "**Batch 4, 2 threads: disturbed.** No engine had more than 70% of" in page()
    result.timings.update(torch=Timing(seconds, 1.6))  # one that merely waits proves nothing: another had its threads
    assert "disturbed" not in page()


def test_report_is_written(found: dict[str, object], tmp_path: Path) -> None:
    written = write_report(found, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "engines.json").read_text()) == found
    page = (tmp_path / "new" / "engines.md").read_text()
    plots = [path for path in written if path.suffix == ".svg"]
    assert all(f"]({plot.name})" in page and plot.read_text().count("PyTorch eager f32") for plot in plots)
    assert all(f">{name}<" in plot.read_text() for plot in plots for name in ("float32", "bfloat16", "int8"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in written)
