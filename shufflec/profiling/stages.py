"""One network at each stage of its way to the board, on the same images: accuracy, agreement, equal bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from shufflec.data.dataset import Dataset
from shufflec.data.preprocessing import Preprocessing
from shufflec.errors import OptionError
from shufflec.profiling.verify import same_bits

Predict = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[str, int, int], None]

FLOAT, QDQ, REFERENCE, BOARD = "float", "int8 QDQ", "integer reference", "compiled code"
#: In the order of the way; the last two are slow: a reference in NumPy, and code on a board, maybe an emulated one.
STAGES = (FLOAT, QDQ, REFERENCE, BOARD)
SLOW = (REFERENCE, BOARD)
DEFAULT_SLOW_IMAGES = 100
_BATCH = 16
_TOP = 5


@dataclass(frozen=True)
class Stage:
    """name: one of STAGES. engine: what computes the logits. predict: [N, 3, H, W] -> [N, classes]; None where the
    stage cannot be had, and `missing` says why."""

    name: str
    engine: str
    predict: Predict | None = None
    missing: str = ""


@dataclass(frozen=True)
class Answers:
    """What one stage said. best: the five best classes, int64 [N, up to 5], of the images at `indices`. logits: [N,
    classes], kept of slow stages alone."""

    indices: tuple[int, ...]
    labels: np.ndarray
    best: np.ndarray
    logits: np.ndarray | None = None

    @property
    def right(self) -> np.ndarray:
        """bool [N, up to 5]: where the true class stands."""
        return self.best == self.labels[:, None]


@dataclass(frozen=True)
class StageResult:
    """A stage's column.

    images: how many it classified; top1, top5: fractions of them. shared: how many of them the stage on its left (left:
    its name, the nearest that could be had) classified too; agreement: the fraction of those with an equal best class.
    common_top1: top-1 over the images that every stage classified. All None or 0 where missing says why.
    """

    name: str
    engine: str
    missing: str = ""
    images: int = 0
    top1: float | None = None
    top5: float | None = None
    common_top1: float | None = None
    left: str | None = None
    shared: int = 0
    agreement: float | None = None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types, with the error rates of the published tables."""
        value = dict(vars(self))
        for name in ("top1", "top5"):
            value[f"{name}_error"] = None if value[name] is None else 1.0 - value[name]
        return value


@dataclass(frozen=True)
class StageComparison:
    """All columns. common: images that every stage classified. compared: images on which the compiled code was held
    against the integer reference; equal: those with equal logits, bit for bit; differing: index of the first other."""

    stages: tuple[StageResult, ...]
    common: int
    compared: int = 0
    equal: int = 0
    differing: int | None = field(default=None)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "stages": [stage.to_dict() for stage in self.stages],
            "common_images": self.common,
            "bit_exact": {"images": self.compared, "equal": self.equal, "first_differing": self.differing},
        }


def compare_stages(
    stages: Sequence[Stage],
    dataset: Dataset,
    preprocessing: Preprocessing,
    slow_images: int = DEFAULT_SLOW_IMAGES,
    progress: Progress = lambda name, done, total: None,
) -> StageComparison:
    """Runs every stage on the data set, the slow ones on at most `slow_images` of it at equal distances.

    progress(name of the stage, images done, images in all). Images that cannot be read are left out, see the data
    set's `unreadable`. Raises OptionError for an empty data set or logits of another shape, and what the stages raise.
    """
    if len(dataset) == 0:
        raise OptionError("data", dataset.name, "has no images to evaluate on")
    answers: dict[str, Answers] = {}
    for stage in stages:
        if stage.predict is not None:
            slow = stage.name in SLOW
            indices = dataset.spread_indices(slow_images) if slow else np.arange(len(dataset))
            report = lambda done, total, name=stage.name: progress(name, done, total)  # noqa: E731
            answers[stage.name] = _answers(stage, dataset, preprocessing, indices, slow, report)
    common = sorted(set.intersection(*(set(found.indices) for found in answers.values()))) if answers else []
    results, left = [], None
    for stage in stages:
        results.append(_result(stage, answers, left, common))
        left = stage.name if stage.name in answers else left
    return StageComparison(tuple(results), len(common), *_equal_bits(answers.get(REFERENCE), answers.get(BOARD)))


def _answers(
    stage: Stage,
    dataset: Dataset,
    preprocessing: Preprocessing,
    indices: np.ndarray,
    keep_logits: bool,
    progress: Callable[[int, int], None],
) -> Answers:
    progress(0, len(indices))
    classes, found, logits, best = len(dataset.class_names), [], [], []
    for batch in _batches(dataset.readable(indices.tolist())):
        inputs = np.stack([preprocessing.apply(image) for _, image in batch])
        given = np.asarray(stage.predict(inputs))
        if given.shape != (len(batch), classes):
            found_shape = f"gives logits {list(given.shape)}, expected {[len(batch), classes]}"
            raise OptionError("model", stage.name, found_shape)
        # Among equal logits the first class wins, as in training/evaluate.py; what is not a number is nobody's answer.
        ranked = np.argsort(-np.where(np.isnan(given), -np.inf, given), axis=1, kind="stable")[:, :_TOP]
        found += [index for index, _ in batch]
        best.append(np.where(np.isnan(np.take_along_axis(given, ranked, axis=1)), -1, ranked))
        if keep_logits:
            logits.append(given)
        progress(len(found), len(indices))
    return Answers(
        tuple(found), dataset.labels[found], np.concatenate(best), np.concatenate(logits) if keep_logits else None
    )


def _batches(images: Iterable[tuple[int, np.ndarray]]) -> Iterable[list[tuple[int, np.ndarray]]]:
    batch: list[tuple[int, np.ndarray]] = []
    for item in images:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _result(stage: Stage, answers: dict[str, Answers], left: str | None, common: Sequence[int]) -> StageResult:
    if stage.name not in answers:
        return StageResult(stage.name, stage.engine, stage.missing)
    own = answers[stage.name]
    among = np.isin(own.indices, common)
    result = StageResult(
        stage.name,
        stage.engine,
        images=len(own.indices),
        top1=float(own.right[:, 0].mean()),
        top5=float(own.right.any(axis=1).mean()),
        common_top1=float(own.right[among, 0].mean()) if among.any() else None,
    )
    if left is None:
        return result
    other = dict(zip(answers[left].indices, answers[left].best[:, 0].tolist(), strict=True))
    pairs = [(mine, other[i]) for i, mine in zip(own.indices, own.best[:, 0].tolist(), strict=True) if i in other]
    equal = sum(mine == theirs for mine, theirs in pairs)
    values = vars(result) | {"left": left, "shared": len(pairs), "agreement": equal / len(pairs) if pairs else None}
    return StageResult(**values)


def _equal_bits(reference: Answers | None, board: Answers | None) -> tuple[int, int, int | None]:
    """(images compared, images with equal bits, index of the first other one)."""
    if reference is None or board is None:
        return 0, 0, None
    wanted = dict(zip(reference.indices, reference.logits, strict=True))
    pairs = [(index, logits) for index, logits in zip(board.indices, board.logits, strict=True) if index in wanted]
    differing = [index for index, logits in pairs if not same_bits(logits, wanted[index])]
    return len(pairs), len(pairs) - len(differing), differing[0] if differing else None
