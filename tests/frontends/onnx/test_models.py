"""Whole models: real pretrained files beside ONNX Runtime, compiled, and what exporters leave behind."""

import io
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import alula
from alula.models.volo import Volo, VoloConfig
from alula.ops.reference import run_reference
from alula.passes.pipeline import optimise

TINY = VoloConfig(
    outlookers=1, transformers=(1,), widths=(16, 32), heads=(2, 4), stem_width=8, image_size=32, num_classes=10
)
SIZE, FEW, ALL, BATCH = 224, 32, 650, 16
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
REAL = {  # how pictures become inputs, and how many of all ONNX Runtime gets right
    "deit_tiny_patch16_224": (lambda x: (x / 255 - MEAN) / DEVIATION, 523),
    "mobilenet_v1_0.25_224": (lambda x: (x / 255 - 0.5) / 0.5, 423),
    "squeezenet_fp32_upcast": (lambda x: x[..., ::-1] - np.float32([104, 117, 123]), 476),
}


def pictures(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures, their centres alone, and their classes."""
    found, classes = [], []
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        for line in archive.read(names["labels.txt"]).decode().splitlines()[:count]:
            name, label = line.split()
            picture = np.asarray(Image.open(io.BytesIO(archive.read(names[Path(name).name]))).convert("RGB"))
            top, left = ((edge - SIZE) // 2 for edge in picture.shape[:2])
            found.append(picture[top : top + SIZE, left : left + SIZE])
            classes.append(int(label))
    return np.stack(found).astype(np.float32), np.array(classes)


def answers(path: Path, folder: Path, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ours, compiled, and ONNX Runtime's."""
    target = folder / "model.alula"
    alula.build(alula.from_onnx(path)).save(target)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = runtime.get_inputs()[0].name
    with alula.load(target) as session:
        step = 1 if session.inputs[0].shape[0] == 1 else BATCH
        pieces = [inputs[start : start + step] for start in range(0, len(inputs), step)]
        ours = np.concatenate([session.run(piece)[0] for piece in pieces])
        theirs = np.concatenate([runtime.run(None, {name: piece})[0] for piece in pieces])
    return ours.reshape(len(inputs), -1), theirs.reshape(len(inputs), -1)


def compare(name, count, shared_file, folder):
    """How many of ours and of ONNX Runtime's are right, once the answers agree."""
    prepare, _ = REAL[name]
    images, classes = pictures(shared_file("imagenet_val_650.zip"), count)
    inputs = np.ascontiguousarray(prepare(images).transpose(0, 3, 1, 2), np.float32)
    ours, theirs = answers(shared_file(f"models/{name}.onnx"), folder, inputs)
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
    assert np.array_equal(ours.argmax(1), theirs.argmax(1))
    return int((ours.argmax(1) == classes).sum())


@pytest.mark.parametrize("name", REAL)
def test_real_models_answer_as_onnx_runtime_does(name, shared_file, tmp_path):
    assert compare(name, FEW, shared_file, tmp_path) > FEW // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_models_get_as_many_right_as_onnx_runtime(name, shared_file, tmp_path):
    assert compare(name, ALL, shared_file, tmp_path) == REAL[name][1]


def texts(graph):
    """Ops with their attributes and operands' types, in no order."""
    return sorted(f"{node.op} {[str(value.type) for value in node.inputs]}" for node in graph.nodes)


def test_a_volo_is_the_same_by_both_ways(tmp_path):
    """Gathered windows, Col2Im, Erf and products come back as outlook attention, attention, GELU and linear layers."""
    torch.manual_seed(0)
    module, images = Volo(TINY).eval(), torch.randn(2, 3, 32, 32)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a bias of zeros would be left out
    batch = torch.export.Dim("batch", min=1, max=512)
    shapes, path = ({0: batch},), tmp_path / "volo.onnx"
    torch.onnx.export(module, (images,), path, dynamo=True, opset_version=20, dynamic_shapes=shapes, verbose=False)
    ours, theirs = optimise(alula.from_onnx(path)), optimise(alula.from_torch(module, (images,)))
    assert texts(ours) == texts(theirs)
    assert {"outlook_attention", "attention", "gelu"} <= {node.op.name for node in ours.nodes}
    (got,), wanted = run_reference(ours, [images.numpy()]), module(images).detach().numpy()
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()
