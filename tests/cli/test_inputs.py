from pathlib import Path

import numpy as np
import pytest

from alula.cli.inputs import read_inputs, write_outputs
from alula.core.dtype import DType
from alula.core.errors import UsageError
from tests.cli.fake_session import FakePort, FakeSession

PORTS = (FakePort("a", DType.F32, (None, 2)), FakePort("b", DType.U8, (3,)))


def test_files_hold_the_elements_in_order(tmp_path: Path) -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([7, 8, 9], np.uint8)
    write_outputs(tmp_path / "out", [a, b])
    paths = [tmp_path / "out" / name for name in ("output0", "output1")]
    assert [path.stat().st_size for path in paths] == [24, 3]
    read = read_inputs(FakeSession(inputs=PORTS), 3, paths)
    for array, expected in zip(read, (a, b), strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_another_number_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(23))
    (tmp_path / "b").write_bytes(bytes(3))
    with pytest.raises(UsageError, match=r"/a: expected 24 bytes for .* with a batch of 3, got 23"):
        read_inputs(FakeSession(inputs=PORTS), 3, [tmp_path / "a", tmp_path / "b"])


def test_another_number_of_files() -> None:
    with pytest.raises(UsageError, match="input files: expected 2, one for each input, got 1"):
        read_inputs(FakeSession(inputs=PORTS), 3, [Path("a")])
