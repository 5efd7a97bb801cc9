"""`alula fetch` against a local server that behaves, misbehaves, or is not there."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from alula.cli.main import main
from alula.models import digits, zoo
from alula.models.volo import Volo

CONFIG = replace(digits.DIGITS, outlookers=1, transformers=(1,), class_blocks=1)
FILE = "d2_224_85.2.pth.tar"


def checkpoint(path: Path, **changes: int) -> bytes:
    torch.save({"state_dict": Volo(replace(CONFIG, **changes)).state_dict()}, path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def small_volo_d2(monkeypatch) -> None:
    """volo_d2 with its published file names, but quick to make."""
    files = {32: FILE, 64: "d2_384_86.0.pth.tar"}
    monkeypatch.setitem(zoo.ZOO, "volo_d2", replace(zoo.ZOO["volo_d2"], config=CONFIG, files=files))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> bytes:
    return checkpoint(tmp_path_factory.mktemp("published") / FILE)


@pytest.fixture(scope="module")
def server(published, tmp_path_factory) -> Iterator[str]:
    """The address of a server whose folders are its manners."""
    other = checkpoint(tmp_path_factory.mktemp("other") / "other.pth", stem_width=8)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            manner, name = self.path.strip("/").split("/")
            if manner == "missing" or name != FILE:
                self.send_error(404)
                return
            if manner == "moved":
                self.send_response(302)
                self.send_header("Location", f"/good/{name}")
                self.end_headers()
                return
            body = {"html": b"<html>sign in first</html>", "other": other}.get(manner, published)
            self.send_response(200)
            if manner != "unmeasured":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if manner == "short" else body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing: the tests read standard error."""

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()
    service.server_close()
    thread.join()


def fetch(url: str, output: Path, *options: str) -> int:
    return main(["fetch", "volo_d2", "--image-size", "32", "--url", url, "-o", str(output), *options])


@pytest.mark.parametrize("manner", ["good", "moved", "unmeasured", "good/"])
def test_into_a_folder(server, published, tmp_path, manner, capfd):
    assert fetch(f"{server}/{manner}", tmp_path) == 0
    path = tmp_path / FILE
    assert path.read_bytes() == published
    assert list(tmp_path.iterdir()) == [path]
    out, err = capfd.readouterr()
    assert out == f"{path}: {len(published):,} bytes, the weights of volo_d2 for 32 pixels\n"
    assert err == ""


def test_to_a_file_and_not_twice(server, published, tmp_path, capsys):
    path = tmp_path / "mine.pth"
    assert fetch(f"{server}/good", path) == 0
    assert path.read_bytes() == published
    capsys.readouterr()
    assert fetch("http://127.0.0.1:1", path) == 0  # nothing there is asked
    assert capsys.readouterr().out == f"{path}: already there, and it fits volo_d2\n"


def test_a_damaged_file_is_fetched_again(server, published, tmp_path):
    path = tmp_path / FILE
    path.write_bytes(published[:1000])
    assert fetch(f"{server}/good", path) == 0
    assert path.read_bytes() == published


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("missing", "expected the file, got HTTP 404 Not Found"),
        ("short", " before the connection ended"),
        ("html", "expected the weights of volo_d2, got others: checkpoint " + FILE),
        ("other", "expected the weights of volo_d2, got others: checkpoint " + FILE),
    ],
)
def test_what_came_is_not_it(server, tmp_path, manner, message, capsys):
    path = tmp_path / FILE
    path.write_bytes(b"what was there before")
    assert fetch(f"{server}/{manner}", path) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: fetch {server}/{manner}/{FILE}: expected ")
    assert message in err
    assert err.count("\n") == 1
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_listens(tmp_path, capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        port = closed.server_port
    assert fetch(f"http://127.0.0.1:{port}", tmp_path) == 1
    expected = f"error: fetch http://127.0.0.1:{port}/{FILE}: expected a server that answers, got Connection refused\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["volo_d7"], f"model: expected one of {', '.join(zoo.ZOO)}, got 'volo_d7'"),
        (["volo_d2", "--image-size", "500"], "volo_d2 image size: expected one of [32, 64], got 500"),
        (["volo_digits"], "volo_digits: expected a model whose checkpoint is published, got one that Alula brings"),
        (["volo_d2", "--image-size", "32", "--url", "file:///etc"], "fetch: expected an http or https address"),
        (
            ["volo_d2", "--image-size", "32", "-o", "no/such/a.pth"],
            "writing no/such/a.pth: expected an existing folder",
        ),
    ],
)
def test_wrong_usage(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_published_addresses():
    # As in the README of sail-sg/volo and in timm/models/volo.py.
    expected = "https://github.com/sail-sg/volo/releases/download/volo_1/d5_512_87.07.pth.tar"
    assert f"{zoo.RELEASE}/{zoo.ZOO['volo_d5'].file_for(512)}" == expected
    assert sum(len(entry.files) for name, entry in zoo.ZOO.items() if name != "volo_d2") + 2 == 11


def test_bar_on_a_terminal(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    assert fetch(f"{server}/good", tmp_path) == 0
    err = capsys.readouterr().err
    assert FILE in err
    assert "MB" in err or "kB" in err
