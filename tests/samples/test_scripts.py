"""The sample's scripts from a clean copy: arguments, the small way step by step, tables; and all of it, slowly."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples.conftest import SAMPLE, UTILS

PRECISIONS = ("force_float32", "force_float16", "qint8_mixed_float16")
OWN = ("PROJ_ROOT_PATH", "UTILS_PATH", "DATASETS_PATH", "MODEL_PATH", "VOLO_MODEL", "CALIBRATION_PATH")


class Copy:
    """A copy of the sample as a clone has it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "samples/volo_d2_pytorch"
        shutil.copytree(SAMPLE, self.root, ignore=shutil.ignore_patterns("data", "__pycache__"))
        shutil.copytree(UTILS, folder / "samples/utils", ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name not in OWN}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = ["bash", self.root / script, *words]
        environment = {**kept, "PATH": path, **variables}
        return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("clone"))


REFUSED = [
    ("gen_model/run.sh", (), "precision: expected one of force_float32 force_float16"),
    ("gen_model/run.sh", ("force_float", "true", "1"), "precision: expected one of force_float32 force_float16"),
    ("gen_model/run.sh", ("force_float32", "yes", "1"), "shape_mutable: expected true or false, got 'yes'"),
    ("gen_model/run.sh", ("force_float32", "true", "0"), "batch_size: expected a whole number of at least 1, got '0'"),
    ("gen_model/run.sh", ("force_float32", "true", "1"), "exported program "),
    ("infer_python/run.sh", ("force_float32", "true", "1", "x"), "image_num: expected a whole number (0: all), got"),
    ("infer_python/run.sh", ("force_float32", "false", "2"), "volo_digits_model_force_float32_false_2: expected it"),
    ("infer_cpp/run.sh", ("qint8_mixed_float16", "true", "2"), "volo_digits_model_qint8_mixed_float16_true: expected"),
]


@pytest.mark.parametrize(("script", "words", "reason"), REFUSED)
def test_wrong_usage_is_one_line(copy: Copy, script: str, words: tuple[str, ...], reason: str) -> None:
    done = copy.run(script, *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line


def test_wrong_paths_are_one_line(copy: Copy, tmp_path: Path) -> None:
    for script in ("run.sh", "export_model/run.sh", "benchmark/perf.sh", "benchmark/eval.sh"):
        done = copy.run(script, DATASETS_PATH=str(tmp_path / "none"))
        expected = (
            f"error: DATASETS_PATH {tmp_path / 'none'}: expected pictures and ILSVRC2012_val.txt, got no such file\n"
        )
        assert (done.returncode, done.stderr) == (2, expected)
    assert copy.run("run.sh", VOLO_MODEL="resnet").stderr.startswith("error: VOLO_MODEL: expected volo_d2 or")


def test_env_says_where_everything_is(copy: Copy) -> None:
    done = copy.run("env.sh", DATASETS_PATH="pictures")
    root = copy.root
    assert done.stdout.splitlines() == [
        f"PROJ_ROOT_PATH is {root}",
        f"UTILS_PATH is {root.parent / 'utils'}",
        "DATASETS_PATH is pictures",
        f"MODEL_PATH is {root / 'data/models'}",
    ]


def test_offline_the_checkpoint_is_asked_for(copy: Copy, tmp_path: Path) -> None:
    """`alula fetch` stands in for a network that is not there."""
    (tmp_path / "ILSVRC2012_val.txt").write_text("a.JPEG 1\n")
    (tmp_path / "alula").write_text('#!/bin/sh\necho "alula $*" >&2\nexit 1\n')
    (tmp_path / "alula").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = copy.run(
        "export_model/run.sh", DATASETS_PATH=str(tmp_path), PATH=path, MODEL_PATH=str(tmp_path), VIRTUAL_ENV="/"
    )
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first == f"alula fetch volo_d2 -o {tmp_path}"
    assert f"put it at {tmp_path / 'd2_224_85.2.pth.tar'} and run this again." in rest[-1]


def test_the_small_way(copy: Copy) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn, the demo extra")
    exported = copy.run("export_model/run.sh")
    assert (exported.returncode, exported.stderr) == (0, "")
    assert "so the small way: volo_digits on handwritten digits" in exported.stdout
    model = copy.root / "data/models/volo_digits_model_force_float32_true"
    made = copy.run("gen_model/run.sh", "force_float32", "true", "8")
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == f"Generate model done, model save to {model}"
    again = copy.run("gen_model/run.sh", "force_float32", "true", "1")
    assert again.stdout.splitlines()[-1] == f"mm_model: {model} already exist."
    inferred = copy.run("infer_python/run.sh", "force_float32", "true", "8", "64")
    assert inferred.returncode == 0, inferred.stderr
    output = copy.root / "data/output/infer_python_output_force_float32_true_8"
    counted = count(output)
    assert (counted.returncode, counted.stdout) == (0, "top1:  1.0\ntop5:  1.0\n")
    assert (output / "eval_result.txt").read_text() == counted.stdout


def count(output: Path) -> subprocess.CompletedProcess[str]:
    files = {
        "result_label_file": "eval_labels.txt",
        "result_1_file": "eval_result_1.txt",
        "result_5_file": "eval_result_5.txt",
        "top1andtop5_file": "eval_result.txt",
    }
    words = [word for name, file in files.items() for word in (f"--{name}", output / file)]
    return script(UTILS / "compute_top1_and_top5.py", *words)


def script(path: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, path, *words], capture_output=True, text=True, check=False)


def test_shares_are_counted_by_name(tmp_path: Path) -> None:
    (tmp_path / "eval_labels.txt").write_text("a b.png 3\nc.png 1\nd.png 9\n")
    (tmp_path / "eval_result_1.txt").write_text("c.png 1\na b.png 4\nd.png 0\n")
    (tmp_path / "eval_result_5.txt").write_text("c.png 1 2 3 4 5\na b.png 4 3 2 1 0\nd.png 0 1 2 3 4\n")
    done = count(tmp_path)
    assert (done.stdout, done.stderr) == (f"top1:  {1 / 3}\ntop5:  {2 / 3}\n", "")
    (tmp_path / "eval_result_1.txt").write_text("c.png 1\ne.png 4\n")
    assert "got e.png too" in count(tmp_path).stderr
    (tmp_path / "eval_result_1.txt").write_text("c.png one\n")
    assert "line 1: expected a name and 1 classes, got 'c.png one'" in count(tmp_path).stderr
    assert count(tmp_path).returncode == 2


def report(throughput: str, median: str) -> str:
    """The end of mm_run's report."""
    return (
        "=================== Performance Summary\n"
        f"Throughput (qps):             {throughput} with total batch sizes: 9\n"
        f"  Latency(host clock, ms):    min: 1.5   max: 9   mean: 4   median: {median}   percentile: (90%) 8\n"
    )


def test_tables(tmp_path: Path) -> None:
    for number, precision in enumerate(PRECISIONS):
        folder = tmp_path / f"infer_cpp_output_{precision}_true_32"
        folder.mkdir()
        (folder / "eval_result.txt").write_text(f"top1:  0.85{number}00001\ntop5:  1.0\n")
        (tmp_path / f"{precision}_true_8_log_perf").write_text(report(f"{number + 1}12.5", "8.5"))
    (tmp_path / "force_float32_true_32_log_perf").write_text(report("7", "1.2e+03"))
    options = ["--model", "volo_d2", "--output_dir", tmp_path]
    shown = script(SAMPLE / "benchmark/eval_table.py", *options, "--batch_size", "32", "--language", "infer_cpp")
    assert shown.stdout.splitlines()[2:6] == [
        "| volo_d2 | force_float32 | 32 | 0.850000 | 1.000000 | 0.846022 | 0.974366 |",
        "| volo_d2 | force_float16 | 32 | 0.851000 | 1.000000 | 0.845240 | 0.974540 |",
        "| volo_d2 | qint8_mixed_float16 | 32 | 0.852000 | 1.000000 | 0.845400 | 0.974560 |",
        "",
    ]
    assert (tmp_path / "eval.md").read_text() == shown.stdout
    shown = script(SAMPLE / "benchmark/perf_table.py", *options)
    assert shown.stdout.splitlines()[2:] == [
        "| volo_d2 | force_float16 | true | 8 | 212.5 | 8.5 |",
        "| volo_d2 | force_float32 | true | 8 | 112.5 | 8.5 |",
        "| volo_d2 | force_float32 | true | 32 | 7 | 1.2e+03 |",
        "| volo_d2 | qint8_mixed_float16 | true | 8 | 312.5 | 8.5 |",
    ]
    (tmp_path / "force_float32_true_32_log_perf").write_text("error: x\n")
    assert (
        "expected mm_run's report with throughput and latency"
        in script(SAMPLE / "benchmark/perf_table.py", *options).stderr
    )


def test_gen_model_refuses_in_one_line(tmp_path: Path) -> None:
    made = ["--pt_model", tmp_path / "none.pt2", "--output_model", tmp_path / "model"]
    for words, reason in (
        (["--precision", "float"], "precision: expected one of force_float32"),
        (["--shape_mutable", "maybe"], "expected true or false, got 'maybe'"),
        ([], "none.pt2: expected a readable file, got No such file or directory"),
        (["--batch_size", "0"], "expected a whole number of at least 1, got '0'"),
    ):
        done = script(SAMPLE / "gen_model/gen_model.py", *made, *words)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert reason in line


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_of_it(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn, the demo extra")
    copy = Copy(tmp_path)
    done = copy.run("run.sh")
    assert done.returncode == 0, done.stderr
    end = done.stdout[done.stdout.rindex("| Model | Precision | Batch_Size | TOP1 | TOP5 |") :]
    assert [line.split(" | ")[1] for line in end.splitlines()[2:5]] == list(PRECISIONS)
    assert end.splitlines()[2].startswith("| volo_digits | force_float32 | 32 | 0.99")
    assert len(end[end.index("| Shape_Mutable |") :].splitlines()) == 2 + 3 * 3 * 2
