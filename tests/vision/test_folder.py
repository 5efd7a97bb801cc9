from pathlib import Path

import pytest

from alula.core.errors import ImageError, UsageError
from alula.vision.folder import Picture, list_pictures
from alula.vision.names import ClassName


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, **options: object) -> list[tuple[str, int | None]]:
    return [(picture.name, picture.label) for picture in list_pictures(root, **options)]


def test_class_folders_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "dog/2.JPEG", "dog/10.jpeg", "cat/a.png", "empty/readme.txt", "README.md", ".git/x.png")
    assert listed(tmp_path) == [("cat/a.png", 0), ("dog/10.jpeg", 1), ("dog/2.JPEG", 1)]


def test_nested_hidden_and_other_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/deep/er/1.png", "a/.hidden/2.png", "a/.3.png", "a/notes.txt", "a/folder.png/4.png")
    assert listed(tmp_path) == [("a/deep/er/1.png", 0), ("a/folder.png/4.png", 0)]


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    assert listed(touch(tmp_path, "b.jpg", "a.JPG", "c.txt")) == [("a.JPG", None), ("b.jpg", None)]


def test_name_file_numbers_the_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "n00000002/a.png", "n00000009/b.png")
    names = [ClassName(f"n{i:08}", f"class {i}") for i in range(10)]
    assert listed(tmp_path, names=names) == [("n00000002/a.png", 2), ("n00000009/b.png", 9)]
    assert listed(tmp_path, names=[ClassName("x", "x")]) == [("n00000002/a.png", 0), ("n00000009/b.png", 1)]
    with pytest.raises(UsageError, match="expected class folders of the name file, got n00000009 too"):
        listed(tmp_path, names=names[:5])
    with pytest.raises(UsageError, match="expected class names that occur once, got n00000002 repeated"):
        listed(tmp_path, names=[*names, names[2]])


def test_label_file_takes_names_as_they_stand(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("b.JPEG 3\nmissing.jpg 0\nsub/with space.jpg\t12\n")
    root = touch(tmp_path / "images", "a.JPEG", "b.JPEG", "sub/with space.jpg")
    assert list_pictures(root, labels) == (
        Picture("b.JPEG", root / "b.JPEG", 3),
        Picture("missing.jpg", root / "missing.jpg", 0),
        Picture("sub/with space.jpg", root / "sub/with space.jpg", 12),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected at least one line, got an empty file"),
        ("a.jpg 1\nb.jpg\n", "line 2: expected `name label` with a class number, got 'b.jpg'"),
        ("a.jpg one\n", "line 1: expected `name label`"),
        ("a.jpg -1\n", "line 1: expected `name label`"),
        ("a.jpg 1\n\nb.jpg 1\n", "line 2: expected `name label` with a class number, got ''"),
        ("a.jpg 1\nb.jpg 1\na.jpg 1\n", r"line 3: expected each picture once, got a\.jpg again \(line 1\)"),
        ("a.jpg 9\nb.jpg 10\n", "line 2: expected a class below 10, got 10"),
        ("../a.jpg 1\n", r"line 1: expected a name inside the image folder, got '\.\./a\.jpg'"),
        ("/etc/a.jpg 1\n", "line 1: expected a name inside the image folder"),
    ],
)
def test_unusable_label_files(tmp_path: Path, content: str, message: str) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text(content)
    with pytest.raises(UsageError, match=message):
        list_pictures(tmp_path, labels, classes=10)


def test_unusable_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a folder, got nothing"):
        list_pictures(tmp_path / "none")
    with pytest.raises(UsageError, match="expected a folder, got a file"):
        list_pictures(touch(tmp_path, "file") / "file")
    with pytest.raises(ImageError, match="expected pictures, got none"):
        list_pictures(tmp_path)
    with pytest.raises(UsageError, match=r"expected class folders or pictures, got both \(x\.png\)"):
        list_pictures(touch(tmp_path, "x.png", "class/y.png"))
    with pytest.raises(UsageError, match=r"expected classes below 1, got 1 \(b\)"):
        list_pictures(touch(tmp_path / "many", "a/x.png", "b/y.png"), classes=1)
