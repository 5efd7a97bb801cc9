"""A fake session behind `alula.load`, and a folder of pictures that it knows."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import alula
from tests.cli.fake_session import LEVELS, FakeSession
from tests.vision.pictures import save_plain


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeSession], FakeSession]:
    """`load(session)`: from then on `alula.load` gives this session, with the threads asked for."""

    def install(session: FakeSession) -> FakeSession:
        def fake(path: Path, threads: int | None = None, sizes: Mapping[str, int] | None = None) -> FakeSession:
            session.threads = threads or session.threads
            return session

        monkeypatch.setattr(alula, "load", fake, raising=False)
        return session

    return install


@pytest.fixture
def session(load: Callable[[FakeSession], FakeSession]) -> FakeSession:
    return load(FakeSession())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Ten pictures in two class folders: five of class 0, of which the last looks like class 2, and five of class 1."""
    for index in range(5):
        save_plain(tmp_path / f"images/a/{index}.png", LEVELS * (2 if index == 4 else 0) + 10 + index)
        save_plain(tmp_path / f"images/b/{index}.png", LEVELS + 10 + index)
    return tmp_path / "images"
