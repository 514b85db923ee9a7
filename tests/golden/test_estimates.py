"""Estimates are exact to the digit; `make golden` writes the file anew, deliberately.

Two of the five checkpoints are computed here, on every board; `make golden-check` computes all.
"""

from __future__ import annotations

import pytest
from estimates import BOARDS, FILE, GROUPS, figures_line, kept_line

pytestmark = pytest.mark.board


def test_the_file_has_a_line_for_each_checkpoint_and_board():
    keys = [tuple(line.split()[:2]) for line in FILE.read_text(encoding="utf-8").splitlines()[2:]]
    assert keys == [(str(groups), board) for groups in GROUPS for board in BOARDS]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("groups", [3, 8])
def test_the_estimate_is_the_kept_one(groups, board):
    assert figures_line(groups, board) == kept_line(groups, board)
