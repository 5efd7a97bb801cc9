"""What counts as a right answer in each precision: figures worked out by hand, and the mistakes of engines."""

import numpy as np
import pytest

from alula.core.dtype import Array
from bench.agreement import Agreement, agreement
from bench.precision import BFLOAT16, FLOAT16, FLOAT32, INT8, PRECISIONS, Precision

RNG = np.random.default_rng(0)
# Answers of a model with random weights: much the same for every image.
ALIKE = (RNG.standard_normal(1000) + 0.03 * RNG.standard_normal((8, 1000))).astype(np.float32)


def off_by(share: float) -> Array:
    """ALIKE with normal noise, the largest being this share of the largest value."""
    noise = np.random.default_rng(1).standard_normal(ALIKE.shape)
    return (ALIKE + noise / np.abs(noise).max() * share * np.abs(ALIKE).max()).astype(np.float32)


def test_it_is_relative_to_the_largest_reference() -> None:
    reference = np.array([[1.0, -8.0], [2.0, 1.0]], np.float32)
    assert agreement(reference, reference, FLOAT32) == Agreement(FLOAT32, 0.0, pytest.approx(1.0), 1.0)
    moved = reference + np.array([[0, 0.5], [0, 0]], np.float32)
    found = agreement(moved, reference, FLOAT32)
    assert (found.error, found.same_argmax) == (0.0625, 1)
    # Half of the distance between the images: (-0.5, -4.5) became (-0.5, -4.25).
    assert found.cosine == pytest.approx((0.25 + 4.5 * 4.25) / np.hypot(0.5, 4.5) / np.hypot(0.5, 4.25))
    assert not found.holds


def test_one_image_has_nothing_to_tell_it_from_others() -> None:
    assert agreement(ALIKE[:1], ALIKE[:1], FLOAT32).cosine == 1


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(np.array([[1 + 1e-6, 1]], np.float32)[:, ::-1], id="another arg-max"),
        pytest.param(np.array([[np.nan, 1]], np.float32), id="not a number"),
        pytest.param(np.array([[1 + 1e-6, 1, 0]], np.float32), id="another shape"),
    ],
)
def test_float32_refuses(output: Array) -> None:
    reference = np.array([[1 + 1e-6, 1]], np.float32)
    found = agreement(output, reference, FLOAT32)
    assert not found.holds
    assert not np.isnan([found.error, found.cosine, found.same_argmax]).any()  # JSON has no not-a-number


@pytest.mark.parametrize(("precision", "rounding"), [(FLOAT32, 1e-6), (FLOAT16, 1e-3), (BFLOAT16, 1e-2), (INT8, 2e-2)])
def test_rounding_is_allowed_and_ten_times_as_much_is_not(precision: Precision, rounding: float) -> None:
    assert agreement(off_by(rounding), ALIKE, precision).holds
    assert not agreement(off_by(10 * precision.largest_error), ALIKE, precision).holds


def test_a_lower_precision_may_choose_another_of_two_near_classes() -> None:
    reference = np.array([[1, 0.9999, -1], [-1, 0, 1]], np.float32)
    output = np.array([[1, 1.0001, -1], [-1, 0, 1]], np.float32)
    assert agreement(output, reference, INT8).same_argmax == 0.5
    assert agreement(output, reference, INT8).holds
    assert not agreement(output, reference, FLOAT32).holds


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=list(PRECISIONS))
@pytest.mark.parametrize(
    "output",
    [
        pytest.param(np.roll(ALIKE, 1, axis=0), id="images mixed up"),
        pytest.param(np.broadcast_to(ALIKE.mean(axis=0), ALIKE.shape), id="one answer for all"),
        pytest.param(ALIKE[:, ::-1], id="classes mixed up"),
        pytest.param(np.where(np.arange(8)[:, None] == 7, 0, ALIKE), id="the last image lost"),
        pytest.param(1.2 * ALIKE, id="another scale"),
    ],
)
def test_every_precision_refuses_a_wrong_answer(output: Array, precision: Precision) -> None:
    assert not agreement(output, ALIKE, precision).holds


def test_the_size_alone_would_let_mixed_up_images_pass() -> None:
    """Control: without the cosine the mistakes above would be taken for rounding."""
    found = agreement(np.broadcast_to(ALIKE.mean(axis=0), ALIKE.shape), ALIKE, INT8)
    assert found.error < INT8.largest_error
    assert found.cosine == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("pixels", "holds"), [(3, True), (6, False)])
def test_few_of_thousands_of_pixels_may_choose_another_of_two_near_classes(pixels: int, holds: bool) -> None:
    reference = np.random.default_rng(0).standard_normal((2, 50, 50, 3)).astype(np.float32)
    reference[0, :pixels, 0] = 1, 1.0001, -5
    output = reference.copy()
    output[0, :pixels, 0] = 1.0001, 1, -5
    assert agreement(output, reference, FLOAT32).holds is holds
