"""A compiled library behind ctypes, with the structures of alula.h written down a second time."""

import ctypes
from pathlib import Path

import numpy as np

from alula.runtime.library import compile_library

ERROR_BYTES = 512
POINTER, TEXT, I64 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64


class PortStructure(ctypes.Structure):
    _fields_ = (("name", TEXT), ("dtype", TEXT), ("rank", I64), ("dims", ctypes.POINTER(I64)), ("bytes", I64))


class ImageStructure(ctypes.Structure):
    _fields_ = (
        *((name, I64) for name in ("crop", "resize", "antialias", "folded")),
        *((name, TEXT) for name in ("resampling", "library", "order")),
        ("mean", ctypes.c_double * 3),
        ("std", ctypes.c_double * 3),
    )


class Description(ctypes.Structure):
    _fields_ = (
        *((name, I64) for name in ("abi_version", "least_batch", "most_batch", "tuned_batch", "file_bytes")),
        *((name, I64) for name in ("input_count", "output_count")),
        *((name, TEXT) for name in ("name", "precision", "target", "digest")),
        ("inputs", ctypes.POINTER(PortStructure)),
        ("outputs", ctypes.POINTER(PortStructure)),
        ("image", ctypes.POINTER(ImageStructure)),
    )


class LibraryRefused(Exception):
    """The text that a function of the library gave."""


class SharedLibrary:
    """`make(path, folder)` compiles and loads; sessions are plain addresses."""

    def __init__(self, path: Path, model: Path) -> None:
        self.path, self.model = path, model
        self.functions = ctypes.CDLL(str(path))
        declared = {
            "describe": (ctypes.POINTER(Description), []),
            "session_create": (POINTER, [TEXT, ctypes.c_int, TEXT]),
            "session_check": (ctypes.c_int, [POINTER, TEXT]),
            "session_run": (ctypes.c_int, [POINTER, POINTER, POINTER, I64, TEXT]),
            "session_threads": (ctypes.c_int, [POINTER]),
            "session_destroy": (None, [POINTER]),
        }
        for name, (result, parameters) in declared.items():
            function = getattr(self.functions, f"alula_{name}")
            function.restype, function.argtypes = result, parameters
        self.description = self.functions.alula_describe().contents

    @classmethod
    def make(cls, path: Path, folder: Path, target: str | None = None) -> "SharedLibrary":
        folder.mkdir(exist_ok=True)
        library = compile_library(path, folder, target, "0")
        for name, content in library.files.items():
            (folder / name).write_bytes(content)
        return cls(folder / next(name for name in library.files if name.endswith(".so")), library.model)

    def create(self, path: Path | None = None, threads: int = 2) -> int:
        error = ctypes.create_string_buffer(ERROR_BYTES)
        session = self.functions.alula_session_create(str(path or self.model).encode(), threads, error)
        if not session:
            raise LibraryRefused(error.value.decode())
        return session

    def check(self, session: int) -> None:
        error = ctypes.create_string_buffer(ERROR_BYTES)
        if self.functions.alula_session_check(session, error):
            raise LibraryRefused(error.value.decode())

    def run(self, session: int, inputs: list[np.ndarray], outputs: list[np.ndarray], batch: int) -> list[np.ndarray]:
        error = ctypes.create_string_buffer(ERROR_BYTES)
        tables = [(POINTER * len(side))(*(array.ctypes.data for array in side)) for side in (inputs, outputs)]
        if self.functions.alula_session_run(session, *tables, batch, error):
            raise LibraryRefused(error.value.decode())
        return outputs
