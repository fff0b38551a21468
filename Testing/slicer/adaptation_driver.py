"""Cases and finished adaptations as they lie in a folder, and the section that shows them."""

from __future__ import annotations

import json
from pathlib import Path

from flairseg.adapt import outcomes
from flairseg.models.adaptation import card_digest

from Testing.core.tiny import make_model
from Testing.harness.interaction import click, wait_until

#: The model that is adapted.
BASE = "tiny2d-v1.0"


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


def write_outcome(cases: Path, word: str, number: int = 1, model: str = "tiny2d-site-v1.0") -> Path:
    """A finished adaptation as the core writes it, without the training."""
    folder = make_model(cases / outcomes.FOLDER / f"made-{number}", model)
    folder = folder.rename(cases / outcomes.FOLDER / f"adaptation-{number}")
    path = folder / "card.json"
    raw = json.loads(path.read_text())
    raw["adaptation"] = {
        "parent": {"id": BASE, "sha256": "0" * 64}, "verdict": word, "reasons": ["Lesion Dice rose by 0.100."],
        "seed": 0, "minutes": 7.6, "data": {"cases": 6, "patients": 5}, "no_harm": [],
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
        "verdict": word,
        "comparisons": [{"key": "lesion_dice", **figures}, {"key": "edit_voxels", **voxels}],
        "cases": [{"case": n, "fold": n, "base": sides[0], "adapted": sides[1]} for n in range(1, 7)],
        "left_out": [{"number": 7, "code": "duplicate", "reason": "The same image under another name."}],
    }  # fmt: skip
    (folder / outcomes.PROOF).write_text(json.dumps(proof))
    (folder / outcomes.PAGE).write_text("<p>proof</p>")
    return folder


def cells(table) -> list[list[str]]:
    return [[table.item(r, c).text() for c in range(table.columnCount)] for r in range(table.rowCount)]
