"""The page of one case: counts, what the rule proposes, the questions, time; follows the session after every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
from flairseg.study.records import COMMENT_QUESTION, CONFIDENCE_QUESTION, Answer
from slicer.i18n import tr as _

from ..panel import messages
from .questions_form import TYPING_MS, QuestionsForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.session import StudySession

#: From here on the time that is left is shown in red, seconds.
LAST_SECONDS = 15
#: A case that has just come on screen cannot be submitted by the mouse for so long, ms.
ARRIVAL_MS = 500


class RatingPage:
    """View of the current showing in the panel.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegStudy.ui``.
    session : StudySession
    on_answer : callable
        Called with (question id, value).
    """

    def __init__(self, ui, session: StudySession, on_answer: Callable[[str, Answer], None]) -> None:
        self.ui = ui
        self._session = session
        self._on_answer = on_answer
        self._form = QuestionsForm(ui.questionsHolder, session.rules, on_answer)
        ui.commentBox.setVisible(session.rules.comment)
        ui.giveUpBox.setVisible(False)
        self._comment_waiting = False
        self._comment_timer = qt.QTimer()
        self._comment_timer.setSingleShot(True)
        self._comment_timer.setInterval(TYPING_MS)
        self._comment_timer.timeout.connect(self._keep_comment)
        self._arrival = qt.QTimer()
        self._arrival.setSingleShot(True)
        self._arrival.setInterval(ARRIVAL_MS)
        self._arrival.timeout.connect(lambda: ui.submitButton.setEnabled(True))
        ui.commentEdit.textEdited.connect(self._comment_edited)

    @property
    def form(self) -> QuestionsForm:
        """The questions."""
        return self._form

    @property
    def typing(self) -> bool:
        """Whether the keyboard is in a line of text: single keys are text then."""
        return self._form.typing or self.ui.commentEdit.hasFocus() or self.ui.giveUpEdit.hasFocus()

    def begin(self) -> None:
        """A showing came on screen."""
        showing, progress = self._session.current, self._session.progress
        ui = self.ui
        ui.captionLabel.setText(showing.caption)
        if showing.training:
            place = _("training {n} of {total}").format(n=progress.training_answered + 1, total=progress.training_total)
        else:
            place = _("case {n} of {total}").format(n=progress.answered + 1, total=progress.total)
        ui.positionLabel.setText(place)
        ui.studyProgress.setMaximum(max(progress.total + progress.training_total, 1))
        ui.studyProgress.setValue(progress.answered + progress.training_answered)
        self.close_give_up()
        # The second click of a double click would submit the next case unseen.
        ui.submitButton.setEnabled(False)
        self._arrival.start()
        messages.hide(ui.ratingMessageLabel)
        self._comment_waiting = False
        self._comment_timer.stop()
        ui.commentEdit.setText(self._session.shown.comment)
        self.refresh()

    def refresh(self) -> None:
        """Show the marks' counts, the rule's proposal and the answers as the session has them."""
        session, ui = self._session, self.ui
        counts = session.shown.acceptance
        ui.delineatedLabel.setText(str(counts.delineated))
        ui.falseLabel.setText(str(counts.false_positives))
        ui.missedLabel.setText(str(counts.false_negatives))
        ui.undoMarkButton.setEnabled(bool(session.shown.marks))
        for button in (ui.previousLesionButton, ui.nextLesionButton):
            button.setEnabled(counts.delineated > 0)
        asked = session.rules.acceptability is not None
        ui.proposalLabel.setVisible(asked)
        if asked:
            ui.proposalLabel.setText(_proposal(counts))
        self._form.show(
            {**session.shown.answers, CONFIDENCE_QUESTION: session.shown.confidence}, counts.proposed if asked else None
        )
        self.tick()

    def tick(self) -> None:
        """Show the time that is left."""
        left = self._session.shown.remaining_s
        label = self.ui.timeLabel
        label.setVisible(left is not None)
        if left is None:
            return
        label.setText(_("{minutes}:{seconds:02d} left").format(minutes=int(left) // 60, seconds=int(left) % 60))
        label.setStyleSheet("color: #c0392b; font-weight: bold;" if left <= LAST_SECONDS else "")
        expired = self._session.shown.expired
        self._form.set_enabled(not expired)
        self.ui.commentBox.setEnabled(not expired)
        self.ui.marksBox.setEnabled(not expired)
        if expired:
            self.say(messages.WARNING, _("The time for this case is over. Submit it; the answers so far count."))

    def say(self, kind: str, text: str) -> None:
        """A message below the questions."""
        messages.show(self.ui.ratingMessageLabel, kind, text)

    def missing(self) -> str:
        """Return the questions still to be answered; empty if none."""
        return ", ".join(f"\u201c{self._form.label_of(name)}\u201d" for name in self._session.shown.missing)

    def flush(self) -> None:
        """Keep what is being typed."""
        self._form.flush()
        self._keep_comment()

    def leave_lines(self) -> None:
        """Take the keyboard out of all lines of text."""
        self._form.leave()
        self.ui.commentEdit.clearFocus()
        self.ui.giveUpEdit.clearFocus()

    def show_give_up(self, shown: bool) -> None:
        """Ask for the reason why the case cannot be rated."""
        self.ui.giveUpBox.setVisible(shown)
        if shown:
            self.ui.giveUpEdit.setFocus()

    def close_give_up(self) -> None:
        """Put the question for a reason away."""
        self.ui.notRatableButton.setChecked(False)
        self.ui.giveUpBox.setVisible(False)
        self.ui.giveUpEdit.setText("")

    def remove(self) -> None:
        """The room is left."""
        self._comment_timer.stop()
        self._arrival.stop()
        self.ui.commentEdit.textEdited.disconnect(self._comment_edited)
        self.ui.commentEdit.setText("")
        self.ui.captionLabel.setText("")
        self._form.remove()

    def _comment_edited(self, text: str = "") -> None:
        self._comment_waiting = True
        self._comment_timer.start()

    def _keep_comment(self) -> None:
        self._comment_timer.stop()
        if self._comment_waiting:
            self._comment_waiting = False
            self._on_answer(COMMENT_QUESTION, self.ui.commentEdit.text)


def _proposal(counts) -> str:
    """Return the rule's proposal for the counts, with its two fractions."""
    percent = f"{100 * counts.threshold:g}"
    verdict = _("acceptable") if counts.acceptable else _("unacceptable")
    if counts.delineated == 0 and counts.true_lesions == 0:
        return _("Rule: {verdict}. Nothing is delineated and nothing is missed.").format(verdict=verdict)
    return _(
        "Rule (both above {percent} %): {verdict}. {true} of {delineated} delineated are true, {true} of {all} true are"
        " delineated."
    ).format(
        percent=percent,
        verdict=verdict,
        true=counts.true_positives,
        delineated=counts.delineated,
        all=counts.true_lesions,
    )
