"""TensorFlow in a process of its own: what it says, what it sets and how it ends stay there.

Of a damaged model its native code may end the process; its logs go to the terminal; and it needs memory that nobody
needs afterwards.  `python -m alula.frontends.tensorflow.child MODEL FOLDER` converts a model into the folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from alula.core import errors
from alula.core.errors import AlulaError, ImportFailed

if TYPE_CHECKING:
    from onnx import ModelProto

NEEDED = ("tensorflow", "tf2onnx", "onnx")
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONSAFEPATH": "1"}
MODEL, ANSWER = "model.onnx", "answer.json"
ROOT = Path(__file__).parents[3]  # where `alula` lies


def converted(path: Path) -> tuple[ModelProto, str]:
    """The model at `path` as an ONNX message, and TensorFlow's version.  Raises what `from_tensorflow` raises."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ImportFailed(
            f"from_tensorflow: expected tensorflow and tf2onnx (pip install 'alula[tensorflow]'), got no {missing[0]}"
        )
    from onnx import ModelProto

    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(path), folder],
            check=False,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        answer = Path(folder, ANSWER)
        if not answer.exists():
            end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
            raise ImportFailed(f"{path}: expected a TensorFlow model, got one that TensorFlow ended over ({end})")
        said = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        model = ModelProto()
        model.ParseFromString(Path(folder, MODEL).read_bytes())
        return model, said["version"]


def main(path: Path, folder: Path) -> None:
    """Writes the model and the version into the folder, or what was wrong."""
    try:
        import tensorflow as tf

        from alula.frontends.tensorflow.convert import onnx_model

        (folder / MODEL).write_bytes(onnx_model(path).SerializeToString())
        answer = {"version": str(tf.__version__)}
    except AlulaError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
