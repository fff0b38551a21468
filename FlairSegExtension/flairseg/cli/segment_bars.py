"""Progress of ``flairseg segment``: bars on a terminal, one line for each case in a log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from .console import show_information

#: Terminals narrower than this show only the stage, no bar.
_BAR_WIDTH = 70
#: Label of each stage in the progress bar.
STAGE_NAMES = {
    "read": "reading",
    "preprocess": "finding the brain",
    "inference": "segmenting",
    "postprocess": "cleaning up",
    "regions": "finding regions",
    "write": "writing",
}


class Bars:
    """Progress of the current case and of a call of several: two lines on a terminal; a line per case in a log."""

    def __init__(self, console: Console, count: int, quiet: bool = False) -> None:
        self.console = console
        self._count = count
        self._number = 0
        self._quiet = quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._all: TaskID | None = None
        self._running: dict[int, TaskID] = {}
        self._ended = 0
        if console.is_terminal and not quiet:
            wide = console.width >= _BAR_WIDTH
            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
            columns += [BarColumn(bar_width=28)] if wide else []
            columns += [TextColumn("{task.fields[stage]}", style="dim")]
            self._progress = Progress(SpinnerColumn(), *columns, TimeElapsedColumn(), console=console)
            if count > 1:
                self._all = self._progress.add_task(f"{count} cases", total=count, stage="")

    def __enter__(self) -> Bars:
        (self._progress or nullcontext()).__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def case(self, stem: str) -> Callable[[float, str], None]:
        """Replace the bar by that of the next case; return its progress callback."""
        self._number += 1
        if self._progress is None:
            self.title(self._number, stem)
            return lambda fraction, stage: None
        progress = self._progress
        self.drop()
        if self._all is not None:
            progress.update(self._all, completed=self._number - 1)
        task = self._task = self._add(progress, self._number, stem)

        def update(fraction: float, stage: str) -> None:
            name = STAGE_NAMES.get(stage, stage) if fraction < 1 else "done"
            progress.update(task, completed=fraction, stage=name)
            if fraction >= 1 and self._all is not None:
                progress.update(self._all, completed=self._number)

        return update

    def _title(self, number: int, stem: str) -> str:
        return f"[{number}/{self._count}] {stem}" if self._count > 1 else stem

    def _add(self, progress: Progress, number: int, stem: str) -> TaskID:
        title = _shortened(self._title(number, stem), min(40, self.console.width // 2))
        return progress.add_task(title, total=1.0, stage="")

    def title(self, number: int, stem: str) -> None:
        """Without bars: print the line of a case, before its messages."""
        if self._progress is None and not self._quiet:
            self.console.print(self._title(number, stem), markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a note about the whole call."""
        if not self._quiet:
            show_information(self.console, text)

    def start(self, number: int, stem: str) -> Callable[[float, str], None]:
        """Start the bar of one of several concurrent cases; return its progress callback."""
        if self._progress is None:
            return lambda fraction, stage: None
        progress = self._progress
        task = self._running[number] = self._add(progress, number, stem)

        def update(fraction: float, stage: str) -> None:
            progress.update(task, completed=fraction, stage=STAGE_NAMES.get(stage, stage) if fraction < 1 else "done")

        return update

    def ended(self, number: int, again: bool = False) -> None:
        """Remove the bar of one of several cases; it counts unless the case is retried."""
        self._ended += not again
        if self._progress is None:
            return
        if number in self._running:
            self._progress.remove_task(self._running.pop(number))
        if self._all is not None:
            self._progress.update(self._all, completed=self._ended)

    def drop(self) -> None:
        """Remove the bar of the current case."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def _shortened(title: str, width: int = 40) -> str:
    width = max(width, 20)
    return title if len(title) <= width else title[: width - 14] + "..." + title[-11:]
