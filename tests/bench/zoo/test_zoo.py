"""Architectures of the zoo in a small form: by both ways the same program, near PyTorch; and in int8."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import bench.zoo.table
from alula.core.errors import UsageError
from bench.agreement import agreement
from bench.precision import FLOAT32, INT8
from bench.subject import named_subject
from bench.zoo.check import BATCHES, WAYS, check
from bench.zoo.settle import settle
from bench.zoo.subject import ZooSubject, zoo_subject
from bench.zoo.table import MODELS
from tests.bench.zoo.small import SMALL

pytest.importorskip("transformers", reason="needs the package transformers (pip install 'alula[dev]')")

CLOSE = 2e-5  # of float32 answers, a fifth of what is asked of the full-size models
# Depthwise and shuffled; windows with masks; position bias; resizing; transposed convolutions.  The others are slow.
QUICK = ("shufflenet_v2", "swin_t", "beit_b16", "segformer_b0", "unet")
NAMES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in MODELS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@cache
def small(name: str, folder: Path) -> ZooSubject:
    size, settings = SMALL[name]
    return zoo_subject(name, folder, size, **settings)


def test_every_model_has_a_small_one() -> None:
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_one_program_that_answers_as_pytorch_does(name: str, folder: Path) -> None:
    torch_way, onnx_way = (check(small(name, folder), way, folder) for way in WAYS)
    for found in (torch_way, onnx_way):
        assert found.holds
        assert set(found.errors) == set(BATCHES)
        assert max(error.error for error in found.errors.values()) < CLOSE
    assert torch_way.ops == onnx_way.ops


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_int8_runs(name: str, folder: Path) -> None:
    """How near it comes says little of random weights."""
    found = check(small(name, folder), "torch", folder, INT8)
    assert np.isfinite(found.errors[BATCHES[-1]].error)


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_answer_is_told_from_the_right_one(name: str, folder: Path) -> None:
    reference = small(name, folder).reference(8)
    for precision in (FLOAT32, INT8):
        assert not agreement(np.roll(reference, 1, axis=0), reference, precision).holds
        assert not agreement(np.broadcast_to(reference.mean(axis=0), reference.shape), reference, precision).holds


@pytest.mark.parametrize("name", QUICK)
def test_outputs_neither_vanish_nor_explode(name: str, folder: Path) -> None:
    reference = small(name, folder).reference(8)
    assert 0.05 < reference.std() < 20
    assert reference.std(axis=0).mean() > 0.1 * reference.std()  # and images matter


def test_the_same_seed_gives_the_same_model(folder: Path) -> None:
    size, settings = SMALL["unet"]
    weights, again = small("unet", folder).module.state_dict(), zoo_subject("unet", folder, size, **settings).module
    assert all((weights[key] == value).all() for key, value in again.state_dict().items())


def test_settled_normalisations_are_not_the_identity_and_fit_what_comes() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.Dropout())
    torch.nn.init.constant_(module[1].weight, 0.0)
    settle(module, 16)
    assert not module.training
    norm = module[1]
    assert norm.weight.std() > 0
    assert norm.bias.std() > 0
    x = module[0](torch.from_numpy(small("unet", Path()).images(8)))
    assert (x.mean((0, 2, 3)) - norm.running_mean).abs().max() < 0.5
    assert ((x.var((0, 2, 3)) / norm.running_var).log().abs() < 1).all()


def test_without_the_package_the_model_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench.zoo.table, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="model vit_b16: expected the package transformers"):
        named_subject("vit_b16", tmp_path)


def test_a_check_fails_beside_the_answers_of_other_weights(folder: Path) -> None:
    subject, (size, settings) = small("unet", folder), SMALL["unet"]
    other = zoo_subject("unet", folder, size, **settings)
    for parameter in other.module.parameters():
        parameter.data *= 1.001
    mixed = ZooSubject(subject.name, subject.module, subject.shape, folder)
    mixed.references.update({batch: other.reference(batch) for batch in BATCHES})
    assert not check(mixed, "torch", folder).holds
