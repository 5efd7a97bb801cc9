"""How fast a model could be: its multiply-adds, each at the measured peak of the arithmetic that it is done in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alula.codegen.program import StepInfo
    from alula.runtime.session import Session

BYTES = "int8"  # the arithmetic of `byte_macs`


def macs_by_arithmetic(steps: Iterable[StepInfo]) -> dict[str, int]:
    """Multiply-adds done for one image in each arithmetic that occurs: f32, bf16, int16, int8."""
    macs: dict[str, int] = {}
    for step in steps:
        for arithmetic, count in ((step.arithmetic, step.macs - step.saved - step.byte_macs), (BYTES, step.byte_macs)):
            if count:
                macs[arithmetic] = macs.get(arithmetic, 0) + count
    return macs


def measured_peaks(session: Session, threads: int) -> dict[str, float]:
    """G operations a second that so many threads reach in registers, in each arithmetic of the session's steps."""
    from alula.core.target import target_named
    from alula.runtime.host import measure_peak

    target = target_named(session.target)
    return {dtype: measure_peak(target, dtype, threads) for dtype in macs_by_arithmetic(session.steps)}


def ideal_ms(steps: Iterable[StepInfo], batch: int, peaks: Mapping[str, float]) -> float:
    """Milliseconds that the steps' multiply-adds take for a batch where all of them run at their peak."""
    macs = macs_by_arithmetic(steps)
    return sum(2 * batch * count / peaks[arithmetic] / 1e6 for arithmetic, count in macs.items())
