import json
from pathlib import Path

import numpy as np
import pytest

from alula.cli.main import main


def measured(path: Path, median: float, seed: int, **settings: object) -> str:
    runs = median * np.exp(0.02 * np.random.default_rng(seed).standard_normal(80))
    figures = {"batch_size": 1, "precision": "force_float32", "threads": 2, "runs_ms": runs.tolist(), **settings}
    path.write_text(json.dumps(figures))
    return str(path)


def test_a_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = measured(tmp_path / "a.json", 10.0, 1)
    after = measured(tmp_path / "b.json", 10.5, 2, precision="force_bfloat16")
    assert main(["perf", "compare", before, after, "--json", str(tmp_path / "c.json")]) == 0
    out = capsys.readouterr().out
    assert "difference  +" in out
    assert "verdict     slower (p = 0.0" in out
    assert "precision   force_float32 before, force_bfloat16 after\n" in out
    assert "threads" not in out
    figures = json.loads((tmp_path / "c.json").read_text())
    assert figures["significant"] is True
    assert 1.03 < figures["ratio_low"] < figures["ratio"] < figures["ratio_high"] < 1.07
    assert figures["runs"] == [80, 80]


def test_the_other_way_round_is_faster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after, before = measured(tmp_path / "a.json", 10.0, 1), measured(tmp_path / "b.json", 10.5, 2)
    assert main(["perf", "compare", before, after]) == 0
    assert "verdict     faster" in capsys.readouterr().out


def test_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "compare", *(measured(tmp_path / f"{n}.json", 10.0, n) for n in (1, 2))]) == 0
    assert "verdict     no difference that these runs could tell from noise" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}", '{"batch_size": 1, "runs_ms": []}', '{"runs_ms": [1.0]}'])
def test_what_is_no_measurement(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text(content)
    assert main(["perf", "compare", str(tmp_path / "bad.json"), measured(tmp_path / "b.json", 1.0, 1)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: measurement {tmp_path / 'bad.json'}: expected ")
    assert error.count("\n") == 1


def test_another_batch_is_another_measurement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, eight = measured(tmp_path / "a.json", 1.0, 1), measured(tmp_path / "b.json", 8.0, 2, batch_size=8)
    assert main(["perf", "compare", one, eight]) == 2
    assert capsys.readouterr().err == f"error: measurement {eight}: expected a batch of 1 as in {one}, got 8\n"
