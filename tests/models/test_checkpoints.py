"""Checkpoints in every shape people have them, and everything that is not one."""

import argparse
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alula.core.errors import CheckpointError
from alula.models.checkpoints import load_weights, read_checkpoint, resized_positions
from alula.models.digits import DIGITS
from alula.models.volo import Volo

CONFIG = replace(DIGITS, outlookers=1, transformers=(1,), class_blocks=1)


def model_of(seed: int, **changes: int) -> Volo:
    torch.manual_seed(seed)
    return Volo(replace(CONFIG, **changes)).eval()


def saved(path: Path, content: object, **options: bool) -> Path:
    torch.save(content, path, **options)
    return path


def same_answers(one: Volo, other: Volo) -> bool:
    images = torch.randn(2, 3, one.config.image_size, one.config.image_size)
    with torch.no_grad():
        return torch.equal(one(images), other(images))


def prefixed(state: dict) -> dict:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def uncounted(state: dict) -> dict:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        prefixed,
        uncounted,
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "state_dict": prefixed(state), "args": argparse.Namespace(lr=0.1), "metric": 85.2},
    ],
    ids=["plain", "module", "early", "wrapped", "training"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_loads(tmp_path, wrap, zipped):
    source, target = model_of(1), model_of(2)
    path = saved(tmp_path / "volo.pth.tar", wrap(source.state_dict()), _use_new_zipfile_serialization=zipped)
    assert not same_answers(source, target)
    assert load_weights(target, read_checkpoint(path)) == []
    assert same_answers(source, target)


def test_knows_its_own_size_and_classes(tmp_path):
    path = saved(tmp_path / "a.pth", model_of(1, image_size=64, num_classes=7).state_dict())
    checkpoint = read_checkpoint(path)
    assert (checkpoint.image_size(CONFIG.patch_size), checkpoint.num_classes) == (64, 7)
    assert checkpoint.file_name == "a.pth"


def cubic_along(x: np.ndarray, size: int) -> np.ndarray:
    """x[size,...] from x[n,...]: cubic convolution with a = -0.75 at half-pixel centres, the edge repeated."""
    n, a = x.shape[0], -0.75
    out = np.zeros((size, *x.shape[1:]))
    for i in range(size):
        spot = (i + 0.5) * n / size - 0.5
        first = int(np.floor(spot)) - 1
        for j in range(first, first + 4):
            t = abs(spot - j)
            near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
            out[i] += (near if t <= 1 else far) * x[min(max(j, 0), n - 1)]
    return out


@pytest.mark.parametrize(("old", "new"), [(14, 24), (14, 28), (24, 14), (4, 5), (3, 3)])
def test_resized_positions_are_bicubic(old, new):
    positions = torch.randn(1, old, old, 5)
    expected = cubic_along(positions[0].numpy(), new).swapaxes(0, 1)
    expected = cubic_along(expected, new).swapaxes(0, 1)
    np.testing.assert_allclose(resized_positions(positions, new)[0].numpy(), expected, atol=1e-5)


def test_another_image_size(tmp_path):
    source = model_of(1)
    larger = model_of(2, image_size=48)
    notes = load_weights(larger, read_checkpoint(saved(tmp_path / "a.pth", source.state_dict())))
    assert notes == ["a.pth: position embedding resized from 4x4 to 6x6"]
    assert torch.equal(larger.pos_embed, resized_positions(source.pos_embed, 6))
    assert torch.equal(larger.head.weight, source.head.weight)


def test_another_class_count_is_an_error_unless_asked_for(tmp_path):
    checkpoint = read_checkpoint(saved(tmp_path / "a.pth", model_of(1).state_dict()))
    model = model_of(2, num_classes=3)
    with pytest.raises(CheckpointError, match=re.escape("4 misshapen (aux_head.weight [10, 96] instead of [3, 96]")):
        load_weights(model, checkpoint)
    notes = load_weights(model, checkpoint, new_heads=True, seed=5)
    assert notes == [
        "a.pth: its heads for 10 classes are dropped; those for 3 classes are random (seed 5) and want training"
    ]
    again = model_of(3, num_classes=3)
    load_weights(again, checkpoint, new_heads=True, seed=5)
    assert same_answers(model, again)
    assert 0.01 < model.head.weight.std() < 0.03
    assert not torch.equal(model.head.weight, model.aux_head.weight)


def test_new_heads_keep_those_of_the_right_count(tmp_path):
    source, target = model_of(1), model_of(2)
    checkpoint = read_checkpoint(saved(tmp_path / "a.pth", source.state_dict()))
    assert load_weights(target, checkpoint, new_heads=True) == []
    assert same_answers(source, target)


def test_names_everything_that_does_not_fit(tmp_path):
    state = model_of(1).state_dict()
    del state["norm.bias"], state["cls_token"]
    state["extra.weight"] = torch.zeros(1)
    state["head.bias"] = torch.zeros(11)
    model = model_of(2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, read_checkpoint(saved(tmp_path / "a.pth", state)))
    assert str(caught.value) == (
        "checkpoint a.pth: expected the 66 entries of this VOLO for 32 pixels and 10 classes, got "
        "2 missing (cls_token, norm.bias); 1 unexpected (extra.weight); "
        "1 misshapen (head.bias [11] instead of [10])"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_another_architecture_is_one_line_of_bearable_length(tmp_path):
    path = saved(tmp_path / "a.pth", {f"layer{i}.weight": torch.zeros(2) for i in range(500)})
    with pytest.raises(CheckpointError) as caught:
        load_weights(model_of(1), read_checkpoint(path))
    text = str(caught.value)
    assert "500 unexpected (layer0.weight, layer1.weight, layer2.weight, layer3.weight and 496 more)" in text
    assert "\n" not in text
    assert len(text) < 500


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def hostile_zip(path: Path) -> None:
    saved(path, {"state_dict": Hostile(path.with_name("ran"))})


def hostile_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile(path.with_name("ran"))))


def truncated(path: Path) -> None:
    data = saved(path, model_of(1).state_dict()).read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.touch(), "expected tensors saved by PyTorch, got an empty file"),
        (lambda path: path.write_text("<html>not found</html>"), "got a damaged file or one of another kind"),
        (truncated, "got a damaged file or one of another kind"),
        (hostile_zip, "got a pickle that also wants posix.mkdir, which is not loaded for safety"),
        (hostile_pickle, "expected tensors saved by PyTorch, got a"),
        (lambda path: saved(path, [torch.zeros(1)]), "expected a state dict, got list"),
        (lambda path: saved(path, {}), "expected a state dict, got an empty dict"),
        (lambda path: saved(path, torch.zeros(1)), "expected a state dict, got Tensor"),
        (lambda path: saved(path, {"epoch": 1}), "expected a tensor for every name, got int at 'epoch'"),
        (lambda path: path.mkdir(), "expected a readable file, got Is a directory"),
        (lambda path: None, "expected a readable file, got No such file or directory"),
    ],
)
def test_not_a_checkpoint(tmp_path, make, expected):
    path = tmp_path / "a.pth"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert str(caught.value).startswith(f"checkpoint {path}: expected ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
