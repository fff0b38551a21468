"""Cases and finished adaptations as they lie in a folder, and the section that shows them."""

from __future__ import annotations

import json
from pathlib import Path

from flairseg.adapt import outcomes
from flairseg.adapt.conventions import Convention, held_back
from flairseg.models.adaptation import card_digest
from flairseg.models.store import load_card
from flairseg.review.cases import CaseArchive
from flairseg.review.verdict import ACCEPTED_AFTER_EDITS, Verdict

from Testing.core.tiny import make_model
from Testing.harness.interaction import click, wait_until

#: The model that is adapted.
BASE = "tiny2d-v1.0"
ROOT = Path(__file__).resolve().parents[2]
#: What the tiny base knows, and must not forget, in place of phantoms: the same heads with bright lesions. Settings as
#: in Testing/core/test_adapt.py, fewer steps: the tiny base's last layer learns in a few large ones.
KNOWN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
if "flairseg.worker" in sys.orig_argv:
    from types import SimpleNamespace
    from flairseg.adapt import harm, options, record
    from flairseg.adapt.framed import Case, frame_case
    from Testing.core.site_cases import site_head
    def painted(seed, *unused):
        return SimpleNamespace(**dict(zip(("volume", "labels"), site_head(100 + seed), strict=True)))
    def slices(config):
        framed = frame_case(Case("head", *site_head(200)), config)
        return framed.prepared.slices, framed.labels
    def options_of_tests(*arguments, usual=options.TrainingOptions, **named):
        from flairseg.adapt.tuning import Settings
        settings = Settings(40, 4, 0, (64, 64), 1.0, 0.05, average=0.9, check_every=10, patience=9, altered=0.0)
        return usual(*arguments, settings=settings, **named)
    options.TrainingOptions = options_of_tests
    record.LARGEST_LOSS, harm.make_phantom, harm.check_slices = 0.06, painted, slices
"""


def opened(panel):
    section = panel.further.adapt
    if section.ui.adaptCollapsibleButton.collapsed:
        click(section.ui.adaptCollapsibleButton)
    else:
        section.look()
    wait_until(lambda: not section.looking, 20)
    return section


def write_verdict(folder: Path, case: str, verdict: str, version: int = 1, **content) -> None:
    path = folder / case / f"v{version:03d}"
    path.mkdir(parents=True)
    (path / "verdict.json").write_text(
        json.dumps({"case": case, "version": version, "verdict": verdict, "classes": ["lesion"], **content})
    )


def write_outcome(
    cases: Path, word: str, number: int = 1, model: str = "tiny2d-site-v1.0", codes: tuple[str, ...] = ()
) -> Path:
    """A finished adaptation as the core writes it, without the training; ``codes``: conventions to be accepted."""
    found = [Convention(code, 0.7, 5) for code in codes]
    by_figures = {"verdict": word, "reasons": ["Lesion Dice rose by 0.100."]}
    word, reasons = held_back(word, by_figures["reasons"], found)
    judged = {
        "verdict": word, "reasons": reasons, "by_figures": by_figures, "conventions": [one.to_dict() for one in found],
    }  # fmt: skip
    folder = make_model(cases / outcomes.FOLDER / f"made-{number}", model)
    folder = folder.rename(cases / outcomes.FOLDER / f"adaptation-{number}")
    path = folder / "card.json"
    raw = json.loads(path.read_text())
    raw["adaptation"] = {
        "parent": {"id": BASE, "sha256": "0" * 64}, "seed": 0, "minutes": 7.6, **judged, "no_harm": [],
        "data": {
            "cases": 6, "patients": 5, "corrected": 6, "accepted_unedited": 0, "with_rejected_version": 0,
            "reviewed": {"lesion": 6}, "lesion_ml": 30.0,
        },
        "lesion_limit": {"value": 0.0, "parent": 0.0, "lesions": 12, "fitted": False},
    }  # fmt: skip
    raw["adaptation"]["digest"] = card_digest(raw)
    path.write_text(json.dumps(raw))
    figures = dict(
        zip(("base", "adapted", "gain", "low", "high", "p"), (0.5, 0.6, 0.1, 0.05, 0.15, 0.031), strict=True)
    )
    figures |= {"patients": 5, "improved": 4}
    voxels = figures | {"base": 812.0, "adapted": 640.0, "gain": 172.0, "low": None, "high": None}
    sides = [{"lesion_dice": 0.5, "edit_voxels": 812.0}, {"lesion_dice": 0.6, "edit_voxels": 640.0}]
    proof = {
        **judged,
        "no_harm": [],
        "trainings": [{"steps": 60, "best_step": 60, "stopped": "steps", "seconds": 3.0, "device": "CPU"}],
        "comparisons": [{"key": "lesion_dice", **figures}, {"key": "edit_voxels", **voxels}],
        "cases": [{"case": n, "fold": n, "base": sides[0], "adapted": sides[1]} for n in range(1, 7)],
        "left_out": [{"number": 7, "code": "duplicate", "reason": "The same image under another name."}],
    }  # fmt: skip
    (folder / outcomes.PROOF).write_text(json.dumps(proof))
    (folder / outcomes.PAGE).write_text("<p>proof</p>")
    return folder


def cells(table) -> list[list[str]]:
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]


def prepare_site(models: Path, cases: Path, folder: Path) -> Path:
    """A base, and five corrected heads of a site whose lesions are fainter than what the base knows.

    Parameters
    ----------
    models : Path
        The user's models, which get the base.
    cases : Path
        Gets the cases.
    folder : Path
        Created; with it on ``PYTHONPATH`` the worker process has these models and knows what the base must not forget.

    Returns
    -------
    Path
        ``folder``.
    """
    from Testing.core.site_cases import make_base, site_head

    base = load_card(make_base(models, BASE))
    archive, model = CaseArchive(cases), {"id": base.id, "version": base.version, "sha256": base.sha256}
    for number in range(1, 6):
        volume, labels = site_head(number, gain=0.7)
        edits = {"lesion": {"voxels_added": int((labels == 3).sum()), "voxels_removed": 0}}
        verdict = Verdict(ACCEPTED_AFTER_EDITS, reader="R01", edits=edits, model=model)
        archive.save(f"p{number}", labels, volume, verdict)
    # Painted heads look alike: they would be taken for one person's.
    rows = [f"p{number},p{number}" for number in range(1, 6)]
    (cases / "patients.csv").write_text("\n".join(["case,patient", *rows]))
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'FlairSegExtension')!r})\n"
        "from pathlib import Path\n"
        "if 'flairseg.worker' in sys.orig_argv:\n"
        "    from flairseg.models import store\n"
        f"    store.user_cache = lambda: Path({str(models)!r})\n    store.DEFAULT_MODEL = {BASE!r}\n" + KNOWN
    )
    return folder
