"""Accuracy control: tries ways to quantize from cheap to dear until one keeps the accuracy.

1  the default of post-training quantization
2  each change of one setting (settings.SINGLE_CHANGES)
3  all settings together whose change was better than the default
4  quantization-aware training, from the best of those with zero points 0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

import onnx

from shufflec.errors import OptionError, UnsupportedModelError
from shufflec.quantize.judge import Judge, Score
from shufflec.quantize.settings import DEFAULT, SINGLE_CHANGES, PtqSettings

METHODS = ("ptq", "qat", "auto")
_TOLERANCE = 1e-9  # points: drops are differences of floats

#: Quantizes with settings.
Ptq = Callable[[PtqSettings], onnx.ModelProto]
#: Fine-tunes what the settings gave.
Qat = Callable[[onnx.ModelProto, PtqSettings], onnx.ModelProto]
#: Called before each trial with its name, and after it with the trial.
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """One way that was tried. top1: fraction; drop: points lost against float; both on the deciding images.

    seconds: of the trial, its judgement included. met: whether the drop was small enough. problem: why it could not be
    done; the figures are then None.
    """

    method: str
    settings: PtqSettings
    trained: bool
    top1: float | None
    drop: float | None
    logits_db: float | None
    seconds: float
    met: bool
    problem: str = ""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {**asdict(self), "settings": self.settings.to_dict()}


@dataclass(frozen=True)
class Found:
    """model: that of `chosen`, the first trial that met the drop, or the best one. trials: in the order tried."""

    model: onnx.ModelProto
    chosen: Trial
    trials: tuple[Trial, ...]
    float_top1: float
    max_drop: float

    @property
    def met(self) -> bool:
        """Whether the drop was small enough on the deciding images."""
        return self.chosen.met


def check_wishes(method: str, max_drop: float) -> None:
    """Raises OptionError for a method not of METHODS, and for points of top-1 that are no percentage."""
    if method not in METHODS:
        raise OptionError("--method", method, f"expected one of {', '.join(METHODS)}")
    if not 0.0 <= max_drop <= 100.0:
        raise OptionError("--max-drop", max_drop, "expected 0 to 100 points of top-1")


class Search:
    """One search; `run` does it. Raises what check_wishes raises."""

    def __init__(
        self, judge: Judge, ptq: Ptq, qat: Qat, method: str, max_drop: float, announce: Announce | None = None
    ):
        check_wishes(method, max_drop)
        self._judge, self._ptq, self._qat = judge, ptq, qat
        self._method, self._max_drop = method, max_drop
        self._announce = announce or (lambda name: None)
        self._trials: list[Trial] = []
        self._models: dict[int, onnx.ModelProto] = {}  # by the trial's place
        self._scores: dict[int, Score] = {}

    def run(self) -> Found:
        """Tries what the method allows. Raises UnsupportedModelError when nothing could be quantized at all."""
        for place in self._places():
            if self._trials[place].met and not (self._method == "qat" and not self._trials[place].trained):
                return self._found(place)
        if not self._scores:
            raise UnsupportedModelError(f"no method can quantize the model: {self._trials[0].problem}")
        return self._found(max(self._scores, key=lambda place: self._scores[place].rank))

    def _places(self) -> Iterator[int]:
        """Does one trial after the other, and yields its place in the list."""
        yield self._try_ptq(DEFAULT)
        if self._method != "qat":
            for settings in SINGLE_CHANGES:
                yield self._try_ptq(settings)
            together = _combined([self._trials[place].settings for place in self._better_than_default()])
            if together is not None:
                yield self._try_ptq(together)
        if self._method != "ptq":
            symmetric = [place for place in self._scores if self._trials[place].settings.preset == "symmetric"]
            if symmetric:
                yield self._try_qat(max(symmetric, key=lambda place: self._scores[place].rank))

    def _better_than_default(self) -> list[int]:
        """The single changes that beat the default, the best first."""
        if 0 not in self._scores:
            return []
        better = [place for place, score in self._scores.items() if score.rank > self._scores[0].rank]
        return sorted(better, key=lambda place: self._scores[place].rank, reverse=True)

    def _try_ptq(self, settings: PtqSettings) -> int:
        return self._try(settings.label, settings, False, lambda: self._ptq(settings))

    def _try_qat(self, start: int) -> int:
        settings = self._trials[start].settings
        name = ", ".join(["qat", *settings.label.split(", ")[1:]])
        return self._try(name, settings, True, lambda: self._qat(self._models[start], settings))

    def _try(self, name: str, settings: PtqSettings, trained: bool, make: Callable[[], onnx.ModelProto]) -> int:
        self._announce(name)
        place, since = len(self._trials), time.monotonic()
        try:
            model = make()
            score = self._judge.score(model)
        except UnsupportedModelError as error:
            # NNCF cannot do everything with every graph; another way may still work.
            seconds = time.monotonic() - since
            self._trials.append(Trial(name, settings, trained, None, None, None, seconds, False, error.message))
            return place
        drop = self._judge.drop(score)
        met = drop <= self._max_drop + _TOLERANCE
        seconds = time.monotonic() - since
        self._trials.append(Trial(name, settings, trained, score.top1, drop, score.logits_db, seconds, met))
        self._models[place], self._scores[place] = model, score
        return place

    def _found(self, place: int) -> Found:
        trials = tuple(self._trials)
        return Found(self._models[place], trials[place], trials, self._judge.float_top1, self._max_drop)


def _combined(better: Sequence[PtqSettings]) -> PtqSettings | None:
    """All changes in one, the better one where two change the same setting; None for fewer than two."""
    changes: dict[str, object] = {}
    for settings in better:
        for item in fields(settings):
            if item.name in settings.changed:
                changes.setdefault(item.name, getattr(settings, item.name))
    return replace(DEFAULT, **changes) if len(changes) > 1 else None
