"""Where and how a training runs, as far as the recipe does not say: device, precision, workers, logs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from shufflec.errors import OptionError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "off", "bf16", "fp16")
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Runtime:
    """device: "cpu", "cuda", or "auto": a GPU where torch sees one. amp: mixed precision, "off", "bf16", "fp16", or
    "auto": on a GPU the better of the two that it has, on a processor none. workers: processes that read images; with
    torchrun, of each process. log_dir: folder for TensorBoard, None: no logs.

    Raises OptionError for another value.
    """

    device: str = "cpu"
    amp: str = "auto"
    workers: int = 0
    log_dir: Path | None = None

    def __post_init__(self) -> None:
        for option, value, choices in (("--device", self.device, DEVICES), ("--amp", self.amp, PRECISIONS)):
            if value not in choices:
                raise OptionError(option, value, f"expected one of {', '.join(choices)}")

    def open_device(self, local_rank: int = 0) -> torch.device:
        """The device of the `local_rank`-th process of this computer. Raises OptionError where there is none for it."""
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.device == "cpu" or (self.device == "auto" and not count):
            return torch.device("cpu")
        if not count:
            raise OptionError("--device", self.device, "torch sees no GPU here", "use --device cpu")
        if local_rank >= count:
            problem = f"this computer has {count}, and torchrun starts at least {local_rank + 1} processes"
            raise OptionError("--device", self.device, problem, "use --nproc_per_node no larger than that")
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device

    def precision(self, device: torch.device) -> str:
        """ "float32", "bf16" or "fp16"."""
        if self.amp == "off" or (self.amp == "auto" and device.type == "cpu"):
            return "float32"
        if self.amp == "auto":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return self.amp


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The block in which a forward pass computes in that precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, _DTYPES[precision])


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Keeps gradients of fp16 from vanishing; does nothing for the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
