"""`alula doctor`: what this machine offers to Alula, and what is missing."""

from __future__ import annotations

import argparse
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import alula
from alula.cli.options import add_json, check_writable
from alula.cli.report import print_table, write_json
from alula.core.errors import CodegenError

if TYPE_CHECKING:
    from alula.core.target import CpuTarget

HELP = "processor, threads, measured peak, cache, versions and missing extras"
PEAKS = {"f32": "GFLOP/s", "bf16": "GFLOP/s", "int8": "GOP/s"}
EXTRAS = {
    "torch": ("torch",),
    "onnx": ("onnx", "onnxscript"),
    "bench": ("onnxruntime", "openvino", "nncf", "transformers"),
    "demo": ("sklearn",),
    "report": ("matplotlib",),
}
PACKAGES = ("numpy", "llvmlite", "pillow", "rich")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings; always 0, for nothing that can be missing stops a built model from running."""
    check_writable(arguments.json)
    findings = {**_processor(), "cache": _cache(), "missing_extras": missing_extras(), "versions": _versions()}
    print_table("this machine", ("", "value"), _rows(findings))
    write_json(arguments.json, findings)
    return 0


def _processor() -> dict[str, Any]:
    from alula.runtime.host import default_threads, native_target, processor_name

    target = native_target()
    threads, why = default_threads()
    return {
        "processor": processor_name(),
        "target": target.name,
        "threads": threads,
        "threads_why": why,
        "peak_per_thread": {dtype: _peak(target, dtype) for dtype in PEAKS},
    }


def _peak(target: CpuTarget, dtype: str) -> float | None:
    """None where the system keeps the registers that it takes to itself."""
    from alula.runtime.host import measure_peak

    try:
        return measure_peak(target, dtype)
    except CodegenError:
        return None


def _cache() -> dict[str, Any]:
    from alula.runtime.cache import ObjectCache

    cache = ObjectCache()
    return {"folder": str(cache.folder), **asdict(cache.status())}


def missing_extras() -> dict[str, list[str]]:
    """Extra -> the modules of it that are not installed; extras that are whole are left out."""
    missing = {extra: [name for name in modules if find_spec(name) is None] for extra, modules in EXTRAS.items()}
    return {extra: names for extra, names in missing.items() if names}


def _versions() -> dict[str, str]:
    own = {"alula": alula.__version__, "python": platform.python_version()}
    return {**own, **{package: _version(package) for package in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _peak_text(dtype: str, peak: float | None) -> str:
    return f"{dtype} refused by the system" if peak is None else f"{peak:.0f} {PEAKS[dtype]} in {dtype}"


def _rows(findings: dict[str, Any]) -> list[tuple[str, str]]:
    cache = findings["cache"]
    peaks = [_peak_text(dtype, peak) for dtype, peak in findings["peak_per_thread"].items()]
    writable = "writable" if cache["writable"] else f"no use, every load generates its code anew: {cache['reason']}"
    extras = [f"{extra} ({', '.join(names)})" for extra, names in findings["missing_extras"].items()]
    return [
        ("processor", findings["processor"]),
        ("target", findings["target"]),
        ("threads", f"{findings['threads']} ({findings['threads_why']})"),
        ("measured peak", f"{', '.join(peaks)} a thread"),
        ("cache", f"{cache['folder']}: {cache['bytes'] / 1e6:.1f} MB in {cache['entries']} entries, {writable}"),
        ("missing extras", ", ".join(extras) or "none"),
        ("versions", ", ".join(f"{name} {number}" for name, number in findings["versions"].items())),
    ]
