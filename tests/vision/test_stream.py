import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alula.core.preprocess import Preprocess
from alula.vision import stream as module
from alula.vision.folder import Picture
from alula.vision.stream import stream
from tests.vision.pictures import save_plain

SMALL = Preprocess(crop=4, resize=4, resampling="nearest")


def pictures(root: Path, count: int, broken: tuple[int, ...] = ()) -> list[Picture]:
    made = []
    for index in range(count):
        path = root / f"{index}.png"
        if index in broken:
            path.write_bytes(b"")
        else:
            save_plain(path, index)
        made.append(Picture(path.name, path))
    return made


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("count", "sizes"), [(8, [4, 4]), (10, [4, 4, 2]), (3, [3]), (1, [1])])
def test_order_and_the_last_partial_batch(tmp_path: Path, workers: int, count: int, sizes: list[int]) -> None:
    batches = list(stream(pictures(tmp_path, count), SMALL, 4, workers))
    assert [len(batch.inputs) for batch in batches] == sizes
    assert np.concatenate([batch.indices for batch in batches]).tolist() == list(range(count))
    assert np.concatenate([batch.inputs[:, 0, 0, 0] for batch in batches]).tolist() == list(range(count))


def test_order_does_not_depend_on_which_is_decoded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = module.prepare

    def slow_for_even(picture: Picture, contract: Preprocess) -> np.ndarray:
        time.sleep(0.02 if int(picture.path.stem) % 2 == 0 else 0)
        return prepare(picture, contract)

    monkeypatch.setattr(module, "prepare", slow_for_even)
    batches = list(stream(pictures(tmp_path, 9), SMALL, 2, workers=4))
    assert np.concatenate([batch.inputs[:, 0, 0, 0] for batch in batches]).tolist() == list(range(9))


@pytest.mark.parametrize("broken", [(0,), (9,), (3, 4, 5), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (8, 9)])
def test_failures_take_no_place_and_counts_add_up(tmp_path: Path, broken: tuple[int, ...]) -> None:
    batches = list(stream(pictures(tmp_path, 10, broken), SMALL, 4, workers=2))
    failures = [failure for batch in batches for failure in batch.failures]
    assert tuple(failure.index for failure in failures) == broken
    assert all(f"picture {failure.index}.png: " in failure.reason for failure in failures)
    assert sum(len(batch.inputs) for batch in batches) == 10 - len(broken)
    assert all(len(batch.inputs) == 4 for batch in batches[:-1])
    assert all(batch.inputs.shape[1:] == (4, 4, 3) and batch.inputs.dtype == np.uint8 for batch in batches)


def test_unfolded_batches_are_float(tmp_path: Path) -> None:
    unfolded = Preprocess(crop=4, resize=4, folded=False)
    full, rest = stream(pictures(tmp_path, 3, broken=(2,)), unfolded, 2)
    assert (full.inputs.shape, full.inputs.dtype) == ((2, 3, 4, 4), np.float32)
    assert (rest.inputs.shape, rest.inputs.dtype, len(rest.failures)) == ((0, 3, 4, 4), np.float32, 1)


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not condition():
        time.sleep(0.01)
    return condition()


def test_decodes_ahead_but_not_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    prepare = module.prepare

    def counted(picture: Picture, contract: Preprocess) -> np.ndarray:
        begun.append(picture.name)
        return prepare(picture, contract)

    monkeypatch.setattr(module, "prepare", counted)
    batches = stream(pictures(tmp_path, 60), SMALL, 5, workers=2)
    next(batches)
    assert wait_for(lambda: len(begun) > 5)  # the next batch is under way while nobody asks for it
    time.sleep(0.1)
    assert len(begun) <= 5 + 2 * 5
    batches.close()


def test_leaving_early_drops_what_was_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    release = threading.Event()

    def blocked(picture: Picture, contract: Preprocess) -> np.ndarray:
        begun.append(picture.name)
        if len(begun) > 2:
            release.wait(10)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(module, "prepare", blocked)
    batches = stream(pictures(tmp_path, 40), SMALL, 2, workers=2)
    next(batches)
    began = time.monotonic()
    batches.close()
    assert time.monotonic() - began < 1
    release.set()
    assert wait_for(lambda: not any(thread.name.startswith("alula-decode") for thread in threading.enumerate()))
    assert len(begun) <= 5


def test_a_mistake_of_ours_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(picture: Picture, contract: Preprocess) -> np.ndarray:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(module, "prepare", wrong)
    with pytest.raises(RuntimeError, match="a mistake"):
        list(stream(pictures(tmp_path, 3), SMALL, 2))
