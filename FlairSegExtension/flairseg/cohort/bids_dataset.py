"""The files that make the output folder a BIDS derivative data set.

https://bids-specification.readthedocs.io/en/stable/derivatives/introduction.html; names of colours and columns of
lookup tables: "Imaging derivatives", segmentations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..files.atomic import write_whole
from ..labels import CLASSES
from .bids_labels import rows_in_order
from .layout import Layout
from .model import BIDS, DONE, Session, SessionRow

#: Version of BIDS that is followed.
BIDS_VERSION = "1.10.0"
_PAGE = "https://github.com/flairseg/FlairSeg"
#: Folders outside BIDS. Without a trailing slash: the validator accepts no other form.
_IGNORED = (
    "cohort.*", "lesions.parquet", "changes.csv", "failures.csv", "run.json", "methods.md", "queue.csv", "cases",
    "changes", "work",
)  # fmt: skip
_README = """# FlairSeg: segmentation of FLAIR in a cohort

Derivatives made by FlairSeg {version} with the {models}:
ventricles, normal periventricular white matter hyperintensity and lesions. Research use only - not a medical device.

- `sub-*/[ses-*/]anat/*_dseg.nii.gz`: labels, values in `dseg.tsv`; `*_desc-lesion_mask.nii.gz`: lesions alone.
- `cohort.csv`, `cohort.parquet`: one row per session; `lesions.parquet`: one row per lesion; `changes.csv`: one row a
  comparison of two sessions; `failures.csv`: sessions without a result, with advice.
- `queue.csv`: the sessions in review order, if requested.
- `cohort.html`: overview page. `run.json`, `methods.md`: description of the run, with versions and hashes.
- `cases/`: summary, lesion table and pictures of each session; `changes/`: those of each comparison; `work/`: what a
  run needs to resume.
"""


def write_dataset(layout: Layout, source: Path | None, kind: str, models: str) -> None:
    """Write ``dataset_description.json``, README, lookup tables and ``.bidsignore``.

    Parameters
    ----------
    layout : Layout
    source : Path or None
        Source of the images; None: not stated.
    kind : str
        Of the source.
    models : str
        What made the results, in words.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    description: dict[str, Any] = {
        "Name": "FlairSeg: ventricles, normal WMH and lesions of FLAIR",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": "n/a",
        "GeneratedBy": [
            {
                "Name": "FlairSeg",
                "Version": __version__,
                "Description": f"{models[:1].upper()}{models[1:]}. Research use only.",
                "CodeURL": _PAGE,
            }
        ],
    }
    if source is not None:
        description["SourceDatasets"] = [{"URL": source.as_uri()}]
        if kind == BIDS:
            description["DatasetLinks"] = {"raw": source.as_uri()}
    root = layout.root
    write_whole(root / "dataset_description.json", json.dumps(description, indent=2) + "\n")
    write_whole(root / "README.md", _README.format(version=__version__, models=models))
    write_whole(root / ".bidsignore", "\n".join(_IGNORED) + "\n")
    lines = [
        {"index": 0, "name": "Background", "abbreviation": "BG", "color": "#000000"},
        *(
            {"index": c.value, "name": c.name, "abbreviation": c.id, "color": "#{:02x}{:02x}{:02x}".format(*c.rgb)}
            for c in CLASSES
        ),
    ]
    write_whole(root / "dseg.tsv", tsv_text(("index", "name", "abbreviation", "color"), lines))
    meaning = [{"desc_id": "desc-lesion", "description": "Lesions (abnormal WMH) alone, of the segmentation dseg."}]
    write_whole(root / "descriptions.tsv", tsv_text(("desc_id", "description"), meaning))


def write_participants(layout: Layout, rows: Iterable[SessionRow]) -> None:
    """Write ``participants.tsv`` of the subjects that have results, with what is known of them.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    found: dict[str, list[SessionRow]] = {}
    for row in rows:
        if row.status == DONE:
            found.setdefault(row.session.subject, []).append(row)
    people: dict[str, Session] = {subject: rows_in_order(found[subject])[0].session for subject in sorted(found)}
    columns = [
        "participant_id",
        *(c for c in ("age", "sex", "group", "site") if any(_has(p, c) for p in people.values())),
    ]
    lines = [
        {"participant_id": f"sub-{p.subject}", "age": p.age, "sex": p.sex, "group": p.group, "site": p.site}
        for p in people.values()
    ]
    write_whole(layout.root / "participants.tsv", tsv_text(columns, lines))
    meanings = {
        "age": {"Description": "Age at the first session", "Units": "year"},
        "sex": {"Description": "Sex, as the source has it"},
        "group": {"Description": "Group, as the source has it"},
        "site": {"Description": "Site, as the source has it"},
    }
    content = {name: meanings[name] for name in columns[1:]}
    write_whole(layout.root / "participants.json", json.dumps(content, indent=2) + "\n")


def _has(person: Session, column: str) -> bool:
    return getattr(person, column) not in (None, "")


def tsv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows in BIDS format: tabs, ``n/a`` for what is not known."""
    cells = ([str("n/a" if row.get(c) in (None, "") else row.get(c)) for c in columns] for row in rows)
    lines = ["\t".join(columns), *("\t".join(c.replace("\t", " ").replace("\n", " ") for c in line) for line in cells)]
    return "\n".join(lines) + "\n"
