"""The loop of "Adapt to this scanner" in the panel, with the default model: adapt, proof, use, segment, roll back.

    python Testing/benchmarks/adapt_loop.py                    20 minutes as in Slicer
    python Testing/benchmarks/adapt_loop.py --steps 100        as many steps for each training, however long they take

Five digital phantoms are reviewed cases, corrected to their truth; a sixth is segmented before the adaptation, with the
adapted model, and after the return to the default. The module is the real one in the window of the test harness, and
the worker is its real process; the user's models are in a temporary folder. Prints one JSON line. Ends with status 1 if
any step is not as it must be: the verdict is "better", nothing is used before the click, results name their model, the
labels after the return equal those before. The test suite runs the same loop with a small base in seconds
(``Testing/slicer/test_adapt_section.py``). Needs ``flairseg[slicer,adapt]``, Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]

#: Phantoms of the cases and of the scan that is segmented: seed; shape (slices, rows, columns), spacing in mm.
SEEDS, SCANNED = (21, 22, 23, 24, 25), 26
GRID = ((16, 224, 224), (1.0, 1.0, 7.0))
#: Until a segmentation, or the adaptation, counts as stuck.
RUN_S, ADAPT_S = 1800, 6 * 3600
READER = "R01"


def check(holds: bool, what: str) -> None:
    """End with status 1 unless something holds."""
    if not holds:
        raise SystemExit(f"failed: {what}")


def corrected_phantoms(cases: Path) -> None:
    """Five reviewed cases: the default's result, corrected to the phantom's truth."""
    from flairseg.labels import CLASSES
    from flairseg.models.store import find_model
    from flairseg.phantom import make_phantom
    from flairseg.review.cases import CaseArchive
    from flairseg.review.verdict import ACCEPTED_AFTER_EDITS, Verdict
    from flairseg.segmentation.pipeline import segment

    card = find_model()
    archive, model = CaseArchive(cases), {"id": card.id, "version": card.version, "sha256": card.sha256}
    for number, seed in enumerate(SEEDS, 1):
        truth = make_phantom(seed, *GRID)
        found = segment(truth.volume, card).labels
        edits = {
            one.id: {
                "voxels_added": int(((truth.labels == one.value) & (found != one.value)).sum()),
                "voxels_removed": int(((truth.labels != one.value) & (found == one.value)).sum()),
            }
            for one in CLASSES
        }
        verdict = Verdict(ACCEPTED_AFTER_EDITS, reader=READER, edits=edits, model=model)
        archive.save(f"phantom{number}", truth.labels, truth.volume, verdict)
    # Phantoms look alike: they would be taken for one person's.
    rows = [f"phantom{number},phantom{number}" for number in range(1, len(SEEDS) + 1)]
    (cases / "patients.csv").write_text("\n".join(["case,patient", *rows]), encoding="utf-8")


class Loop:
    """The panel in the harness, driven as by a user.

    Parameters
    ----------
    cases : Path
        Folder of reviewed cases.
    """

    def __init__(self, cases: Path) -> None:
        from Testing.harness.qt_application import start

        app = start()
        import slicer
        from FlairSegLib.settings import FlairSegSettings

        from Testing.harness.main_window import MainWindow

        settings = FlairSegSettings()
        settings.casesFolder, settings.regionsAfterRun = str(cases), False
        module = app.moduleManager().load(ROOT / "FlairSegExtension" / "FlairSeg.py")
        self._slicer, self._window = slicer, MainWindow("FlairSeg", width=1400, height=1400)
        self.panel = module.widgetRepresentation().self()

    def segment(self) -> tuple[np.ndarray, str]:
        """Labels of the sixth phantom by the panel's model, and the id that its segments name."""
        from flairseg.phantom import make_phantom
        from FlairSegLib import segment_tags

        from Testing.harness.interaction import click, wait_until
        from Testing.slicer.helpers import labels_of
        from Testing.slicer.panel_driver import settle

        volume = make_phantom(SCANNED, *GRID).volume
        node = self._slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
        settle(self.panel)
        self.panel.ui.inputSelector.setCurrentNode(node)
        settle(self.panel)
        click(self.panel.ui.segmentButton)
        wait_until(lambda: not self.panel.run.running, RUN_S)
        found = self.panel.result.segmentationNode
        check(found is not None, f"segmentation: {self.panel.ui.statusLabel.text}")
        return labels_of(self._slicer, found, node), segment_tags.first_tag(found, segment_tags.MODEL)

    def adapt(self, minutes: float, steps: int | None) -> Any:
        """Click Adapt and wait for the proof; the outcome as the panel shows it."""
        from Testing.harness.interaction import click, wait_until
        from Testing.slicer.adaptation_driver import opened
        from Testing.slicer.panel_driver import shown

        section = opened(self.panel)
        check("5 cases of 5 patients ready" in shown(section.ui.adaptReadyLabel), shown(section.ui.adaptReadyLabel))
        if steps is not None:
            section.tuning = {"steps": steps, "check_every": steps}
        section.ui.adaptMinutesSpinBox.setValue(1440 if steps is not None else minutes)
        click(section.ui.adaptButton)
        wait_until(lambda: not section.running, ADAPT_S)
        wait_until(lambda: not section.looking, RUN_S)
        check(section.outcome is not None, shown(section.ui.adaptMessageLabel))
        return section


def run(cases: Path, minutes: float, steps: int | None) -> dict[str, Any]:
    """The whole loop; what was measured."""
    from flairseg.models.store import DEFAULT_MODEL

    from Testing.harness.interaction import click

    corrected_phantoms(cases)
    loop = Loop(cases)
    before, model = loop.segment()
    check(model == DEFAULT_MODEL, f"the first result names {model}")
    began = time.monotonic()
    section = loop.adapt(minutes, steps)
    took = (time.monotonic() - began) / 60
    card, proof = section.outcome.card, section.outcome.proof
    check(section.outcome.verdict == "better", f"the proof says {proof.judgement}")
    check(loop.panel.model.modelId == DEFAULT_MODEL, "a model was used before the click")
    click(section.ui.useButton)
    adapted, model = loop.segment()
    check(model == card.id, f"with the adapted model in use the result names {model}")
    check(not np.array_equal(adapted, before), "the adapted model's labels are the default's")
    click(section.ui.rollbackButton)
    after, model = loop.segment()
    check(model == DEFAULT_MODEL, f"after the return the result names {model}")
    check(np.array_equal(after, before), "the labels after the return are not those before")
    return {
        "base": DEFAULT_MODEL,
        "adapted": card.id,
        "minutes": round(took, 1),
        "reasons": list(proof.judgement.reasons),
        "figures": {one.key: [round(one.base, 3), round(one.adapted, 3)] for one in proof.comparisons},
        "forgetting": {one.what: [round(one.base, 3), round(one.adapted, 3)] for one in proof.harms},
        "steps": [one.steps for one in proof.trainings],
        "voxels_that_differ_in_use": int((adapted != before).sum()),
        "voxels_that_differ_after_rollback": int((after != before).sum()),
    }


def main() -> None:
    """Run the loop with models and cases in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="time for the adaptation")
    parser.add_argument("--steps", type=int, help="of each training; without limit of time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flairseg-loop-") as name:
        # For this process and the worker: neither finds the user's models, nor changes which one is in use.
        os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        os.environ.pop("FLAIRSEG_MODELS", None)
        cases = Path(name) / "MS cases"
        cases.mkdir()
        found = run(cases, arguments.minutes, arguments.steps)
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found["cpu_minutes"] = round(sum(one.ru_utime + one.ru_stime for one in spent) / 60, 1)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
