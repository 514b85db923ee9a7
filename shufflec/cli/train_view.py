"""What `shufflec train` shows: the progress, the result as text and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shufflec.cli.console import progress_bar, stderr_console, stdout_console

if TYPE_CHECKING:
    from shufflec.models.checkpoint import Checkpoint
    from shufflec.training.train import TrainingProgress


@contextmanager
def training_progress(output: Path) -> Iterator[Callable[[TrainingProgress], None]]:
    """A bar over all steps with loss and accuracy; without a terminal, one line an epoch. Both on stderr."""
    console = stderr_console()
    last_test = ""
    resumed = 0
    with progress_bar() as bar:
        task = bar.add_task("train", total=None, note="")

        def show(state: TrainingProgress) -> None:
            nonlocal last_test, resumed
            if state.resumed_epochs and not resumed:
                resumed = state.resumed_epochs
                console.print(f"Going on after epoch {resumed} of {state.epochs}.")
            figures = f"loss {state.loss:.3f}, accuracy {state.accuracy:.2%}"
            if state.test_top1 is not None:
                last_test = f", held out {state.test_top1:.2%}"
                if not console.is_terminal:
                    console.print(f"epoch {state.epoch}/{state.epochs}: {figures}{last_test}")
            bar.update(
                task,
                description=f"epoch {state.epoch}/{state.epochs}",
                total=state.epochs * state.steps,
                completed=(state.epoch - 1) * state.steps + state.step,
                note=figures + last_test,
            )

        try:
            yield show
        except KeyboardInterrupt:
            bar.stop()
            console.print(f"Stopped. The same command goes on from the last whole epoch ({output} is not written yet).")
            raise


def training_result(output: Path, sha256: str, checkpoint: Checkpoint) -> dict[str, object]:
    """The result as plain JSON types."""
    return {
        "output": str(output),
        "sha256": sha256,
        "architecture": checkpoint.architecture.to_dict(),
        "preprocessing": checkpoint.preprocessing.to_dict(),
        "class_names": checkpoint.class_names,
        "recipe": checkpoint.recipe,
        "seed": checkpoint.seed,
        "metrics": checkpoint.metrics,
    }


def show_training(output: Path, checkpoint: Checkpoint) -> None:
    """The result as three lines on stdout."""
    metrics = checkpoint.metrics
    console = stdout_console()
    console.print(f"{checkpoint.architecture}", markup=False)
    console.print(f"Top-1 {metrics['top1']:.2%}, top-5 {metrics['top5']:.2%} on {metrics['count']} held-out images")
    console.print(f"Wrote {output}", markup=False)
