"""The exported graph is the torch module, under names that do not change."""

from __future__ import annotations

from collections import Counter

import onnx
import pytest
import torch

from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.models.architecture import GROUPS, VARIANTS, Architecture
from shufflec.models.random_weights import random_checkpoint
from shufflec.quantize.accuracy import predictor
from shufflec.quantize.export import OPSET, export_onnx, read_model_info, write_model_info


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("size", [(32, 32), (45, 54)])
def test_equals_torch(groups, variant, size):
    checkpoint = random_checkpoint(Architecture(groups, 0.25, variant, 7, size), seed=groups)
    model = export_onnx(checkpoint)
    image = torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = checkpoint.build()(image).numpy()
    result = predictor(model)(image.numpy())
    assert result.shape == (1, 7)
    assert abs(result - expected).max() <= 1e-4 * max(1.0, abs(expected).max())


@pytest.mark.parametrize(
    ("variant", "shuffles", "behind"), [("paper", 15, "relu1"), ("megvii", 16, "dw"), ("mindcv", 16, "relu1")]
)
def test_operators_and_names(variant, shuffles, behind):
    model = export_onnx(random_checkpoint(Architecture(4, 0.25, variant, 10, 32)))
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", OPSET)]
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts == {
        "Conv": 49, "Relu": 33, "MaxPool": 1, "AveragePool": 3, "Concat": 3, "Add": 13, "GlobalAveragePool": 1,
        "Flatten": 1, "Gemm": 1, "Reshape": 2 * shuffles, "Transpose": shuffles,
    }  # fmt: skip
    nodes = {node.name: node for node in model.graph.node}
    assert len(nodes) == len(model.graph.node)
    assert {
        "stem",
        "stem.pool",
        "stage2.0.conv1",
        "stage2.0.concat",
        "stage3.7.add",
        "global_pool",
        "classifier",
    } < set(nodes)
    assert nodes["stage4.3.shuffle.split"].input[0] == f"stage4.3.{behind}"
    assert ("stage2.0.shuffle.split" in nodes) == (variant != "paper")


def test_same_checkpoint_same_bytes():
    def exported() -> bytes:
        return export_onnx(random_checkpoint(Architecture(2, 0.25, "paper", 3, 32))).SerializeToString()

    assert exported() == exported()


def test_metadata_survives_the_file(tmp_path):
    checkpoint = random_checkpoint(Architecture(2, 0.25, "megvii", 3, 32))
    checkpoint.class_names = ["äpfel", "b", "c"]
    model = export_onnx(checkpoint)
    onnx.save(model, tmp_path / "model.onnx")
    info = read_model_info(onnx.load(tmp_path / "model.onnx"))
    assert info["architecture"] == checkpoint.architecture.to_dict()
    assert info["preprocessing"] == checkpoint.preprocessing.to_dict()
    assert info["class_names"] == ["äpfel", "b", "c"]
    assert info["random_weights"] is True


def test_weights_of_another_architecture():
    checkpoint = random_checkpoint(Architecture(2, 0.25, "paper", 3, 32))
    checkpoint.state["fc.weight"] = checkpoint.state["fc.weight"][:2]
    with pytest.raises(OptionError, match=r"fc\.weight"):
        export_onnx(checkpoint)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "schema None"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "architecture": null, "preprocessing": {}}', "no valid class_names"),
        ('{"schema": 1, "architecture": 3}', "no valid architecture"),
    ],
)
def test_damaged_metadata(text, message):
    model = onnx.ModelProto()
    model.metadata_props.add(key="shufflec", value=text)
    with pytest.raises(UnsupportedModelError, match=message):
        read_model_info(model)


def test_writing_metadata_replaces_only_our_own():
    model = onnx.ModelProto()
    model.metadata_props.add(key="author", value="someone")
    info = {"architecture": None, "preprocessing": {}, "class_names": ["a"], "random_weights": False}
    info |= {"recipe": {}, "metrics": {}, "seed": 1}
    write_model_info(model, info)
    write_model_info(model, {**info, "seed": 2})
    assert read_model_info(model)["seed"] == 2
    assert [item.key for item in model.metadata_props] == ["author", "shufflec"]
    assert read_model_info(onnx.ModelProto()) == {}
