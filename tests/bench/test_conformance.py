"""The runner of ONNX's node tests: what counts as an answer, what is bound, and the page."""

import numpy as np

from bench import conformance
from bench.conformance import PASSED, READ, UNSUPPORTED, WRONG, Outcome, difference


def test_some_tests_from_end_to_end() -> None:
    outcomes = {o.name: o for o in conformance.run_all({"test_relu", "test_clip_example", "test_tile", "test_det_2d"})}
    assert outcomes["test_relu"] == Outcome("test_relu", "Relu", PASSED)
    assert outcomes["test_tile"] == Outcome("test_tile", "Tile", READ, "y")
    missing = outcomes["test_det_2d"]
    assert missing.verdict == UNSUPPORTED
    assert "expected operators that Alula knows, got Det" in missing.detail


def test_differences() -> None:
    one = np.ones(3, np.float32)
    assert difference(one, one + np.float32(1e-6), 1e-3, 1e-7) == ""
    assert difference(one, one * 2, 1e-3, 1e-7) == "off by 1"
    assert difference(one, one[:2], 1e-3, 1e-7) == "float32[3] for float32[2]"
    assert difference(one.astype(np.int64), np.zeros(3, np.int64), 1e-3, 1e-7) == "3 of 3 elements"
    assert difference(np.float32([np.nan]), np.float32([np.nan]), 1e-3, 1e-7) == ""


def test_page() -> None:
    text = conformance.page([Outcome("a", "Relu", PASSED), Outcome("b", "Relu", WRONG), Outcome("c", "Add", READ)])
    assert "| Add |  | 1 |  |  |  |" in text
    assert "| Relu | 1 |  | 1 |  |  |" in text
