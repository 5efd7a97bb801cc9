"""A session without a model behind it, and the command line that loads it."""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.preprocess import Preprocess
from alula.ir.types import TensorType

CLASSES = 8
LEVELS = 32  # grey levels a class: a plain picture of level 32 * c + 16 is of class c
CONTRACT = Preprocess(crop=8, resize=8)


@dataclass(frozen=True)
class FakePort:
    name: str
    dtype: DType
    shape: tuple[int | None, ...]

    @property
    def type(self) -> TensorType:
        return TensorType(self.dtype, tuple(symbol("N") if size is None else size for size in self.shape))


@dataclass(frozen=True)
class FakeStep:
    label: str = "linear"
    shape: str = "f32[N,8]"
    macs: int = 1_000_000
    arithmetic: str = "f32"
    byte_macs: int = 0
    bytes: int = 4_000_000
    kernel: str = "gemm_0"
    saved: int = 0


@dataclass
class FakeSession:
    """Scores each class by how near it is to the mean level of the picture."""

    preprocess: Preprocess | None = CONTRACT
    inputs: tuple[FakePort, ...] = (FakePort("image", DType.U8, (None, 8, 8, 3)),)
    outputs: tuple[FakePort, ...] = (FakePort("logits", DType.F32, (None, CLASSES)),)
    precision: str = "force_float32"
    batch_range: tuple[int, int] = (1, 512)
    tuned_batch: int = 4
    threads: int = 2
    threads_why: str = "affinity"
    target: str = "avx2"
    macs: int = 1_000_000
    load_ms: float = 12.5
    read_ms: float = 2.0
    prepare_ms: float = 8.0
    from_cache: bool = True
    constant_bytes: int = 3_000_000
    run_s: float = 0.0
    steps: tuple[FakeStep, ...] | None = None
    offsets: tuple[float, ...] = (0.0,) * CLASSES  # added to the scores
    batches: list[int] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    size_ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    closed: bool = False

    def __post_init__(self) -> None:
        if self.steps is None:
            self.steps = (FakeStep(macs=self.macs),)

    def profile(self, *arrays: np.ndarray) -> np.ndarray:
        """Every step takes as long."""
        began = time.perf_counter()
        self.run(*arrays)
        return np.full(len(self.steps), (time.perf_counter() - began) / len(self.steps))

    def workspace_bytes(self, batch: int) -> int:
        return 1_000_000 * batch

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (images,) = arrays
        port = self.inputs[0]
        assert images.dtype == port.dtype.numpy
        assert images.shape[1:] == port.shape[1:]
        assert self.batch_range[0] <= len(images) <= self.batch_range[1]
        self.batches.append(len(images))
        time.sleep(self.run_s)
        levels = images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)[:, None]
        scores = -np.abs(levels - LEVELS * np.arange(CLASSES) - LEVELS / 2).astype(np.float32)
        scores += np.array(self.offsets, np.float32)
        return (scores.reshape(len(images), *self.outputs[0].shape[1:]),)

    def close(self) -> None:
        self.closed = True


def install(session: Any) -> Any:
    """Makes `alula.load` give `session`, whatever the path; returns it."""
    import alula

    alula.load = lambda path, threads=None: session if threads is None else _with_threads(session, threads)
    return session


def _with_threads(session: FakeSession, threads: int) -> FakeSession:
    return replace(session, threads=threads)


if __name__ == "__main__":  # python -m tests.cli.fake_session RUN_S COMMAND ...: the command line in its own process
    from alula.cli.main import main

    install(FakeSession(run_s=float(sys.argv[1])))
    Path("ready").touch()
    sys.exit(main(sys.argv[2:]))
