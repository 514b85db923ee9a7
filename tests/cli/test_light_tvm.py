"""TVM without torch: in a process of its own, as both stay imported."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from shufflec.cli.light_tvm import import_tvm_without_torch
import_tvm_without_torch()
assert "torch" not in sys.modules
import numpy as np, tvm
assert tvm.runtime.tensor(np.arange(3)).numpy().tolist() == [0, 1, 2]
import torch
assert torch.arange(3).sum() == 3
before = torch
import_tvm_without_torch()
assert sys.modules["torch"] is before
"""


def test_torch_is_left_out_of_tvms_import_and_can_be_imported_afterwards():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=300)
