"""Recurrent layers as ONNX Runtime has them."""

import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal

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
