"""block_cycles: same figures every time, kept by content, unknown instructions counted, bad input refused."""

from __future__ import annotations

import tomllib

import pytest

from shufflec.errors import OptionError, ShufflecError
from shufflec.timing.cores import model
from shufflec.timing.cores.core import core_names, load_core, read_core
from shufflec.timing.cores.instructions import DATA, read_groups
from shufflec.timing.cores.model import block_cycles

FMLA = (0x4E23CC41).to_bytes(4, "little")
ADD = (0x8B020020).to_bytes(4, "little")
SDOT = (0x4E829420).to_bytes(4, "little")
UNKNOWN = b"\xff\xff\xff\xff"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keeps blocks in a folder of the test, with the simulator built once in the real one."""
    model.model_version()
    monkeypatch.setattr(model, "cache_dir", lambda *parts: tmp_path)
    return tmp_path


def kept(folder):
    return list(folder.glob("blocks-*.json"))


def test_every_core_prices_every_instruction():
    assert core_names() == ["cortex-a53", "cortex-a72", "cortex-a76"]
    for name in core_names():
        assert load_core(name).sources


def test_same_blocks_same_figures_with_and_without_the_cache(own_cache):
    blocks = [FMLA * 3 + ADD, ADD * 5, FMLA]
    first = block_cycles("cortex-a72", blocks)
    assert block_cycles("cortex-a72", blocks) == first
    for path in kept(own_cache):
        path.unlink()
    assert block_cycles("cortex-a72", blocks) == first
    assert block_cycles("cortex-a72", blocks[::-1]) == first[::-1]


def test_kept_blocks_are_not_simulated_again(own_cache, monkeypatch):
    expected = block_cycles("cortex-a53", [FMLA])
    monkeypatch.setattr(model, "simulate", None)
    assert block_cycles("cortex-a53", [FMLA]) == expected


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


LDR_X1, LDR_X2, LDR_X3 = 0x3CE06820, 0x3CE06841, 0x3CE06862  # ldr q0, [x1, x0]; ldr q1, [x2, x0]; ldr q2, [x3, x0]
LDR_SP, LD1_LANE, STR_X4 = 0x3DC003E3, 0x0D4084A0, 0x3CA06880  # ldr q3, [sp]; ld1 {v0.d}[0], [x5]; str q0, [x4, x0]
LDR_X1_NEXT, PRFM = 0x3DC00424, 0xF9800020  # ldr q4, [x1, #16]; prfm pldl1keep, [x1]


@pytest.mark.parametrize(
    ("code", "streams"),
    [
        ((LDR_X1, LDR_X2, LDR_X3, STR_X4), 3),
        ((LDR_X1, LDR_X1_NEXT, LDR_X2), 2),  # what starts from one register is one stream
        ((LDR_X1, LDR_X2, LDR_SP), 2),  # the stack stays in L1D
        ((LDR_X1, LDR_X2, LD1_LANE), 3),
        ((PRFM, LDR_X1, LDR_X2, LDR_X3), 0),  # it prefetches itself
        ((STR_X4,), 0),
    ],
)
def test_streams_of_a_block_are_the_registers_that_its_loads_start_from(code, streams):
    (estimate,) = block_cycles("cortex-a53", [words(*code)])
    assert (estimate.streams, estimate.unknown) == (streams, 0)
    assert block_cycles("cortex-a53", [words(*code)]) == [estimate]  # as kept


def test_damaged_cache_is_replaced(own_cache):
    expected = block_cycles("cortex-a53", [ADD])
    kept(own_cache)[0].write_text('{"x": [1,')
    assert block_cycles("cortex-a53", [ADD]) == expected


def test_cache_is_apart_for_each_model_version(own_cache, monkeypatch):
    block_cycles("cortex-a53", [ADD])
    monkeypatch.setattr(model, "model_version", lambda: "other")
    block_cycles("cortex-a53", [ADD])
    assert len(kept(own_cache)) == 2


def test_unknown_instructions_are_counted():
    estimate = block_cycles("cortex-a72", [ADD + UNKNOWN])[0]
    assert (estimate.instructions, estimate.unknown) == (2, 1)


def test_instruction_of_a_later_architecture_is_unknown_to_an_older_core():
    assert block_cycles("cortex-a72", [SDOT])[0].unknown == 1
    assert block_cycles("cortex-a76", [SDOT])[0].unknown == 0


def test_waits_add_up():
    estimate = block_cycles("cortex-a76", [FMLA * 4])[0]
    assert sum(estimate.waits.values()) == pytest.approx(estimate.cycles)


@pytest.mark.parametrize("block", [b"", b"\x00" * 3, ADD + b"\x01"])
def test_blocks_of_no_whole_words_are_refused(block):
    with pytest.raises(OptionError, match="4 bytes"):
        block_cycles("cortex-a72", [block])


def test_core_without_a_model():
    with pytest.raises(OptionError, match="cortex-a53, cortex-a72, cortex-a76"):
        block_cycles("cortex-m4", [ADD])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('alu = { ports = "I0|I1" }', "", "neither a cost for alu"),
        ('alu = { ports = "I0|I1" }', 'alu = { ports = "X" }', "no port X"),
        ('alu = { ports = "I0|I1" }', 'alu = { ports = "I0", cost = 1 }', "unknown key cost"),
        ('kind = "out-of-order"', 'kind = "fast"', "in-order, out-of-order"),
        ("[costs]", '[costs]\nnonsense = { ports = "I0" }', "no group nonsense"),
    ],
)
def test_core_files_are_checked(tmp_path, old, new, expected):
    text = (DATA / "cortex-a72.toml").read_text()
    assert old in text
    path = tmp_path / "core.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ShufflecError, match=expected):
        read_core(path)


def test_instruction_table_is_checked(tmp_path):
    path = tmp_path / "instructions.toml"
    path.write_text('[alu]\nmnemonics = "add"\nuse = "guess"\n')
    with pytest.raises(ShufflecError, match=r"instructions.toml, \[alu\]"):
        read_groups(path)


def test_no_mnemonic_is_shadowed_by_an_earlier_group():
    seen: dict[str, str] = {}
    for name, entry in tomllib.loads((DATA / "instructions.toml").read_text()).items():
        for mnemonic in entry["mnemonics"].split():
            assert mnemonic not in seen, f"{mnemonic} of [{name}] is taken by [{seen.get(mnemonic)}]"
            if "operands" not in entry:
                seen[mnemonic] = name
