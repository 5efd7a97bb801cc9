"""Linking in processes whose address space is crowded."""

import subprocess
import sys

from tests.runtime.test_session import built

# Leaves only single pages free above 16 GiB that are nobody's: a section of one page lies far above the code.
CROWDED = """
import ctypes, sys
import numpy as np
import alula

alula.load(sys.argv[1], threads=1).close()  # what has to be imported is
system, nobodys = ctypes.CDLL(None), 0x4022  # MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
system.mmap.restype = ctypes.c_void_p
system.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
system.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
base = system.mmap(None, 16 << 30, 0, nobodys, -1, 0)
for size in (64 << 20, 1 << 20, 8 << 10):
    while (place := system.mmap(None, size, 0, nobodys, -1, 0)) > base:
        pass
    system.munmap(place, size)
session = alula.load(sys.argv[1], threads=1)
print(session.run(np.ones((1, 50, 320), np.float32))[0].shape)
"""


def test_code_and_its_tables_lie_together(tmp_path):
    """LLVM's older linker places them one by one and ends the process where they are over 2 GiB apart."""
    model = built(tmp_path / "m.alula")
    done = subprocess.run([sys.executable, "-c", CROWDED, str(model)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(1, 50, 320)\n"), done.stderr[-500:]
