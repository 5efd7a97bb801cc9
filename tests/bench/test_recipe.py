"""What the recipe's benchmark builds and says, on a small network."""

from pathlib import Path

import pytest

from alula.artifact.reader import read_model
from alula.core.errors import UsageError
from bench.recipe import Source, files, main, measured
from tests.quant.networks import network, pictures


def ops(path: Path) -> list[str]:
    with read_model(path) as file:
        return [node.op.name for node in file.graph().nodes]


def test_three_files_of_which_two_are_of_bytes(tmp_path: Path) -> None:
    paths = files(Source(network(), None, [pictures(4)]), "qint8_mixed_float32", tmp_path)
    found = {name: ops(path) for name, path in paths.items()}
    assert {name: names.count("quantize_rows") for name, names in found.items()} == {
        "float32": 0,
        "plain": 0,
        "recipe": 1,
    }
    assert {name: "quantize" in names for name, names in found.items()} == {
        "float32": False,
        "plain": True,
        "recipe": True,
    }
    one = measured("small", paths, threads=1, rounds=3, iterations=2)
    assert set(one["ms"]) == set(paths)
    assert min(one["ms"].values()) > 0
    assert one["kept"] == (one["recipe_over_float32"] <= 0.6)  # the other bar is the flagship's


def test_models_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="volo_d2"):
        main(["--models", "volo", "--work", str(tmp_path)])
