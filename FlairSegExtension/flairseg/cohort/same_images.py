"""Sessions that hold one and the same image: copied by mistake, or a table that names one file twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..reporting.wording import counted
from .model import DONE, SessionRow

#: Groups of sessions that are named in one message.
_NAMED = 5


def same_images(rows: Iterable[SessionRow]) -> list[tuple[str, ...]]:
    """Cases with a result that hold the same image, voxel by voxel and in the same place; in groups of two and more.

    Parameters
    ----------
    rows : iterable of SessionRow

    Returns
    -------
    list of tuple of str
        In the order of their names.
    """
    by_content: dict[str, list[str]] = {}
    for row in rows:
        if row.status == DONE and row.input_sha256:
            by_content.setdefault(row.input_sha256, []).append(row.case)
    return sorted(tuple(sorted(cases)) for cases in by_content.values() if len(cases) > 1)


def same_images_text(groups: Sequence[Sequence[str]]) -> str:
    """A remark on :func:`same_images`; empty if there are none."""
    if not groups:
        return ""
    named = "; ".join(" = ".join(group) for group in groups[:_NAMED])
    more = f"; and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
    sessions = counted(sum(map(len, groups)), "session")
    return (
        f"{sessions} hold the same image as another one: {named}{more}. Each counts in all figures; check the source."
    )
