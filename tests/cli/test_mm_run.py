"""`mm_run`: the options of the original, its report, its files; on a fake session, and once on a real model."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.cli.mm_options import OPTIONS, parse
from alula.cli.mm_run import main
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Gelu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from tests.cli.fake_session import FakePort, FakeSession

Load = Callable[[FakeSession], FakeSession]
SHORT = ["--warmup", "0", "--duration", "0", "--iterations", "4"]
SPREAD = r"min: [\d.e-]+ +max: [\d.e-]+ +mean: [\d.e-]+ +median: [\d.e-]+ +percentile: \(90%\) .*\(95%\) .*\(99%\) "
TWO = (FakePort("a", DType.F32, (None, 4)), FakePort("scale", DType.F32, ()))


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Something for the report to weigh; what is in it, the fake session does not read."""
    (tmp_path / "volo_d2_model").write_bytes(b"12345")
    return str(tmp_path / "volo_d2_model")


def test_the_report_has_the_sections_of_the_original(
    load: Load, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(FakeSession(run_s=0.001))
    assert main(["--magicmind_model", model, "--batch_size", "2", "--devices", "0", *SHORT]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    sections = re.findall(r"^=================== (.*)$", out, re.MULTILINE)
    assert sections == [
        "Parameter Information",
        "Model Information",
        "Device Information",
        "Host Occupancy Summary",
        "Performance Summary",
    ]
    assert f"--magicmind_model<Str>        : {model}\n" in out
    assert "--batch_size<Vec<Int>>        : 2\n" in out
    assert "Size:      5\n" in out
    assert "image             : [-1, 8, 8, 3], UINT8\n" in out
    assert "DeserializeModel time is 2.000 ms.\n" in out
    assert "CreateEngine 0 time is 8.000 ms, object from the cache.\n" in out
    assert "CreateContext time is 2.500 ms.\n" in out
    assert "Const data size: 3.000(MB)\nContextMaxworkspace Size: 2.000(MB)\n" in out
    assert re.search(r"^warmup_dev_0_thread_0 time is 0\.000 ms\.$", out, re.MULTILINE)
    assert re.search(rf"^UserMode Occupancy\(%\): +{SPREAD}", out, re.MULTILINE)
    assert re.search(rf"^ResidentSet Usage\(GB\): +{SPREAD}", out, re.MULTILINE)
    assert "Total iterations:             4\n" in out
    assert "Input shape group 0: [image: [2, 8, 8, 3]]\n" in out
    assert re.search(rf"^  Latency\(host clock, ms\): +{SPREAD}", out, re.MULTILINE)


def test_throughput_is_images_over_the_wall_clock(load: Load, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.004))
    assert main(["--magicmind_model", model, "--batch_size", "3", "--threads", "2", *SHORT]) == 0
    out = capsys.readouterr().out
    (qps, images, runs) = re.search(
        r"^Throughput \(qps\): +([\d.]+) with total batch sizes: (\d+) and ([\d.]+) iterations/second$",
        out,
        re.MULTILINE,
    ).groups()
    wall = float(re.search(r"^Host wall time\(s\): +([\d.]+)$", out, re.MULTILINE)[1])
    assert images == "24"  # two threads, four iterations each
    assert float(qps) == pytest.approx(24 / wall, rel=1e-4)
    assert float(runs) == pytest.approx(8 / wall, rel=1e-4)
    each = [float(ms) / 1e3 for ms in re.findall(r"^infer_dev_0_thread_\d time is ([\d.]+) ms\.$", out, re.MULTILINE)]
    assert len(each) == 2
    assert 0.016 <= wall < 0.9 * sum(each)  # at the same time


def test_it_ends_at_the_later_of_duration_and_iterations(
    load: Load, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    session = load(FakeSession(run_s=0.002))
    given = ["--magicmind_model", model, "--warmup", "0", "--duration", "50", "--iterations", "3"]
    assert main(given) == 0
    assert 3 < len(session.batches) <= 26
    session.batches.clear()
    given[-1] = "40"
    assert main(given) == 0
    assert len(session.batches) == 40
    assert "Total iterations:             40\n" in capsys.readouterr().out


def test_several_batches_are_shape_groups_in_turn(
    load: Load, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = load(FakeSession())
    assert main(["--magicmind_model", model, "--batch_size", "1", "8", "--trace_path", str(tmp_path), *SHORT]) == 0
    assert session.batches == [1, 8, 1, 8]
    assert "Input shape group 1: [image: [8, 8, 8, 3]]\n" in capsys.readouterr().out
    figures = json.loads(next(tmp_path.glob("dev0_*.json")).read_text())
    assert [(group["batch_size"], group["iterations"]) for group in figures["groups"]] == [(1, 2), (8, 2)]
    assert (figures["images"], figures["parameters"]["batch_size"]) == (18, [1, 8])


@pytest.mark.parametrize(
    ("config", "batches"),
    [
        ({"inputType": 0, "inputDims": [[[2, 8, 8, 3]], [[3, 8, 8, 3]]]}, [2, 3, 2, 3]),
        ({"inputType": 1, "inputDims": [{"image": [5, 8, 8, 3]}]}, [5, 5, 5, 5]),
    ],
)
def test_run_config(load: Load, model: str, tmp_path: Path, config: dict[str, object], batches: list[int]) -> None:
    session = load(FakeSession())
    (tmp_path / "c.json").write_text(json.dumps(config))
    given = ["--run_config", str(tmp_path / "c.json"), "--batch_size", "7"]
    assert main(["--magicmind_model", model, *given, *SHORT]) == 0
    assert session.batches == batches


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("nothing", "expected JSON"),
        ("[]", "expected inputType 0 or 1 and groups of shapes in inputDims"),
        ('{"inputType": 2, "inputDims": [[[1, 8, 8, 3]]]}', "expected inputType 0 or 1"),
        ('{"inputType": 0, "inputDims": [[1, 8, 8, 3]]}', "expected a list of numbers for each input"),
        ('{"inputType": 0, "inputDims": [[[1, 8, 8, 4]]]}', "shape of input image: expected"),
        ('{"inputType": 1, "inputDims": [{"other": [1, 8, 8, 3]}]}', "expected shapes of image, got other"),
    ],
)
def test_run_config_that_is_none(
    load: Load, model: str, tmp_path: Path, config: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(FakeSession())
    (tmp_path / "c.json").write_text(config)
    assert main(["--magicmind_model", model, "--run_config", str(tmp_path / "c.json"), *SHORT]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_shapes_by_order_with_a_scalar(load: Load, model: str) -> None:
    session = load(FakeSession(inputs=TWO))
    seen: list[list[tuple[int, ...]]] = []
    session.run = lambda *arrays: seen.append([array.shape for array in arrays])
    assert main(["--magicmind_model", model, "--input_dims", "1,4", "_", "--batch_size", "6,", *SHORT]) == 0
    assert seen == [[(6, 4), ()]] * 4
    seen.clear()
    assert main(["--magicmind_model", model, "--input_dims", "3,4", "_", *SHORT]) == 0
    assert seen == [[(3, 4), ()]] * 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--input_dims", "1,8,8,3", "1"], "shapes: expected 1, one for each input, got 2"),
        (["--input_dims", "1,8,3"], "shape of input image: expected FakePort"),
        (["--batch_size", "513"], "batch size: expected 1 to 512 for this model file, got 513"),
        (["--output_path", "out"], "output_path: expected input_files with it, got none"),
        (["--threads", "0"], "threads: expected at least 1, got 0"),
        (["--duration", "0", "--iterations", "0"], "iterations and duration: expected at least one above 0"),
        (["--input_files", "nothing"], "file nothing: expected to read or write it, got No such file or directory"),
        (["--batch_size", "1", "2", "--input_files", "x"], "input_files: expected one shape group with them, got 2"),
        (["--trace_time", "mlu"], "argument --trace_time: invalid choice: 'mlu'"),
        (["--host_async", "maybe"], "argument --host_async: expected one of 0, false, False, 1, true, True, got"),
    ],
)
def test_wrong_usage_is_one_line(
    load: Load, model: str, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load(FakeSession())
    assert main(["--magicmind_model", model, *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_several_inputs_have_one_batch(load: Load, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(inputs=(TWO[0], FakePort("b", DType.F32, (None, 2)))))
    assert main(["--magicmind_model", model, "--batch_size", "1", "2", *SHORT]) == 2
    assert "batch_size: expected one batch for all inputs, got 1, 2" in capsys.readouterr().err
    assert main(["--magicmind_model", model, "--batch_size", "1", "2", "3", *SHORT]) == 2
    assert "batch_size: expected 1 value or 2, one for each input, got 3" in capsys.readouterr().err


def test_defaults_are_those_of_the_original() -> None:
    values = parse(["--magicmind_model", "m"])
    assert values is not None
    assert set(values) == {
        *("magicmind_model", "input_dims", "batch_size", "run_config", "input_files", "output_path", "plugin"),
        *("devices", "threads", "bind_cluster", "warmup", "duration", "iterations", "disable_data_copy"),
        *("host_async", "buffer_depth", "infer_depth", "kernel_capture", "trace_path", "debug_path", "perf_path"),
        *("trace_pmu", "trace_time"),
    }
    assert (values["warmup"], values["duration"], values["iterations"]) == (200, 3000, 100)
    assert (values["devices"], values["threads"], values["trace_time"]) == ([0], 1, "host")
    assert (values["buffer_depth"], values["infer_depth"]) == (2, 2)


@pytest.mark.parametrize("given", [["1,,3", "4"], ["1,,3,4"], ["1,", "3", "4"]])
def test_lists_have_commas_or_spaces(given: list[str]) -> None:
    values = parse(["--magicmind_model", "m", "--batch_size", *given])
    assert values is not None
    assert values["batch_size"] == [1, None, 3, 4]


@pytest.mark.parametrize(
    "given",
    [
        ["--plugin", "a.so,b.so"],
        ["--devices", "0", "1"],
        ["--disable_data_copy", "true"],
        ["--host_async", "1"],
        ["--buffer_depth", "4"],
        ["--infer_depth", "4"],
        ["--kernel_capture", "True"],
        ["--trace_pmu", "1"],
        ["--trace_time", "both"],
    ],
)
def test_what_means_nothing_is_accepted_and_said(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--magicmind_model", "m", *given]) is not None
    said = capsys.readouterr().err
    assert said.startswith(f"note: {given[0]} ")
    assert " means nothing on a CPU: " in said
    assert said.count("\n") == 1


def test_the_help_has_every_option_and_what_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    first, _, idle = " ".join(capsys.readouterr().out.split()).partition("options that mean nothing on a CPU")
    for option in OPTIONS:
        assert f"--{option.name} " in (idle if option.idle else first)
        assert option.idle in idle


def test_no_clock_no_latency(load: Load, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession())
    assert main(["--magicmind_model", model, "--trace_time", "none", *SHORT]) == 0
    out = capsys.readouterr().out
    assert "Throughput (qps):" in out
    assert "Latency" not in out


WIDTH = 64


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Linear, GELU and LayerNorm, in bytes where they are multiplied."""
    random = np.random.default_rng(0)
    graph = Graph("toy", {"N": (1, 8)})
    value = graph.input("x", TensorType(DType.F32, (symbol("N"), 10, WIDTH)))
    weight = random.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 8
    value = graph.add(Gelu(), graph.add(Linear(), value, graph.constant(weight)))
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    value = graph.add(LayerNorm(1e-5), value, graph.constant(ones), graph.constant(zeros))
    graph.output("y", graph.add(Linear(), value, graph.constant(weight)))
    alula.build(graph, alula.BuildConfig(precision="qint8_mixed_float32")).save(tmp_path / "toy.alula")
    return tmp_path / "toy.alula"


def test_a_real_model_with_every_file(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(1).standard_normal((3, 10, WIDTH)).astype(np.float32)
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    folders = {name: tmp_path / name for name in ("output", "trace", "debug", "perf")}
    given = [word for name, folder in folders.items() for word in (f"--{name}_path", str(folder))]
    given += ["--magicmind_model", str(real), "--batch_size", "3", "--input_files", str(tmp_path / "x.bin"), *SHORT]
    assert main(given) == 0
    with alula.load(real) as session:
        (expected,) = session.run(x)
        steps = len(session.steps)
    assert (folders["output"] / "output0").read_bytes() == expected.tobytes()

    values = json.loads((folders["debug"] / "values.json").read_text())
    assert values[-1]["shape"] == [3, 10, WIDTH]
    assert {value["file"] for value in values} | {"values.json"} == {path.name for path in folders["debug"].iterdir()}
    assert (folders["debug"] / values[-1]["file"]).read_bytes() == expected.tobytes()  # fused or not: the same bits
    gelu = next(value for value in values if "gelu" in value["file"])
    stored = np.frombuffer((folders["debug"] / gelu["file"]).read_bytes(), np.float32).reshape(gelu["shape"])
    assert stored.min() > -0.18  # GELU's least value
    assert stored.max() > 1

    rows = json.loads((folders["perf"] / "kernels.json").read_text())
    assert any("linear" in row["op"] for row in rows)
    assert len(json.loads((folders["perf"] / "trace.json").read_text())["traceEvents"]) == steps
    figures = json.loads(next(folders["trace"].iterdir()).read_text())
    assert figures["workspace_bytes"] > 0
    assert 0 < figures["constant_bytes"] < real.stat().st_size
    assert f"Throughput (qps):             {figures['throughput_qps']:.6g} with" in capsys.readouterr().out
