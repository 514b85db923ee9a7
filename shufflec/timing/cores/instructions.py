"""The table of A64 instructions: which group each belongs to and how it uses its registers (data/instructions.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from shufflec.errors import ShufflecError

DATA = Path(__file__).resolve().parent / "data"
USES = ("write", "accumulate", "addend", "update", "read", "load", "store")
FLAGS = ("", "read", "write", "update")


@dataclass(frozen=True)
class Group:
    """Instructions that a core treats alike. operands: glob over operand kinds; use, flags: see the table's head."""

    name: str
    mnemonics: frozenset[str]
    operands: str
    use: str
    flags: str

    def matches(self, mnemonic: str, kinds: str) -> bool:
        return mnemonic in self.mnemonics and fnmatchcase(kinds, self.operands)


def read_groups(path: Path) -> tuple[Group, ...]:
    """The groups of a table, in its order. Raises ShufflecError for an unknown `use` or `flags`."""
    groups = []
    for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
        use, flags = entry["use"], entry.get("flags", "")
        if use not in USES or flags not in FLAGS:
            raise ShufflecError(f"{path.name}, [{name}]: use is one of {', '.join(USES)}; flags of {FLAGS[1:]}")
        groups.append(Group(name, frozenset(entry["mnemonics"].split()), entry.get("operands", "*"), use, flags))
    return tuple(groups)


@cache
def groups() -> tuple[Group, ...]:
    """The table of this package."""
    return read_groups(DATA / "instructions.toml")


@cache
def find_group(mnemonic: str, kinds: str) -> Group | None:
    """The group of an instruction, or None for one that the table does not know."""
    return next((group for group in groups() if group.matches(mnemonic, kinds)), None)
