"""Every precision from build to run: how far it may be off, the same bytes again, and the same bits on every target."""

from pathlib import Path

import numpy as np
import pytest
import torch

import alula
from alula.artifact.reader import read_model
from alula.codegen.packing import pack_weights
from alula.compiler import INT8, PRECISIONS, build, lower_precision
from alula.core.errors import UsageError
from alula.core.target import TARGETS, CpuTarget, target_named
from alula.ir.graph import Graph
from alula.models import digits
from alula.passes.pipeline import optimise
from alula.runtime import programs
from alula.runtime.host import supports
from tests.codegen.harness import Compiled
from tests.quant.networks import network, pictures

# Largest difference of the logits, of the largest logit, and pictures whose class may change.
WORST = {
    "force_float16": (1e-3, 0.0),
    "force_bfloat16": (0.016, 0.004),
    "qint8_mixed_float16": (0.03, 0.004),
    "qint8_mixed_bfloat16": (0.03, 0.004),
    "qint8_mixed_float32": (0.03, 0.004),
}


@pytest.fixture(scope="module")
def volo() -> Graph:
    return alula.from_torch(digits.volo_digits(), (torch.zeros(1, 3, 32, 32),))


@pytest.fixture(scope="module")
def held_out() -> np.ndarray:
    return digits.load_digits("held-out").pixels[:300]


def built(graph: Graph, path: Path, precision: str, **options: object) -> Path:
    """The model file of a graph, which stays as it is; calibrated where that has a use."""
    data = [digits.load_digits("train").pixels[:32]] if precision.startswith(INT8) else None
    config = alula.BuildConfig(precision=precision, preprocess=digits.PREPROCESS, **options)
    build(graph.copied()[0], config, data).save(path)
    return path


@pytest.fixture(scope="module")
def float32(volo: Graph, held_out: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    with alula.load(built(volo, tmp_path_factory.mktemp("float32") / "m.alula", "force_float32")) as session:
        return session.run(held_out)[0]


@pytest.mark.parametrize("precision", list(WORST))
def test_a_trained_volo_predicts_as_it_does_in_float32(
    precision: str, volo: Graph, held_out: np.ndarray, float32: np.ndarray, tmp_path: Path
) -> None:
    path = built(volo, tmp_path / "m.alula", precision)
    with alula.load(path) as session:
        assert session.precision == precision
        (logits,) = session.run(held_out)
        (rows,) = session.run(held_out[3:5])
        arithmetic = {step.arithmetic for step in session.steps if step.macs}
    assert rows.tobytes() == logits[3:5].tobytes()
    worst, changed = WORST[precision]
    error = np.abs(logits - float32).max() / np.abs(float32).max()
    assert 1e-5 < error < worst
    assert (logits.argmax(1) != float32.argmax(1)).mean() <= changed
    wanted = {"int8"} if precision.startswith(INT8) else {"bf16"} if "bfloat16" in precision else {"f32"}
    assert wanted <= arithmetic
    assert built(volo, tmp_path / "again.alula", precision).read_bytes() == path.read_bytes()


def test_every_precision_has_a_bound() -> None:
    assert {"force_float32", *WORST} == set(PRECISIONS)


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if name.startswith(INT8)])
def test_without_calibration_rows_find_their_own_scales(
    precision: str, volo: Graph, held_out: np.ndarray, float32: np.ndarray, tmp_path: Path
) -> None:
    config = alula.BuildConfig(precision=precision, preprocess=digits.PREPROCESS)
    build(volo.copied()[0], config).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula") as session:
        (logits,) = session.run(held_out)
    assert np.abs(logits - float32).max() / np.abs(float32).max() < WORST[precision][0]


def lowered(target: CpuTarget, precision: str, data: object) -> Graph:
    graph = optimise(network())
    lower_precision(graph, precision, data)
    pack_weights(graph, target)
    return graph


@pytest.fixture
def runnable() -> list[CpuTarget]:
    return [target for target in TARGETS.values() if supports(target)]


@pytest.mark.isa("avx2")
@pytest.mark.parametrize("data", [[pictures(4, seed=1)], None], ids=["ranges", "rows"])
def test_sums_of_bytes_make_the_same_bits_on_every_target(data: object, runnable: list[CpuTarget]) -> None:
    found = {}
    for target in runnable:
        program = Compiled(lowered(target, "qint8_mixed_float32", data), target)
        found[target.name] = program(pictures(7))[0].tobytes()
        assert any(step.arithmetic == "int8" for step in program.program.steps)
        program.close()
    assert len(set(found.values())) == 1, sorted(found)


@pytest.mark.isa("amx")
def test_a_file_for_amx_runs_repacked_on_what_else_there_is(
    runnable: list[CpuTarget], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = alula.BuildConfig(precision="qint8_mixed_float32", target="amx")
    build(network(), config, [pictures(4, seed=1)]).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula") as session:
        assert session.target == "amx"
        (expected,) = session.run(pictures(7))
    for other in ("avx2", "avx512-vnni"):
        monkeypatch.setattr(programs, "supports", lambda target: target.name != "amx")
        monkeypatch.setattr(programs, "native_target", lambda name=other: target_named(name))
        with alula.load(tmp_path / "m.alula") as session:
            assert session.target == other
            assert session.run(pictures(7))[0].tobytes() == expected.tobytes()
        with read_model(tmp_path / "m.alula") as file:
            graph = file.graph()
        pack_weights(graph, target_named(other))
        config = alula.BuildConfig(precision="qint8_mixed_float32", target=other)
        direct = build(network(), config, [pictures(4, seed=1)]).graph
        assert str(graph) == str(direct)
        for ours, exact in zip(graph.constants(), direct.constants(), strict=True):
            assert ours.data.tobytes() == exact.data.tobytes()


@pytest.mark.parametrize("precision", [name for name in PRECISIONS if not name.startswith(INT8)])
def test_calibration_that_has_no_use_is_refused(precision: str) -> None:
    with pytest.raises(UsageError, match=f"calibration: expected none for {precision}, got some"):
        build(network(), alula.BuildConfig(precision=precision), [pictures(1)])


def test_calibration_is_what_the_built_model_takes() -> None:
    config = alula.BuildConfig(precision="qint8_mixed_float32")
    with pytest.raises(UsageError, match=r"calibration: expected u8\[N,16,16,3\], got float32\[2, 16, 16, 3\]"):
        build(network(), config, [np.zeros((2, 16, 16, 3), np.float32)])
    with pytest.raises(UsageError, match="calibration: expected at least one image, got none"):
        build(network(), config, [])
