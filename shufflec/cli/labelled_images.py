"""What every command says of the images that it measures accuracy on: whose classes they have, which cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shufflec.cli.console import stderr_console

if TYPE_CHECKING:
    from shufflec.data.dataset import Dataset


def check_names(data: str, dataset: Dataset, class_names: list[str]) -> None:
    """Raises InputFileError unless the data set's classes are the model's; says so where the model names none."""
    from shufflec.data.dataset import are_unknown, check_classes

    check_classes(data, dataset, class_names)
    if dataset.class_names != class_names and are_unknown(class_names):
        words = "The model does not name its classes: those of the data set are taken, in their order."
        stderr_console().print(words)


def tell_unreadable(dataset: Dataset) -> None:
    """Counts and names images that could not be read, on stderr."""
    from shufflec.data.dataset import unreadable_note

    if note := unreadable_note(dataset):
        stderr_console().print(note, markup=False)
