"""Bundles of the shipped groups-8 network, compiled once for all board tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from shufflec.backends.bundle import Bundle, open_bundle, write_bundle
from shufflec.backends.compile import compile_model
from shufflec.models.checkpoint import bundled_checkpoint
from shufflec.quantize.prepare import prepare_model
from shufflec.reports.build import report_files
from shufflec.targets.target import load_target


@pytest.fixture(scope="session")
def quantized_g8():
    """The shipped groups-8 0.25x network as a QDQ model."""
    return prepare_model(bundled_checkpoint(8)).model


def compiled(model, target: str, folder: Path) -> Bundle:
    """A bundle as `shufflec compile` writes it."""
    path = folder / "bundle"
    write_bundle(path, compile_model(model, load_target(target), "shufflenet_v1_g8_x0.25"), report_files)
    return open_bundle(path)


@pytest.fixture(scope="session")
def rasp4_bundle(quantized_g8, tmp_path_factory) -> Bundle:
    return compiled(quantized_g8, "rasp4", tmp_path_factory.mktemp("rasp4"))


@pytest.fixture(scope="session")
def host_bundle(quantized_g8, tmp_path_factory) -> Bundle:
    return compiled(quantized_g8, "host", tmp_path_factory.mktemp("host"))
