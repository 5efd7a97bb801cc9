from pathlib import Path

import numpy as np
import pytest

from alula.analysis.anchors import matched
from alula.analysis.sensitivity import injected, sensitivities
from alula.ops.reference import run_reference
from tests.analysis.models import pictures, read, shrink_scale, zero_largest_channel

DATA = [[pictures(2, seed=100)], [pictures(2, seed=102)]]


def test_an_injected_error_is_what_the_outputs_differ_by(plain_file: Path, byte_file: Path) -> None:
    graph, _ = read(plain_file)
    pairs = matched(read(byte_file)[0], graph)
    run = injected(graph, pairs)
    inputs = DATA[0]
    (plain,) = run(inputs, {})
    np.testing.assert_allclose(plain, run_reference(graph, inputs)[0], rtol=1e-4, atol=1e-5)
    last = len(pairs) - 1
    error = np.random.default_rng(0).standard_normal(plain.shape).astype(np.float32)
    assert pairs[last].label.startswith("linear head")
    np.testing.assert_allclose(run(inputs, {last: error})[0], plain + error, rtol=1e-4, atol=1e-5)
    stem = np.ones((2, 16, 16, 16), np.float32)
    assert np.abs(run(inputs, {0: stem})[0] - plain).max() > 0.01
    np.testing.assert_array_equal(run(inputs, {})[0], plain)


def test_sums_over_all_data(plain_file: Path, byte_file: Path) -> None:
    (byte, _), (plain, _) = read(byte_file), read(plain_file)
    whole = sensitivities(byte, plain, DATA)
    first, second = (sensitivities(byte, plain, [inputs]) for inputs in DATA)
    for one, a, b in zip(whole, first, second, strict=True):
        assert one.noise == pytest.approx(a.noise + b.noise)
        assert one.output_noise == pytest.approx(a.output_noise + b.output_noise)
        assert 20 < one.snr_db < 70
        assert one.relative == pytest.approx(10 ** (-one.snr_db / 20))
        assert one.channel >= one.relative
        assert 0.99 < one.cosine < 1


@pytest.mark.parametrize("plant", [shrink_scale, zero_largest_channel])
def test_a_fault_has_the_largest_error(plain_file: Path, byte_file: Path, tmp_path: Path, plant) -> None:
    plain, _ = read(plain_file)
    labels = [one.label for one in sensitivities(read(byte_file)[0], plain, DATA[:1])]
    for label in labels[1:]:
        damaged, _ = read(plant(byte_file, label, tmp_path / "damaged.alula"))
        found = sensitivities(damaged, plain, DATA[:1])
        assert max(found, key=lambda one: one.channel).label == label
