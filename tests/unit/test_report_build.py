from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shufflec.backends.bundle import Bundle
from shufflec.backends.manifest import (
    SCHEMA,
    Accuracy,
    BufferEntry,
    Contents,
    LayerEntry,
    Manifest,
    Memory,
    Numerics,
    Schedules,
    Shuffle,
    ShuffleSite,
)
from shufflec.data.preprocessing import Preprocessing
from shufflec.models.architecture import Architecture
from shufflec.models.complexity import complexity
from shufflec.profiling.profile import Figure, Profile
from shufflec.reports import html
from shufflec.reports.build import bundle_report, report_files
from shufflec.reports.schema import Report
from shufflec.reports.wording import other_board_line, time_line
from shufflec.targets.target import load_target, with_clock
from shufflec.timing.estimate import Estimate
from shufflec.timing.waits import Waits

ARCHITECTURE = Architecture(8, 0.25, "paper", 10, (32, 48))
CONTENTS = Contents(
    schema=SCHEMA,
    name="digits",
    class_names=tuple("0123456789"),
    random_weights=False,
    input_shape=(1, 3, 32, 48),
    output_shape=(1, 10),
    target=load_target("rasp4"),
    numerics=Numerics("rule", "bound"),
    fold_shuffle=True,
    shuffle=Shuffle(15, 15, 0, (ShuffleSite("conv", 8, (4, 6, 24)),)),
    macs=960,
    weight_bytes=24,
    code_bytes=2048,
    layers=(
        LayerEntry("conv", "conv2d", "a", (4, 6, 24), "int8", 960, 24, ("neon",), ("",)),
        LayerEntry("logits", "dequantize", "b", (1, 1, 10), "float32", 0, 0, ("portable",), ("",)),
    ),
    memory=Memory(640, 576, 96, (BufferEntry("a", 0, 576, 0, 1),)),
    schedules=Schedules(1, 0, {}),
    accuracy=Accuracy(0.99, 1.0, 0.98, 0.99, 360, "digits"),
    tools={"shufflec": "0.1.0"},
    library="lib/x.so",
    files={},
)
LAYERS = (Figure(3.0, {"load": 300, "dot": 600}), Figure(1.0, {"load": 100, "dot": 0}))
SIMULATED = Profile("simulated", "127.0.0.1:5", 1, 1, 4, Figure(4.1, {"load": 420, "dot": 605}), LAYERS)
MEASURED = Profile(
    "measured", "pi:9090", 4, 7, 2, Figure(5.0, None), tuple(replace(layer, instructions=None) for layer in LAYERS)
)


def bundle(architecture: Architecture | None = ARCHITECTURE, **changes: object) -> Bundle:
    manifest = Manifest(replace(CONTENTS, **changes), architecture, Preprocessing((32, 48)))
    return Bundle(Path("bundle"), manifest)


def test_what_the_manifest_says_is_in_the_report():
    report = bundle_report(bundle())
    assert (report.model, report.variant, report.groups, report.scale) == ("ShuffleNetV1", "paper", 8, 0.25)
    assert (report.input, report.classes, report.macs) == ((32, 48), 10, 960)
    assert report.parameters == complexity(ARCHITECTURE).params
    assert (report.code_bytes, report.weight_bytes) == (2048, 24)
    assert (report.peak_activation_bytes, report.lower_bound_bytes) == (640, 576)
    assert (report.stack_bytes, report.deepest_stack_bytes) == (96, None)
    assert (report.accuracy.float_top1, report.accuracy.int8_top1) == (0.99, 0.98)
    assert report.accuracy.dataset == "360 held-out images of digits"
    assert report.shuffle.copied_bytes == 4 * 6 * 24
    assert (report.memory[0].first, report.memory[0].last) == (0, 1)
    assert report.cost is None and report.verification is None
    assert all(layer.share is None for layer in report.layers)


def test_a_network_of_another_project_has_no_variant():
    report = bundle_report(bundle(None, accuracy=None))
    assert (report.model, report.variant, report.groups, report.scale) == ("digits", None, None, None)
    assert report.parameters is None
    assert report.accuracy.int8_top1 is None


def test_a_profile_without_a_time_model_has_instructions_only():
    report = bundle_report(bundle(), SIMULATED)
    assert (report.cost.kind, report.cost.device) == ("counted", "virtual Raspberry Pi 4 Model B")
    assert (report.cost.instructions, report.cost.milliseconds) == (1025, None)
    assert report.roofline is None and report.cost.cycles_per_mac is None
    assert all(layer.milliseconds is layer.macs_per_second is layer.roofline is None for layer in report.layers)
    assert [(one.layer, one.waits) for one in report.cost.costliest] == [(0, {}), (1, {})]
    assert report.cost.layer_sum_difference == pytest.approx(1000 / 1025 - 1)
    assert [layer.instructions for layer in report.layers] == [900, 100]
    assert [layer.share for layer in report.layers] == [0.9, 0.1]
    assert "varies" not in report.cost.method
    assert report.verification.inputs == 4
    several = bundle_report(bundle(), replace(SIMULATED, threads=4))
    assert "counted in an emulated cortex-a72 in all 4 threads;" in several.cost.method


WAITS = Waits(dispatch=2_000_000.125, latency=400_000.0, simd_port=600_000.0)
PARTS = Estimate(3_000_000.125, 500_000.0, 400_000.0, 200_000.0, 3000, 200, 100, WAITS)
ESTIMATED = replace(
    SIMULATED,
    whole=replace(SIMULATED.whole, estimate=PARTS),
    layers=tuple(replace(layer, estimate=PARTS) for layer in SIMULATED.layers),
)


def test_an_estimated_profile():
    report = bundle_report(bundle(), ESTIMATED)
    assert (report.cost.kind, report.cost.uncertainty_percent) == ("estimated", 10)
    assert report.cost.estimate.compute_ms == 3.000000125
    assert (report.cost.estimate.store_miss_ms, report.cost.estimate.l1_store_misses) == (0.4, 200)
    assert "core and cache models of the Raspberry Pi 4 Model B (cortex-a72 at 1.8 GHz)" in report.cost.method
    assert report.cost.layer_sum_difference == pytest.approx(4.0 / 4.1 - 1)
    assert [layer.share for layer in report.layers] == [0.75, 0.25]
    assert report.layers[1].estimate == report.cost.estimate
    assert report.cost.estimate.waits.dispatch_ms == 2.000000125
    assert report.cost.cycles_per_mac == pytest.approx(4.1e-3 * 1.8e9 / 960, rel=1e-5)
    assert report.layers[0].macs_per_second == pytest.approx(960 / 3e-3, rel=1e-5)
    assert report.layers[1].cycles_per_mac is None
    assert report.layers[1].macs_per_second == 0
    several = bundle_report(bundle(), replace(ESTIMATED, threads=4))
    assert several.cost.uncertainty_percent == 25
    assert "the slowest counts, and the memory's time for the lines of all" in several.cost.method
    unknown = bundle_report(bundle(target=load_target("aarch64")), ESTIMATED)
    assert unknown.cost.uncertainty_percent is None


def test_the_costliest_layers_say_why():
    costliest = bundle_report(bundle(), ESTIMATED).cost.costliest
    assert [one.layer for one in costliest] == [0, 1]
    assert list(costliest[0].waits) == ["dispatch", "simd_port", "load_misses", "latency", "store_misses", "dram"]
    assert costliest[0].waits["simd_port"] == pytest.approx(600 / 4100, rel=1e-4)
    assert sum(costliest[0].waits.values()) == pytest.approx(1, abs=1e-5)


def test_the_floor_is_in_the_report():
    roof = bundle_report(bundle(), ESTIMATED).roofline
    assert roof.compute.per_second == 8 * 1.8e9
    assert roof.floor_ms == roof.compute_ms == pytest.approx(960 / (8 * 1.8e9) * 1e3, abs=1e-9)
    assert roof.times_floor == pytest.approx(4.1 / roof.floor_ms, rel=1e-5)
    measured = bundle_report(bundle(), replace(MEASURED, threads=1))
    assert measured.roofline.floor_ms == roof.floor_ms
    assert measured.roofline.times_floor == pytest.approx(5.0 / roof.floor_ms, rel=1e-5)
    assert bundle_report(bundle(target=load_target("aarch64")), ESTIMATED).roofline is None
    assert bundle_report(bundle(target=load_target("host")), MEASURED).cost.cycles_per_mac is None


def test_another_board_than_the_codes_is_said_and_its_figures_count():
    rasp5 = load_target("rasp5")
    report = bundle_report(bundle(), replace(ESTIMATED, board=rasp5))
    assert report.target.name == "rasp4"
    assert (report.cost.board.name, report.cost.device) == ("rasp5", "virtual Raspberry Pi 5")
    assert report.cost.uncertainty_percent == rasp5.time.uncertainty_percent
    assert report.roofline.compute.per_second == 32 * 2.4e9
    assert report.cost.cycles_per_mac == pytest.approx(4.1e-3 * 2.4e9 / 960, rel=1e-5)
    assert "core and cache models of the Raspberry Pi 5" in report.cost.method
    line = "code is for Raspberry Pi 4 Model B @ 1.8 GHz (rasp4), the server is Raspberry Pi 5 @ 2.4 GHz (rasp5)"
    assert line in other_board_line(report, report.cost)
    assert line in html.render(report)
    assert "(+-15 %, Raspberry Pi 5 @ 2.4 GHz, 1 thread)" in time_line(report, report.cost)
    same = bundle_report(bundle(), replace(ESTIMATED, board=load_target("rasp4")))
    assert other_board_line(same, same.cost) == ""
    other_clock = bundle_report(bundle(), replace(ESTIMATED, board=with_clock(load_target("rasp4"), "1.5GHz")))
    assert "@ 1.8 GHz (rasp4), the server is Raspberry Pi 4 Model B @ 1.5 GHz" in other_board_line(
        other_clock, other_clock.cost
    )


def test_a_board_without_a_time_model_says_so():
    report = bundle_report(bundle(target=load_target("aarch64")), SIMULATED)
    assert report.cost.kind == "counted"
    assert "no time, no roofline and no floor, as there is no time model of aarch64" in report.cost.method


def test_a_measured_profile():
    report = bundle_report(bundle(), MEASURED)
    assert (report.cost.kind, report.cost.device, report.cost.threads) == ("measured", "RPC server at pi:9090", 4)
    assert report.cost.instructions is None
    assert "median of 7 rounds" in report.cost.method
    assert "a measured time has no range" in report.cost.method
    assert report.cost.uncertainty_percent is None
    assert [one.waits for one in report.cost.costliest] == [{}, {}]
    assert [layer.roofline.bound for layer in report.layers] == [None, None]
    assert [layer.share for layer in report.layers] == [0.75, 0.25]
    assert report.cost.layer_sum_difference == pytest.approx(-0.2)


def test_the_port_of_a_local_server_is_no_part_of_the_report():
    local = replace(MEASURED, address="127.0.0.1:43211")
    host = bundle(target=load_target("host"))
    assert bundle_report(host, local).cost.device == "this machine, through TVM's RPC server"
    assert report_files(bundle(), replace(SIMULATED, address="127.0.0.1:6")) == report_files(bundle(), SIMULATED)


@pytest.mark.parametrize("profile", [None, SIMULATED, ESTIMATED, MEASURED])
def test_the_files_are_valid(profile):
    files = report_files(bundle(), profile)
    assert sorted(files) == ["report.html", "report.json"]
    assert Report.from_json(files["report.json"]) == bundle_report(bundle(), profile)
