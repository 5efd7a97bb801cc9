"""Small models for the tests of the model file, and a sealer that shares no code with the writer."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from alula.artifact.model import ModelMeta
from alula.core.dims import symbol
from alula.core.dtype import DType, to_bfloat16
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Add, Cast, Relu
from alula.ops.matmul import Linear

PROLOGUE_BYTES = 64
KIB = 1024

META = ModelMeta(
    target="avx2",
    precision="force_float32",
    preprocess=Preprocess(crop=8, resize=9),
    batch_range=(1, 8),
    tuned_batch=2,
    shape_mutable=True,
    provenance={"source": "tests", "alula": "0.1.0"},
)


def tiny_graph() -> Graph:
    """Every kind of constant: packed float32, bfloat16, rank 0, empty, boolean."""
    graph = Graph("tiny", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 3)))
    w = graph.constant(np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 8, "w")
    b = graph.constant(np.linspace(-1, 1, 5, dtype=np.float32), "b")
    y = graph.add(Linear(features=5, panel=4), x, w, b, origin="head.fc linear.py:125")
    y = graph.add(Relu(), y)
    y = graph.add(Add(), y, graph.constant(np.array(0.5, np.float32), "half"))
    small = graph.constant(to_bfloat16(np.array([1, -2, 3.5], np.float32)), 'scale "q"')
    graph.output("logits", y)
    graph.output("scales", graph.add(Cast(DType.F32), small))
    graph.output("flags", graph.constant(np.array([True, False, True]), "flags"))
    graph.output("nothing", graph.constant(np.zeros((0, 3), np.int64), "nothing"))
    return graph


def table_graph(size: int) -> Graph:
    """The tiny graph and `size` further bytes."""
    graph = tiny_graph()
    table = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    graph.output("table", graph.constant(table, "table"))
    return graph


def take_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header's JSON, and all that follows the header's padding."""
    size, _ = struct.unpack_from("<QQ", data, 16)
    return json.loads(data[PROLOGUE_BYTES : PROLOGUE_BYTES + size]), data[PROLOGUE_BYTES + -(-size // 64) * 64 :]


def seal(header: Any, sections: bytes, *, version: int = 1) -> bytes:
    """A file with the right lengths and digests around whatever `header` is; bytes are taken as they are."""
    text = header if isinstance(header, bytes) else canonical(header)
    body = text + bytes(-len(text) % 64)
    total = PROLOGUE_BYTES + len(body) + len(sections)
    start = struct.pack("<8sQQQ", b"\x89ALULA\r\n", version, len(text), total)
    return start + hashlib.sha256(body).digest() + body + sections


def canonical(header: Any) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")


def section(name: str, type: str, data: bytes, offset: int) -> dict[str, Any]:
    """A section's entry in the header, for `data` without its padding."""
    digest = hashlib.sha256(data + bytes(-len(data) % 64)).hexdigest()
    return {"name": name, "type": type, "offset": offset, "bytes": len(data), "sha256": digest}


def with_graph(data: bytes, text: str) -> bytes:
    """The file `data` with another graph, sealed anew."""
    header, sections = take_apart(data)
    return seal({**header, "graph": text}, sections)


def without_constants(data: bytes, text: str) -> bytes:
    """A sealed file of no sections with the description of `data` and the graph `text`."""
    header, _ = take_apart(data)
    return seal({**header, "graph": text, "sections": []}, b"")


def of_size(path: Path, size: int) -> bytes:
    """The bytes of a model file of exactly `size` bytes, written to `path`."""
    from alula.artifact.writer import write_model

    write_model(path, table_graph(size), META)
    surplus = path.stat().st_size - size
    write_model(path, table_graph(size - surplus), META)
    data = path.read_bytes()
    assert len(data) == size
    return data
