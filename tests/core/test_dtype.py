"""Element types against PyTorch's, which has bfloat16 and the same conversions."""

import numpy as np
import pytest
import torch

from alula.core.dtype import BFLOAT16_STORAGE, DType, cast_array, from_bfloat16, to_bfloat16

TORCH = {
    DType.BOOL: torch.bool,
    DType.U8: torch.uint8,
    DType.U16: torch.uint16,
    DType.U32: torch.uint32,
    DType.U64: torch.uint64,
    DType.I8: torch.int8,
    DType.I16: torch.int16,
    DType.I32: torch.int32,
    DType.I64: torch.int64,
    DType.F16: torch.float16,
    DType.BF16: torch.bfloat16,
    DType.F32: torch.float32,
    DType.F64: torch.float64,
}


def float_bits() -> np.ndarray:
    """Every sign and exponent with mantissas around each rounding boundary of bfloat16; infinities and NaN too."""
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (high[:, None] | low).reshape(-1).view(np.float32)


def test_bfloat16_rounds_as_pytorch() -> None:
    values = float_bits()
    wanted = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    got = to_bfloat16(values).view(np.uint16)
    nan = np.isnan(values)
    assert np.array_equal(got[~nan], wanted[~nan])
    assert np.isnan(from_bfloat16(to_bfloat16(values[nan]))).all()


def test_bfloat16_widens_exactly() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    wanted = torch.from_numpy(bits).view(torch.bfloat16).float().numpy()
    got = from_bfloat16(bits.view(BFLOAT16_STORAGE))
    assert np.array_equal(got.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3)])
def test_bfloat16_keeps_shapes(shape: tuple[int, ...]) -> None:
    values = np.full(shape, np.nan, np.float32)
    stored = to_bfloat16(values)
    assert (stored.shape, stored.dtype) == (shape, BFLOAT16_STORAGE)
    assert from_bfloat16(stored).shape == shape
    assert cast_array(stored, DType.F16).shape == shape


def test_bfloat16_takes_strided_arrays() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3]
    stored = to_bfloat16(values)
    assert np.array_equal(from_bfloat16(stored), values)
    assert np.array_equal(from_bfloat16(stored.T), values.T)


@pytest.mark.parametrize("dtype", DType)
def test_storage(dtype: DType) -> None:
    assert dtype.bytes == torch.empty(0, dtype=TORCH[dtype]).element_size()
    assert dtype.is_float == TORCH[dtype].is_floating_point
    assert DType.of(np.zeros(2, dtype.numpy)) is dtype
    assert DType(str(dtype)) is dtype


@pytest.mark.parametrize("storage", ["c8", "O", "S3", "U2", "M8[s]", "V4", [("a", "<u2")]])
def test_types_that_graphs_cannot_hold(storage: object) -> None:
    with pytest.raises(TypeError, match="expected a boolean, integer or float type"):
        DType.of(np.zeros(1, storage))


@pytest.mark.parametrize("target", DType)
@pytest.mark.parametrize("source", [DType.F32, DType.F64, DType.F16, DType.BF16])
def test_float_casts_as_pytorch(source: DType, target: DType) -> None:
    values = torch.tensor([0.0, -0.0, 0.5, 1.5, 2.5, 99.99, 100.4, 127.0], dtype=torch.float64).to(TORCH[source])
    signed = torch.cat([values, -values]) if target.is_float or str(target).startswith("i") else values
    array = signed.view(torch.uint16).numpy().view(BFLOAT16_STORAGE) if source is DType.BF16 else signed.numpy()
    wanted = signed.to(TORCH[target])
    got = cast_array(array, target)
    assert DType.of(got) is target
    if target is DType.BF16:
        assert np.array_equal(got.view(np.uint16), wanted.view(torch.uint16).numpy())
    else:
        assert np.array_equal(got, wanted.numpy())


@pytest.mark.parametrize("target", DType)
@pytest.mark.parametrize("source", [DType.I64, DType.U8, DType.BOOL])
def test_integer_casts_as_pytorch(source: DType, target: DType) -> None:
    values = np.array([0, 1, 100, 127, 128, 255], np.int64).astype(source.numpy)
    wanted = torch.from_numpy(values).to(TORCH[target])
    got = cast_array(values, target)
    if target is DType.BF16:
        assert np.array_equal(got.view(np.uint16), wanted.view(torch.uint16).numpy())
    else:
        assert np.array_equal(got, wanted.numpy())


def test_overflowing_casts_give_infinity_without_a_warning() -> None:
    assert np.array_equal(cast_array(np.array([1e6, -1e6], np.float32), DType.F16), [np.inf, -np.inf])
    assert np.array_equal(from_bfloat16(cast_array(np.array([1e39]), DType.BF16)), [np.inf])
