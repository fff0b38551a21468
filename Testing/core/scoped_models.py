"""A model that was adapted to heads of thick slices, with its parent: for tests of which model reads a scan."""

from __future__ import annotations

import json
from pathlib import Path

from flairseg.image.footing import footed
from flairseg.image.slice_stack import SliceStack
from flairseg.image.volume import Volume
from flairseg.models.adaptation import card_digest
from flairseg.models.scope import KEY, Scope, learnt_scope
from flairseg.models.store import load_card
from flairseg.preprocessing import PreprocessingConfig, preprocess
from flairseg.preprocessing.scan_figures import scan_figures

from Testing.core.tiny import make_head, make_model

PARENT, SITE = "tiny-v1.0", "tiny-site-v1.0"


def site_scan(name: str = "like") -> Volume:
    """A head with slices 8 mm apart, as the site's."""
    return make_head(name=name)[0]


def foreign_scan(name: str = "foreign") -> Volume:
    """The same head with slices 4 mm apart."""
    return make_head((30, 88, 76), (2.5, 2.5, 4.0), name=name)[0]


def figures_of(volume: Volume, config: PreprocessingConfig) -> dict[str, float]:
    """Figures of a scan in the frame of a model."""
    stack = SliceStack.from_volume(footed(volume))
    return scan_figures(stack, preprocess(stack, config))


def as_adapted(folder: Path, parent_sha256: str, scope: Scope | None = None) -> None:
    """Make the card in a folder that of a model adapted from :data:`PARENT`; without a scope, of an earlier version."""
    path = folder / "card.json"
    raw = json.loads(path.read_text())
    raw["title"] = "Grey levels, adapted to a site"
    raw["adaptation"] = {
        "parent": {"id": PARENT, "sha256": parent_sha256}, "verdict": "better", "seed": 0, "minutes": 1.0,
        "data": {"cases": 3}, "no_harm": [],
    }  # fmt: skip
    if scope is not None:
        raw["adaptation"][KEY] = scope.to_dict()
    raw["adaptation"]["digest"] = card_digest(raw)
    path.write_text(json.dumps(raw))


def make_scoped(folder: Path) -> None:
    """Both models in a folder; the adapted one finds more lesions."""
    parent = load_card(make_model(folder, PARENT))
    make_model(folder, SITE, lesion_bias=4.0)
    figures = figures_of(site_scan(), parent.pipeline)
    as_adapted(folder / SITE, parent.sha256, learnt_scope(["axial"], [figures] * 3))
