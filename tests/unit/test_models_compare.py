"""The comparison with what was published: which networks are in it, and that nothing is guessed."""

from __future__ import annotations

import pytest

from shufflec.errors import OptionError
from shufflec.models.architecture import Architecture
from shufflec.models.architecture_v2 import ArchitectureV2
from shufflec.models.published_times import published_phone_ms
from shufflec.reports.models_compare import cells, compare, heads, markdown, notes, published_networks
from shufflec.reports.network_costs import NetworkCost, NetworkCosts

V1 = Architecture(3, 1.0)
COSTS = NetworkCosts(
    (
        NetworkCost(V1, "rasp4", "cortex-a72", 52_345_678, 41.06),
        NetworkCost(V1, "rasp5", "cortex-a76", None, None, "no such core"),
    )
)


def test_every_published_form_is_in_it_once():
    networks = published_networks()
    assert len(set(networks)) == len(networks)
    counts = {}
    for arch in networks:
        counts[arch.family, arch.variant] = counts.get((arch.family, arch.variant), 0) + 1
    assert counts == {
        ("shufflenet_v1", "paper"): 25,
        ("shufflenet_v1", "megvii"): 8,
        ("shufflenet_v1", "mindcv"): 4,
        ("shufflenet_v2", "torchvision"): 4,
        ("shufflenet_v2", "megvii"): 4,
    }


def test_filters():
    assert {arch.family for arch in published_networks(scale=1.0)} == {"shufflenet_v1", "shufflenet_v2"}
    assert published_networks("v1", 3, "megvii", 0.5) == [Architecture(3, 0.5, "megvii")]
    assert published_networks("v2", scale=1.5, variant="torchvision") == [ArchitectureV2(1.5)]
    assert published_networks("v1", 3, "paper", 1.0, (480, 640))[0].input_size == (480, 640)
    with pytest.raises(OptionError, match="groups 4, variant megvii: no such network"):
        published_networks(groups=4, variant="megvii")
    with pytest.raises(OptionError, match="family v3"):
        published_networks("v3")


def test_a_line_of_the_papers_network():
    (line,) = compare([V1], COSTS, ["rasp4", "rasp5", "zero2w"])
    assert cells(line) == [
        *("paper", "1x", "3", "136.5", "137", "1.87", "", "67.4"),
        *("52.3", "41.1", "fails", "", "", ""),
        "37.8",
    ]
    assert len(cells(line)) == len(heads(["rasp4", "rasp5", "zero2w"]))
    assert line.to_dict(["rasp4", "rasp5", "zero2w"])["measured"] == {
        "rasp4": {"instructions": 52_345_678, "estimated_ms": 41.06, "reason": ""},
        "rasp5": {"instructions": None, "estimated_ms": None, "reason": "no such core"},
        "zero2w": None,
    }


def test_figures_that_count_the_classifier_are_marked():
    megvii, torchvision = compare([Architecture(8, 1.0, "megvii"), ArchitectureV2(1.0)], NetworkCosts(), [])
    assert cells(megvii)[4:8] == ["138*", "2.43", "2.4", "68.0"]
    assert cells(torchvision) == ["V2 torchvision", "1x", "", "143.9", "146", "2.28", "2.28", "69.4", ""]
    assert megvii.to_dict([])["published"]["mmacs_by"] == "ShuffleNet-Series"


def test_another_form_or_size_has_no_figures_of_the_papers():
    """The shuffle's place and the pools differ: what was measured for one is not the other's."""
    megvii, large = compare([Architecture(3, 1.0, "megvii"), Architecture(3, input_size=256)], COSTS, ["rasp4"])
    assert cells(megvii)[-3:] == ["", "", ""]
    assert cells(large)[-3:] == ["", "", ""] and cells(large)[7] == ""


@pytest.mark.parametrize(
    ("arch", "milliseconds"),
    [
        (Architecture(3, 0.5), 15.2),
        (Architecture(3, 2.0, input_size=(480, 640)), 617.0),
        (Architecture(3, 1.0, input_size=(720, 1280)), 684.5),
        (Architecture(3, 1.0, input_size=(640, 480)), None),
        (Architecture(8, 1.0), None),
        (Architecture(3, 1.0, "megvii"), None),
        (Architecture(3, 1.0, classes=10), None),
        (Architecture(3, 1.0, shuffle=False), None),
        (ArchitectureV2(1.0), None),
    ],
)
def test_phone_times(arch, milliseconds):
    assert published_phone_ms(arch) == milliseconds


def test_notes_say_how_and_what_failed():
    said = notes(compare([V1], COSTS, ["rasp4", "rasp5"]), ["rasp4", "rasp5"])
    assert any(note.startswith("rasp4 (cortex-a72), rasp5 (cortex-a76): ") and "estimated" in note for note in said)
    assert said[-1] == f"{V1} on rasp5 does not run: no such core"
    assert "rasp4: not measured; --measure does it." in notes(compare([V1], NetworkCosts(), ["rasp4"]), ["rasp4"])


def test_markdown():
    text = markdown(compare([V1], COSTS, ["rasp4"]), ["rasp4"])
    assert "| variant | width | g | conv MACs | publ. |" in text
    assert "| paper | 1x | 3 | 136.5 | 137 | 1.87 |  | 67.4 | 52.3 | 41.1 | 37.8 |" in text
