"""Shared by the commands: consoles, errors in two sentences, exit codes, Ctrl-C handling."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from rich.console import Console
from rich.text import Text

from ..errors import FlairSegError, typed
from .advice import advice

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

_P = ParamSpec("_P")

WRITTEN, REFUSED, UNTRUSTED, INTERRUPTED = 0, 2, 3, 130

for _stream in (sys.stdout, sys.stderr):
    # A file name or a terminal without Unicode support must not end a run.
    if hasattr(_stream, "reconfigure"):
        _stream.reconfigure(errors="backslashreplace")


def results_console() -> Console:
    """Results go to standard output."""
    return Console(highlight=False)


def messages_console() -> Console:
    """Progress, warnings and errors go to standard error."""
    return Console(stderr=True, highlight=False)


def show_error(console: Console, error: FlairSegError, about: str = "") -> None:
    """Print an error as ``Error: what happened`` and ``What to do: advice``, each on its own line."""
    console.print(
        Text.assemble((f"Error{f' ({about})' if about else ''}: ", "bold red"), error.message), soft_wrap=True
    )
    if told := advice(error):
        console.print(Text.assemble(("What to do: ", "bold"), told), soft_wrap=True)


def show_warning(console: Console, warning: str, about: str = "") -> None:
    """Print a warning on its own line."""
    console.print(Text.assemble((f"Warning{f' ({about})' if about else ''}: ", "bold yellow"), warning), soft_wrap=True)


def show_information(console: Console, text: str, about: str = "") -> None:
    """Print a note on its own line."""
    console.print(Text.assemble((f"Note{f' ({about})' if about else ''}: ", "bold"), text), soft_wrap=True)


def strict_code(console: Console, code: int, warnings: Iterable[str], strict: bool) -> int:
    """The exit code: with ``--strict`` and all written, 3 if a warning means that a result cannot be trusted."""
    from ..segmentation.warning_codes import untrusted

    found = list(dict.fromkeys(w.code for w in untrusted(warnings))) if strict and code == WRITTEN else []
    if not found:
        return code
    console.print(
        f"Not to be trusted ({', '.join(found)}): files were written, the exit code is {UNTRUSTED}.", soft_wrap=True
    )
    return UNTRUSTED


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end a run like Ctrl-C, with ``KeyboardInterrupt``; further signals do not interrupt the clean-up."""

    def stop(number: int, frame: object) -> None:
        for other in previous:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def command(
    interrupted: str = "Interrupted. Nothing was written.",
) -> Callable[[Callable[Concatenate[Console, Console, _P], int]], Callable[_P, int]]:
    """Decorator of a command: gives it the consoles of messages and of results; its return value is the exit code.

    Errors are printed as two sentences, an interruption as this one.
    """

    def decorate(work: Callable[Concatenate[Console, Console, _P], int]) -> Callable[_P, int]:
        @wraps(work)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> int:
            messages = messages_console()
            try:
                with interruptible():
                    return work(messages, results_console(), *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - a user reads a sentence, not a traceback
                show_error(messages, typed(error))
                return REFUSED
            except KeyboardInterrupt:
                messages.print(interrupted, soft_wrap=True)
                return INTERRUPTED

        return run

    return decorate


@contextmanager
def stage_bar(console: Console, begin: str, *columns: ProgressColumn) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on a terminal, gone once it has ended; yields its update by fraction and description."""
    from rich.progress import BarColumn, Progress, TextColumn

    shown = (BarColumn(bar_width=28), TextColumn("{task.description}", markup=False), *columns)
    with Progress(*shown, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(begin, total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)
