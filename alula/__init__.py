"""Alula compiles trained vision models for fast inference on the machine you have.

Importing it loads neither torch nor onnx nor LLVM: each name below brings what it needs at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from alula.core.errors import AlulaError

if TYPE_CHECKING:
    from alula import models
    from alula.compiler import BuildConfig, Model, build, calibrate
    from alula.frontends.onnx import from_onnx
    from alula.frontends.tensorflow import from_tensorflow
    from alula.frontends.torch import from_torch
    from alula.quant.calibration import Calibration
    from alula.quant.scheme import Scheme
    from alula.runtime.session import Session, load
    from alula.specialise import OnnxSession

__version__ = "0.1.0"

__all__ = [
    "AlulaError",
    "BuildConfig",
    "Calibration",
    "Model",
    "OnnxSession",
    "Scheme",
    "Session",
    "build",
    "calibrate",
    "from_onnx",
    "from_tensorflow",
    "from_torch",
    "load",
    "models",
]

_HOMES = {
    "BuildConfig": "alula.compiler",
    "Model": "alula.compiler",
    "build": "alula.compiler",
    "calibrate": "alula.compiler",
    "Calibration": "alula.quant.calibration",
    "Scheme": "alula.quant.scheme",
    "from_onnx": "alula.frontends.onnx",
    "from_tensorflow": "alula.frontends.tensorflow",
    "from_torch": "alula.frontends.torch",
    "Session": "alula.runtime.session",
    "load": "alula.runtime.session",
    "OnnxSession": "alula.specialise",
}


def __getattr__(name: str) -> Any:
    """The public names, and subpackages, at their first use (PEP 562)."""
    if name == "models":
        return import_module("alula.models")
    if name not in _HOMES:
        raise AttributeError(f"module 'alula' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
