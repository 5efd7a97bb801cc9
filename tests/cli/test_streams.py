import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.cli import progress
from alula.cli import streams as module
from alula.cli.streams import Limits, Streams, Timed, shares
from alula.core.errors import ShapeError
from tests.cli.fake_session import FakeSession

Load = Callable[[FakeSession], FakeSession]
MODEL = Path("m.alula")
PICTURES = [np.zeros((1, 8, 8, 3), np.uint8)]


def sessions(monkeypatch: pytest.MonkeyPatch, kind: type[FakeSession] = FakeSession) -> list[FakeSession]:
    """From now on a session of its own for every `alula.load`; the list fills as they are opened."""
    opened: list[FakeSession] = []

    def load(path: Path, threads: int, sizes: object) -> FakeSession:
        opened.append(kind(threads=threads, run_s=0.002))
        return opened[-1]

    monkeypatch.setattr(alula, "load", load, raising=False)
    return opened


@pytest.mark.parametrize(
    ("threads", "streams", "expected"),
    [(1, 1, [1]), (8, 1, [8]), (8, 2, [4, 4]), (8, 3, [3, 3, 2]), (2, 4, [1, 1, 1, 1])],
)
def test_threads_are_shared_out_and_none_spins_for_nothing(threads: int, streams: int, expected: list[int]) -> None:
    assert shares(threads, streams) == expected


def test_every_stream_has_its_own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = sessions(monkeypatch)
    with Streams(MODEL, threads=5, streams=2) as streams:
        timed = streams.run([PICTURES], Limits(4))
        assert [session.threads for session in opened] == [3, 2]
        assert (streams.threads, streams.threads_why) == (5, "as asked")
        assert not any(session.closed for session in opened)
    assert [len(session.batches) for session in opened] == [4, 4]
    assert all(session.closed for session in opened)
    assert [len(clock) for clock in timed.clocks] == [5, 5]


def test_streams_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Meeting(FakeSession):
        together = threading.Barrier(3, timeout=10)

        def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            self.together.wait()
            return ()

    sessions(monkeypatch, Meeting)
    with Streams(MODEL, threads=3, streams=3) as streams:
        assert len(streams.run([PICTURES], Limits(2)).seconds) == 6


def test_limits_are_over_when_both_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions(monkeypatch)
    with Streams(MODEL, threads=1) as streams:
        assert len(streams.run([PICTURES], Limits(3)).seconds) == 3
        assert streams.run([PICTURES], Limits(1, duration_s=0.05)).wall_s > 0.049  # clocks are read around it
        assert len(streams.run([PICTURES], Limits(40, duration_s=0.001)).seconds) == 40
        assert streams.warm_up([PICTURES], Limits(0)) == [0.0]


def test_one_query_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = sessions(monkeypatch)
    with Streams(MODEL, threads=2, streams=2) as streams:
        assert len(streams.run([PICTURES], Limits(11, together=True)).seconds) == 11
    assert sum(len(session.batches) for session in opened) == 11
    assert all(session.batches for session in opened)


def test_groups_of_inputs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = sessions(monkeypatch)
    pairs = [[np.zeros((size, 8, 8, 3), np.uint8)] for size in (1, 5)]
    with Streams(MODEL, threads=1) as streams:
        timed = streams.run(pairs, Limits(5))
    assert opened[0].batches == [1, 5, 1, 5, 1]
    assert [len(timed.of_group(group, 2)) for group in (0, 1)] == [3, 2]


def test_seconds_are_what_passes_between_looks_at_the_clock() -> None:
    timed = Timed((np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.5])))
    assert timed.seconds.tolist() == [1.0, 2.0, 1.0]
    assert timed.wall_s == 3.0
    assert timed.of_group(1, 2).tolist() == [2.0]


def test_one_stream_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(FakeSession):
        def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            if self.threads == 2:
                raise ShapeError("run: expected one, got another")
            return super().run(*arrays)

    opened = sessions(monkeypatch, Failing)
    began = time.monotonic()
    with pytest.raises(ShapeError), Streams(MODEL, threads=3, streams=2) as streams:
        streams.run([PICTURES], Limits(1, duration_s=60))
    assert time.monotonic() - began < 20
    assert all(session.closed for session in opened)


def test_bound_streams_keep_to_their_own_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[set[int]] = []
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda who: {3, 5, 8, 9, 11})
    monkeypatch.setattr(module.os, "sched_setaffinity", lambda who, place: kept.append(place))
    sessions(monkeypatch)
    with Streams(MODEL, threads=5, streams=2, bound=True):
        pass
    assert kept == [{3, 5, 8}, {9, 11}]
    kept.clear()
    with Streams(MODEL, threads=2, streams=6, bound=True):
        pass
    assert kept == [{3}, {5}, {8}, {9}, {11}, {3}]


def test_sessions_inherit_the_processors_of_their_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = os.sched_getaffinity(0)
    found: list[set[int]] = []

    class Looking(FakeSession):
        def __post_init__(self) -> None:
            super().__post_init__()
            found.append(os.sched_getaffinity(0))

    sessions(monkeypatch, Looking)
    with Streams(MODEL, threads=1, bound=True):
        pass
    assert found == [{min(usable)}]
    assert os.sched_getaffinity(0) == usable


def test_the_bar_is_drawn_where_it_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions(monkeypatch)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "REDRAW_S", 0.0)
    with Streams(MODEL, threads=1) as streams:
        streams.run([PICTURES], Limits(120), shown="runs")
        assert re.search(r"runs .* \d+/100, ", capsys.readouterr().err)
        streams.run([PICTURES], Limits(120))
        assert "/100" not in capsys.readouterr().err


def test_an_interruption_ends_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    opened = sessions(monkeypatch)
    monkeypatch.setattr(module, "wait", interrupted)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Streams(MODEL, threads=2, streams=2) as streams:
        streams.run([PICTURES], Limits(1, duration_s=60))
    assert time.monotonic() - began < 20
    assert all(session.closed for session in opened)
