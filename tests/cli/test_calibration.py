from pathlib import Path

import numpy as np
import pytest

from alula.cli import calibration
from alula.cli.calibration import AT_A_TIME, Inputs, picture_contract, spread_pictures
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.vision import stream as stream_module
from tests.vision.pictures import save_plain

CONTRACT = Preprocess(crop=8, resize=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class a of 30 pictures, b of ten; the level says which one it is."""
    for number in range(40):
        save_plain(tmp_path / f"{'a' if number < 30 else 'b'}/{number:02}.png", number)
    return tmp_path


def test_pictures_are_spread_over_the_folder(folder: Path) -> None:
    names = [picture.name for picture in spread_pictures(folder, 4)]
    assert names == ["a/00.png", "a/10.png", "a/20.png", "b/30.png"]
    assert len(spread_pictures(folder, 40)) == len(set(spread_pictures(folder, 100))) == 40


def test_arrays_hold_every_picture_in_order_and_come_again(folder: Path) -> None:
    inputs = Inputs(spread_pictures(folder, 10), CONTRACT)
    for _ in range(2):
        arrays = list(inputs)
        assert [array.shape for array in arrays] == [(4, 8, 8, 3), (4, 8, 8, 3), (2, 8, 8, 3)]
        assert [int(image[0, 0, 0]) for array in arrays for image in array] == list(range(0, 40, 4))


def test_pictures_are_not_read_long_before_they_are_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    decode = stream_module.decode
    monkeypatch.setattr(stream_module, "decode", lambda path, name: (read.append(path), decode(path, name))[1])
    arrays = iter(Inputs(spread_pictures(folder, 40), CONTRACT))
    next(arrays)
    assert AT_A_TIME <= len(read) <= AT_A_TIME * (1 + stream_module.BATCHES_AHEAD)
    assert len(list(arrays)) == 9
    assert len(read) == 40


def test_failures_are_those_of_the_last_time(folder: Path) -> None:
    inputs = Inputs(spread_pictures(folder, 40), CONTRACT)
    whole = (folder / "b/35.png").read_bytes()
    (folder / "b/35.png").write_bytes(b"")
    assert sum(map(len, inputs)) == 39
    assert inputs.failures == {"b/35.png": "picture b/35.png: expected a picture, got an empty file"}
    assert calibration.report_calibration(inputs)["used"] == 39
    (folder / "b/35.png").write_bytes(whole)
    assert sum(map(len, inputs)) == 40
    assert inputs.failures == {}


def test_one_readable_picture_is_enough(folder: Path) -> None:
    for path in sorted(folder.rglob("*.png"))[:-1]:
        path.write_bytes(b"no picture")
    assert len(spread_pictures(folder, 40)) == 40
    with pytest.raises(UsageError, match=r"expected readable pictures, got none among 2 \(picture a/00.png: "):
        spread_pictures(folder, 2)


@pytest.mark.parametrize(("own", "fold", "folded"), [(True, True, True), (True, False, False), (False, True, False)])
def test_contract_is_that_of_the_built_model(own: bool, fold: bool, folded: bool) -> None:
    contract = picture_contract(Preprocess(crop=8, resize=8, folded=own), fold)
    assert contract.folded is folded
    assert np.dtype(np.uint8 if folded else np.float32) == stream_module.empty_inputs(contract).dtype
