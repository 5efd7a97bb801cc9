import ctypes
import hashlib

import numpy as np
import pytest

from alula.codegen.library.session import ANY_X86_64
from alula.codegen.library.sha256 import BLOCK_BYTES, DIGEST_BYTES, emit_sha256
from alula.codegen.module import Code
from alula.runtime.native import linked


@pytest.fixture(scope="module")
def digest():
    code = Code(ANY_X86_64)
    emit_sha256(code).linkage = ""
    library = linked(code.object(), ["alula_sha256"])
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)(library["alula_sha256"])

    def run(data: np.ndarray) -> bytes:
        assert library
        out = np.zeros(DIGEST_BYTES, np.uint8)
        function(data.ctypes.data, data.nbytes, out.ctypes.data)
        return out.tobytes()

    return run


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 1000])
def test_digest_is_that_of_hashlib(digest, blocks):
    for data in (
        np.random.default_rng(blocks).integers(0, 256, blocks * BLOCK_BYTES, np.uint8),
        np.full(blocks * BLOCK_BYTES, 255, np.uint8),
    ):
        assert digest(data) == hashlib.sha256(data).digest()


def test_data_need_not_be_aligned(digest):
    data = np.random.default_rng(0).integers(0, 256, 2 * BLOCK_BYTES + 1, np.uint8)[1:]
    assert digest(data) == hashlib.sha256(data).digest()
