"""Keras layers one by one, as files of both kinds, beside TensorFlow; and files that are not as they should be."""

from pathlib import Path

import numpy as np
import pytest

import alula
from alula.ops.reference import run_reference

pytest.importorskip("tensorflow", reason="needs TensorFlow and tf2onnx: make tensorflow")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: make tensorflow")

import keras
import tensorflow as tf
from keras import layers as L

PICTURE = (20, 24, 6)


def chain(shape, *layers, dtype=None):
    first = x = keras.Input(shape, dtype=dtype)
    for layer in layers:
        x = layer(x)
    return keras.Model(first, x)


def of(function, *shapes, names=None):
    inputs = [keras.Input(shape, name=name) for shape, name in zip(shapes, names or [None] * len(shapes), strict=True)]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], function(*inputs))


def activations():
    names = [
        "elu",
        "selu",
        "softplus",
        "softsign",
        "tanh",
        "mish",
        "silu",
        "gelu",
        "hard_sigmoid",
        "hard_silu",
        "leaky_relu",
        "relu6",
        "log_softmax",
    ]
    return [L.Activation(name) for name in names]


def built(model):
    model.build((None, *PICTURE))
    return model


CASES = {
    "a stride of 2, odd sizes": lambda: chain((21, 23, 3), L.Conv2D(8, 3, 2, padding="same")),
    "an even kernel": lambda: chain((21, 23, 3), L.Conv2D(8, 4, 3, padding="same")),
    "dilated": lambda: chain(PICTURE, L.Conv2D(8, 3, dilation_rate=2, padding="same")),
    "depthwise, dilated": lambda: chain(PICTURE, L.DepthwiseConv2D(3, dilation_rate=2, padding="same")),
    "separable": lambda: chain(PICTURE, L.SeparableConv2D(8, 3, 2, padding="same")),
    "in groups": lambda: chain(PICTURE, L.Conv2D(8, 3, groups=2)),
    "transposed, same": lambda: chain(PICTURE, L.Conv2DTranspose(8, 3, 2, padding="same")),
    "transposed, valid": lambda: chain(PICTURE, L.Conv2DTranspose(8, 4, 2)),
    "along a line": lambda: chain((17, 5), L.Conv1D(6, 3, padding="causal"), L.MaxPooling1D(2)),
    "in a volume": lambda: chain((9, 10, 11, 3), L.Conv3D(4, 3, padding="same"), L.MaxPooling3D(2)),
    "means of windows, same": lambda: chain((21, 23, 3), L.AveragePooling2D(3, 2, padding="same")),
    "largest of windows, same": lambda: chain((21, 23, 3), L.MaxPooling2D(3, 2, padding="same")),
    "larger, nearest": lambda: chain(PICTURE, L.UpSampling2D(2)),
    "larger, bilinear": lambda: chain(PICTURE, L.UpSampling2D(3, interpolation="bilinear")),
    "to a size, bilinear": lambda: chain(PICTURE, L.Resizing(13, 17)),
    "to a size, nearest": lambda: chain(PICTURE, L.Resizing(13, 31, interpolation="nearest")),
    "7 to 31": lambda: chain((7, 49, 3), L.Resizing(31, 41)),
    "padded and cropped": lambda: chain(PICTURE, L.ZeroPadding2D(((1, 2), (3, 0))), L.Cropping2D(2)),
    "groups normalised": lambda: chain(PICTURE, L.GroupNormalization(3)),
    "two axes normalised": lambda: chain(PICTURE, L.LayerNormalization(axis=(2, 3))),
    "root mean square": lambda: chain(PICTURE, L.RMSNormalization()),
    "batch normalised, added": lambda: of(
        lambda x: L.ReLU()(x + L.BatchNormalization()(L.Conv2D(6, 3, padding="same", use_bias=False)(x))), PICTURE
    ),
    "activations": lambda: chain(PICTURE, *activations(), L.PReLU(shared_axes=(1, 2), alpha_initializer="uniform")),
    "softmax along an axis": lambda: chain(PICTURE, L.Softmax(axis=1)),
    "axes in another order": lambda: chain(PICTURE, L.Permute((3, 1, 2)), L.Reshape((6, -1)), L.Dense(4)),
    "attention": lambda: of(lambda x: L.MultiHeadAttention(4, 8)(x, x), (10, 32)),
    "attention, masked": lambda: of(
        lambda x: L.MultiHeadAttention(4, 8, use_bias=False)(x, x, use_causal_mask=True), (10, 32)
    ),
    "LSTM": lambda: chain((7, 5), L.Bidirectional(L.LSTM(6))),
    "GRU": lambda: chain((7, 5), L.GRU(6, return_sequences=True)),
    "embedding": lambda: chain((7,), L.Embedding(20, 5), dtype="int32"),
    "bytes": lambda: chain((20, 20, 3), L.Rescaling(1 / 127.5, offset=-1), L.Conv2D(4, 3), dtype="uint8"),
    "only in training": lambda: chain(PICTURE, L.Dropout(0.5), L.GaussianNoise(1.0), L.Conv2D(4, 3)),
    "every step of time": lambda: chain((3, 8, 8, 2), L.TimeDistributed(L.Conv2D(4, 3)), L.Flatten()),
    "a sequence of layers": lambda: keras.Sequential([keras.Input(PICTURE), L.Flatten(), L.Dense(3)]),
    "a sequence without an input": lambda: built(keras.Sequential([L.Flatten(), L.Dense(3)])),
    "two inputs": lambda: of(lambda a, b: L.Concatenate()([a, b]), (4, 4, 3), (4, 4, 2), names=("zz", "aa")),
    "a fixed batch": lambda: (lambda x: keras.Model(x, L.Conv2D(4, 3)(x)))(keras.Input(batch_shape=(2, *PICTURE))),
    "einsum": lambda: of(lambda x: keras.ops.einsum("bhwc,bhwd->bcd", x, x), PICTURE),
    "patches": lambda: of(lambda x: keras.ops.image.extract_patches(x, 4), PICTURE),
}


def drawn(value):
    shape = (value.shape[0] or 2, *value.shape[1:])
    random = np.random.default_rng(1)
    return (random.integers(0, 9, shape) if "int" in value.dtype else random.normal(size=shape)).astype(value.dtype)


def with_weights(make):
    keras.utils.set_random_seed(0)
    model, random = make(), np.random.default_rng(2)
    for weight in model.weights:  # as after training: zeros and ones would hide a mistake
        if any(word in weight.path for word in ("moving_variance", "gamma")):
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif any(word in weight.path for word in ("moving_mean", "beta", "bias")):
            weight.assign(random.normal(size=weight.shape))
    return model


def saved(model, path):
    if path.suffix:
        model.save(path)
    else:
        model.export(path, verbose=False)
    return path


@pytest.mark.parametrize("file", ["m.keras", "saved"])
@pytest.mark.parametrize("name", CASES)
def test_layers(name, file, tmp_path):
    model = with_weights(CASES[name])
    arrays = [drawn(value) for value in model.inputs]
    wanted = model(arrays if len(arrays) > 1 else arrays[0], training=False).numpy()
    named = dict(zip([value.name for value in model.inputs], arrays, strict=True))
    graph = alula.from_tensorflow(saved(model, tmp_path / file))
    alula.build(graph).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula", threads=1) as session:
        (got,) = session.run(*(named.get(value.name, arrays[0]) for value in session.inputs))
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_inputs_and_outputs_by_names(tmp_path):
    """Names of results belong to them, whatever order they are in."""
    first, second = keras.Input((4,), name="q"), keras.Input((3,), name="b")
    results = {"z": L.Dense(5, name="five")(first), "a": L.Dense(2, name="two")(second)}
    model = keras.Model({"q": first, "b": second}, results)
    for file, names in (("m.keras", {"five": 5, "two": 2}), ("saved", {"z": 5, "a": 2})):
        graph = alula.from_tensorflow(saved(model, tmp_path / file))
        assert {value.name: str(value.type) for value in graph.inputs} == {"q": "f32[N,4]", "b": "f32[N,3]"}
        assert {name: value.type.shape[1] for name, value in graph.outputs} == names


def first_version(folder):
    """A model as TensorFlow 1 wrote it: two graphs of which one is for serving, and the same one frozen."""
    v1, graph = tf.compat.v1, tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, (None, 8, 8, 3), "img")
        y = tf.nn.relu(tf.nn.conv2d(x, v1.get_variable("w", (3, 3, 3, 5)), 2, "SAME"), name="out")
        z = tf.reduce_mean(y, (1, 2), name="mean")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder / "saved"))
        signature = v1.saved_model.predict_signature_def({"img": x}, {"map": y, "all": z})
        builder.add_meta_graph_and_variables(session, ["serve", "train"], {"serving_default": signature})
        builder.add_meta_graph(["serve"], {"serving_default": signature})
        builder.save()
        constant = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["mean"])
        (folder / "frozen.pb").write_bytes(constant.SerializeToString())
        array = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
        return array, *session.run([y, z], {x: array})


def answers(graph, array):
    return dict(zip([name for name, _ in graph.outputs], run_reference(graph, [array]), strict=True))


def test_models_of_tensorflow_1(tmp_path):
    array, wanted_map, wanted_mean = first_version(tmp_path)
    for source in ("saved", "saved/saved_model.pb"):
        got = answers(alula.from_tensorflow(tmp_path / source), array)
        assert set(got) == {"map", "all"}
        np.testing.assert_allclose(got["map"], wanted_map, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["all"], wanted_mean, rtol=1e-5, atol=1e-6)
    frozen = answers(alula.from_tensorflow(tmp_path / "frozen.pb"), array)
    np.testing.assert_allclose(frozen["mean"], wanted_mean, rtol=1e-5, atol=1e-6)


class Odd(L.Layer):
    def call(self, x):
        return x * 2


def refusal(path):
    with pytest.raises(alula.AlulaError) as caught:
        alula.from_tensorflow(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def serving(function, spec, folder):
    module = tf.Module()
    module.run = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, folder, signatures=module.run)
    return folder


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_layers_that_are_not_keras_own(file, tmp_path):
    model = chain((4,), Odd())
    assert f"{file}: expected layers that are Keras's own, got Odd; " in refusal(saved(model, tmp_path / file))
    graph = alula.from_tensorflow(saved(model, tmp_path / "saved"))
    assert [node.op.name for node in graph.nodes] == ["mul"]


@pytest.mark.parametrize("file", ["m.keras", "m.h5"])
def test_code_in_a_file_does_not_run(file, tmp_path):
    proof, name = tmp_path / "ran", str(tmp_path / "ran")
    model = chain((4,), L.Lambda(lambda x: (Path(name).touch(), x * 2)[1]))
    path = saved(model, tmp_path / file)
    proof.unlink(missing_ok=True)
    assert "Lambda" in refusal(path)
    assert not proof.exists()


def test_graphs_that_no_program_can_be_made_of(tmp_path):
    rows = tf.TensorSpec((None, 3), tf.float32, name="x")
    any_rank = serving(lambda x: x * 2, tf.TensorSpec(None, tf.float32, name="x"), tmp_path / "rank")
    assert "rank: expected inputs of known rank, got x of any" in refusal(any_rank)
    endless = serving(
        lambda x: tf.while_loop(lambda v: tf.reduce_sum(v) < 9.0, lambda v: [v * 2], [x])[0], rows, tmp_path / "loop"
    )
    assert "Loop with a condition that is not constant (at " in refusal(endless)
    found = serving(lambda x: tf.where(x > 0)[:, 0], rows, tmp_path / "where")
    assert "only a run decides (at " in refusal(found)
    text = serving(tf.strings.length, tf.TensorSpec((None,), tf.string, name="x"), tmp_path / "text")
    assert ": expected " in refusal(text)


def test_folders_and_files_that_are_damaged(tmp_path):
    folder = serving(lambda x: x * 2, tf.TensorSpec((None, 3), tf.float32), tmp_path / "saved")
    (folder / "saved_model.pb").write_bytes(b"")
    assert "expected a SavedModel with one graph or one tagged serve, got none" in refusal(folder)
    (folder / "saved_model.pb").write_bytes(b"damaged")
    assert "saved: expected a TensorFlow model, got " in refusal(folder)
    path = saved(chain((4,), L.Dense(3)), tmp_path / "m.keras")
    path.write_bytes(path.read_bytes()[:-40])
    assert "m.keras: expected a Keras model, got a file that is no zip archive" in refusal(path)
    chain((4,), L.Dense(3)).save_weights(tmp_path / "m.weights.h5")
    assert "No model config found" in refusal(tmp_path / "m.weights.h5")
