"""The pages before the first case and after the last one of a reading session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from ..panel import messages

if TYPE_CHECKING:
    from flairseg.study.session import StudySession


def show_ready(ui, session: StudySession, remark: str) -> None:
    """The introduction: title, instructions, how far the rater is, and what else is loaded in Slicer.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegStudy.ui``.
    session : StudySession
    remark : str
        A warning, or empty.
    """
    progress = session.progress
    ui.titleLabel.setText(session.rules.title)
    messages.quiet(ui.instructionsLabel, session.rules.instructions)
    ui.readyStateLabel.setText(
        _("Reading room of {rater}. {where}").format(rater=session.room.rater, where=progress_text(session))
    )
    loaded = len(_loaded_nodes())
    if loaded:
        items = _(
            "Slicer has {count} other item(s) loaded. They are closed when you continue; save them first if needed."
        ).format(count=loaded)
        remark = "\n".join(part for part in (items, remark) if part)
        ui.showButton.setText(_("Close them and continue (Enter)"))
    elif progress.answered + progress.training_answered > 0:
        ui.showButton.setText(_("Continue with the next case (Enter)"))
    else:
        ui.showButton.setText(_("Show the first case (Enter)"))
    messages.show(ui.sceneLabel, messages.WARNING, remark)


def show_done(ui, session: StudySession) -> None:
    """All cases are answered, or the round is: then when the next one begins."""
    until = session.waiting_until
    if session.finished:
        ui.doneLabel.setText(_("All cases are answered. Thank you."))
        ui.doneDetailLabel.setText(progress_text(session))
    else:
        ui.doneLabel.setText(_("This round is finished. Thank you."))
        when = until.astimezone().strftime("%Y-%m-%d %H:%M") if until is not None else ""
        ui.doneDetailLabel.setText(
            _("The next round begins after the washout, on {when}. Come back then.").format(when=when)
        )
    messages.hide(ui.doneStoreLabel)


def progress_text(session: StudySession) -> str:
    """Describe the number of cases answered, and of training cases."""
    progress = session.progress
    text = _("{answered} of {total} cases are answered.").format(answered=progress.answered, total=progress.total)
    if progress.training_total and progress.training_answered < progress.training_total:
        text += " " + _("It begins with {count} training case(s), which are not counted.").format(
            count=progress.training_total - progress.training_answered
        )
    return text


class DeliveryNotice:
    """Shows that events are waiting to be sent to the store, once they have waited for more than one check.

    Parameters
    ----------
    every : int
        Checks every so many ticks.
    """

    def __init__(self, every: int) -> None:
        self._every, self._ticks, self._waited = every, 0, False

    def tick(self, session: StudySession, label) -> None:
        """The panel's timer fired."""
        self._ticks += 1
        if self._ticks % self._every == 0:
            self.look(session, label)

    def look(self, session: StudySession, label) -> None:
        """Show or hide the notice."""
        pending = session.pending
        if pending and self._waited:
            text = _("Saved on this computer; {count} entries are waiting to be sent.").format(count=pending)
            problem = session.problem
            messages.quiet(label, f"{text} {problem.message}" if problem is not None else text)
        elif not pending:
            messages.hide(label)
        self._waited = pending > 0


def _loaded_nodes() -> list:
    """Describe what would be lost if the scene were closed."""
    nodes = slicer.util.getNodesByClass("vtkMRMLStorableNode")
    return [n for n in nodes if n.GetSaveWithScene() and not n.GetHideFromEditors() and not _of_slicer(n)]


def _of_slicer(node) -> bool:
    """Whether Slicer creates such nodes itself in an empty scene."""
    return node.IsA("vtkMRMLColorNode") or node.IsA("vtkMRMLCameraNode")
