"""The walk: shapes that are computed, branches, functions, weights, the batch, and what a model cannot be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import alula
from alula.cli.main import main
from alula.core.errors import ImportFailed, UnsupportedOperator, UsageError
from alula.frontends.onnx import from_onnx
from alula.ops.reference import run_reference
from tests.frontends.onnx.models import BOOL, FLOAT, INT64, agree, ints, model, normal, op_names, saved, value

node = helper.make_node
X = value("x", FLOAT, ["batch", 3, 8])
Y = value("y", FLOAT, None)


def refusal(proto: onnx.ModelProto, folder: Path, **more: object) -> str:
    with pytest.raises((ImportFailed, UsageError)) as caught:
        from_onnx(saved(proto, folder), **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_shapes_that_are_computed_cost_nothing(tmp_path):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Mul", ["n1", "two"], ["n2"]),
        node("Div", ["n2", "two"], ["n3"]),
        node("Cast", ["n3"], ["n4"], to=INT64),
        node("Concat", ["n4", "rest"], ["shape"], axis=0),
        node("Equal", ["shape", "minus"], ["unknown"]),
        node("Where", ["unknown", "ones", "shape"], ["final"]),
        node("Reshape", ["x", "final"], ["y"]),
    ]
    weights = {
        "zero": np.array(0),
        "axis": ints(0),
        "two": ints(2),
        "rest": ints(24),
        "minus": ints(-1, -1),
        "ones": ints(1, 1),
    }
    proto = model(nodes, [X], [Y], weights=weights)
    for batch in (1, 5):
        graph = agree(proto, {"x": normal(batch, 3, 8)}, tmp_path)
    assert op_names(graph) == ["reshape"]
    assert str(graph.outputs[0][1].type) == "f32[N,24]"


def test_a_part_up_to_the_largest_integer_is_all_of_the_batch(tmp_path):
    weights = {"zero": ints(0, 1), "end": np.array([2**31 - 1, 2], np.int64), "axes": ints(0, 1)}
    proto = model([node("Slice", ["x", "zero", "end", "axes"], ["y"])], [X], [Y], weights=weights)
    graph = agree(proto, {"x": normal(2, 3, 8)}, tmp_path)
    assert str(graph.outputs[0][1].type) == "f32[N,1,8]"


def test_the_larger_of_sizes_of_the_batch(tmp_path):
    """Shapes that broadcast, as tf2onnx writes products of more than two axes."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Max", ["s", "least"], ["most"]),
        node("Min", ["most", "s", "huge"], ["fit"]),
        node("ReduceProd", ["fit", "last"], ["count"], noop_with_empty_axes=0),
        node("Reshape", ["x", "count"], ["y"]),
    ]
    weights = {"least": ints(1, 2, 1), "huge": np.array(2**40), "last": ints(0)}
    graph = agree(model(nodes, [X], [Y], 18, weights), {"x": normal(2, 3, 8)}, tmp_path)
    assert str(graph.outputs[0][1].type) == "f32[N*24]"
    for least in (4, -4):
        uncertain = model(nodes, [X], [Y], 18, weights | {"least": ints(least, 2, 1)})
        if least > 0:
            assert "Max of sizes that depend on the batch" in refusal(uncertain, tmp_path)
        else:
            agree(uncertain, {"x": normal(2, 3, 8)}, tmp_path)


def test_the_batch(tmp_path):
    proto = model([node("Relu", ["x"], ["y"])], [X], [Y])
    path = saved(proto, tmp_path)
    assert from_onnx(path).symbols == {"N": (1, 512)}
    assert from_onnx(path, ((2, 3, 8), (9, 3, 8))).symbols == {"N": (2, 9)}
    assert from_onnx(path, ((4, 3, 8), (4, 3, 8))).inputs[0].type.shape == (4, 3, 8)
    fixed = model([node("Relu", ["x"], ["y"])], [value("x", FLOAT, [1, 3])], [Y])
    graph = from_onnx(saved(fixed, tmp_path))
    assert (graph.symbols, graph.inputs[0].type.shape) == ({}, (1, 3))


def test_other_open_sizes_have_to_be_fixed(tmp_path):
    picture = value("x", FLOAT, ["n", 3, "h", "w"])
    proto = model([node("Relu", ["x"], ["y"])], [picture], [Y])
    text = refusal(proto, tmp_path)
    assert text.startswith("onnx input x: expected an open batch alone, got [n, 3, h, w]: a dim range")
    graph = from_onnx(saved(proto, tmp_path), ((1, 3, 4, 5), (8, 3, 4, 5)))
    assert str(graph.inputs[0].type) == "f32[N,3,4,5]"
    text = refusal(proto, tmp_path, dim_range=((1, 4, 4, 5), (8, 4, 4, 5)))
    assert text.startswith("dim range of input x: expected shapes within [n, 3, h, w], got (1, 4, 4, 5)")


def test_two_batches_are_refused(tmp_path):
    proto = model([node("Add", ["x", "z"], ["y"])], [X, value("z", FLOAT, ["other", 3, 8])], [Y])
    assert refusal(proto, tmp_path) == "onnx inputs x, z: expected one batch, got batch, other"


def test_a_constant_condition_chooses_a_branch(tmp_path):
    branches = {
        name: helper.make_graph([node(op, ["x"], [name])], name, [], [value(name, FLOAT, None)])
        for name, op in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "two"], ["w"]), node("Greater", ["w", "five"], ["big"])]
    nodes.append(node("If", ["big"], ["y"], name="choice", **branches))
    weights = {"two": np.array(2), "five": np.array(5)}
    graph = agree(model(nodes, [X], [Y], weights=weights), {"x": normal(2, 3, 8)}, tmp_path)
    assert op_names(graph) == ["relu"]
    condition = model([node("If", ["c"], ["y"], name="choice", **branches)], [X, value("c", BOOL, [])], [Y])
    assert "If with a condition that is not constant (at choice)" in refusal(condition, tmp_path)


def test_functions_of_the_model_and_of_onnx(tmp_path):
    body = [node("Mul", ["a", "a"], ["b"]), helper.make_node("LeakyRelu", ["b"], ["c"])]
    slope = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    body[1].attribute.append(slope)
    imports = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Squares", ["a"], ["c"], body, imports, attributes=["slope"])
    call = node("Squares", ["x"], ["z"], domain="own", slope=0.5)
    proto = model([call, node("MeanVarianceNormalization", ["z"], ["y"], axes=[1, 2])], [X], [Y], functions=[function])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    graph = agree(proto, {"x": normal(2, 3, 8)}, tmp_path, 1e-5)
    assert op_names(graph)[:2] == ["mul", "leaky_relu"]
    lone = model(
        [node("Shrink", ["x"], ["z"]), node("CenterCropPad", ["z", "s"], ["y"], axes=[2])], [X], [Y], 18, {"s": ints(4)}
    )
    assert str(from_onnx(saved(lone, tmp_path)).outputs[0][1].type) == "f32[N,3,4]"


def test_constants_take_the_place_of_inputs(tmp_path):
    proto = model([node("Reshape", ["x", "s"], ["y"])], [X, value("s", INT64, [2])], [Y])
    graph = from_onnx(saved(proto, tmp_path), constants={"s": ints(-1, 24)})
    (got,) = run_reference(graph, [normal(2, 3, 8)])
    assert np.array_equal(got, normal(2, 3, 8).reshape(2, 24))
    assert refusal(proto, tmp_path, constants={"t": ints(1)}).startswith("constants of model.onnx: expected names of")


def test_all_unknown_operators_are_named_at_once(tmp_path):
    nodes = [node("Nonsense", ["x"], ["a"], name="first"), node("Relu", ["a"], ["b"])]
    nodes += [node("Nonsense", ["b"], ["c"], name="second"), node("Other", ["c"], ["d"], domain="some.where")]
    nodes.append(node("MaxPool", ["x"], ["e"], name="pool", kernel_shape=[2], auto_pad="ODD"))
    nodes.append(node("Add", ["d", "e"], ["y"]))
    with pytest.raises(UnsupportedOperator) as caught:
        from_onnx(saved(model(nodes, [X], [Y]), tmp_path))
    assert str(caught.value) == (
        "onnx model.onnx: expected operators that Alula knows, got Nonsense (at first, second); "
        "some.where.Other (at d); MaxPool with auto_pad 'ODD' (at pool)"
    )


def test_results_as_long_as_the_data_decide_are_refused(tmp_path):
    nodes = [node("NonZero", ["x"], ["z"]), node("Cast", ["z"], ["y"], to=FLOAT)]
    assert refusal(model(nodes, [X], [Y]), tmp_path).endswith(
        "got NonZero whose result is as long as elements are not 0: only a run decides (at z)"
    )


def test_attributes_are_of_their_definitions_kind(tmp_path):
    proto = model([node("Softmax", ["x"], ["y"], axis=0.5)], [X], [Y])
    assert refusal(proto, tmp_path) == "onnx Softmax y: expected attribute axis of type INT, got FLOAT"


def test_what_nothing_needs_is_not_looked_at(tmp_path):
    nodes = [node("Nonsense", ["x"], ["a"]), node("Relu", ["x"], ["y"])]
    assert op_names(from_onnx(saved(model(nodes, [X], [Y]), tmp_path))) == ["relu"]


def test_weights_may_be_inputs_too(tmp_path):
    weight = normal(8, 2)
    proto = model([node("MatMul", ["x", "w"], ["y"])], [X, value("w", weight)], [Y], 7, {"w": weight})
    graph = agree(proto, {"x": normal(2, 3, 8)}, tmp_path)
    assert [v.name for v in graph.inputs] == ["x"]


CHAINS = {
    "a cycle": [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])],
    "a missing operand": [node("Add", ["x", "nowhere"], ["y"])],
    "two definitions": [node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])],
    "an output that nothing makes": [node("Relu", ["x"], ["z"])],
    "a huge shape": [node("ConstantOfShape", ["huge"], ["c"]), node("Add", ["x", "c"], ["y"])],
    "an overflowing shape": [node("Expand", ["x", "huge"], ["y"])],
    "a huge range": [node("Range", ["zero", "big", "one"], ["r"]), node("Cast", ["r"], ["y"], to=FLOAT)],
    "a huge tile": [node("Tile", ["x", "huge"], ["y"])],
    "huge pads": [node("Pad", ["x", "pads"], ["y"])],
    "negative axes": [node("Transpose", ["x"], ["y"], perm=[0, -1, 7])],
    "a zero step": [node("Slice", ["x", "one1", "one1", "one1", "zero1"], ["y"])],
    "a zero stride": [node("MaxPool", ["x"], ["y"], kernel_shape=[2], strides=[0])],
    "a huge kernel": [node("MaxPool", ["x"], ["y"], kernel_shape=[2**62])],
    "no operands": [node("Relu", [], ["y"])],
    "an empty operand": [node("Relu", [""], ["y"])],
}
NUMBERS = {
    "huge": ints(2**40, 2**40, 2**40),
    "zero": np.array(0),
    "big": np.array(2**60),
    "one": np.array(1),
    "one1": ints(1),
    "zero1": ints(0),
    "pads": ints(0, 0, 2**62, 0, 0, 0),
}


@pytest.mark.parametrize("name", CHAINS)
def test_hostile_models_are_refused_in_a_line(name, tmp_path):
    assert ": expected " in refusal(model(CHAINS[name], [X], [Y], weights=NUMBERS), tmp_path)


def test_branches_and_functions_in_each_other_end(tmp_path):
    inner = helper.make_graph([node("Relu", ["x"], ["o0"])], "g", [], [value("o0", FLOAT, None)])
    for level in range(1, 20):
        chosen = node("If", ["yes"], [f"o{level}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([chosen], "g", [], [value(f"o{level}", FLOAT, None)])
        if inner.ByteSize() > 1 << 20:
            break
    deep = node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    from_onnx(saved(model([deep], [X], [Y], weights={"yes": np.array(True)}), tmp_path))
    imports = [helper.make_opsetid("own", 1)]
    loop = helper.make_function("own", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="own")], imports)
    proto = model([node("F", ["x"], ["y"], domain="own")], [X], [Y], functions=[loop])
    proto.opset_import.append(helper.make_opsetid("own", 1))
    assert "expected at most 32 functions in each other" in refusal(proto, tmp_path)


def test_functions_that_double_end(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["a"], ["b"], [node("Relu", ["a"], ["b"])], imports)]
    for level in range(1, 28):
        below = f"F{level - 1}"
        body = [node(below, ["a"], ["c"], domain="own"), node(below, ["c"], ["b"], domain="own")]
        functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], body, imports))
    proto = model([node("F27", ["x"], ["y"], domain="own")], [X], [Y], functions=functions)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    assert "nodes, got more" in refusal(proto, tmp_path)


def test_long_chains_are_read_and_endless_ones_refused(tmp_path):
    """In a process of its own with little memory: a recursion over the chain would end it."""
    for count, wanted in ((20_000, "20000"), (100_000, "expected at most 50000 nodes, got 100000")):
        nodes = [node("Neg", [f"v{n}" if n else "x"], [f"v{n + 1}"]) for n in range(count)]
        path = saved(model(nodes, [X], [value(f"v{count}", FLOAT, None)]), tmp_path)
        code = (
            "import resource, alula; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
            f"try: print(len(alula.from_onnx({str(path)!r}).nodes))\n"
            "except alula.AlulaError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert wanted in done.stdout


def test_versions(tmp_path):
    relu = [node("Relu", ["x"], ["y"])]
    assert "expected operators of version 7..24, got 6" in refusal(model(relu, [X], [Y], 6), tmp_path)
    assert "expected operators of version 7..24, got 25" in refusal(model(relu, [X], [Y], 25), tmp_path)


def test_the_public_name_and_provenance(tmp_path):
    graph = alula.from_onnx(str(saved(model([node("Relu", ["x"], ["y"])], [X], [Y]), tmp_path)))
    assert graph.provenance["framework"] == "onnx"
    assert [name for name, _ in graph.outputs] == ["y"]


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportFailed, match="expected onnx to be installed"):
        from_onnx(tmp_path / "m.onnx")


def test_inputs_that_are_no_tensors(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    proto = model([node("Relu", ["x"], ["y"])], [sequence], [Y])
    assert refusal(proto, tmp_path) == "onnx input x: expected a tensor of known rank, got another"


def test_the_command_line_builds_it(tmp_path, capsys):
    path, target = saved(model([node("Relu", ["x"], ["y"])], [X], [Y]), tmp_path), tmp_path / "m.alula"
    assert main(["build", str(path), "-o", str(target), "--dim-range", "1,3,8", "4,3,8"]) == 0
    assert "takes x f32[N,3,8] with N from 1 to 4" in capsys.readouterr().out
    with alula.load(target) as session:
        assert np.array_equal(session.run(normal(2, 3, 8))[0], np.maximum(normal(2, 3, 8), 0))
    (tmp_path / "bad.onnx").write_bytes(b"no")
    assert main(["build", str(tmp_path / "bad.onnx"), "-o", str(target)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def resized(wanted):
    """Sizes of which the first are the picture's own, as PyTorch's exporter writes them, with attributes of no use."""
    nodes = [
        node("Shape", ["x"], ["own"], start=0, end=2),
        node("Mul", ["own", "times"], ["first"]),
        node("Concat", ["first", "new"], ["sizes"], axis=0),
        node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", nearest_mode="floor", cubic_coeff_a=-0.5),
    ]
    picture = value("x", FLOAT, ["N", 3, 4, 5])
    return model(nodes, [picture], [Y], 18, {"times": ints(*wanted), "new": ints(7, 9)})


def test_a_picture_is_resized_to_sizes_of_which_one_is_the_batch(tmp_path):
    for batch in (1, 3):
        graph = agree(resized((1, 1)), {"x": normal(batch, 3, 4, 5)}, tmp_path, 5e-6)
    assert str(graph.outputs[0][1].type) == "f32[N,3,7,9]"


def test_the_batch_itself_is_not_resized(tmp_path):
    assert "Resize along the batch" in refusal(resized((2, 1)), tmp_path)
