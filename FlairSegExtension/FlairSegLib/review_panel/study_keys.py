"""The keys of a reading session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from flairseg.study.records import ACCEPTABLE, UNACCEPTABLE

if TYPE_CHECKING:
    from .questions_form import QuestionsForm
    from .showing_view import ShowingView


#: Keys that act again while they are held down: those that look.
REPEATING = (
    *("N", "B", "PgUp", "PgDown"),
    *(f"{shift}{key}" for shift in ("", "Shift+") for key in ("Up", "Down", "Left", "Right")),
)


class Session(Protocol):
    """Target of the shortcut keys: the tab of a study."""

    rates: bool
    form: QuestionsForm
    view: ShowingView
    markFalsePositive: Callable[[], None]
    markMissed: Callable[[], None]
    undo: Callable[[], None]
    toggle_pause: Callable[[], None]
    toggle_overlay: Callable[[], None]
    jump_lesion: Callable[[int], None]
    enter_pressed: Callable[[], None]


def actions(tab: Session) -> dict[str, Callable[[], None]]:
    """Key sequence -> what it does."""

    def rating(step: Callable[[], object]) -> Callable[[], None]:
        return lambda: step() if tab.rates else None

    found = {
        "F": tab.markFalsePositive,
        "M": tab.markMissed,
        "Backspace": tab.undo,
        "Ctrl+Z": tab.undo,
        "A": rating(lambda: tab.form.press_acceptability(ACCEPTABLE)),
        "U": rating(lambda: tab.form.press_acceptability(UNACCEPTABLE)),
        "P": tab.toggle_pause,
        "O": tab.toggle_overlay,
        "N": lambda: tab.jump_lesion(1),
        "B": lambda: tab.jump_lesion(-1),
        "Return": tab.enter_pressed,
        "Enter": tab.enter_pressed,
        "Space": tab.enter_pressed,
    }
    for digit in range(1, 6):
        found[str(digit)] = rating(lambda digit=digit: tab.form.press_digit(digit))
    for key, step in (("Up", 1), ("PgUp", 1), ("Right", 1), ("Down", -1), ("PgDown", -1), ("Left", -1)):
        found[key] = rating(lambda step=step: tab.view.step(step))
    for key, right, up in (("Up", 0, 1), ("Down", 0, -1), ("Left", -1, 0), ("Right", 1, 0)):
        found[f"Shift+{key}"] = rating(lambda right=right, up=up: tab.view.move_cursor(right, up))
    return found
