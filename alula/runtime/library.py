"""A model file as a shared library for C and C++ programs: `alula compile`."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from alula.artifact.model import ModelFile
from alula.artifact.reader import read_model
from alula.artifact.spec import PROLOGUE, padded
from alula.artifact.writer import write_model
from alula.codegen.library.session import EXPORTS, emit_library
from alula.codegen.library.spec import LibrarySpec, Section
from alula.codegen.packing import pack_weights
from alula.codegen.program import Program
from alula.core.errors import CodegenError, UsageError
from alula.core.files import atomic_write
from alula.core.target import CpuTarget, target_named
from alula.runtime.linker import link_library
from alula.runtime.programs import prepare, sizes_of

SUFFIX = ".alula"
HEADER = "alula.h"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")

PKG_CONFIG = """\
prefix=${{pcfiledir}}
model=${{prefix}}/{model}

Name: {name}
Description: {name}, {precision} for {target}, compiled by Alula
Version: {version}
Libs: -L${{prefix}} -l{name}
Cflags: -I${{prefix}}
"""
CMAKE = """\
# find_package({name} CONFIG) with this folder in CMAKE_PREFIX_PATH gives the target alula::{name} and {name}_MODEL.
if(NOT TARGET alula::{name})
    add_library(alula::{name} SHARED IMPORTED)
    set_target_properties(alula::{name} PROPERTIES
        IMPORTED_LOCATION "${{CMAKE_CURRENT_LIST_DIR}}/{library}"
        IMPORTED_SONAME "{library}"
        INTERFACE_INCLUDE_DIRECTORIES "${{CMAKE_CURRENT_LIST_DIR}}")
endif()
set({name}_MODEL "${{CMAKE_CURRENT_LIST_DIR}}/{model}")
"""


@dataclass(frozen=True, slots=True)
class Library:
    """What was compiled: the model file that belongs to it, whether its weights were packed anew, and its files."""

    model: Path
    repacked: bool
    target: str
    precision: str
    files: dict[str, bytes]


def library_name(path: Path) -> str:
    """What the library of the model file at `path` is called.  Raises UsageError for what linkers do not take."""
    name = path.name.removesuffix(SUFFIX)
    if not _NAME.fullmatch(name):
        raise UsageError(f"model file {path}: expected a name of letters, digits and _.+-, got {name!r}")
    return name


def compile_library(path: Path, folder: Path, target_name: str | None, version: str) -> Library:
    """The library of the model file at `path` for a target (None: that of the file), which `folder` is to hold.

    Puts the model file beside it, in `folder`: as it is, or, for another target than its own, with its weights packed
    anew.  The library's own files are left to the caller.  Raises ModelFormatError for a file that is damaged,
    CodegenError where there is no linker.
    """
    name = library_name(path)
    model = folder / f"{name}{SUFFIX}"
    with read_model(path) as file:
        if sizes := sizes_of(file):
            raise CodegenError(f"model file {path}: expected an open batch alone, got {', '.join(sizes)} open too")
        target = target_named(target_name or file.meta.target)
        repacked = file.meta.target != target.name
        if repacked and model.exists() and model.samefile(path):
            raise UsageError(
                f"output folder {folder}: expected another one for {target.name}, got the model file's own"
            )
        _place_model(file, target, model)
    with read_model(model) as file:
        program = prepare(file, target).program
        spec = _spec(name, file, target, program)
        library = f"lib{name}.so"
        linked = link_library({"program.o": program.object, "session.o": emit_library(spec)}, library, EXPORTS)
    facts = {
        "name": name,
        "library": library,
        "model": model.name,
        "precision": spec.precision,
        "target": target.name,
        "version": version,
    }
    written = {
        library: linked,
        HEADER: files("alula.runtime").joinpath("include", HEADER).read_bytes(),
        f"{name}.pc": PKG_CONFIG.format(**facts).encode(),
        f"{name}Config.cmake": CMAKE.format(**facts).encode(),
    }
    return Library(model, repacked, target.name, spec.precision, written)


def _place_model(file: ModelFile, target: CpuTarget, place: Path) -> None:
    """The model file at `place`, packed for the target."""
    if file.meta.target != target.name:
        graph = file.graph()
        pack_weights(graph, target)
        write_model(place, graph, replace(file.meta, target=target.name))
    elif not (place.exists() and place.samefile(file.path)):
        with file.path.open("rb") as source, atomic_write(place) as copy:
            shutil.copyfileobj(source, copy)


def _spec(name: str, file: ModelFile, target: CpuTarget, program: Program) -> LibrarySpec:
    meta = file.meta
    with file.path.open("rb") as opened:
        opening = opened.read(PROLOGUE.size)
    _, _, header_bytes, file_bytes, _ = PROLOGUE.unpack(opening)
    sections = [
        Section(section.offset, padded(section.bytes), bytes.fromhex(section.sha256)) for section in file.constants
    ]
    return LibrarySpec(
        name=name,
        precision=meta.precision,
        digest=file.digest,
        target=target,
        program=program,
        preprocess=meta.preprocess,
        batch_range=meta.batch_range,
        tuned_batch=meta.tuned_batch,
        opening=opening,
        header_bytes=padded(header_bytes),
        file_bytes=file_bytes,
        sections=tuple(sections),
    )
