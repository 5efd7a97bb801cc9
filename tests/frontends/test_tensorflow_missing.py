"""What `from_tensorflow` says where TensorFlow is not installed or dies, and what it takes for TensorFlow's."""

import sys

import pytest

import alula
from alula.core.errors import ImportFailed
from alula.frontends.tensorflow import child, is_tensorflow


def test_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    path = tmp_path / "m.keras"
    path.write_bytes(b"")
    with pytest.raises(ImportFailed, match=r"expected tensorflow and tf2onnx \(pip install 'alula\[tensorflow\]'\)"):
        alula.from_tensorflow(path)


def test_a_model_that_ends_the_process(tmp_path, monkeypatch):
    """TensorFlow's native code may abort over a damaged file: that is the child's end, not ours."""
    script, path = tmp_path / "python", tmp_path / "m.pb"
    script.write_text("#!/bin/sh\nkill -ABRT $$\n")
    script.chmod(0o700)
    path.write_bytes(b"")
    monkeypatch.setattr(child, "NEEDED", ())
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(ImportFailed, match=r"m\.pb: expected a TensorFlow model, got one .* ended over \(SIGABRT\)"):
        alula.from_tensorflow(path)


def test_without_a_file(tmp_path):
    with pytest.raises(ImportFailed, match=r"m.keras: expected a TensorFlow model, got no such file or folder"):
        alula.from_tensorflow(tmp_path / "m.keras")


def test_what_is_tensorflows(tmp_path):
    saved = tmp_path / "saved"
    saved.mkdir()
    assert not is_tensorflow(saved)
    (saved / "saved_model.pb").write_bytes(b"")
    assert is_tensorflow(saved)
    assert all(is_tensorflow(tmp_path / name) for name in ("m.keras", "m.H5", "m.hdf5", "m.pb"))
    assert not any(is_tensorflow(tmp_path / name) for name in ("m.onnx", "m.pt", "m.pt2", "m"))
