"""What a model file is, how sure that is and why, without quantizing or compiling it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shufflec.data.preprocessing import Preprocessing, variant_preprocessing
from shufflec.errors import InputFileError
from shufflec.models.complexity import complexity
from shufflec.models.families import AnyArchitecture, architecture_from_dict
from shufflec.models.foreign.load import KINDS, SUFFIXES, open_checkpoint
from shufflec.quantize.inspect import class_count, input_shape, load_onnx, model_kind
from shufflec.quantize.model_info import read_model_info
from shufflec.quantize.recognize_graph import recognize_graph

#: How sure the network is: the file says so itself; its names or structure leave one possibility; unknown.
SURE, TOLD, UNKNOWN = "written in the file", "told from its weights", "unknown"


@dataclass(frozen=True)
class Identity:
    """What a file is.

    format: in words. kind: "checkpoint", "float" or "qdq". architecture: None for a network that is no ShuffleNetV1
    known here. preprocessing_known: whether the file itself says how images are prepared. certainty: SURE, TOLD or
    UNKNOWN. reasons, assumptions: one sentence each.
    """

    path: Path
    format: str
    kind: str
    architecture: AnyArchitecture | None
    classes: int
    preprocessing: Preprocessing
    preprocessing_known: bool
    certainty: str
    reasons: tuple[str, ...]
    assumptions: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        arch = self.architecture
        counted = complexity(arch) if arch is not None else None
        return {
            "path": str(self.path),
            "format": self.format,
            "kind": self.kind,
            "architecture": arch.to_dict() if arch is not None else None,
            "macs": counted.macs if counted is not None else None,
            "params": counted.params if counted is not None else None,
            "classes": self.classes,
            "preprocessing": self.preprocessing.to_dict(),
            "preprocessing_known": self.preprocessing_known,
            "certainty": self.certainty,
            "reasons": list(self.reasons),
            "assumptions": list(self.assumptions),
        }


def identify(path: str | Path) -> Identity:
    """Reads a checkpoint or an ONNX model and says what it is.

    Raises InputFileError and UnsupportedModelError for a file that cannot be read or holds another kind of network.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        return _identify_onnx(path)
    if path.suffix not in SUFFIXES:
        raise InputFileError(path, f"is neither {KINDS} nor an .onnx model")
    opened = open_checkpoint(path)
    found, arch = opened.recognition, opened.checkpoint.architecture
    return Identity(
        path=path,
        format=opened.format if found is None else f"{opened.format} of {found.naming.title}",
        kind="checkpoint",
        architecture=arch,
        classes=arch.classes,
        preprocessing=opened.checkpoint.preprocessing,
        preprocessing_known=found is None,
        certainty=SURE if found is None else TOLD,
        reasons=("Its description says so, and its weights fit.",) if found is None else found.reasons,
        assumptions=() if found is None else found.assumptions,
    )


def _identify_onnx(path: Path) -> Identity:
    model = load_onnx(path)
    kind, info, shape, classes = model_kind(model), read_model_info(model), input_shape(model), class_count(model)
    words = "ONNX, quantized (QDQ)" if kind == "qdq" else "ONNX, float"
    maker = f", made by {model.producer_name} {model.producer_version}".rstrip() if model.producer_name else ""
    size = (shape[2] or 224, shape[3] or 224)
    arch, certainty, reasons, assumptions = None, UNKNOWN, (), []
    if info.get("architecture"):
        arch, certainty = architecture_from_dict(info["architecture"]), SURE
        reasons = ("Its metadata says so.",)
    elif (found := recognize_graph(model, size, classes)) is not None:
        arch, certainty, reasons = found.architecture, TOLD, found.reasons
    else:
        reasons = (
            "Its convolutions are those of no ShuffleNetV1; it is compiled all the same if its operators are known.",
        )
    if info:
        preprocessing = Preprocessing.from_dict(info["preprocessing"])
    else:
        preprocessing = variant_preprocessing(arch.variant if arch is not None else "paper", size)
        assumptions.append(f"Images are prepared as that variant's published networks do: {preprocessing.in_words()}.")
    if not all(shape[2:]):
        assumptions.append(
            "The input leaves its height or width open: 224 is taken; export it for one size to compile."
        )
    return Identity(
        path, words + maker, kind, arch, classes, preprocessing, bool(info), certainty, reasons, tuple(assumptions)
    )
