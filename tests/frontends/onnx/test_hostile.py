"""Hostile ONNX files: each is refused in one line, within 5 s and 1 GiB, in a process that has no more."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import FLOAT, ints, model, normal, value

SECONDS, GIBIBYTE = 5, 1 << 30
X, Y = value("x", FLOAT, [2, 3, 8]), value("y", FLOAT, None)
BIG = 2**40
NUMBERS = {
    "huge": ints(BIG, BIG, BIG),
    "large": ints(2**16, 2**15, 2**15),
    "many": ints(2**20, 2**20),
    "zero": np.array(0),
    "one": np.array(1),
    "end": np.array(2**62),
    "pads": ints(0, 0, 2**30, 0, 0, 2**30),
    "scales": np.array([1, 1, 1e9], np.float32),
    "nan": np.array([1, 1, np.nan], np.float32),
    "depth": np.array(2**61),
    "values": np.array([0, 1], np.float32),
    "places": ints(0, 1, 2),
    "weight": normal(4, 3, 3),
}


def node(op, *operands, result="y", **attributes):
    return helper.make_node(op, operands, [result], **attributes)


def of(*nodes, inputs=(X,), **more):
    return model(nodes, list(inputs), [Y], weights=NUMBERS, **more)


def chain(first, *others):
    """An operator whose result the others and then a Relu take."""
    return of(first, *others, node("Relu", "z"))


LAZY = {  # nothing of the size is made before a run
    "ConstantOfShape": chain(node("ConstantOfShape", "many", result="c"), node("Add", "c", "c", result="z")),
    "Pad": of(node("Pad", "x", "pads")),
    "Pad of a constant": chain(node("Pad", "weight", "pads", result="p"), node("Exp", "p", result="z")),
    "Expand": of(node("Expand", "one", "many", result="e"), node("Cast", "e", to=FLOAT)),
}
SIZES = {
    "Expand": of(node("Expand", "x", "huge")),
    "Tile": of(node("Tile", "x", "huge")),
    "Range": of(node("Range", "zero", "end", "one", result="r"), node("Cast", "r", to=FLOAT)),
    "ConstantOfShape": chain(node("ConstantOfShape", "huge", result="z")),
    "Resize": of(node("Resize", "x", "", "scales")),
    "Resize by nothing": of(node("Resize", "x", "", "nan")),
    "OneHot": of(node("OneHot", "places", "depth", "values")),
    "Reshape": of(node("Reshape", "x", "huge")),
    "MaxPool": of(node("MaxPool", "x", kernel_shape=[2**62], strides=[2**62])),
    "AveragePool": of(node("AveragePool", "x", kernel_shape=[2], pads=[2**62, 2**62])),
    "Conv": of(node("Conv", "x", "weight", pads=[2**62, 2**62], dilations=[2**62])),
    "ConvTranspose": of(node("ConvTranspose", "x", "weight", strides=[2**62])),
    "Trilu": chain(node("ConstantOfShape", "many", result="c"), node("Trilu", "c", result="z")),
    "CumSum": of(node("CumSum", "x", "end")),
    "EyeLike": chain(node("ConstantOfShape", "many", result="c"), node("EyeLike", "c", result="z")),
    "TopK": of(node("TopK", "x", "depth")),
    "Split": of(helper.make_node("Split", ["x"], ["y", "z"], split=[2**62, -(2**62)]), opset=11),
    "Constant": of(
        helper.make_node("Constant", [], ["y"], value=TensorProto(data_type=FLOAT, dims=[2**30], raw_data=b"1"))
    ),
    "GridSample": of(node("GridSample", "x", "x"), opset=20),
    "Einsum": of(node("Einsum", "x", "x", equation="ab" * 9000)),
    "a grid of nothing": of(node("GridSample", "one", "x"), opset=20),
    "an operand of many left out": of(node("Concat", "x", "", axis=0)),
    "a norm of order 0": of(node("LpPool", "x", kernel_shape=[2], p=0)),
    "rows to reverse of a number": of(node("ReverseSequence", "one", "places")),
    "a huge input": of(node("Relu", "x"), inputs=[value("x", FLOAT, [2**62, 2**62])]),
    "a negative input": of(node("Relu", "x"), inputs=[value("x", FLOAT, [-3])]),
    "two inputs of a name": of(node("Relu", "x"), inputs=[X, X]),
    "an axis that is a float": of(node("Softmax", "x", axis=1.5)),
    "a mode that is a number": of(node("Resize", "x", "", "scales", mode=3)),
}


def nested(depth: int) -> bytes:
    """If in If, `depth` of them, written without a parser: field 5 of an attribute is a graph, field 1 of it a node."""
    sizes, size = [], 0
    for _ in range(depth):
        inner = b"\x32" + _varint(size)  # attribute.g
        attribute = b"\x2a" + _varint(len(inner) + size)  # node.attribute
        node_ = b"\x0a" + _varint(len(attribute) + len(inner) + size)  # graph.node
        sizes.append(node_ + attribute + inner)
        size += len(sizes[-1])
    graph = b"".join(reversed(sizes))
    opset = helper.make_opsetid("", 17).SerializeToString()
    return b"\x3a" + _varint(len(graph)) + graph + b"\x42" + _varint(len(opset)) + opset


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def many_functions(count: int) -> onnx.ModelProto:
    """Functions that call each other one after the other."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    bodies = [[node(f"F{n + 1}", "a", result="b", domain="own")] for n in range(count)]
    functions = [helper.make_function("own", f"F{n}", ["a"], ["b"], body, imports) for n, body in enumerate(bodies)]
    proto = of(node("F0", "x", domain="own"), functions=functions)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    return proto


def damaged() -> dict[str, bytes]:
    """Files that are damaged as bytes."""
    whole = of(node("Relu", "x", name="first")).SerializeToString()
    listed = numpy_helper.from_array(normal(4, 3, 3), "w")
    listed.ClearField("raw_data")
    listed.float_data.extend([1.0] * 7)
    short = of(node("Add", "x", "w"))
    short.graph.initializer.append(listed)
    return {
        "cut": whole[:-5],
        "cut early": whole[:9],
        "noise": bytes(range(256)) * 64,
        "a name that is not UTF-8": whole.replace(b"first", b"\xff\xfe\xfd\xfc\xfb"),
        "an operator that is not UTF-8": whole.replace(b"Relu", b"\xff\xfe\xfd\xfc"),
        "an operand that is not UTF-8": whole.replace(b"x", b"\xff"),
        "too few numbers": short.SerializeToString(),
        "graphs in each other": nested(100_000),
        "functions in each other": many_functions(20_000).SerializeToString(),
        "two versions": (lambda m: (m.opset_import.append(helper.make_opsetid("", 12)), m.SerializeToString())[1])(
            of(node("Relu", "x"))
        ),
        "no version": (lambda m: (m.ClearField("opset_import"), m.SerializeToString())[1])(of(node("Relu", "x"))),
    }


CHILD = """
import json, resource, sys, time
import alula

from alula.passes.pipeline import optimise
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
for path in sys.argv[2:]:
    started = time.perf_counter()
    try:
        optimise(alula.from_onnx(path))
        text = "taken"
    except alula.AlulaError as error:
        text = f"{type(error).__name__}: {error}"
    except BaseException as error:
        text = f"escaped: {type(error).__name__} {error!s:.200}"
    print(json.dumps([time.perf_counter() - started, text]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Seconds and what came of each file, all in one process."""
    folder, files = tmp_path_factory.mktemp("hostile"), {}
    later = {f"{name}, later": proto for name, proto in LAZY.items()}
    for number, (name, data) in enumerate({**SIZES, **damaged(), **later}.items()):
        files[name] = folder / f"{number}.onnx"
        files[name].write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
    command = [sys.executable, "-c", CHILD, str(GIBIBYTE), *map(str, files.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == len(files), f"{list(files)[len(lines)]} ended the process: {done.stderr[-300:]}"
    return dict(zip(files, map(json.loads, lines), strict=True))


@pytest.mark.parametrize("name", [*SIZES, *damaged()])
def test_it_is_refused_in_a_line(name, outcomes):
    seconds, text = outcomes[name]
    assert text.partition(":")[0] in ("ImportFailed", "UnsupportedOperator", "ShapeError"), text
    assert ": expected " in text
    assert "\n" not in text
    assert seconds < SECONDS


@pytest.mark.parametrize("name", LAZY)
def test_what_is_large_is_not_made_at_import(name, outcomes):
    seconds, text = outcomes[f"{name}, later"]
    assert text == "taken"
    assert seconds < SECONDS
