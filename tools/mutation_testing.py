"""Mutation testing of the code that determines results, from image geometry to evaluation metrics.

    pip install -e '.[mutation]'
    python tools/mutation_testing.py --output mutants.jsonl                     all groups, 70 mutants each
    python tools/mutation_testing.py --output mutants.jsonl --group lesions     one group
    python tools/mutation_testing.py --output again.jsonl --again mutants.jsonl the survivors of an earlier run, again

An interrupted run is continued; a run with more ``--mutants`` keeps its earlier results.

Mutants are made by the operators of Cosmic Ray. Positions are drawn at random (``--seed``) with one mutant each, since
operators with many variants at a position would dominate otherwise. Type annotations, and exchanges of ``is`` and
``==`` (``is not`` and ``!=``), are excluded: they give equivalent mutants.

Tests run in a copy of the tree. One process collects them; for each mutant it is forked, the code of the changed
function is replaced, and the tests run that reach the changed line (known from a first run with coverage). For mutants
outside functions, constants are replaced; survivors (defaults, decorators) are tested again in a process that imports
the changed module. A mutant is killed if a test fails; exceeded time limits are counted separately (timeout).
``--again`` runs all tests of the group.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import coverage
import hypothesis
import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from tools.mutants import PACKAGE, ROOT, Mutant, draw, function_at, rebind, statement_at, swapped  # noqa: E402

#: Group -> modules in the package; tests in Testing/core: files, single tests, and (with a minus) excluded tests of the
#: files, which are slow and add nothing.
GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "judging": (
        tuple(f"longitudinal/{name}.py" for name in ("judging", "noise", "matching", "states", "joint", "adding")),
        ("change_judging", "change_joint", "change_matching", "change_rules"),
    ),
    "lesions": (
        ("lesions/components.py", "anatomy/lesion_table.py", "segmentation/decoding.py"),
        ("lesions", "lesion_table", "decoding"),
    ),
    "regions": (
        ("anatomy/regions.py", "anatomy/dissemination.py"),
        (
            "regions",
            "anatomy::test_juxtacortical_is_contact_by_a_face_in_the_slice",
            "lesion_table::test_regions_follow_their_definitions",
            "lesion_table::test_evidence_of_dissemination_is_listed_and_is_no_diagnosis",
            "lesion_table::test_evidence_rests_on_lesions_of_3_mm_and_more",
        ),
    ),
    "metrics": (
        tuple(f"evaluation/{name}.py" for name in ("overlap", "surface", "components", "curves")),
        ("evaluation_metrics", "-evaluation_metrics::test_surface_figures_are_monais"),
    ),
    "label maps": (
        tuple(f"io/{name}.py" for name in ("label_maps", "label_meanings", "label_reading", "segment_names")),
        ("label_limits", "label_maps"),
    ),
    "geometry": (
        ("image/geometry.py", "image/footing.py", "image/volume.py", "files/headers.py", "files/kinds.py"),
        (
            "image_geometry",
            "image_headers",
            "image_footing",
            "volume",
            "-image_footing::test_networks_see_the_same_image",
            "-image_footing::test_an_image_without_a_brain_in_which_nothing_is_found_is_refused",
        ),
    ),
    "reading": (
        ("io/reader.py", "files/nifti.py", "image/slice_stack.py"),
        ("nifti_limits", "reading", "image_headers", "slicestack"),
    ),
}

#: Libraries that are imported before the first fork.
_LIBRARIES = (
    "numpy",
    "scipy.ndimage",
    "scipy.stats",
    "SimpleITK",
    "skimage.measure",
    "nibabel",
    "pydicom",
    "PIL.Image",
)
#: Arguments of pytest.
OPTIONS = ("-x", "-q", "-s", "--tb=no", "--no-summary", "-p", "no:cacheprovider", "--hypothesis-seed=0")
#: Time limits: CPU time as a multiple of that of the unchanged code, plus 30 s; wall time as a multiple of this limit,
#: since other work may share the machine.
_PATIENCE, _WAIT = 4.0, 20.0


# --- running tests


def copy_tree(folder: Path) -> Path:
    """Copy the files that the tests need; files that are only read are linked."""
    leave = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    for name in ("FlairSegExtension", "Testing"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for entry in ROOT.iterdir():
        if not (folder / entry.name).exists() and entry.name not in (".git", ".hypothesis", ".venv"):
            (folder / entry.name).symlink_to(entry)
    return folder


def _await(process: int, wall_s: float) -> str:
    """Outcome (``survived``, ``killed`` or ``timeout``) of a forked test run, the leader of its process group."""
    end = time.monotonic() + wall_s
    while time.monotonic() < end:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "timeout" if code == -signal.SIGXCPU else "survived" if code == 0 else "killed"
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "timeout"


class Runs:
    """pytest plugin that collects tests once and runs them in a fork for each mutant.

    Attributes
    ----------
    seconds : dict
        Seconds of each test of the unchanged code.
    reached : dict
        Module -> line -> tests that reach it, with the phase: ``test_x.py::test_y|call``.
    """

    def __init__(self, tree: Path, mutants: list[Mutant], report: Callable[[Mutant], None], whole: bool) -> None:
        self.tree, self.mutants, self.report, self.whole = tree, mutants, report, whole
        self.seconds: dict[str, float] = {}
        self.reached: dict[str, dict[int, list[str]]] = {}
        self.coverage: coverage.Coverage | None = None
        self.finished = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the unchanged code, then every mutant; the forks continue with pytest's own loop."""
        items = {item.nodeid: item for item in session.items}
        gc.freeze()
        process = os.fork()
        if process == 0:
            os.setsid()
            self.coverage = coverage.Coverage(self._data, include=[f"{self.tree / PACKAGE}/*"])
            self.coverage.start()
            return None
        if _await(process, 7200) != "survived":
            raise RuntimeError("a test of the unchanged code fails")
        self._read()
        for mutant in self.mutants:
            if self._judge(mutant, session, items):
                return None
            self.report(mutant)
        self.finished = True
        return True

    def _judge(self, mutant: Mutant, session: pytest.Session, items: dict[str, pytest.Item]) -> bool:
        """Test a mutant; True in the fork that runs the tests, while the parent process records the outcome."""
        file = self.tree / PACKAGE / mutant.module
        code = file.read_text(encoding="utf-8")
        changed = mutant.apply(code)
        if changed is None:
            mutant.outcome = "gone"
            return False
        chosen = list(items) if self.whole else self.tests_of(mutant, code)
        if not chosen:
            mutant.outcome = "not reached"
            return False
        try:
            swap = swapped(mutant, code, changed)
        except SyntaxError:
            mutant.outcome = "killed"
            return False
        file.write_text(changed, encoding="utf-8")
        start = time.monotonic()
        limit = 30 + _PATIENCE * sum(self.seconds[name] for name in chosen)
        for anew in (False, True):
            process = os.fork()
            if process == 0:
                os.setsid()
                resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
                if anew:
                    os.execv(sys.executable, [sys.executable, "-m", "pytest", *OPTIONS, *chosen])
                session.items[:] = [items[name] for name in chosen]
                if swap is None:
                    rebind(mutant, changed)
                else:
                    swap[0].__code__ = swap[1]
                return True
            mutant.outcome = _await(process, _WAIT * limit)
            if mutant.outcome != "survived" or swap is not None:
                break
        mutant.seconds = round(time.monotonic() - start, 2)
        file.write_text(code, encoding="utf-8")
        shutil.rmtree(os.environ["PYTEST_DEBUG_TEMPROOT"])
        Path(os.environ["PYTEST_DEBUG_TEMPROOT"]).mkdir()
        return False

    def tests_of(self, mutant: Mutant, code: str) -> list[str]:
        """Tests that reach the mutant's lines, fastest files first.

        Lines reached by a fixture count for all tests of its file. Lines outside functions count for all tests that
        reach the module.
        """
        lines = self.reached.get(mutant.module, {})
        here = statement_at(code, mutant.line) if function_at(code, mutant.line) else lines
        reaching = {c for line in here for c in lines.get(line, ()) if c}
        shared = {c.partition("::")[0] for c in reaching if not c.endswith("|call")}
        names = {c.rpartition("|")[0] for c in reaching}
        chosen = [t for t in self.seconds if t in names or t.partition("::")[0] in shared]
        cost: Counter[str] = Counter()
        for test in chosen:
            cost[test.partition("::")[0]] += self.seconds[test]
        return sorted(chosen, key=lambda t: (cost[t.partition("::")[0]], t.partition("::")[0]))

    # --- the run of the unchanged code

    @property
    def _data(self) -> Path:
        return self.tree / "coverage.sqlite"

    def _read(self) -> None:
        self.seconds = json.loads(self._data.with_suffix(".json").read_text(encoding="utf-8"))
        found = coverage.CoverageData(str(self._data))
        found.read()
        for module in {m.module for m in self.mutants}:
            self.reached[module] = found.contexts_by_lineno(str(self.tree / PACKAGE / module))

    def _phase(self, item: pytest.Item, phase: str) -> None:
        if self.coverage is not None:
            self.coverage.switch_context(f"{item.nodeid}|{phase}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note the phase."""
        self._phase(item, "setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Note the phase."""
        self._phase(item, "call")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        """Note the phase."""
        self._phase(item, "teardown")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the duration of a phase."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Store coverage and durations of the unchanged code."""
        if self.coverage is not None:
            self.coverage.stop()
            self.coverage.save()
            self._data.with_suffix(".json").write_text(json.dumps(self.seconds), encoding="utf-8")


def arguments(tests: Iterable[str]) -> list[str]:
    """Tests of :data:`GROUPS` as pytest's arguments."""
    out = []
    for test in tests:
        file, mark, function = test.removeprefix("-").partition("::")
        path = f"Testing/core/test_{file}.py{mark}{function}"
        out += ["--deselect", path] if test.startswith("-") else [path]
    return out


def run_group(name: str, mutants: list[Mutant], output: Path, whole: bool) -> None:
    """Test the mutants of a group in a separate process; each outcome is a line of ``output``.

    ``whole``: run all tests of the group for each mutant, not only those that reach its line.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder).resolve())
        process = os.fork()
        if process:
            os.waitpid(process, 0)
            if (tree / "failed").exists():
                raise SystemExit((tree / "pytest.log").read_text(encoding="utf-8", errors="replace")[-3000:])
            return
        own, code = os.getpid(), 70
        try:
            os.chdir(tree)
            paths = [str(tree / "FlairSegExtension"), str(tree)]
            sys.path[:0] = paths
            (tree / "tmp").mkdir()
            os.environ.update(PYTHONPATH=os.pathsep.join(paths), PYTEST_DEBUG_TEMPROOT=str(tree / "tmp"))
            sys.stdout.flush()
            screen = os.fdopen(os.dup(1), "w")
            log = os.open(tree / "pytest.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)

            def report(mutant: Mutant) -> None:
                with output.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(mutant)) + "\n")
                changes = f"\n- {mutant.before.strip()}\n+ {mutant.after.strip()}" if mutant.outcome != "killed" else ""
                print(
                    f"{mutant.outcome:8} {mutant.seconds:6.1f} s {mutant.module}:{mutant.line}{changes}",
                    file=screen,
                    flush=True,
                )

            tests = arguments(GROUPS[name][1])
            runs = Runs(tree, mutants, report, whole)
            code = int(pytest.main([*OPTIONS, *tests], plugins=[runs]))
            # Forks that ran tests also arrive here: their exit code is the outcome.
            if not runs.finished and os.getpid() == own:
                (tree / "failed").touch()
        finally:
            os._exit(code)


def read(file: Path) -> list[Mutant]:
    """Mutants of an output file; none if it does not exist."""
    if not file.exists():
        return []
    return [Mutant(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Draw mutants, run tests, write the outcomes, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, one per mutant; appended to")
    parser.add_argument("--group", action="append", choices=GROUPS, help="default: all groups")
    parser.add_argument("--mutants", type=int, default=70, help="mutants per group")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--again", type=Path, help="run the survivors of an earlier --output instead of drawing")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    for name in _LIBRARIES:
        importlib.import_module(name)
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutation", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")
    earlier = read(options.again) if options.again else []
    done = {m.key for m in read(options.output)}
    for name in options.group or GROUPS:
        modules, _ = GROUPS[name]
        if options.again:
            mutants = [m for m in earlier if m.group == name and m.outcome != "killed"]
        else:
            mutants = draw(name, modules, options.mutants, options.seed)
            mutants = [m for m in mutants if m.key not in done]
        if mutants:
            run_group(name, mutants, options.output, whole=bool(options.again))
    for name in GROUPS:
        counts = Counter(m.outcome for m in read(options.output) if m.group == name)
        print(f"{name:12} {counts.total():4} mutants: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


if __name__ == "__main__":
    main()
