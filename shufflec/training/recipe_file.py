"""Recipes as TOML files: those of published models, shipped in recipes/, and a user's own."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from shufflec.errors import InputFileError, OptionError
from shufflec.files import read_limited
from shufflec.models.architecture import GROUPS, SCALE_RANGE, VARIANTS
from shufflec.models.architecture_v2 import SCALES, VARIANTS_V2
from shufflec.training.recipe import DECAYS, POLICIES, RANGES, Recipe

DEFAULT_RECIPE = "digits"
_FOLDER = Path(__file__).resolve().parent / "recipes"
_MAX_FILE = 64 * 1024
_FAMILIES = ("v1", "v2")

# Fields by table. shift_fraction stands for `shift`, in sides of the input.
_TABLES: Mapping[str, tuple[str, ...]] = {
    "": ("name", "title", "sources"),
    "model": ("family", "groups", "scale", "variant"),
    "schedule": (
        "epochs", "total_steps", "batch_size", "lr", "lr_batch", "decay", "warmup_epochs", "bn_epochs", "repeats",
    ),
    "optimizer": ("momentum", "nesterov", "weight_decay", "label_smoothing", "ema", "ema_every", "sync_bn"),
    "augmentation": (
        "crop_area", "crop_ratio", "color_jitter", "policy", "erase", "mixup", "cutmix", "flip", "shift_fraction",
        "rotate", "zoom", "train_size",
    ),
    "evaluation": ("resize", "crop_fraction"),
}  # fmt: skip
_OTHER_RANGES = {"shift_fraction": (0.0, 0.5), "crop_fraction": (0.1, 1.0), "resize": (32, 16_384)}
_CHOICES = {"decay": DECAYS, "policy": POLICIES, "family": _FAMILIES}
_HINTS = get_type_hints(Recipe)


@dataclass(frozen=True)
class RecipeFile:
    """One file. values: the fields of `Recipe` that it sets. family, groups, scale, variant: the network that it was
    published for, None where it is for any. resize, crop_fraction: of the evaluation's preprocessing, see there.
    """

    path: Path
    name: str
    title: str
    sources: tuple[str, ...]
    values: Mapping[str, Any]
    shift_fraction: float
    family: str | None
    groups: int | None
    scale: float | None
    variant: str | None
    resize: int | None
    crop_fraction: float | None

    def resolve(self, overrides: Mapping[str, Any], input_size: tuple[int, int]) -> Recipe:
        """The recipe with a command line's values in place of the file's; None there stands for the file's own.

        Another number of epochs takes the place of total_steps, and the other way round; another lr is taken as it is,
        whatever the batch size. Raises OptionError for a value out of range.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        values = dict(self.values)
        if self.shift_fraction:
            values["shift"] = max(1, int(min(input_size) * self.shift_fraction))
        if "epochs" in given:
            values.pop("total_steps", None)
        if "lr" in given:
            values.pop("lr_batch", None)
        return Recipe(**{**values, **given})


def recipe_names() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_recipe(name: str) -> RecipeFile:
    """A shipped recipe by name, or a user's by the path of its .toml file.

    Raises OptionError for an unknown name (with the known ones), InputFileError for a bad file.
    """
    if name.endswith(".toml"):
        return read_recipe(Path(name))
    known = recipe_names()
    if name not in known:
        hint = _nearest(name, known)
        raise OptionError("--recipe", name, f"expected one of {', '.join(known)}, or a .toml file", hint)
    return read_recipe(_FOLDER / f"{name}.toml")


def read_recipe(path: Path) -> RecipeFile:
    """Reads and checks one file. Raises InputFileError that names the field, and the nearest one to an unknown."""
    try:
        data = tomllib.loads(read_limited(path, _MAX_FILE, "a recipe (.toml)").decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputFileError(path, f"is not valid TOML: {' '.join(str(error).split())}") from error
    given = _flat(path, data)
    read = {key: _value(path, key, value) for key, value in given.items()}
    _check_together(path, read)
    plain = {key.rpartition(".")[2]: value for key, value in read.items()}
    in_recipe = {item.name for item in fields(Recipe)}
    return RecipeFile(
        path=path,
        name=plain.get("name", path.stem),
        title=plain.get("title", ""),
        sources=plain.get("sources", ()),
        values={name: value for name, value in plain.items() if name in in_recipe},
        shift_fraction=plain.get("shift_fraction", 0.0),
        **{name: plain.get(name) for name in ("family", "groups", "scale", "variant", "resize", "crop_fraction")},
    )


def _flat(path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """table.field -> value. Raises InputFileError for what is no field."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if key in _TABLES and key:
            if not isinstance(value, dict):
                raise InputFileError(path, f"{key} is {_shown(value)}, expected a table of {', '.join(_TABLES[key])}")
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    known = [f"{table}.{name}" if table else name for table, names in _TABLES.items() for name in names]
    for key in flat:
        if key not in known:
            raise InputFileError(path, f"{key[:80]} is not a field of a recipe", _nearest(key, known))
    return flat


def _nearest(name: str, known: list[str]) -> str:
    """A hint: the same name in another table, else the most similar one."""
    last = name.rpartition(".")[2]
    same = [key for key in known if key.rpartition(".")[2] == last]
    plain = {key.rpartition(".")[2]: key for key in known}
    close = same or difflib.get_close_matches(name, known, 1, 0.5)
    close = close or [plain[found] for found in difflib.get_close_matches(last, list(plain), 1, 0.5)]
    return f"did you mean {close[0]}?" if close else ""


def _value(path: Path, key: str, value: Any) -> Any:
    """The value of one field, checked. Raises InputFileError that says what was expected."""
    name = key.rpartition(".")[2]
    low, high = {**RANGES, **_OTHER_RANGES}.get(name, (0.0, 0.0))
    if name in ("name", "title"):
        good, expected = isinstance(value, str) and 0 < len(value) <= 200, "a short text"
    elif name == "sources":
        good = isinstance(value, list) and len(value) <= 20 and all(isinstance(v, str) and len(v) <= 500 for v in value)
        expected = "a list of texts"
        value = tuple(value) if good else value
    elif name in _CHOICES:
        good, expected = value in _CHOICES[name], f"one of {', '.join(_CHOICES[name])}"
    elif name == "variant":
        good, expected = (
            value in (*VARIANTS, *VARIANTS_V2),
            f"one of {', '.join(dict.fromkeys(VARIANTS + VARIANTS_V2))}",
        )
    elif name == "groups":
        good, expected = _is_number(value, int) and value in GROUPS, f"one of {', '.join(map(str, GROUPS))}"
    elif name == "scale":
        low, high = SCALE_RANGE
        good, expected = _is_number(value, float) and low <= value <= high, f"a number from {low:g} to {high:g}"
    elif _HINTS.get(name) is bool:
        good, expected = isinstance(value, bool), "true or false"
    elif name in ("crop_area", "crop_ratio"):
        pair = isinstance(value, list) and len(value) == 2 and all(_is_number(number, float) for number in value)
        good = pair and low <= value[0] <= value[1] <= high
        expected = f"two numbers from {low:g} to {high:g}, low before high"
        value = (float(value[0]), float(value[1])) if good else value
    else:
        kind = int if name == "resize" or _HINTS.get(name) is int else float
        good = _is_number(value, kind) and low <= value <= high
        expected = f"a {'whole ' if kind is int else ''}number from {low:g} to {high:g}"
        value = kind(value) if good else value
    if not good:
        raise InputFileError(path, f"{key} is {_shown(value)}, expected {expected}")
    return value


def _check_together(path: Path, read: Mapping[str, Any]) -> None:
    if "schedule.epochs" in read and read.get("schedule.total_steps"):
        raise InputFileError(path, "has schedule.epochs and schedule.total_steps, expected one of the two")
    if "evaluation.resize" in read and "evaluation.crop_fraction" in read:
        raise InputFileError(path, "has evaluation.resize and evaluation.crop_fraction, expected one of the two")
    if 0 < read.get("augmentation.train_size", 0) < 32:
        found = read["augmentation.train_size"]
        raise InputFileError(path, f"augmentation.train_size is {found}, expected 0 or a whole number from 32 to 4096")
    family = read.get("model.family")
    if family is None and any(key.startswith("model.") for key in read):
        raise InputFileError(path, "model.family is missing", "expected v1 or v2")
    if family == "v2" and "model.groups" in read:
        raise InputFileError(path, "model.groups is for family v1: ShuffleNetV2 has no groups", "leave it out")
    variants = VARIANTS_V2 if family == "v2" else VARIANTS
    if read.get("model.variant", variants[0]) not in variants:
        found = _shown(read["model.variant"])
        raise InputFileError(path, f"model.variant is {found}, expected one of {', '.join(variants)} for {family}")
    if family == "v2" and read.get("model.scale", 1.0) not in SCALES:
        known = ", ".join(f"{scale:g}" for scale in SCALES)
        raise InputFileError(path, f"model.scale is {read['model.scale']:g}, expected one of {known} for v2")


def _is_number(value: Any, kind: type) -> bool:
    """Whether a TOML value is a finite number of that kind; whole numbers are numbers of either."""
    allowed = (int,) if kind is int else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
