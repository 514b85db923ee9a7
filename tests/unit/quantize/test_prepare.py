"""Checkpoint, float ONNX or QDQ ONNX in; a quantized model with a complete description out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from quantized import copied, float_model, quantized

from shufflec.errors import InputFileError, OptionError, UnsupportedModelError
from shufflec.models.architecture import Architecture
from shufflec.models.checkpoint import save_checkpoint
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize import prepare
from shufflec.quantize.inspect import model_kind
from shufflec.quantize.model_info import read_model_info, write_model_info
from shufflec.quantize.prepare import load_float, prepare_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "quantize"


@pytest.fixture
def without_nncf(monkeypatch):
    """Quantization is a copy that counts its calls: what is tested here is what happens around it."""
    calls = []

    def quantize(model, calibration, progress=None):
        calls.append([batch.shape for batch in calibration])
        return copied(quantized(3, "paper"))

    monkeypatch.setattr(prepare, "quantize_model", quantize)
    return calls


def checkpoint(random_weights: bool = True, recipe: dict | None = None):
    made = random_checkpoint(Architecture(3, 0.25, "paper", 10, 32))
    made.random_weights = random_weights
    made.recipe = recipe or {}
    return made


@pytest.fixture
def digits_npz(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    path = tmp_path / "set.npz"
    np.savez(path, images=images, labels=np.arange(40) % 10)
    return path


def foreign(path, batch: int | str = "N", op_type: str = "Relu", normalise: bool = True):
    """A network as another tool may write it: batch norm on its own, no node names, no description."""
    random = np.random.default_rng(0)
    constants = {
        "w": random.standard_normal((8, 3, 3, 3)), "g": random.uniform(0.5, 2, 8), "b": random.standard_normal(8),
        "m": random.standard_normal(8), "v": random.uniform(0.5, 2, 8), "fc": random.standard_normal((4, 8)),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"])
        if normalise
        else helper.make_node("Identity", ["c"], ["n"]),
        helper.make_node(op_type, ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_random_weights_take_synthetic_images(without_nncf):
    result = prepare_model(checkpoint())
    assert without_nncf == [[(16, 3, 32, 32)]]
    assert "synthetic images" in result.notes[0] and "random" in result.notes[0]
    assert result.info["random_weights"] is True
    assert result.info["quantization"]["data"] == "synthetic images"
    assert read_model_info(result.model) == result.info
    assert result.preprocessing.input_size == (32, 32)
    assert model_kind(result.float_model) == "float"


def test_trained_on_digits_takes_digits(without_nncf):
    result = prepare_model(checkpoint(False, {"data": "digits"}), samples=20)
    assert without_nncf == [[(20, 3, 32, 32)]]
    quantization = result.info["quantization"]
    assert (quantization["data"], quantization["images"], result.notes) == ("digits", 20, ())


def test_trained_on_something_else_needs_data(without_nncf, digits_npz):
    made = checkpoint(False, {"data": "photos/"})
    with pytest.raises(OptionError, match="a float model needs images to be quantized on"):
        prepare_model(made)
    result = prepare_model(made, data=digits_npz, samples=5)
    # The path that the data lies under must not get into the artifact.
    assert result.info["quantization"]["data"] == "set.npz"
    with pytest.raises(OptionError, match="samples 0"):
        prepare_model(made, data=digits_npz, samples=0)
    assert len(without_nncf) == 1


def test_second_time_comes_from_the_cache(without_nncf, own_cache):
    first = prepare_model(checkpoint())
    second = prepare_model(checkpoint())
    assert (first.cached, second.cached, len(without_nncf)) == (False, True, 1)
    assert first.model.SerializeToString() == second.model.SerializeToString()
    assert prepare_model(checkpoint(), use_cache=False).cached is False
    other = random_checkpoint(Architecture(3, 0.25, "paper", 10, 32), seed=5)
    assert prepare_model(other).cached is False
    assert len(list(own_cache.iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_cache_is_made_again(without_nncf, own_cache, damage):
    prepare_model(checkpoint())
    (file,) = own_cache.iterdir()
    good = file.read_bytes()
    file.write_bytes(float_model(3, "paper").SerializeToString() if damage is None else damage)
    assert prepare_model(checkpoint()).cached is False
    assert file.read_bytes() == good


def test_checkpoint_file_and_float_file_give_the_same(tmp_path, without_nncf):
    save_checkpoint(tmp_path / "model.safetensors", checkpoint())
    first = prepare_model(tmp_path / "model.safetensors")
    onnx.save(first.float_model, tmp_path / "float.onnx")
    second = prepare_model(str(tmp_path / "float.onnx"))
    assert second.cached is True
    assert first.model.SerializeToString() == second.model.SerializeToString()


def test_quantized_file_is_taken_as_it_is(tmp_path, without_nncf):
    onnx.save(quantized(3, "paper"), tmp_path / "model.onnx")
    result = prepare_model(tmp_path / "model.onnx")
    assert result.model.graph.node == quantized(3, "paper").graph.node
    assert result.float_model is None and not without_nncf
    with pytest.raises(InputFileError, match="is quantized already"):
        load_float(tmp_path / "model.onnx")


def test_quantized_file_with_a_float_path(tmp_path):
    model = copied(quantized(3, "paper"))
    conv = next(node for node in model.graph.node if node.name == "stage3.1.conv2")
    conv.input[0] = "stage3.1.dw"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModelError, match=r"model\.onnx: Conv node stage3\.1\.conv2 reads a float tensor"):
        prepare_model(tmp_path / "model.onnx")


def test_shapes_that_do_not_fit(tmp_path):
    for name, model in (("float", copied(float_model(3, "paper"))), ("qdq", copied(quantized(3, "paper")))):
        dims = next(node for node in model.graph.node if node.name == "stage2.1.conv1").attribute
        next(item for item in dims if item.name == "group").i = 7
        onnx.save(model, tmp_path / f"{name}.onnx")
        with pytest.raises(UnsupportedModelError, match=f"{name}.onnx: ONNX Runtime cannot run the model"):
            prepare_model(tmp_path / f"{name}.onnx")


@pytest.mark.parametrize("batch", [1, 8, "N"])
def test_foreign_float_model(tmp_path, batch):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(8) % 4, class_names=["a", "b", "c", "d"])
    path = foreign(tmp_path / "net.onnx", batch)
    result = prepare_model(path, data=tmp_path / "set.npz")
    assert [node.op_type for node in result.float_model.graph.node] == [
        "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"
    ]  # fmt: skip
    assert all(node.name for node in result.model.graph.node)
    assert result.info["class_names"] == ["a", "b", "c", "d"]
    assert result.info["architecture"] is None
    assert "RGB, 0 to 1, (x - 0.485 0.456 0.406)" in result.notes[0] and len(result.notes) == 1
    assert result.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_overrides_are_taken_and_checked(tmp_path, without_nncf):
    path = foreign(tmp_path / "net.onnx")
    result = load_float(path, {"mean": (0.5, 0.5, 0.5), "channel_order": "BGR"})
    assert result.info["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert result.info["preprocessing"]["channel_order"] == "BGR"
    assert result.notes == ()
    with pytest.raises(UnsupportedModelError, match="std"):
        load_float(path, {"std": (0.0, 1.0, 1.0)})


@pytest.mark.parametrize("op_type", ["Sigmoid", "Softplus"])
def test_unsupported_operator_is_named_with_its_node(tmp_path, op_type):
    path = foreign(tmp_path / "net.onnx", op_type=op_type)
    with pytest.raises(UnsupportedModelError, match=rf"net\.onnx: {op_type} node \S+ is not an operator"):
        prepare_model(path, data="digits")


def test_open_input_size_and_old_opset(tmp_path):
    path = foreign(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"
    onnx.save(model, path)
    with pytest.raises(UnsupportedModelError, match="leaves its height or width open"):
        prepare_model(path, data="digits")
    model = onnx.load(foreign(path, normalise=False))
    model.opset_import[0].version = 11
    onnx.save(model, path)
    with pytest.raises(UnsupportedModelError, match="uses opset 11, expected 13"):
        prepare_model(path, data="digits")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ["a"]}, "names 1 classes, it has 10 outputs"),
        ({"preprocessing": {}}, "description is wrong"),
        ({"architecture": {"family": "resnet"}}, "description is wrong"),
    ],
)
def test_description_that_does_not_fit(tmp_path, change, message):
    model = copied(quantized(3, "paper"))
    write_model_info(model, {**read_model_info(model), **change})
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModelError, match=message):
        prepare_model(tmp_path / "model.onnx")


def test_input_that_no_board_could_take(tmp_path):
    path = foreign(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 1 << 20
    onnx.save(model, path)
    with pytest.raises(UnsupportedModelError, match="the input is 16x1048576, expected at most 4096 on a side"):
        prepare_model(path, data="digits")


def test_input_size_of_the_description(tmp_path):
    model = copied(quantized(3, "paper"))
    info = read_model_info(model)
    info["preprocessing"]["input_size"] = [64, 64]
    write_model_info(model, info)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModelError, match=r"says input size \(64, 64\), its input is \(32, 32\)"):
        prepare_model(tmp_path / "model.onnx")


def test_another_kind_of_file(tmp_path):
    with pytest.raises(InputFileError, match=r"model\.txt: is neither"):
        prepare_model(tmp_path / "model.txt")
