"""Recurrent layers and Fourier transforms: ONNX Runtime's answers, and NumPy's."""

import numpy as np
import pytest
from onnx import helper

from alula.frontends.onnx import from_onnx
from alula.ops.reference import run_reference
from tests.frontends.onnx.models import FLOAT, Case, case_agrees, model, normal, saved, value

STEPS, BATCH, SIZE, TAKEN = 5, 2, 4, 3
X = normal(STEPS, BATCH, TAKEN)
LAYERS = {"RNN": (1, 2), "GRU": (3, 2), "LSTM": (4, 3)}  # gates, results


def operands(name, directions=1, bias=True, states=False, peepholes=False):
    gates = LAYERS[name][0]
    w, r = normal(directions, gates * SIZE, TAKEN) * 0.5, normal(directions, gates * SIZE, SIZE) * 0.5
    b = normal(directions, 2 * gates * SIZE) * 0.3 if bias else None
    start = [normal(directions, BATCH, SIZE, seed=n) if states else None for n in range(LAYERS[name][1] - 1)]
    return [X, w, r, b, None, *start, *([normal(directions, 3 * SIZE) * 0.3] if peepholes else [])]


CASES = {
    **{
        f"{name}, {direction}": Case(
            name,
            operands(name, 2 if direction == "bidirectional" else 1, states=direction != "reverse"),
            {"hidden_size": SIZE, "direction": direction},
            results=results,
        )
        for name, (_, results) in LAYERS.items()
        for direction in ("forward", "reverse", "bidirectional")
    },
    "GRU, reset after": Case("GRU", operands("GRU"), {"hidden_size": SIZE, "linear_before_reset": 1}, results=2),
    "RNN, relu": Case("RNN", operands("RNN", bias=False), {"hidden_size": SIZE, "activations": ["Relu"]}),
    "LSTM, peepholes": Case("LSTM", operands("LSTM", peepholes=True), {"hidden_size": SIZE}, results=3),
    "LSTM of a run": Case("LSTM", operands("LSTM"), {"hidden_size": SIZE}, constants=4),
}


@pytest.mark.parametrize("name", CASES)
def test_layers(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 5e-6)


COMPLEX = normal(2, 6, 3, 2)
FFT = {
    "opset 17": (17, normal(2, 6, 1), {}, []),
    "axis, opset 17": (17, COMPLEX, {"axis": 2, "inverse": 1}, []),
    "real": (20, normal(2, 6, 1), {}, []),
    "onesided": (20, normal(2, 6, 1), {"onesided": 1}, []),
    "inverse": (20, COMPLEX, {"inverse": 1}, [None, 1]),
    "shorter": (20, COMPLEX, {}, [4, -3]),
    "longer": (20, COMPLEX, {}, [9, 1]),
    "back to real": (20, normal(2, 4, 2), {"onesided": 1, "inverse": 1}, [6, 1]),
}


def by_numpy(x, opset, attributes, more):
    axis = (attributes.get("axis", 1) if opset < 20 else more[1] if len(more) > 1 else -2) % x.ndim
    count = more[0] if more else None
    signal = (x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]).astype(complex)
    inverse, onesided = attributes.get("inverse"), attributes.get("onesided")
    if inverse and onesided:
        return np.fft.irfft(signal, count, axis)[..., None]
    y = np.fft.ifft(signal, count, axis) if inverse else np.fft.fft(signal, count, axis)
    y = np.take(y, np.arange(y.shape[axis] // 2 + 1), axis) if onesided else y
    return np.stack([y.real, y.imag], -1)


@pytest.mark.parametrize("name", FFT)
def test_fourier_transforms(name, tmp_path):
    opset, x, attributes, more = FFT[name]
    names = ["" if number is None else f"c{n}" for n, number in enumerate(more)]
    weights = {key: np.asarray(number) for key, number in zip(names, more, strict=True) if key}
    node = helper.make_node("DFT", ["x", *names], ["y"], **attributes)
    graph = from_onnx(saved(model([node], [value("x", x)], [value("y", FLOAT, None)], opset, weights), tmp_path))
    (got,) = run_reference(graph, [x])
    np.testing.assert_allclose(got, by_numpy(x, opset, attributes, more), rtol=1e-5, atol=2e-6)
