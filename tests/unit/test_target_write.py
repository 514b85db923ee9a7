"""Target files that are written read back as the same target."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shufflec.errors import InputFileError
from shufflec.targets.target import load_target, read_target
from shufflec.targets.write import target_toml

NAMES = ["aarch64", "host", "rasp3", "rasp4", "rasp5", "zero2w"]


@pytest.mark.parametrize("name", NAMES)
def test_shipped_targets_come_back_as_they_were(tmp_path, name):
    path = tmp_path / "mine.toml"
    target = load_target(name)
    path.write_text(target_toml(target, "two lines\nof comment"))
    assert read_target(path) == target
    assert target_toml(target) == target_toml(load_target(name))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_survives(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("written") / "mine.toml"
    rasp4 = load_target("rasp4")
    target = replace(rasp4, title=text, sources=rasp4.sources | {text: text, "time": text})
    path.write_text(target_toml(target), encoding="utf-8")
    assert read_target(path) == target


def test_the_figures_belong_to_the_clock_that_is_written(tmp_path):
    path = tmp_path / "mine.toml"
    rasp4 = load_target("rasp4")
    path.write_text(target_toml(replace(rasp4, clock_hz=1_500_000_000)))
    assert read_target(path).time == replace(rasp4.time, fitted_clock_hz=1_500_000_000)


def test_what_cannot_be_is_refused_when_it_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    rasp4 = load_target("rasp4")
    path.write_text(target_toml(replace(rasp4, time=replace(rasp4.time, scale=99.0))))
    with pytest.raises(InputFileError, match=r"time\.scale: expected a number from 0\.1 to 10, found 99"):
        read_target(path)
