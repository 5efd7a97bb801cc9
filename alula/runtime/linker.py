"""Object files to a shared library, by the system's linker: it needs neither a compiler nor headers to be there."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from alula.core.errors import CodegenError

LINKERS = ("ld", "ld.lld", "ld.gold", "mold")
OPTIONS = ("-shared", "-z", "defs", "-z", "now", "-z", "relro", "-z", "noexecstack", "--as-needed", "--strip-all")
LIBRARIES = re.compile(r"/lib(?:c|m|pthread)\.so\.\d+$")  # what a program's code may call
LINES_SHOWN = 3


def link_library(objects: Mapping[str, bytes], soname: str, exports: Sequence[str]) -> bytes:
    """The shared library of some object files (name -> content), which exports these functions and no others.

    The same objects give the same bytes.  Raises CodegenError where there is no linker or it refuses.
    """
    linker = _linker()
    with tempfile.TemporaryDirectory(prefix="alula-") as folder:
        for name, content in objects.items():
            Path(folder, name).write_bytes(content)
        names = "; ".join(exports)
        Path(folder, "exports").write_text(f"{{ global: {names}; local: *; }};\n")
        command = [linker, *OPTIONS, "-soname", soname, "--version-script=exports", "-o", soname, *objects]
        done = subprocess.run(
            [*command, *_system_libraries()], cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode:
            said = " ".join(done.stderr.splitlines()[:LINES_SHOWN])
            raise CodegenError(f"linker {linker}: expected a shared library, got {said or done.returncode}")
        return Path(folder, soname).read_bytes()


def _linker() -> str:
    found = next(filter(None, map(shutil.which, LINKERS)), None)
    if found is None:
        raise CodegenError(f"linker: expected one of {', '.join(LINKERS)} on PATH (Debian: binutils), got none")
    return found


def _system_libraries() -> list[str]:
    """libc and its kin, as this process itself has them: there whether or not development files are installed."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = {line.split(maxsplit=5)[-1] for line in lines}
    found = sorted(path for path in mapped if LIBRARIES.search(path))
    if not any(path.rpartition("/")[2].startswith("libc.") for path in found):
        raise CodegenError("linker: expected this process to use the system's libc, got another")
    return found
