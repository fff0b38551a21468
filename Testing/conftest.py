"""What the whole suite shares: threads, garbage, coverage, the order of files, a list of slow tests, databases."""

from __future__ import annotations

import gc
import itertools
import locale
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from Testing.faults import postgresql

if TYPE_CHECKING:
    from flairseg.review.store import ReviewStore

_numbers = itertools.count(1)

# Set before anything here imports NumPy, PyTorch or ITK, which read them once. The suite has a worker per core; more
# threads in each would wait for a core, and OpenBLAS's without leaving it.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
    os.environ.setdefault(_variable, "1")

# No property may fail because the machine is busy: Hypothesis judges time unless told otherwise.
hypothesis.settings.register_profile("flairseg", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("flairseg")

#: Tests of the package; the others' are of the Slicer side, of faults, and of how it is packed.
CORE = Path(__file__).parent / "core"
#: What a test may take, s, without the marker ``slow``.
SLOW_S = 20.0


#: Names the folder of what the workers of a run share.
SHARED = "FLAIRSEG_TEST_SHARED"


def pytest_configure(config: pytest.Config) -> None:
    """A folder for all workers, who inherit the environment."""
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="flairseg-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """It goes with the run."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect tests without the garbage collector, and keep it from what is there for good afterwards.

    It took two fifths of the collection: imports make half a million objects, of which none is garbage.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files in the order in which xdist hands them out: the core's, then the rest; first those with slow tests.

    A long file that begins last keeps one worker busy while the others have ended. Within a file nothing moves.
    """
    if not hasattr(config, "workerinput"):
        return
    tests = Counter(item.path for item in items)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not _of_the_core(item), item.path not in slow, -tests[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage of the core during the core's own tests.

    Before Python 3.12 tracing slows down all Python code, and most of all the stand-ins of Slicer and Qt. Modules are
    imported, and their definitions counted, before it pauses: no worker gets a file of the core after one of the rest.
    """
    measured = coverage.Coverage.current() if (coverage := sys.modules.get("coverage")) else None
    if measured is None or _of_the_core(item):
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()


def _of_the_core(item: pytest.Item) -> bool:
    return item.path.is_relative_to(CORE)


def pytest_terminal_summary(terminalreporter) -> None:
    """List tests that take long and are not marked; nothing fails by a clock."""
    seconds, marked = Counter(), set()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid] += report.duration
            marked |= {report.nodeid} if "slow" in report.keywords else set()
    long = {name: taken for name, taken in seconds.items() if taken > SLOW_S and name not in marked}
    for name, taken in sorted(long.items(), key=lambda pair: -pair[1]):
        terminalreporter.write_line(f"over {SLOW_S:.0f} s without the marker slow: {taken:.0f} s {name}")


@pytest.fixture(autouse=True)
def _locale_is_kept() -> Iterator[None]:
    """No test leaves the process in another locale: those after it would read text as ASCII, wherever they stand."""
    before = locale.setlocale(locale.LC_CTYPE)
    yield
    after = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, before)
    assert after == before


@pytest.fixture(scope="session")
def server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server that runs; who stops it starts it again."""
    reason = postgresql.why_not()
    if reason is not None:
        pytest.skip(reason)
    made = postgresql.Server()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path) -> str:
    """An empty store of each kind; on the server a schema, which is quicker to make than a database."""
    if request.param == "sqlite":
        return str(tmp_path / "store" / "review.sqlite")
    name = f"case_{next(_numbers)}"
    running = request.getfixturevalue("server")
    running.execute(f"CREATE SCHEMA {name}")
    return f"{running.address}&options=-csearch_path%3D{name}"


@pytest.fixture
def store(address) -> Iterator[ReviewStore]:
    """An empty store of each kind, open."""
    from flairseg.review.store import ReviewStore

    with ReviewStore(address) as made:
        yield made
