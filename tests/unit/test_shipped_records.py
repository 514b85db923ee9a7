"""The records in schedules/: every line is sound, and the files are as write_records leaves them."""

from __future__ import annotations

import pytest

from shufflec.files import data_dir
from shufflec.kernels.records import read_records, write_records
from shufflec.targets.target import target_names

FILES = sorted(data_dir("schedules").glob("*/*.jsonl"))


def test_there_are_some():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_record_is_sound(path, tmp_path):
    records, problems = read_records(path)
    assert records and not problems
    assert path.parent.name in target_names()
    assert {record.target for record in records} == {path.parent.name}
    assert all(record.nanoseconds <= record.default_nanoseconds for record in records)
    assert write_records(tmp_path / "again.jsonl", records).read_bytes() == path.read_bytes()
