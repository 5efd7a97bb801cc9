"""Where in the user's model a node of an exported program comes from."""

from __future__ import annotations

import re
from typing import Any

FRAME = re.compile(r'File "(.*)", line (\d+), in forward$', re.MULTILINE)  # other frames may be the exporter's own
SCRIPT_FRAME = re.compile(r'^(?:  File "(.+)", line (\d+)|(.+)\((\d+)\): )', re.MULTILINE)  # of a script, of a trace
SERIALISED = "code/__torch__"  # the file that TorchScript writes for itself
ORIGIN = "alula_origin"  # what is known beforehand, among a node's annotations
SEPARATOR = re.compile(r"[/\\]")
LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\]torch[/\\]")


def origin_of(meta: dict[str, Any]) -> str:
    """`network.0.attn volo.py:93`: module path and innermost line outside torch; what is unknown is left out.

    Only a file's base name comes along: the folders of whoever exported the model are nobody's business.
    """
    if ORIGIN in (known := meta.get("custom") or {}):
        return str(known[ORIGIN])
    frames = FRAME.findall(meta.get("stack_trace") or "")
    return f"{module_path(meta)} {_line(frames[::-1])}".strip()


def script_origin(node: Any) -> str:
    """The same of a node of TorchScript, `layer1.0 resnet.py:97`, as far as the file keeps it."""
    found = [(a or c, b or d) for a, b, c, d in SCRIPT_FRAME.findall(node.sourceRange())]
    modules = [call.rpartition("(")[0] for call in (node.getModuleHierarchy() or node.scopeName()).split(".")]
    path = ".".join(filter(None, modules))
    return f"{path} {_line([frame for frame in found if not frame[0].startswith(SERIALISED)])}".strip()


def _line(frames: list[tuple[str, str]]) -> str:
    """`volo.py:93` of the first frame, innermost first, that is not torch's own."""
    own = [frame for frame in frames if not LIBRARY.search(frame[0])] or frames
    return f"{SEPARATOR.split(own[0][0])[-1]}:{own[0][1]}" if own else ""


def module_path(meta: dict[str, Any]) -> str:
    """The innermost module's path, `network.0.attn`; empty for the root or where it is unknown."""
    stack = _module_stack(meta)
    return stack[-1][0] if stack else ""


def root_class(meta: dict[str, Any]) -> str:
    """The name of the outermost module's class, `Volo`; empty where it is unknown."""
    stack = _module_stack(meta)
    return stack[0][1].rsplit(".", 1)[-1] if stack else ""


def _module_stack(meta: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, class name) from the root inwards; PyTorch fills in a placeholder where it knows none."""
    stack = [(path, getattr(kind, "__name__", kind)) for path, kind in (meta.get("nn_module_stack") or {}).values()]
    return [(path, kind) for path, kind in stack if not path.startswith("_empty_nn_module_stack")]
