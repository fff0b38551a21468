"""Pseudonyms of a whole cohort: subjects, visits, dates and sites, so that no name is in any file, path or task.

Subjects get the label that :class:`flairseg.privacy.pseudonyms.Pseudonymiser` makes of their own label: the same under
one key, whatever else is in the cohort, but for a second name of the same label (see
:func:`flairseg.cohort.bids_labels.subject_labels`). Labels of visits stay where they are a word and a small number
(``2``, ``m12``), else visits are counted. Dates move by the key's number of days, so intervals stay true; ages above 89
become 90 (45 CFR 164.514(b)(2)(i)(C)). Which image was chosen is kept, why is not: the reason names files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import FlairSegError
from ..files.names import is_common
from ..privacy.pseudonyms import Pseudonymiser, pseudonymiser_for
from .model import Session

#: Highest age that is given.
OLDEST = 90.0
#: A visit's label without name or date.
_HARMLESS = re.compile(r"[a-z]{0,9}\d{0,3}", re.IGNORECASE)
#: Labels shorter than this are words of many messages.
_SHORTEST = 4


def cohort_pseudonymiser(wanted: bool, key: Path | None, names: Path | None, output: Path) -> Pseudonymiser | None:
    """The pseudonymiser of a run; None: no pseudonyms.

    Raises
    ------
    FlairSegError
        Code ``pseudonym-key-needed``: none was named, and a run could not be taken up again; ``pseudonym-key-inside``:
        key or map are in the output folder. Also what :func:`flairseg.privacy.pseudonyms.pseudonymiser_for` raises.
    """
    if wanted and key is None:
        raise FlairSegError(
            "Pseudonyms of a cohort need a key file: without it the run could not be resumed.",
            "Name a file for the key, outside the results; it is created if it does not exist.",
            code="pseudonym-key-needed",
        )
    for path in (key, names):
        if path is not None and path.resolve().is_relative_to(output.resolve()):
            raise FlairSegError(
                f"{path} is in the output folder: recipients of the results would receive the names.",
                "Keep the key and the map of names in another folder.",
                code="pseudonym-key-inside",
                path=str(path),
            )
    return pseudonymiser_for(wanted, key, names)


def check_kept(run_json: Path, pseudonymiser: Pseudonymiser | None) -> None:
    """Refuse to add to results that have other names: with pseudonyms to those without, or under another key.

    Side by side they would reveal who is behind a pseudonym, and one subject would count as two.

    Raises
    ------
    FlairSegError
        Code ``pseudonyms-differ``.
    """
    try:
        kept = json.loads(run_json.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    had = kept.get("pseudonyms") if isinstance(kept, dict) else None
    if not isinstance(had, bool):
        return
    now = pseudonymiser is not None
    check = kept.get("pseudonym_check")
    if had is not now:
        what = "have pseudonyms, and new ones would have none" if had else "have no pseudonyms, and new ones would"
    elif pseudonymiser is not None and check is not None and check != pseudonymiser.check:
        what = "have pseudonyms of another key"
    else:
        return
    raise FlairSegError(
        f"The results in {run_json.parent} {what}.",
        "Choose another folder, or resume as before: with pseudonyms of the same key, or without.",
        code="pseudonyms-differ",
        folder=str(run_json.parent),
    )


def shown_sessions(sessions: Iterable[Session], pseudonymiser: Pseudonymiser | None) -> dict[str, Session]:
    """Return each session as it may be written, by its case under pseudonyms; the order is kept.

    Parameters
    ----------
    sessions : iterable of Session
        By subject and date, as :func:`flairseg.cohort.discovery.find_sessions` gives them.
    pseudonymiser : Pseudonymiser or None
        None: the sessions as they are.
    """
    by_subject: dict[str, list[Session]] = {}
    for session in sessions:
        by_subject.setdefault(session.subject, []).append(session)
    shown: dict[str, Session] = {}
    for members in by_subject.values():
        labels = _visits(members)
        for session, label in zip(members, labels, strict=True):
            made = session if pseudonymiser is None else _shown(session, label, pseudonymiser)
            shown[made.case] = made
    return shown


def _shown(session: Session, label: str, pseudonymiser: Pseudonymiser) -> Session:
    return replace(
        session,
        subject=pseudonymiser.person(session.subject).partition("-")[2],
        session=label,
        path="removed" if session.path else "",
        reason="",
        date=pseudonymiser.date(session.date) if session.date else "",
        age=None if session.age is None else min(session.age, OLDEST),
        site=pseudonymiser.device(session.site).replace("device-", "site-"),
        series_uid=pseudonymiser.uid(session.series_uid),
        files=(),
    )


def _visits(members: list[Session]) -> list[str]:
    labels = [s.session for s in members]
    harmless = all(_HARMLESS.fullmatch(label) and (is_common(label) or label.isdigit()) for label in labels if label)
    if harmless and len({label.lower() for label in labels}) == len(labels):
        return labels
    return [str(n) for n in range(1, len(members) + 1)] if len(members) > 1 else [""]


def learn_session(session: Session, shown: Session, pseudonymiser: Pseudonymiser) -> None:
    """Register the names of a session for replacement in texts."""
    pseudonymiser.learn_path(session.path, shown.case)
    pseudonymiser.learn(session.path, shown.case)
    for part in Path(session.path).parts:
        if len(part) >= _SHORTEST and not is_common(part) and part not in (Path(session.path).anchor,):
            pseudonymiser.learn(part, shown.case)
    if len(session.subject) >= _SHORTEST:
        pseudonymiser.learn(session.subject, shown.subject)
    if session.site:
        pseudonymiser.learn(session.site, shown.site)
