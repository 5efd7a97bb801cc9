"""Keras applications, a transformer and frozen graphs through the whole compiler, against TensorFlow itself."""

import subprocess
import sys

import numpy as np
import pytest

import alula
from alula.cli.main import main
from alula.core.errors import ImportFailed, UnsupportedOperator

pytest.importorskip("tensorflow", reason="needs TensorFlow and tf2onnx: make tensorflow")
pytest.importorskip("tf2onnx", reason="needs tf2onnx: make tensorflow")

import keras
import tensorflow as tf

BATCHES = (1, 3)


def application(name, size):
    model = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classifier_activation=None)
    for layer in model.layers:  # as after training: fresh statistics would hide a mistake in folding them
        if isinstance(layer, keras.layers.BatchNormalization):
            random = np.random.default_rng(len(layer.name))
            scale, shift, mean, variance = layer.get_weights()
            drawn = random.normal(1, 0.2, scale.shape), random.normal(0, 0.2, shift.shape)
            layer.set_weights([*drawn, random.normal(0, 0.2, mean.shape), random.uniform(0.5, 1.5, variance.shape)])
    return model


def transformer():
    """Patches, two blocks of attention and a gelu, strides with padding "same", two outputs."""
    picture = keras.Input((64, 64, 3), name="picture")
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="swish")(picture)
    x = keras.layers.Conv2D(64, 8, strides=8, padding="same")(x)
    x = keras.layers.Reshape((16, 64))(x)
    for _ in range(2):
        y = keras.layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + keras.layers.MultiHeadAttention(4, 16)(y, y)
        y = keras.layers.Dense(128, activation="gelu")(keras.layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + keras.layers.Dense(64)(y)
    mean = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(picture, [keras.layers.Dense(10, name="classes")(mean), keras.layers.Dense(4, name="box")(mean)])


MODELS = {
    "MobileNetV2": lambda: application("MobileNetV2", 224),
    "ResNet50": lambda: application("ResNet50", 128),
    "EfficientNetB0": lambda: application("EfficientNetB0", 128),
    "DenseNet121": lambda: application("DenseNet121", 64),
    "ConvNeXtTiny": lambda: application("ConvNeXtTiny", 64),
    "transformer": transformer,
}


@pytest.fixture(scope="module")
def made():
    """Each model once, with the same weights every time."""
    models = {}

    def make(name):
        if name not in models:
            keras.utils.set_random_seed(0)
            models[name] = MODELS[name]()
        return models[name]

    return make


def pictures(model, batch):
    random = np.random.default_rng(batch)
    return random.uniform(0, 255, (batch, *model.inputs[0].shape[1:])).astype(np.float32) / 64 - 2


def agrees(file, model, limit=1e-4):
    """What a model file gives is what TensorFlow gives, for every batch."""
    with alula.load(file, threads=2) as session:
        for batch in BATCHES:
            x = pictures(model, batch)
            wanted = tf.nest.flatten(model(x, training=False))
            for got, theirs in zip(session.run(x), wanted, strict=True):
                assert got.shape == theirs.shape
                assert np.abs(got - theirs.numpy()).max() <= limit * np.abs(theirs.numpy()).max()


@pytest.mark.parametrize("name", MODELS)
def test_keras_files(name, made, tmp_path, capfd):
    model, path = made(name), tmp_path / "model.keras"
    model.save(path)
    capfd.readouterr()
    graph = alula.from_tensorflow(path)
    assert capfd.readouterr() == ("", "")
    assert graph.symbols == {"N": (1, 512)}
    assert [name for name, _ in graph.outputs] == model.output_names
    alula.build(graph).save(tmp_path / "m.alula")
    agrees(tmp_path / "m.alula", model)


@pytest.mark.parametrize("name", ["MobileNetV2", "transformer"])
def test_other_files_of_the_same_model(name, made, tmp_path):
    model = made(name)
    model.export(tmp_path / "saved", verbose=False)
    sources = ["saved", "frozen.pb"]
    if name != "transformer":  # Keras itself does not read back the .h5 of a model with attention and additions
        model.save(tmp_path / "model.h5")
        sources.append("model.h5")
    (tmp_path / "frozen.pb").write_bytes(frozen(model).SerializeToString())
    for source in sources:
        alula.build(alula.from_tensorflow(tmp_path / source)).save(tmp_path / "m.alula")
        agrees(tmp_path / "m.alula", model)


def frozen(model):
    """The model as TensorFlow 1 left it: one graph, its variables constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32, name="x")
    function = tf.function(lambda x: tf.nest.flatten(model(x, training=False)), input_signature=[spec])
    return convert_variables_to_constants_v2(function.get_concrete_function()).graph.as_graph_def()


def test_nothing_is_left_of_the_order_of_axes(made, tmp_path):
    made("MobileNetV2").save(tmp_path / "m.keras")
    final = alula.build(alula.from_tensorflow(tmp_path / "m.keras")).graph
    kinds = {node.op.name for node in final.nodes}
    assert kinds == {"conv2d", "depthwise_conv2d", "linear", "clip", "add", "reduce_mean"}


def test_from_pictures_in_bytes(made, tmp_path):
    model = made("MobileNetV2")
    model.save(tmp_path / "m.keras")
    contract = alula.core.preprocess.Preprocess(crop=224, resize=224, mean=(0.5,) * 3, std=(0.5,) * 3)
    config = alula.BuildConfig("qint8_mixed_float32", contract)
    shown = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    alula.build(alula.from_tensorflow(tmp_path / "m.keras"), config, [shown]).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula") as session:
        assert str(session.inputs[0]) == "input_layer u8[N,224,224,3]" or session.inputs[0].dtype.value == "u8"
        wanted = model(shown[:2] / np.float32(127.5) - 1, training=False).numpy()
        assert np.abs(session.run(shown[:2])[0] - wanted).max() <= 0.1 * np.abs(wanted).max()


def test_open_height_and_width(tmp_path):
    picture = keras.Input((None, None, 3), name="picture")
    x = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(picture)
    model = keras.Model(picture, keras.layers.Conv2D(4, 1)(keras.layers.UpSampling2D(2)(x)))
    model.save(tmp_path / "m.keras")
    graph = alula.from_tensorflow(tmp_path / "m.keras", ((1, 16, 16, 3), (4, 64, 64, 3)))
    alula.build(graph).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula", threads=1) as session:
        for shape in ((1, 32, 24, 3), (2, 17, 33, 3)):
            x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
            wanted = model(x, training=False).numpy()
            assert np.abs(session.run(x)[0] - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_the_command_and_a_machine_without_tensorflow(made, tmp_path, capfd):
    model = made("transformer")
    model.export(tmp_path / "saved", verbose=False)
    capfd.readouterr()
    assert main(["build", str(tmp_path / "saved"), "-o", str(tmp_path / "m.alula")]) == 0
    out, err = capfd.readouterr()
    assert "f32[N,64,64,3] with N from 1 to 512" in out
    assert err == ""
    np.save(tmp_path / "x.npy", pictures(model, 2))
    program = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, onnx=None, tf2onnx=None)\n"
        "import alula, numpy as np\n"
        "print(alula.load(sys.argv[1]).run(np.load(sys.argv[2]))[0].shape)\n"
    )
    paths = [str(tmp_path / name) for name in ("m.alula", "x.npy")]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=True)
    assert done.stdout in ("(2, 10)\n", "(2, 4)\n")


def bad(tmp_path, name, content=b"not a model"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.keras", "m.keras: expected a Keras model, got a file that is no zip archive"),
        ("m.h5", "m.h5: expected a TensorFlow model, got "),
        ("m.pb", "m.pb: expected a frozen graph (GraphDef), got a file that is none"),
    ],
)
def test_files_that_are_none(name, text, tmp_path, capfd):
    assert main(["build", str(bad(tmp_path, name)), "-o", str(tmp_path / "m.alula")]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert text in err
    assert not (tmp_path / "m.alula").exists()


def test_an_empty_graph_and_one_with_variables(tmp_path):
    with pytest.raises(ImportFailed, match="expected a graph with placeholders and results, got 0 nodes"):
        alula.from_tensorflow(bad(tmp_path, "empty.pb", b""))
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), "x")
        tf.identity(x * tf.compat.v1.get_variable("weight", (3,), use_resource=False), "y")
    path = bad(tmp_path, "live.pb", graph.as_graph_def().SerializeToString())
    with pytest.raises(ImportFailed, match="expected a frozen graph, got variables: weight"):
        alula.from_tensorflow(path)


def test_a_saved_model_without_a_signature_to_take(tmp_path):
    module = tf.Module()
    tf.saved_model.save(module, tmp_path / "none")
    with pytest.raises(ImportFailed, match="expected a signature serving_default, got none"):
        alula.from_tensorflow(tmp_path / "none")
    spec = tf.TensorSpec((None, 3), tf.float32, name="x")
    module.double = tf.function(lambda x: {"twice": x * 2}, input_signature=[spec])
    module.halve = tf.function(lambda x: {"half": x / 2}, input_signature=[spec])
    tf.saved_model.save(module, tmp_path / "two", signatures={"double": module.double, "halve": module.halve})
    with pytest.raises(ImportFailed, match="expected a signature serving_default, got double, halve"):
        alula.from_tensorflow(tmp_path / "two")
    tf.saved_model.save(module, tmp_path / "one", signatures={"double": module.double})
    graph = alula.from_tensorflow(tmp_path / "one")
    assert [name for name, _ in graph.outputs] == ["twice"]


def test_an_operator_without_a_counterpart(tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (2, 3), "x")
        tf.raw_ops.Bessel(name="y", x=x) if hasattr(tf.raw_ops, "Bessel") else tf.raw_ops.BesselI0e(x=x, name="y")
    path = bad(tmp_path, "m.pb", graph.as_graph_def().SerializeToString())
    with pytest.raises((UnsupportedOperator, ImportFailed), match="BesselI0e"):
        alula.from_tensorflow(path)


def test_code_in_a_keras_file_does_not_run(tmp_path):
    picture = keras.Input((4,))
    model = keras.Model(picture, keras.layers.Lambda(lambda x: x * 2)(picture))
    model.save(tmp_path / "m.keras")
    with pytest.raises(ImportFailed, match=r"m.keras: expected a TensorFlow model, got .*Lambda"):
        alula.from_tensorflow(tmp_path / "m.keras")
