"""Bundles: the same inputs give the same bytes, and whatever is wrong with one is named."""

from __future__ import annotations

import json
import shutil

import onnx
import pytest
from integer_graphs import GraphBuilder
from native_network import HOST
from onnx import TensorProto, helper

from shufflec.backends import bundle as bundles
from shufflec.backends.bundle import check_place, latest_bundle, open_bundle, write_bundle
from shufflec.backends.compile import CompiledModel, build_library
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import InputFileError, WrongResultError
from shufflec.ir.pipeline import IntegerModule

CLASSES = 5


def compile_tiny() -> CompiledModel:
    """A compiled network of four operators; its model.onnx stands in for a real one."""
    b = GraphBuilder(seed=0, height=8, width=8)
    x = b.conv2d(b.quantize(), 8, kernel=(3, 3), pad=(1, 1, 1, 1))
    graph = b.finish(b.dequantize(b.dense(b.global_avg_pool(x), CLASSES)))
    code = build_library(graph, HOST)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [value], [output]))
    info = {
        "architecture": None,
        "preprocessing": Preprocessing((8, 8)).to_dict(),
        "class_names": [f"class {i}" for i in range(CLASSES)],
        "random_weights": True,
    }
    integer = IntegerModule(None, graph, {"found": 0, "folded": 0, "copies_left": 0})
    return CompiledModel(
        "tiny", HOST, model.SerializeToString(), info, integer, True, code.program, code.plan, code.library,
        code.schedules,
    )  # fmt: skip


def reports(_) -> dict[str, str]:
    return {"report.json": "{}\n", "report.html": "<p>\n"}


@pytest.fixture(scope="module")
def compiled():
    return compile_tiny()


@pytest.fixture
def bundle(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "cache"))
    return write_bundle(tmp_path / "bundle", compiled, reports)


def contents_of(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_bundle_opens_as_it_was_written(bundle, compiled):
    opened = open_bundle(bundle.path)
    assert opened.manifest == bundle.manifest
    assert set(contents_of(bundle.path)) == {
        "manifest.json", "model.onnx", "lib/tiny-host.so", "report.json", "report.html",
    }  # fmt: skip
    assert opened.library_path.read_bytes() == compiled.library
    assert onnx.load(opened.model_path).graph.node[0].op_type == "Identity"
    assert [layer.kind for layer in opened.layers] == ["quantize", "conv2d", "global_avg_pool", "dense", "dequantize"]
    assert opened.target == HOST
    assert opened.random_weights
    assert 0 < opened.manifest.contents.code_bytes < len(compiled.library)


def test_a_cold_rebuild_gives_the_same_bytes(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path / "another-cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    again = write_bundle(tmp_path / "another" / "bundle", compile_tiny(), reports)
    assert contents_of(again.path) == contents_of(bundle.path)


def test_no_path_of_this_machine_is_in_a_bundle(bundle, tmp_path):
    for name, data in contents_of(bundle.path).items():
        for path in (str(tmp_path), str(bundles.__file__.rsplit("/", 2)[0]), "/tmp/"):
            assert path.encode() not in data, f"{name} holds {path}"


def test_latest_bundle(bundle, compiled, tmp_path):
    assert latest_bundle() == bundle.path
    newer = write_bundle(tmp_path / "newer", compiled, reports)
    assert latest_bundle() == newer.path
    shutil.rmtree(newer.path)
    with pytest.raises(InputFileError, match="gone"):
        latest_bundle()


def test_no_latest_bundle(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUFFLEC_CACHE", str(tmp_path))
    with pytest.raises(InputFileError, match="no bundle was compiled yet"):
        latest_bundle()


def test_an_older_bundle_is_replaced_and_other_folders_never(bundle, compiled, tmp_path):
    (bundle.path / "stray.txt").write_text("old")
    write_bundle(bundle.path, compiled, reports)
    assert "stray.txt" not in contents_of(bundle.path)
    mine = tmp_path / "mine"
    mine.mkdir()
    check_place(mine)
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputFileError, match="mine: is there and is not a bundle"):
        write_bundle(mine, compiled, reports)
    assert contents_of(mine) == {"thesis.txt": b"years of work"}


def test_a_failed_check_leaves_what_was_there(bundle, compiled):
    before = contents_of(bundle.path)

    def fail(unfinished):
        assert unfinished.library_path.is_file()
        raise WrongResultError("layer conv differs")

    with pytest.raises(WrongResultError):
        write_bundle(bundle.path, compiled, fail)
    assert contents_of(bundle.path) == before
    assert [p.name for p in bundle.path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_changed_file_is_named(bundle):
    data = bytearray(bundle.library_path.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.library_path.write_bytes(data)
    with pytest.raises(InputFileError, match=r"tiny-host.so: was changed: its SHA-256"):
        open_bundle(bundle.path)
    assert open_bundle(bundle.path, verify=False).name == "tiny"


def test_a_truncated_file_is_named_even_without_hashes(bundle):
    bundle.model_path.write_bytes(b"")
    with pytest.raises(InputFileError, match=r"model.onnx: has 0 bytes, the manifest says"):
        open_bundle(bundle.path, verify=False)


def test_a_missing_file_is_named(bundle):
    bundle.library_path.unlink()
    with pytest.raises(InputFileError, match=r"tiny-host.so: is missing"):
        open_bundle(bundle.path)


def test_what_is_not_a_bundle(tmp_path, bundle):
    with pytest.raises(InputFileError, match="no such folder"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(InputFileError, match="is a file"):
        open_bundle(bundle.model_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match=r"manifest.json: no such file"):
        open_bundle(tmp_path / "empty")


def edit(bundle, change) -> None:
    path = bundle.path / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=99), "has schema 99, this shufflec reads 4"),
        (lambda m: m.pop("layers"), "manifest.layers is missing"),
        (lambda m: m.update(extra=1), "manifest.extra is not a field"),
        (lambda m: m["layers"][0].update(macs="many"), r"manifest.layers\[0\].macs is 'many'"),
        (lambda m: m["layers"][1].update(output_shape=[1 << 20, 1 << 20, 8]), "tensor of shape"),
        (lambda m: m["layers"][1].update(output_dtype="object"), "one of int8, int32, float32"),
        (lambda m: m.update(class_names=["a"]), "one a class"),
        (lambda m: m["preprocessing"].update(input_size=[9, 9]), "input_shape"),
        (lambda m: m["preprocessing"].pop("mean"), "preprocessing"),
        (lambda m: m["memory"]["buffers"][0].update(last=99), "layers that are not there"),
        (lambda m: m["memory"].update(arena_bytes=1), "ends behind the arena"),
        (lambda m: m["files"].pop("model.onnx"), "does not list model.onnx"),
        (lambda m: m.update(library="lib/other.so"), "does not list lib/other.so"),
    ],
)
def test_a_wrong_manifest_is_named(bundle, change, message):
    edit(bundle, change)
    with pytest.raises(InputFileError, match=message) as caught:
        open_bundle(bundle.path)
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "lib/../../secret", "lib\\secret", "", "a/b/c", ".hidden"]
)
def test_no_path_leads_out_of_the_bundle(bundle, name):
    edit(bundle, lambda m: m["files"].update({name: {"bytes": 1, "sha256": "0"}}))
    with pytest.raises(InputFileError, match="outside the bundle"):
        open_bundle(bundle.path)


def test_no_link_leads_out_of_the_bundle(bundle, tmp_path):
    shutil.move(bundle.model_path, tmp_path / "elsewhere.onnx")
    bundle.model_path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(InputFileError, match="outside the bundle"):
        open_bundle(bundle.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"schema": 1}', "\udcff"])
def test_a_manifest_that_is_no_manifest(bundle, text):
    (bundle.path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputFileError, match=r"manifest.json"):
        open_bundle(bundle.path)
