"""Target files: the shipped ones load; a user's bad one names the key."""

from dataclasses import replace

import pytest

from shufflec.errors import InputFileError, OptionError
from shufflec.files import data_dir
from shufflec.targets.target import load_target, read_target, target_names, with_clock

GOOD = (data_dir("targets") / "rasp4.toml").read_text()
LEVEL_1 = "[caches.l1d]\nsize_bytes = 32768\nways = 2\nline_bytes = 64\n"


def test_shipped_targets_load_with_sources():
    assert {"rasp3", "rasp4", "rasp5", "zero2w", "aarch64", "host"} <= set(target_names())
    for name in target_names():
        target = load_target(name)
        assert target.name == name
        assert {"clock", "core", "peak"} <= set(target.sources), name


def test_cache_geometry_of_the_pi_4():
    caches = load_target("rasp4").caches
    assert (caches["l1d"].sets, caches["l1d"].ways) == (256, 2)
    assert (caches["l2"].sets, caches["l2"].ways) == (1024, 16)


def test_boards_with_published_timings_have_a_time_model():
    calibrated = [name for name in target_names() if load_target(name).time]
    assert calibrated == ["rasp3", "rasp4", "rasp5", "zero2w"]
    assert load_target("rasp4").time.uncertainty_percent == 10


def test_only_the_pi_5_uses_dot_products():
    assert [n for n in target_names() if load_target(n).isa == "dotprod"] == ["rasp5"]


def test_unknown_target_lists_the_known_ones():
    with pytest.raises(OptionError, match=r"aarch64, corstone-300, .*host, .*rasp3, rasp4, rasp5, .*zero2w"):
        load_target("rasp9")


@pytest.mark.parametrize("name", ["../rasp4", "", "/etc/passwd", "RASP4"])
def test_a_name_cannot_reach_other_files(name):
    with pytest.raises(OptionError):
        load_target(name)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('isa = "neon"', 'isa = "sse"', "core.isa: expected one of portable, neon, dotprod, dsp, mve, found 'sse'"),
        ("clock_hz = 1800000000", "clock_hz = -5", "core.clock_hz: expected an integer"),
        ("clock_hz = 1800000000", "", "core.clock_hz: is missing"),
        ("ways = 2", "ways = 3", "caches.l1d.size_bytes: expected 3 ways x 64 bytes times a power of two of sets"),
        ("ways = 2", "ways = 0", "caches.l1d.ways: expected an integer from 1 to 64, found 0"),
        ("ways = 2", "ways = -2", "caches.l1d.ways: expected an integer"),
        ("line_bytes = 64", "line_bytes = 3", "caches.l1d.line_bytes: expected an integer from 16 to 256, found 3"),
        ("line_bytes = 64", "line_bytes = 48", "caches.l1d.line_bytes: expected a power of two, found 48"),
        ("size_bytes = 32768", "size_bytes = 30000", "caches.l1d.size_bytes: expected 2 ways x 64 bytes"),
        ("size_bytes = 32768", "size_bytes = 49152", "caches.l1d.size_bytes: expected 2 ways x 64 bytes"),
        ("size_bytes = 32768", "size_bytes = 99999999999", "caches.l1d.size_bytes: expected an integer from 256"),
        (
            "size_bytes = 1048576",
            "size_bytes = 16384",
            "caches.l2.size_bytes: expected at least l1d's 32768, found 16384",
        ),
        ("size_bytes = 1048576", "size_bytes = 1099511627776", "caches.l2.size_bytes: expected an integer from 256"),
        ("size_bytes = 32768", 'size_bytes = "32K"', "caches.l1d.size_bytes: expected an integer"),
        ("shared = true", "shared = 1", "caches.l2.shared: expected true or false, found 1"),
        ("shared = true", "shraed = true", "caches.l2: expected a table of size_bytes, ways, line_bytes, shared"),
        ("[caches.l2]", "[caches]\nl3 = 5\n[caches.l2]", "caches.l3: expected a table"),
        ("[caches.l2]", "[caches.l9]", "caches.l9: expected l1d, l2 or l3"),
        ("load = 0.5", "load = nan", "cycles.load: expected a number"),
        ("load = 0.5", "", "cycles: expected one number each"),
        ('family = "linux"', 'family = "linux"\nfoo = 1', "foo: unknown key"),
        ('family = "linux"', 'family = "linux', "is not valid TOML"),
        ("cores = 4", "cores = true", "core.cores: expected an integer"),
        ("scale = 0.910", "scale = 0", "time.scale: expected a number from 0.1 to 10, found 0"),
        ("scale = 0.910", "scale = nan", "time.scale: expected a number"),
        ("scale = 0.910", "", "time.scale: is missing"),
        ("scale = 0.910", "scale = 1.0\nspeed = 2", "time: expected a table of scale, store_miss_ns, dram_line_ns"),
        ("store_miss_ns = 22.2", "store_miss_ns = -1", "time.store_miss_ns: expected a number from 0 to 1000"),
        ("dram_line_ns = 3.6", "dram_line_ns = true", "time.dram_line_ns: expected a number"),
        ("uncertainty_percent = 10", "uncertainty_percent = 0", "time.uncertainty_percent: expected a number from 1"),
        ("time = ", "other = ", "sources.time: is missing"),
        (LEVEL_1, "", "time: needs caches.l1d"),
        ("line_bytes = 64", "line_bytes = 32", "time: needs caches.l1d, and the same line_bytes in every level"),
        ("ways = 2", "ways = 2\nshared = true", "caches.l1d.shared: "),
    ],
)
def test_a_wrong_key_is_named(tmp_path, old, new, message):
    assert old in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputFileError, match=message.replace("(", r"\(")):
        read_target(path)


def test_a_users_own_file_is_a_target(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace('name = "rasp4"', 'name = "mine"', 1))
    assert load_target(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("1.5GHz", 1_500_000_000), ("600 mhz", 600_000_000), ("1000000", 10**6), ("2400000kHz", 2_400_000_000)],
)
def test_another_clock(text, hertz):
    assert with_clock(load_target("rasp4"), text) == replace(load_target("rasp4"), clock_hz=hertz)


@pytest.mark.parametrize("text", ["", "fast", "0", "-1GHz", "1.5 THz", "11GHz", "nan", "1e9", "1.5GHz 2"])
def test_a_clock_that_cannot_be_is_refused(text):
    with pytest.raises(OptionError, match="expected 1MHz to 10GHz"):
        with_clock(load_target("rasp4"), text)


def test_a_level_of_each_cores_own_below_a_shared_one_is_refused(tmp_path):
    path = tmp_path / "mine.toml"
    third = "\n[caches.l3]\nsize_bytes = 2097152\nways = 16\nline_bytes = 64\n"
    path.write_text(GOOD.replace("\n[memory]", third + "\n[memory]", 1))
    with pytest.raises(InputFileError, match=r"caches\.l3\.shared: expected true, as l2 above it is shared"):
        read_target(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\nclock_hz = 1800000000", "\nclock_hz = 2000000000"),
        ("size_bytes = 1048576", "size_bytes = 524288"),
        ("fitted_clock_hz = 1800000000\n", ""),
        ('fitted_caches = "256x2, 1024x16"\n', ""),
    ],
)
def test_figures_fitted_to_another_board_have_a_wider_range(tmp_path, old, new):
    assert old in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    target, fitted = read_target(path), load_target("rasp4")
    assert (target.time.uncertainty_percent, target.time.pair_percent) == (35, 13)
    assert "was not fitted at this clock and these caches" in target.sources["range"]
    assert target.time.scale == fitted.time.scale
    assert (fitted.time.uncertainty_percent, fitted.time.pair_percent, "range" in fitted.sources) == (10, 11, False)
