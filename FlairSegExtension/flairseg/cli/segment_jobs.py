"""Several cases of ``flairseg segment`` at once: processes, as many as the memory allows; outcomes in order.

Each process works on one case at a time and keeps the model loaded. A pool of :mod:`concurrent.futures` lacks three
things: the case of a lost process, progress per case, and delaying a case until enough memory is free. Dask, which runs
cohorts, is an optional dependency and lacks them too.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection as pipes
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import WorkerError
from .segment_bars import Bars
from .segment_case import CaseJob, CaseOutcome, failed, run_case

if TYPE_CHECKING:
    from ..files.names import NamedInput
    from ..privacy.pseudonyms import Pseudonymiser

#: Messages of a process: progress of its case, request for a file name, end of its case.
_PROGRESS, _CLAIM, _ENDED = "progress", "claim", "ended"
#: Progress is reported when the stage changes or by this increment.
_STEP = 0.02
#: Seconds for a process to remove its temporary files before it is killed.
_TIDY_S = 10.0


@dataclass
class _Worker:
    """A process and the case that it works on; ``index`` is None while it waits."""

    process: BaseProcess
    pipe: pipes.Connection
    index: int | None = None
    claims: bool = False


@dataclass
class _Crew:
    """The processes of a call.

    Attributes
    ----------
    named : sequence of NamedInput
    job : CaseJob
    jobs : int
        Maximum number of processes.
    needed : callable
        Index of a case -> peak memory in bytes, including the process.
    budget, idle : int
        Total memory in bytes, and that of an idle process.
    """

    named: Sequence[NamedInput]
    job: CaseJob
    jobs: int
    needed: Callable[[int], int]
    budget: int
    idle: int
    bars: Bars
    workers: list[_Worker] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    #: Cases whose process was lost while others ran: retried once, alone.
    alone: set[int] = field(default_factory=set)
    outcomes: dict[int, CaseOutcome] = field(default_factory=dict)
    updates: dict[int, Callable[[float, str], None]] = field(default_factory=dict)
    told: bool = False

    def run(self) -> Iterator[CaseOutcome]:
        """Yield outcomes in the order of the inputs, each as soon as its predecessors are available."""
        self.waiting.extend(range(len(self.named)))
        for index in range(len(self.named)):
            while index not in self.outcomes:
                self._start_cases()
                self._grant()
                if index not in self.outcomes:
                    self._listen()
            self.bars.title(index + 1, self.named[index].case)
            yield self.outcomes.pop(index)

    @property
    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.index is not None]

    def _start_cases(self) -> None:
        while self.waiting and self._may_start(self.waiting[0]):
            index = self.waiting.popleft()
            item = self.named[index]
            if item.refusal is not None:
                self.outcomes[index] = run_case(item, self.job, lambda fraction, stage: None)
                continue
            worker = next((one for one in self.workers if one.index is None), None) or self._new_worker()
            self.updates[index] = self.bars.start(index + 1, item.case)
            worker.index = index
            # A terminated process is detected when its messages are read.
            with suppress(OSError):
                worker.pipe.send((item, self.job.pseudonymiser))

    def _may_start(self, index: int) -> bool:
        busy = self._busy
        if not busy or self.named[index].refusal is not None:
            return True
        if index in self.alone:
            # Later cases that wait for a name wait for this one.
            return all(one.claims and one.index is not None and one.index > index for one in busy)
        if len(busy) >= self.jobs or any(one.index in self.alone for one in busy):
            return False
        waiting = len(self.workers) - len(busy)
        taken = sum(self.needed(one.index) for one in busy if one.index is not None) + max(0, waiting - 1) * self.idle
        fits = taken + self.needed(index) <= self.budget
        if not fits and not self.told:
            self.told = True
            self.bars.note(
                f"Memory for {len(busy)} at a time: {self.budget / 1e9:.1f} GB may be taken, {self.named[index].case} "
                f"needs about {self.needed(index) / 1e9:.1f} GB."
            )
        return fits

    def _new_worker(self) -> _Worker:
        from ..segmentation.inference import available_cores

        context = get_context("spawn")
        here, there = context.Pipe()
        cores = max(1, available_cores() // self.jobs)
        process = context.Process(target=_work, args=(there, self.job, cores), name="flairseg-case", daemon=True)
        with _undisturbed():
            process.start()
            self.workers.append(_Worker(process, here))
        there.close()
        return self.workers[-1]

    def _listen(self) -> None:
        """Wait for a message of a process, and handle it."""
        pipes_of = {worker.pipe: worker for worker in self._busy}
        for pipe in pipes.wait(list(pipes_of)):
            worker = pipes_of[pipe]  # type: ignore[index] # what was waited for
            try:
                kind, *content = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            self._take(worker, kind, content)

    def _take(self, worker: _Worker, kind: str, content: Sequence[Any]) -> None:
        index = worker.index
        if index is None:
            return
        if kind == _PROGRESS:
            self.updates[index](*content)
        elif kind == _CLAIM:
            worker.claims = True
        else:
            outcome, pseudonymiser = content
            if pseudonymiser is not None and self.job.pseudonymiser is not None:
                self.job.pseudonymiser.absorb(pseudonymiser)
            self._ended(worker, outcome)

    def _ended(self, worker: _Worker, outcome: CaseOutcome) -> None:
        if worker.index is not None:
            self.outcomes[worker.index] = outcome
            self.bars.ended(worker.index + 1)
        worker.index, worker.claims = None, False

    def _lost(self, worker: _Worker) -> None:
        """Handle the loss of a case's process, usually for lack of memory."""
        index, others = worker.index, len(self._busy) > 1
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join(_TIDY_S)
        if index is None:
            return
        if others and index not in self.alone:
            self.alone.add(index)
            self.waiting = deque(sorted([*self.waiting, index]))
            self.bars.ended(index + 1, again=True)
            return
        error = WorkerError(
            f"The process that segmented this case ended (exit code {worker.process.exitcode}).",
            "The usual cause is too little memory: close other programs, or resample the image to larger voxels.",
            code="case-process-lost",
        )
        self._ended(worker, failed(self.named[index].case, error, self.job.pseudonymiser))

    def _grant(self) -> None:
        """Grant the first unfinished case the name it requests: no earlier case can take it any more."""
        first = min((one.index for one in self._busy if one.index is not None), default=None)
        first = min([first, *self.waiting], key=lambda n: len(self.named) if n is None else n, default=None)
        for worker in self._busy:
            if worker.claims and worker.index == first:
                worker.claims = False
                with suppress(OSError):
                    worker.pipe.send(True)

    def close(self, interrupted: bool) -> None:
        """End all processes; interrupted ones remove their temporary files first."""
        for worker in self.workers:
            if interrupted and sys.platform != "win32":
                worker.process.terminate()
            else:
                # Idle processes exit. Busy ones (on Windows, where terminate() is immediate) stop at the next step.
                with suppress(OSError):
                    worker.pipe.send(None)
        for worker in self.workers:
            worker.process.join(_TIDY_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Defer SIGINT and SIGTERM until after the block: a partly started process has no owner yet.

    A process that is started within begins with SIGINT blocked (POSIX): Ctrl-C reaches every process of a terminal, and
    this one alone acts on it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if sys.platform != "win32" else set()
    try:
        yield
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in previous.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def side_by_side(named: Sequence[NamedInput], job: CaseJob, bars: Bars, jobs: int) -> Iterator[CaseOutcome]:
    """Run cases in separate processes, several at once.

    Parameters
    ----------
    named : sequence of NamedInput
    job : CaseJob
    bars : Bars
    jobs : int
        Cases at once at the most; where memory is short, fewer.

    Yields
    ------
    CaseOutcome
        In the order of the inputs.

    Raises
    ------
    KeyboardInterrupt
        Re-raised once all processes have ended.
    """
    from ..io.extent import voxels_in
    from ..segmentation.memory import IDLE_BYTES, budget_bytes, needed_bytes

    sizes: dict[int, int] = {}

    def needed(index: int) -> int:
        if index not in sizes:
            sizes[index] = needed_bytes(voxels_in(named[index].path), len(job.card.members), job.device)
        return sizes[index]

    crew = _Crew(named, job, jobs, needed, budget_bytes(), IDLE_BYTES, bars)
    interrupted = True
    try:
        yield from crew.run()
        interrupted = False
    finally:
        crew.close(interrupted)


def _proxy_from(content: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(content)


def _reduced(proxy: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return _proxy_from, (dict(proxy),)


# A model's card holds such mappings, which cannot be pickled.
ForkingPickler.register(MappingProxyType, _reduced)


# --- in the worker process


class _Signals:
    """SIGTERM ends a case like Ctrl-C, so that its temporary files are removed; an idle process exits."""

    def __init__(self) -> None:
        self.busy = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _stop(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self.busy:
            raise KeyboardInterrupt
        os._exit(0)


def _work(pipe: pipes.Connection, job: CaseJob, cores: int) -> None:
    """Process cases until there are none, or the parent is gone."""
    from ..segmentation.inference import limit_cores
    from ..segmentation.memory import limit_heap, release_memory

    signals = _Signals()
    limit_heap()
    limit_cores(cores)
    with suppress(KeyboardInterrupt, EOFError, OSError):
        while (message := pipe.recv()) is not None:
            signals.busy = True
            _do(pipe, job, *message)
            signals.busy = False
            release_memory()


def _do(pipe: pipes.Connection, job: CaseJob, item: NamedInput, pseudonymiser: Pseudonymiser | None) -> None:
    sent = (-1.0, "")

    def progress(fraction: float, stage: str) -> None:
        nonlocal sent
        if pipe.poll():
            raise KeyboardInterrupt
        if stage != sent[1] or fraction >= sent[0] + _STEP or fraction >= 1:
            sent = (fraction, stage)
            pipe.send((_PROGRESS, fraction, stage))

    def claim(stem: str) -> None:
        pipe.send((_CLAIM,))
        pipe.recv()

    outcome = run_case(item, replace(job, pseudonymiser=pseudonymiser), progress, claim)
    pipe.send((_ENDED, outcome, pseudonymiser))
