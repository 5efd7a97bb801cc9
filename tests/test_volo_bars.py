"""A full-size VOLO against PyTorch, and what one model file promises: each batch, each thread count, equal bits."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import alula
from alula.models import volo

ROOT = Path(__file__).resolve().parent.parent
CLOSEST = 5e-6  # max abs difference / max abs logit; PyTorch itself is at 5e-7 of float64
ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnxscript", "onnxruntime", "sklearn"}:
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
import numpy as np
import alula

model, images, logits = sys.argv[1:]
with alula.load(model, threads=2) as session:
    np.save(logits, session.run(np.load(images))[0])
try:
    alula.from_torch(None)
except alula.AlulaError as error:
    print(error)
"""


@dataclass(frozen=True)
class Case:
    """VOLO-D1 with random weights as a model file, pictures for it, and PyTorch's logits."""

    path: Path
    images: np.ndarray
    logits: np.ndarray


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    module = volo.volo_d1().eval()
    path = tmp_path_factory.mktemp("d1") / "volo_d1.alula"
    alula.build(alula.from_torch(module, (torch.zeros(1, 3, 224, 224),))).save(path)
    images = np.random.default_rng(0).standard_normal((7, 3, 224, 224), np.float32)
    with torch.inference_mode():
        return Case(path, images, module(torch.from_numpy(images)).numpy())


@pytest.fixture(scope="module")
def session(case: Case) -> alula.Session:
    return alula.load(case.path, threads=2)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_logits_are_pytorchs(case: Case, session: alula.Session, batch: int) -> None:
    (logits,) = session.run(case.images[:batch])
    expected = case.logits[:batch]
    assert np.abs(logits - expected).max() / np.abs(expected).max() <= CLOSEST
    np.testing.assert_array_equal(logits.argmax(1), expected.argmax(1))


def test_rows_do_not_depend_on_the_batch(case: Case, session: alula.Session) -> None:
    """In any order of batches: what a larger one leaves in the arena must not show."""
    alone = np.concatenate([session.run(case.images[row : row + 1])[0] for row in range(7)])
    for batch in (7, 2, 5, 1):
        np.testing.assert_array_equal(session.run(case.images[:batch])[0], alone[:batch])
    np.testing.assert_array_equal(session.run(case.images[::-1])[0], alone[::-1])


@pytest.mark.parametrize("threads", [1, 4])
def test_bits_do_not_depend_on_the_threads(case: Case, session: alula.Session, threads: int) -> None:
    with alula.load(case.path, threads=threads) as other:
        assert other.threads == threads
        np.testing.assert_array_equal(other.run(case.images[:3])[0], session.run(case.images[:3])[0])


def test_runs_without_torch_and_onnx(case: Case, session: alula.Session, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", case.images[:2])
    command = [sys.executable, "-c", ALONE, str(case.path), str(tmp_path / "images.npy"), str(tmp_path / "logits.npy")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("from_torch: expected torch to be installed (pip install 'alula[torch]')")
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), session.run(case.images[:2])[0])


WRONG = [
    (np.zeros((1, 3, 224, 224)), r"expected images? .*f32\[N,3,224,224\], got float64\[1, 3, 224, 224\]"),
    (np.zeros((1, 224, 224, 3), np.uint8), r"f32\[N,3,224,224\], got uint8\[1, 224, 224, 3\]"),
    (np.zeros((3, 224, 224), np.float32), r"got float32\[3, 224, 224\]"),
    (np.zeros((1, 3, 224, 225), np.float32), r"got float32\[1, 3, 224, 225\]"),
    (np.zeros((0, 3, 224, 224), np.float32), r"expected a batch of 1\.\.512, got 0"),
    ([[1.0]], r"got list"),
]


@pytest.mark.parametrize(("images", "message"), WRONG)
def test_wrong_input_is_refused(session: alula.Session, images: object, message: str) -> None:
    with pytest.raises(alula.AlulaError, match=message):
        session.run(images)
    with pytest.raises(alula.AlulaError, match="expected 1 arrays, got 2"):
        session.run(images, images)


def test_strided_and_unaligned_input_is_copied(case: Case, session: alula.Session) -> None:
    expected = session.run(case.images[:2])[0]
    wide = np.zeros((2, 224, 224, 6), np.float32)
    wide[..., ::2] = case.images[:2].transpose(0, 2, 3, 1)
    raw = np.empty(case.images[:2].nbytes + 1, np.uint8)
    shifted = raw[1:].view(np.float32).reshape(2, 3, 224, 224)
    shifted[:] = case.images[:2]
    assert not shifted.flags.aligned
    for images in (wide[..., ::2].transpose(0, 3, 1, 2), shifted):
        np.testing.assert_array_equal(session.run(images)[0], expected)


def test_a_closed_session_says_so(case: Case) -> None:
    session = alula.load(case.path, threads=1)
    session.close()
    session.close()
    with pytest.raises(alula.AlulaError, match="expected an open one, got a closed one"):
        session.run(case.images[:1])
