"""TensorFlow without what it says on the way: it logs to the terminal as soon as it is imported."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

LEVELS = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@contextmanager
def tensorflow() -> Iterator[str]:
    """TensorFlow's version; inside the block it is imported and says nothing, and it sees the processor alone.

    Its native code writes to the process's standard error, which goes nowhere meanwhile.  Raises ModuleNotFoundError
    where TensorFlow or tf2onnx is not installed.
    """
    before, disabled = dict(os.environ), logging.root.manager.disable
    os.environ.update({name: os.environ.get(name, level) for name, level in LEVELS.items()})
    logging.disable(logging.CRITICAL)
    try:
        said = io.StringIO()
        with _no_standard_error(), redirect_stderr(said), redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow as tf
            import tf2onnx  # noqa: F401  needed next: found missing here

            yield str(tf.__version__)
    finally:
        logging.disable(disabled)
        for name in LEVELS:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def _no_standard_error() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
