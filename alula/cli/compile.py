"""`alula compile`: an offline model file -> a shared library with a C interface."""

from __future__ import annotations

import argparse
from pathlib import Path

import alula
from alula.cli.options import add_json, add_model, check_writable
from alula.cli.outputs import check_folder, write_together
from alula.cli.progress import stage
from alula.cli.report import write_json
from alula.core.errors import AlulaError

HELP = "make a shared library with a C interface from a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    parser.add_argument("-o", "--output-dir", type=Path, required=True, metavar="DIR", help="folder for all its files")
    parser.add_argument("--target", metavar="T", help="processor to compile for (default: what the file was built for)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the library with all that belongs to it, and says what is where; 0."""
    from alula.runtime.library import compile_library

    check_writable(arguments.json)
    folder = arguments.output_dir
    check_folder(folder)
    _make_folder(folder)
    with stage(f"compiling {arguments.model.name}"):
        library = compile_library(arguments.model, folder, arguments.target, alula.__version__)
    write_together(folder, library.files)
    for name, content in library.files.items():
        print(f"{folder / name}: {len(content) / 1e6:.2f} MB" if name.endswith(".so") else folder / name)
    packed = f", packed anew for {library.target}" if library.repacked else ""
    print(f"{library.model}: {library.model.stat().st_size / 1e6:.1f} MB, its weights{packed}")
    figures = {
        "model": library.model.name,
        "target": library.target,
        "precision": library.precision,
        "repacked": library.repacked,
        "bytes": {name: len(content) for name, content in library.files.items()},
    }
    write_json(arguments.json, figures)
    return 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AlulaError(f"output folder {folder}: expected a writable place, got {error.strerror or error}") from error
