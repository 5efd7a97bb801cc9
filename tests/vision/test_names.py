from pathlib import Path

import pytest

from alula.core.errors import UsageError
from alula.vision.names import ClassName, read_names


def test_wordnet_ids_and_plain_names(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("n01440764 tench, Tinca tinca\nhot dog\nn123 odd\n\n")
    names = (
        ClassName("n01440764", "tench, Tinca tinca"),
        ClassName("hot dog", "hot dog"),
        ClassName("n123 odd", "n123 odd"),
    )
    assert read_names(file) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected at least one line, got an empty file"),
        (b"cat\n\ndog\n", "line 2: expected a class name, got a blank line"),
        (b"caf\xe9\n", "expected UTF-8 text, got byte 0xe9"),
    ],
)
def test_unusable_name_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_names(tmp_path / "names.txt")


def test_missing_name_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names\.txt: expected a readable text file, got No such file"):
        read_names(tmp_path / "names.txt")
