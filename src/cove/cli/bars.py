# SPDX-License-Identifier: Apache-2.0
"""How progress looks on a terminal. Apart, because rich is slow to load and most commands need none of it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text


class _Only(ProgressColumn):
    """A column that is drawn for one kind of task alone."""

    def __init__(self, kind: str, column: ProgressColumn) -> None:
        super().__init__(table_column=column.get_table_column())
        self._kind = kind
        self._column = column

    def render(self, task: Task) -> Text:
        """Draw the column, or nothing."""
        return self._column(task) if task.fields.get("kind") == self._kind else Text("")  # type: ignore[return-value]


def make_progress() -> Progress:
    """Bars with bytes and rates for transfers, a spinner with the time for stages, on stderr; gone when done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        _Only("stage", TimeElapsedColumn()),
        _Only("transfer", BarColumn(bar_width=24)),
        _Only("transfer", DownloadColumn(binary_units=True)),
        _Only("transfer", TransferSpeedColumn()),
        _Only("transfer", TimeRemainingColumn()),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=10,
    )
