"""Models of the transformers package in a small configuration: imported, built in every precision, near PyTorch."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alula
from alula.compiler import PRECISIONS
from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.ir.graph import Graph
from bench.agreement import agreement
from bench.hub import MODELS, random_model
from bench.precision import BFLOAT16, FLOAT16, FLOAT32, INT8, Precision
from bench.subject import Subject, named_subject

pytest.importorskip("transformers", reason="needs the package transformers (pip install 'alula[dev]')")

SMALL: dict[str, dict[str, Any]] = {
    "vit_b16": {
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "resnet50": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [2, 1]},
}
SHAPE = (3, 32, 32)
BOUNDS = {bound.mode: bound for bound in (FLOAT32, FLOAT16, BFLOAT16, INT8)}


@cache
def subject(name: str) -> Subject:
    return Subject(name, random_model(name, 0, **SMALL[name]), SHAPE, Path())


@cache
def imported(name: str) -> Graph:
    import torch

    found = subject(name)
    return alula.from_torch(found.module, (torch.from_numpy(found.images(1)),))


def answer(name: str, precision: str, folder: Path) -> Array:
    """Of a model file in this precision, to 8 images."""
    config = alula.BuildConfig(precision=precision)
    calibration = subject(name).calibration[:4] if precision.startswith("qint8") else None
    alula.build(imported(name).copied()[0], config, calibration).save(folder / "m.alula")
    with alula.load(folder / "m.alula", threads=1) as session:
        assert session.precision == precision
        return session.run(subject(name).images(8))[0]


def bound_of(precision: str) -> Precision:
    return BOUNDS.get(precision, INT8)


def test_every_model_has_a_small_one() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_what_pytorch_gives(name: str, tmp_path: Path) -> None:
    reference = subject(name).reference(8)
    assert reference.shape == (8, 1000)
    found = agreement(answer(name, "force_float32", tmp_path), reference, FLOAT32)
    assert found.holds
    assert found.error < 5e-6


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", MODELS)
def test_every_precision_is_within_its_bounds(name: str, precision: str, tmp_path: Path) -> None:
    found = agreement(answer(name, precision, tmp_path), subject(name).reference(8), bound_of(precision))
    assert found.holds, found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("precision", BOUNDS.values(), ids=list(BOUNDS))
def test_a_wrong_answer_is_outside_of_them(name: str, precision: Precision) -> None:
    """Random weights answer much alike for all images; still those of others are told from the right ones."""
    reference = subject(name).reference(8)
    assert not agreement(np.roll(reference, 1, axis=0), reference, precision).holds
    assert not agreement(np.broadcast_to(reference.mean(axis=0), reference.shape), reference, precision).holds


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    again, other = (random_model(name, seed, **SMALL[name]).state_dict() for seed in (0, 1))
    weights = subject(name).module.state_dict()
    assert all((weights[key] == again[key]).all() for key in weights)
    assert any((weights[key] != other[key]).any() for key in weights)


def test_batch_norms_are_not_the_identity() -> None:
    state = subject("resnet50").module.state_dict()
    means = [value for key, value in state.items() if key.endswith("running_mean")]
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    assert len(means) == len(variances) > 5
    assert all(value.abs().max() > 0 for value in means)
    assert all((value >= 0.5).all() and (value <= 1.5).all() and value.std() > 0 for value in variances)


def test_without_the_package_the_model_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.hub.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="model vit_b16: expected the package transformers"):
        named_subject("vit_b16", tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_has_the_same_weights(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    found = Subject(name, subject(name).module, SHAPE, tmp_path)
    session = onnxruntime.InferenceSession(found.onnx_path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: found.images(8)})
    assert agreement(output, found.reference(8), FLOAT32).holds
