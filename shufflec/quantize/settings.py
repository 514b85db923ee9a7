"""What post-training quantization can do in more than one way, and the names that tables and metadata use for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from shufflec.errors import OptionError

SMOOTH_ALPHA = 0.5  # the published default: half of the difficulty moves from the activations to the weights

_CHOICES = {
    "preset": ("symmetric", "mixed"),
    "ranges": ("minmax", "percentile"),
    "bias": ("own", "fast", "accurate", "off"),
    "smooth": (False, True),
}


@dataclass(frozen=True)
class PtqSettings:
    """One way to quantize after training; the defaults are what `compile` and `quantize` do unless told otherwise.

    preset: "symmetric" has every zero point 0, "mixed" gives activations a zero point where their range is lopsided.
    ranges: "minmax" covers every value seen, "percentile" leaves one in a thousand outside.
    bias: which correction of the biases: "own" (bias_correction.py), NNCF's "fast" or "accurate", or "off".
    smooth: SmoothQuant's factors in equalize.py, in place of equal ranges.

    Raises OptionError for another value.
    """

    preset: str = "symmetric"
    ranges: str = "minmax"
    bias: str = "own"
    smooth: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                words = ", ".join(str(choice) for choice in choices)
                raise OptionError(name, getattr(self, name), f"expected one of {words}")

    @property
    def label(self) -> str:
        """ "ptq", and behind it what differs from the defaults."""
        words = {
            "preset": "mixed",
            "ranges": "percentile ranges",
            "bias": {"fast": "NNCF's fast bias correction", "accurate": "NNCF's accurate bias correction"}.get(
                self.bias, "no bias correction"
            ),
            "smooth": "SmoothQuant",
        }
        return ", ".join(["ptq", *(words[name] for name in self.changed)])

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the fields that are not the default's."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) != item.default)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return asdict(self)


DEFAULT = PtqSettings()

#: Each way to differ from the default in one thing, those first that cost no more time than the default.
SINGLE_CHANGES = tuple(
    replace(DEFAULT, **change)
    for change in (
        {"preset": "mixed"},
        {"ranges": "percentile"},
        {"smooth": True},
        {"bias": "off"},
        {"bias": "fast"},
        {"bias": "accurate"},
    )
)
