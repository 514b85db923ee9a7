"""`shufflec doctor`: what is installed, what is missing, what that costs, and the command that mends it."""

from __future__ import annotations

from dataclasses import asdict

from shufflec.cli.console import JsonOption, emit_json, stdout_console
from shufflec.errors import ExitCode


def doctor_command(json: JsonOption = False) -> int:
    """Check what is installed of everything that shufflec uses.

    Exit code 0 when the main job works (compile for a board, run and profile on a virtual Pi), else 7.

    Examples:

        shufflec doctor

        shufflec doctor --json
    """
    from shufflec.devices.health import examine

    pieces = examine()
    broken = [piece for piece in pieces if piece.required and not piece.ok]
    code = ExitCode.TOOL_MISSING if broken else ExitCode.OK
    if json:
        emit_json({"main_job_works": not broken, "pieces": [{**asdict(piece), "ok": piece.ok} for piece in pieces]})
        return code
    from rich.table import Table
    from rich.text import Text

    table = Table("piece", "found", "needed for", "to mend it")
    for piece in pieces:
        found = Text(f"{piece.version} {piece.problem}".strip(), style="" if piece.ok else "red")
        table.add_row(piece.name, found, piece.costs, "" if piece.ok else Text(piece.mend))
    console = stdout_console()
    console.print(table)
    if broken:
        console.print(f"The main job does not work without: {', '.join(piece.name for piece in broken)}.")
    else:
        console.print("The main job works: compile for a board, run and profile on a virtual Pi.")
    return code
