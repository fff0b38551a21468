"""The table of lesion states between studies: id, code in the change map, name, colour."""

from __future__ import annotations

from dataclasses import dataclass

from ..labels import CLASS_BY_VALUE, LESION

NEW, ENLARGING, STABLE, SHRINKING, RESOLVED, SPLIT, MERGED = (
    "new", "enlarging", "stable", "shrinking", "resolved", "split", "merged",
)  # fmt: skip


@dataclass(frozen=True)
class State:
    """One state.

    Attributes
    ----------
    id : str
        As in ``followup.json``.
    code : int
        Value in the change map.
    name : str
        Shown to a reader.
    meaning : str
        One sentence.
    rgb : tuple of int
        Colour, 0..255.
    """

    id: str
    code: int
    name: str
    meaning: str
    rgb: tuple[int, int, int]


#: In reading order.
STATES: tuple[State, ...] = (
    State(NEW, 1, "New", "Present in the last study, absent in the first.", CLASS_BY_VALUE[LESION].rgb),
    State(ENLARGING, 2, "Enlarging", "Larger in the last study by more than the noise.", (255, 140, 26)),
    State(STABLE, 3, "Stable", "No change beyond the noise.", (190, 195, 205)),
    State(SHRINKING, 4, "Shrinking", "Smaller in the last study by more than the noise.", (64, 200, 200)),
    State(RESOLVED, 5, "Resolved", "Present in the first study, absent in the last.", (70, 120, 255)),
    State(SPLIT, 6, "Split", "One lesion that became several.", (200, 110, 255)),
    State(MERGED, 7, "Merged", "Several lesions that became one.", (255, 214, 51)),
)
STATE_BY_ID: dict[str, State] = {s.id: s for s in STATES}
#: Further values of the change map: tissue that a lesion which is older than the last study gained, and lost.
GAINED, LOST = 8, 9
#: Every value of the change map and what it means, as written to ``followup.json``.
CODES: dict[int, str] = {
    0: "no lesion",
    **{s.code: s.id for s in STATES},
    GAINED: "gained by an enlarging or merged lesion",
    LOST: "lost by a shrinking or split lesion",
}
