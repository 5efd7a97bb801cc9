import numpy as np

from alula.passes.whole_steps import whole_steps


def test_levels_and_steps_of_float32_products_are_found_again() -> None:
    random = np.random.default_rng(0)
    levels = random.integers(-127, 128, (64, 3, 3, 5)).astype(np.int8)
    levels[1], levels[2, 0, 0, 0] = 0, -128
    steps = random.uniform(1e-6, 10, (64, 1, 1, 1)).astype(np.float32)
    found, again = whole_steps(levels * steps) or (None, None)
    assert found.dtype == np.int8
    np.testing.assert_allclose(found * again[:, None, None, None], levels * steps.astype(np.float64), rtol=1e-6)
    whole = np.abs(levels.astype(int)).reshape(64, -1).max(axis=1) >= 127
    np.testing.assert_array_equal(found[whole], levels[whole])


def test_few_levels_become_as_many_as_fit() -> None:
    levels, steps = whole_steps(np.array([[0.5, -1.0, 0.25], [0.0, 3.0, 0.0]], np.float32)) or (None, None)
    np.testing.assert_array_equal(levels, [[64, -128, 32], [0, 127, 0]])
    np.testing.assert_allclose(steps, [1 / 128, 3 / 127])


def test_weights_that_are_no_multiples() -> None:
    random = np.random.default_rng(1)
    assert whole_steps(random.standard_normal((4, 8)).astype(np.float32)) is None
    assert whole_steps(np.array([[1.0, 129 / 128]], np.float32)) is None  # 129 levels
    assert whole_steps(np.array([[1.0, -1.0 + 1e-7]], np.float32)) is not None
    assert whole_steps(np.array([[1.0, -1.0 + 1e-4]], np.float32)) is None
