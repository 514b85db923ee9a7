"""The `shufflec` command: registers every subcommand, and turns errors into one line and an exit code.

`main` maps errors to exit codes and is the only place that does; commands raise and never exit by themselves.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from shufflec import __version__
from shufflec.cli import (
    ablate,
    bench,
    board,
    compare,
    compile,
    device,
    doctor,
    eval,
    farm,
    inspect,
    models,
    profile,
    quantize,
    run,
    targets,
    train,
    tune,
)
from shufflec.errors import ExitCode, ShufflecError

app = typer.Typer(
    name="shufflec",
    help="Takes a trained ShuffleNet to an ARM board: quantize, compile, run and profile it.",
    epilog="A first run: shufflec compile --target rasp4 --groups 8, then shufflec profile",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

MAIN_JOB = "Main job"
MODEL = "Models"
BOARD = "Boards and tools"

app.command("compile", rich_help_panel=MAIN_JOB)(compile.compile_command)
app.command("run", rich_help_panel=MAIN_JOB)(run.run_command)
app.command("profile", rich_help_panel=MAIN_JOB)(profile.profile_command)
app.command("compare", rich_help_panel=MAIN_JOB)(compare.compare_command)
app.command("tune", rich_help_panel=MAIN_JOB)(tune.tune_command)
app.command("eval", rich_help_panel=MAIN_JOB)(eval.eval_command)
app.command("train", rich_help_panel=MODEL)(train.train_command)
app.command("quantize", rich_help_panel=MODEL)(quantize.quantize_command)
app.command("inspect", rich_help_panel=MODEL)(inspect.inspect_command)
app.command("ablate", rich_help_panel=MODEL)(ablate.ablate_command)
app.command("models", rich_help_panel=MODEL)(models.models_command)
app.command("targets", rich_help_panel=BOARD)(targets.targets_command)
app.add_typer(device.app, name="device", rich_help_panel=BOARD)
app.add_typer(farm.app, name="farm", rich_help_panel=BOARD)
app.add_typer(board.app, name="board", rich_help_panel=BOARD)
app.command("doctor", rich_help_panel=BOARD)(doctor.doctor_command)
app.add_typer(bench.app, name="bench", rich_help_panel=BOARD)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shufflec {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["SHUFFLEC_DEBUG"] = "1"


def _report(message: str, hint: str = "") -> None:
    """One line on stderr; control characters of untrusted names are made visible."""
    line = f"error: {message}" + (f" ({hint})" if hint else "")
    printable = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line.replace("\n", " "))
    print(printable, file=sys.stderr)


def run_command_line(arguments: list[str]) -> ExitCode:
    """Runs one command line and returns its exit code; prints at most one line for an error."""
    try:
        # typer returns an Exit's code here, and turns Ctrl-C into Exit(130).
        result = app(args=arguments, prog_name="shufflec", standalone_mode=False)
        code = ExitCode(result) if isinstance(result, int) and not isinstance(result, bool) else ExitCode.OK
        if code == ExitCode.INTERRUPTED:
            _report("interrupted; nothing half-written is left")
        return code
    except (KeyboardInterrupt, typer.Abort):
        _report("interrupted; nothing half-written is left")
        return ExitCode.INTERRUPTED
    except ShufflecError as error:
        if os.environ.get("SHUFFLEC_DEBUG"):
            raise
        _report(error.message, error.hint)
        return error.exit_code
    except typer.TyperException as error:
        _report(error.format_message(), "see --help")
        return ExitCode.USAGE
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except OSError as error:
        if os.environ.get("SHUFFLEC_DEBUG") or error.errno != errno.ENOSPC:
            raise
        _report(f"{error.filename or 'a temporary file'}: the disk is full", "free some space")
        return ExitCode.NO_SPACE


def main() -> None:
    """Entry point of the console script."""
    try:
        code = run_command_line(sys.argv[1:])
    except Exception as error:
        if os.environ.get("SHUFFLEC_DEBUG"):
            raise
        _report(
            f"internal error: {type(error).__name__}: {error}", "run it again with `shufflec --debug ...` and report it"
        )
        code = ExitCode.INTERNAL
    sys.exit(int(code))


if __name__ == "__main__":
    main()
