"""Profiling over RPC: on the virtual Pi 4, and on TVM's own server, which is what a real board runs."""

from __future__ import annotations

import shutil
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from shufflec.backends.bundle import Bundle
from shufflec.devices import process_state
from shufflec.devices.stock_server import stock_server
from shufflec.devices.virtual_pi import virtual_pi
from shufflec.errors import DeviceError, WrongResultError
from shufflec.ir.reference import predict
from shufflec.profiling.inputs import seeded_inputs
from shufflec.profiling.open_device import connect_device, open_device
from shufflec.profiling.predict import open_predictor
from shufflec.profiling.profile import profile_bundle
from shufflec.reports.build import bundle_report, report_files
from shufflec.reports.schema import Report
from shufflec.targets.target import INSTRUCTION_CLASSES, load_target, with_clock

pytestmark = pytest.mark.board
RASP4 = load_target("rasp4")


@pytest.fixture(scope="module")
def pi():
    with virtual_pi(RASP4) as server:
        yield server


def profiled(bundle: Bundle, address: str | None = None, **options):
    with open_device(bundle.target, address, **options) as session:
        return profile_bundle(bundle, session, seeded_inputs(bundle.preprocessing, 3), repeats=2)


@pytest.fixture(scope="module")
def simulated(rasp4_bundle, pi):
    return profiled(rasp4_bundle, pi.address)


def test_layers_add_up_to_the_whole_on_the_virtual_pi(rasp4_bundle, simulated):
    assert simulated.kind == "simulated"
    assert simulated.threads == 1
    assert len(simulated.layers) == len(rasp4_bundle.layers)
    assert set(simulated.whole.instructions) == set(INSTRUCTION_CLASSES)
    assert abs(simulated.layer_sum_difference) < 0.03
    assert abs(sum(layer.total for layer in simulated.layers) / simulated.whole.total - 1) < 0.03
    parts = simulated.whole.estimate
    total_ns = parts.compute_ns + parts.load_miss_ns + parts.store_miss_ns + parts.dram_ns
    assert total_ns == pytest.approx(1e6 * simulated.whole.milliseconds, rel=1e-3)  # parts are never below zero
    assert sum(layer.estimate.l1_load_misses for layer in simulated.layers) == pytest.approx(
        parts.l1_load_misses, rel=0.1
    )
    pairs = zip(simulated.layers, rasp4_bundle.layers, strict=True)
    costly = [figure.total for figure, layer in pairs if layer.macs > 10_000]
    # The emulated core does at most 16 multiply-accumulates an instruction: fewer instructions were not counted.
    assert min(costly) > 10_000 / 16


def test_two_virtual_pis_give_equal_reports(rasp4_bundle, simulated):
    again = profiled(rasp4_bundle)
    assert again == replace(simulated, address=again.address)
    assert report_files(rasp4_bundle, again) == report_files(rasp4_bundle, simulated)


def test_the_report_of_a_profile_is_valid_and_complete(rasp4_bundle, simulated):
    report = bundle_report(rasp4_bundle, simulated)
    assert Report.from_json(report.to_json()) == report
    assert (report.model, report.variant, report.groups, report.scale) == ("ShuffleNetV1", "paper", 8, 0.25)
    assert (report.shuffle.found, report.shuffle.folded, report.shuffle.copies_left) == (15, 15, 0)
    assert len(report.shuffle.sites) == 15
    assert (report.cost.kind, report.cost.uncertainty_percent) == ("estimated", 10)
    assert report.verification.equal
    assert report.roofline.compute.per_second == 8 * 1.8e9
    assert report.roofline.times_floor > 1
    assert report.roofline.dram_bytes == 0  # the network stays in the Pi 4's caches
    costliest = [layer.name for layer in sorted(report.layers, key=lambda layer: -layer.share)[:3]]
    assert [report.layers[one.layer].name for one in report.cost.costliest] == costliest


def test_no_layer_is_faster_than_its_floor_and_its_waits_are_its_time(rasp4_bundle, simulated):
    report = bundle_report(rasp4_bundle, simulated)
    assert sum(layer.roofline.floor_ms for layer in report.layers) == pytest.approx(report.roofline.floor_ms, abs=1e-7)
    for layer in report.layers:
        assert layer.milliseconds >= layer.roofline.floor_ms, layer.name
        assert sum(astuple(layer.estimate.waits)) == pytest.approx(layer.estimate.compute_ms, abs=2e-5), layer.name
        if layer.macs > 10_000:  # what computes is bound by its multiplies, and mostly at work
            assert layer.roofline.bound == "compute", layer.name
            assert layer.estimate.waits.dispatch_ms > 0.3 * layer.milliseconds, layer.name


def test_a_server_that_is_another_board_says_so(rasp4_bundle, simulated):
    with virtual_pi(with_clock(RASP4, "900MHz")) as server:
        profile = profiled(rasp4_bundle, server.address)
    assert profile.board.clock_hz == 900_000_000
    report = bundle_report(rasp4_bundle, profile)
    assert (report.target.clock_hz, report.cost.board.clock_hz) == (1_800_000_000, 900_000_000)
    assert report.cost.estimate.compute_ms == pytest.approx(2 * 1e-6 * simulated.whole.estimate.compute_ns, rel=0.01)
    assert "the server is Raspberry Pi 4 Model B @ 0.9 GHz" in report_files(rasp4_bundle, profile)["report.html"]


def test_a_board_without_a_time_model_gets_instructions_only(rasp4_bundle):
    profile = profiled(rasp4_bundle.with_target(load_target("aarch64")))
    report = bundle_report(rasp4_bundle.with_target(load_target("aarch64")), profile)
    assert (report.cost.kind, report.cost.milliseconds, report.roofline) == ("counted", None, None)
    assert report.cost.instructions == pytest.approx(sum(layer.instructions for layer in report.layers), rel=0.03)
    assert "no time model of aarch64" in report.cost.method
    assert sum(layer.share for layer in report.layers) == pytest.approx(1)
    assert report.macs == sum(layer.macs for layer in report.layers)
    assert 0 < report.lower_bound_bytes <= report.peak_activation_bytes


def test_four_threads_give_the_same_results(rasp4_bundle):
    profile = profiled(rasp4_bundle, threads=4)  # raises when a result differs
    assert profile.threads == 4


def test_the_stock_server_is_measured(host_bundle):
    profile = profiled(host_bundle)
    assert (profile.kind, profile.repeats, profile.inputs) == ("measured", 2, 3)
    assert profile.whole.instructions is None
    assert all(layer.instructions is None and layer.milliseconds > 0 for layer in profile.layers)
    report = bundle_report(host_bundle, profile)
    assert Report.from_json(report.to_json()) == report
    assert report.cost.instructions is None
    page = report_files(host_bundle, profile)["report.html"]
    assert "simulated" not in page and "estimated" not in page


def test_the_stock_server_takes_a_number_of_threads(host_bundle):
    with stock_server() as server:
        assert profiled(host_bundle, server.address, threads=1).threads == 1
        with pytest.raises(DeviceError, match="threads at most"):
            profiled(host_bundle, server.address, threads=4096)


def broken_copy(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with one scale of the last layer changed in the compiled library."""
    copy = Bundle(shutil.copytree(bundle.path, folder / "broken"), bundle.manifest)
    last = bundle.graph().ops[-1]
    scales = last.constants["scale"].astype(np.float32)
    library = copy.library_path.read_bytes()
    assert library.count(scales.tobytes()) == 1
    changed = scales.copy()
    changed[3] *= 2
    copy.library_path.write_bytes(library.replace(scales.tobytes(), changed.tobytes()))
    return copy


def test_a_wrong_library_is_caught_and_its_layer_named(rasp4_bundle, pi, tmp_path):
    last = rasp4_bundle.layers[-1].name
    with pytest.raises(WrongResultError) as caught:
        profiled(broken_copy(rasp4_bundle, tmp_path), pi.address)
    assert f"layer {last} (dequantize) differs from the integer reference: 1 of 10 values" in caught.value.message


def test_a_board_that_drops_in_mid_run_is_a_device_error(rasp4_bundle):
    with virtual_pi(RASP4) as server, connect_device(server.address) as session:

        def unplug(phase: str, done: int, total: int) -> None:
            if phase == "measuring" and done == 1:
                process_state.stop(server)

        with pytest.raises(DeviceError, match="lost"):
            profile_bundle(rasp4_bundle, session, seeded_inputs(rasp4_bundle.preprocessing, 1), progress=unplug)


def test_a_library_for_another_machine_is_a_device_error(host_bundle, pi):
    with pytest.raises(DeviceError, match="kind of board"):
        profiled(host_bundle, pi.address)


def test_predictions_on_the_device_are_the_references(rasp4_bundle, pi):
    inputs = np.concatenate(seeded_inputs(rasp4_bundle.preprocessing, 4, seed=7))
    with open_predictor(rasp4_bundle, pi.address, "", 60.0) as (on_device, engine):
        logits = on_device(inputs)
    assert pi.address in engine
    with open_predictor(rasp4_bundle, None, "", 60.0) as (by_reference, engine):
        assert np.array_equal(by_reference(inputs), logits)
    assert engine == "integer reference"
    assert np.array_equal(logits[:1], predict(rasp4_bundle.graph(), inputs[:1]))
