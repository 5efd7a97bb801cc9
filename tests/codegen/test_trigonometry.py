"""Trigonometric and hyperbolic kernels: the nearest float32 or the one beside it, everywhere."""

import numpy as np
import pytest

from alula.codegen.kernels.trigonometry import FORMULAS, widened
from alula.ops.trigonometry import LARGEST_ANGLE, Cos, Sin, Tan
from tests.codegen.test_math import TARGETS, evaluate, samples, ulps  # noqa: F401  a fixture

ANGLES = (Sin, Cos, Tan)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", FORMULAS, ids=lambda op: op.name)
def test_error(op, target, jit, samples):  # noqa: F811
    rule = widened(FORMULAS[op])
    got = evaluate(jit, target, lambda e, x: rule(e, op(), x), samples)
    with np.errstate(all="ignore"):
        wanted = op().formula(samples.astype(np.float64))
    assert np.array_equal(np.isnan(got), np.isnan(wanted.astype(np.float32)))
    exact = got == wanted.astype(np.float32)
    finite = ~np.isnan(got) & ~exact
    assert np.all(np.abs(ulps(got[finite], wanted[finite])) <= 0.51), op.name
    assert exact.sum() + np.isnan(got).sum() > 0.999 * samples.size


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ANGLES, ids=lambda op: op.name)
def test_large_angles(op, target, jit):
    x = (np.random.default_rng(0).uniform(1, LARGEST_ANGLE, 4096)).astype(np.float32)
    rule = widened(FORMULAS[op])
    got = evaluate(jit, target, lambda e, v: rule(e, op(), v), x)
    wanted = op().formula(x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=2e-7, atol=1e-9)
