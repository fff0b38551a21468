"""The tab Study: a rater's session from the choice of the room to the last case, by mouse or by keys alone.

The logic is in :class:`flairseg.study.session.StudySession`, which records each click before this panel shows it. Here
is what the rater sees of it, one page at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.errors import FlairSegError
from flairseg.study.errors import AnswerRefusedError
from flairseg.study.records import COMMENT_QUESTION, CONFIDENCE_QUESTION, Answer
from slicer.i18n import tr as _

from .. import dependencies, phrasing
from ..panel import messages
from ..shortcuts import Shortcuts
from . import study_pages
from .blind_window import BlindWindow
from .coordinator_section import CoordinatorSection
from .correction_section import CorrectionSection
from .rating_page import RatingPage
from .showing_view import ShowingView
from .study_keys import REPEATING, actions

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.study.session import StudySession

    from ..settings import FlairSegSettings
    from .questions_form import QuestionsForm

START, READY, RATING, ANSWERED, PAUSED, DONE = "start", "ready", "rating", "answered", "paused", "done"
#: Interval of updating time and deliveries, ms.
TICK_MS = 500
#: Deliveries are checked every so many ticks.
_DELIVERY_TICKS = 6


class StudyTab:
    """A rater's session, and the coordinator's section below it.

    Parameters
    ----------
    holder : QWidget
        The tab, with a layout.
    settings : FlairSegSettings
        Remembers the room.
    on_session : callable, optional
        Called with True when a room was opened, False when it was left.
    clock : flairseg.study.timing.Clock, optional
        For tests.
    """

    def __init__(
        self, holder, settings: FlairSegSettings, on_session: Callable[[bool], None] | None = None, clock=None
    ) -> None:
        self._settings = settings
        self._on_session = on_session or (lambda running: None)
        self._clock = clock
        widget = slicer.util.loadUI(_ui_file("FlairSegStudy.ui"))
        holder.layout().addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        self._widget = widget
        self._pages = {name: getattr(self.ui, f"{name}Page") for name in (START, READY, RATING, ANSWERED, PAUSED, DONE)}
        self.page = START
        self.session: StudySession | None = None
        self._rating: RatingPage | None = None
        self._window = BlindWindow()
        self.view = ShowingView(self._clicked, self._display_changed, self._alive)
        self._keys = Shortcuts(actions(self), REPEATING)
        self._entered = False
        self._clearing = False
        self._lesion: int | None = None
        self._delivery = study_pages.DeliveryNotice(_DELIVERY_TICKS)
        self._timer = qt.QTimer()
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self.correction = CorrectionSection(self.ui, self._alive)
        self.coordinator = CoordinatorSection(self.ui.coordinatorSection, settings)
        self._connect()
        self.ui.roomEdit.setText(settings.readingRoom)
        self._show_page(START)

    @property
    def rates(self) -> bool:
        """Whether a case is on screen that takes marks and answers."""
        return self.page == RATING

    @property
    def form(self) -> QuestionsForm:
        """The questions of the case on screen."""
        return self._rating.form

    @property
    def _store_label(self):
        return self.ui.doneStoreLabel if self.page == DONE else self.ui.storeLabel

    # --- the module ----------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The tab is shown."""
        self._entered = True
        self._bind_keys()

    def exit(self) -> None:
        """Another tab or module is shown: a showing is paused, Slicer's window is restored."""
        self._entered = False
        self._keys.release()
        self.pause()
        self._window.open()

    def cleanup(self) -> None:
        """Clean up with the panel."""
        self.coordinator.cleanup()
        self.leave()
        self._timer.stop()

    def sceneClosing(self) -> None:
        """The scene is being closed: by us, or by the user, which is a pause."""
        if not self._clearing:
            self.pause()

    # --- the session ---------------------------------------------------------------------------------------------

    def open_room(self) -> None:
        """Open the room that is chosen, and show what it is about."""
        from flairseg.study.room import Room
        from flairseg.study.session import StudySession

        if not self._settings.readingRoom:
            messages.show(self.ui.startMessageLabel, messages.INFO, _("Choose your reading room first."))
            return
        messages.hide(self.ui.startMessageLabel)
        try:
            room = Room.open(self._settings.readingRoom)
            declined = _ensure_store(room.store_address())
            self.session = StudySession.open(room, self._clock, _application())
        except FlairSegError as error:
            messages.show(self.ui.startMessageLabel, messages.ERROR, phrasing.text(error))
            return
        # A path could name what is compared.
        self.ui.roomEdit.setText("")
        self._rating = RatingPage(self.ui, self.session, self._answer)
        self._bind_keys()
        self._timer.start()
        self._on_session(True)
        self._show_ready(declined)

    def openRoom(self, room: str | Path) -> None:
        """Choose a room and open it."""
        self._settings.readingRoom = room
        self.open_room()

    def begin(self) -> None:
        """Leave the introduction: blind the window, empty the scene, show the case that is next."""
        if self.page != READY:
            return
        self._clear_scene()
        self._window.close()
        self._next()

    def submit(self) -> None:
        """Submit the answer and show the next case."""
        if self.page != RATING:
            return
        self._rating.flush()
        missing = self._rating.missing()
        if missing and not self.session.shown.expired:
            self._rating.say(messages.INFO, _("Still to be answered: {questions}").format(questions=missing))
            return
        if self._try(self.session.shown.submit, refresh=False):
            self._answered()

    def give_up(self) -> None:
        """Record the current case as not ratable, with the reason that was typed."""
        if self.page != RATING:
            return
        self._rating.flush()
        if self._try(self.session.shown.give_up, self.ui.giveUpEdit.text, refresh=False):
            self._next()

    def pause(self) -> None:
        """Hide the images and stop the clock."""
        if self.page == ANSWERED:
            kept = self.correction.keep()
            self.view.clear()
            self._show_page(PAUSED)
            self.ui.pausedDetailLabel.setText(_("Your last answer is recorded."))
            messages.show(self.ui.pausedMessageLabel, messages.WARNING, kept)
            return
        if self.page != RATING:
            return
        self._rating.flush()
        self.view.clear()
        try:
            self.session.shown.pause()
        except FlairSegError as error:
            messages.show(self.ui.pausedMessageLabel, messages.ERROR, phrasing.text(error))
        else:
            messages.hide(self.ui.pausedMessageLabel)
        self.ui.pausedDetailLabel.setText(study_pages.progress_text(self.session))
        self._show_page(PAUSED)

    def resume(self) -> None:
        """Continue after a pause: the same case with its marks, or the next one if it was answered."""
        if self.page != PAUSED:
            return
        self._window.close()
        current = self.session.current
        if current is None or not self.session.shown.paused:
            self._next()
            return
        try:
            self.session.shown.resume()
        except FlairSegError as error:
            messages.show(self.ui.pausedMessageLabel, messages.ERROR, phrasing.text(error))
            return
        self._present()

    def toggle_pause(self) -> None:
        """Pause or resume."""
        if self.page == PAUSED:
            self.resume()
        else:
            self.pause()

    def markFalsePositive(self) -> None:
        """Call the lesion at the cursor false."""
        self._mark(lambda ras: self.session.shown.mark_false_positive(ras))

    def markMissed(self) -> None:
        """Mark a missing lesion at the cursor."""
        self._mark(lambda ras: self.session.shown.mark_false_negative(ras))

    # --- inside: the flow ----------------------------------------------------------------------------------------

    def _show_ready(self, remark: str) -> None:
        study_pages.show_ready(self.ui, self.session, remark)
        if self.session.finished or self.session.waiting_until is not None:
            self._show_done()
        else:
            self._show_page(READY)

    def _next(self) -> None:
        self.view.clear()
        try:
            showing = self.session.next()
        except FlairSegError as error:
            self._stopped(error)
            return
        if showing is None:
            self._show_done()
        else:
            self._present()

    def _present(self) -> None:
        """Put the current showing on screen."""
        session = self.session
        try:
            self.view.show(session.current, session.rules.display, session.shown.display, session.shown.marks)
        except FlairSegError as error:
            self._stopped(error)
            return
        self._lesion = None
        self.ui.overlayButton.setChecked(self.view.overlay_visible)
        self._show_page(RATING)
        # Qt moves the focus to the next line edit when a button is hidden: keys are for the case, not the comment.
        self._rating.leave_lines()
        self._widget.setFocus()
        self._rating.begin()

    def _answered(self) -> None:
        """After the answer: feedback of a training case, correction where the protocol has it, or straight on."""
        session = self.session
        feedback = session.current.feedback if session.current.training else ""
        if not feedback and not session.rules.correction:
            self._next()
            return
        messages.show(self.ui.feedbackLabel, messages.INFO, feedback)
        messages.hide(self.ui.answeredMessageLabel)
        self.correction.offer(session, self.view)
        self._show_page(ANSWERED)

    def _go_on(self) -> None:
        if self.page == ANSWERED and self.correction.settle():
            self._next()

    def _show_done(self) -> None:
        self.view.clear()
        study_pages.show_done(self.ui, self.session)
        self._show_page(DONE)

    def _stopped(self, error: FlairSegError) -> None:
        """The case cannot be shown: give the reason; answers are not affected."""
        self.view.clear()
        self.ui.doneLabel.setText(_("The session was stopped."))
        messages.show(self.ui.doneDetailLabel, messages.ERROR, phrasing.text(error))
        messages.hide(self.ui.doneStoreLabel)
        self._show_page(DONE)

    def leave(self) -> None:
        """Close the session and be as before."""
        self.correction.keep()
        session, self.session = self.session, None
        if session is None:
            return
        self._timer.stop()
        if self.page == RATING:
            self._rating.flush()
        self.view.clear()
        self._keys.release()
        problem = ""
        try:
            session.close()
        except FlairSegError as error:
            problem = phrasing.text(error)
        self._rating.remove()
        self._rating = None
        self._window.open()
        self._on_session(False)
        for label in (self.ui.doneDetailLabel, self.ui.titleLabel, self.ui.instructionsLabel):
            label.setStyleSheet("")
            label.setText("")
        self.ui.roomEdit.setText(self._settings.readingRoom)
        messages.show(self.ui.startMessageLabel, messages.ERROR, problem)
        self._show_page(START)

    def _clear_scene(self) -> None:
        self._clearing = True
        try:
            slicer.mrmlScene.Clear(0)
        finally:
            self._clearing = False

    # --- inside: what the rater does -----------------------------------------------------------------------------

    def _clicked(self, ras: tuple[float, float, float]) -> None:
        if self.page == RATING and self._try(self.session.shown.click, ras):
            self.view.show_marks(self.session.shown.marks)

    def _mark(self, place: Callable[[tuple[float, float, float]], object]) -> None:
        if self.page != RATING:
            return
        cursor = self.view.cursor
        if cursor is None:
            self._rating.say(
                messages.INFO, _("Point at the image with the mouse, or move to a lesion with N or the arrow keys.")
            )
        elif self._try(place, cursor):
            self.view.show_marks(self.session.shown.marks)

    def undo(self) -> None:
        """Take the last mark back."""
        if self.page == RATING and self._try(self.session.shown.undo_mark):
            self.view.show_marks(self.session.shown.marks)

    def _answer(self, question: str, value: Answer) -> None:
        if self.page != RATING:
            return
        if question == CONFIDENCE_QUESTION:
            self._try(self.session.shown.set_confidence, value)
        elif question == COMMENT_QUESTION:
            self._try(self.session.shown.set_comment, value)
        else:
            self._try(self.session.shown.answer, question, value)

    def jump_lesion(self, step: int) -> None:
        """Go to the next (1) or previous (-1) delineated lesion."""
        if self.page != RATING:
            return
        lesions = self.session.current.lesions.lesions
        if not lesions:
            self._rating.say(messages.INFO, _("Nothing is delineated here."))
            return
        first = 0 if step > 0 else len(lesions) - 1
        self._lesion = first if self._lesion is None else (self._lesion + step) % len(lesions)
        self.view.jump(lesions[self._lesion].anchor_ras)

    def toggle_overlay(self) -> None:
        """Show or hide the outlines."""
        if self.page == RATING:
            self.ui.overlayButton.setChecked(self.view.toggle_overlay())

    def _display_changed(self, **state) -> None:
        if self.page == RATING:
            self._try(lambda: self.session.shown.log_display(**state), refresh=False)

    def _alive(self) -> None:
        if self.session is not None and self.page in (RATING, ANSWERED):
            self.session.shown.touch()

    def enter_pressed(self) -> None:
        """The step that comes next on the page."""
        if self._rating is not None and self._rating.typing:
            self._rating.flush()
            self._rating.leave_lines()
            return
        steps = {READY: self.begin, RATING: self.submit, ANSWERED: self._go_on, PAUSED: self.resume, DONE: self.leave}
        steps.get(self.page, lambda: None)()

    def _try(self, step: Callable, *arguments, refresh: bool = True) -> bool:
        """Run one step of the session; refusals are shown in the panel. Return whether it succeeded."""
        try:
            step(*arguments)
        except AnswerRefusedError as error:
            self._rating.say(messages.INFO, phrasing.text(error))
            self._rating.refresh()
            return False
        except FlairSegError as error:
            self._rating.say(messages.ERROR, phrasing.text(error))
            self._rating.refresh()
            return False
        if refresh and self.page == RATING:
            messages.hide(self.ui.ratingMessageLabel)
            self._rating.refresh()
        return True

    def _tick(self) -> None:
        if self.session is None:
            return
        if self.page == RATING:
            self._rating.tick()
        self._delivery.tick(self.session, self._store_label)

    # --- inside: widgets -----------------------------------------------------------------------------------------

    def _show_page(self, page: str) -> None:
        self.page = page
        for name, widget in self._pages.items():
            widget.setVisible(name == page)
        self.ui.coordinatorSection.setVisible(page == START)

    def _choose_room(self) -> None:
        chosen = qt.QFileDialog.getExistingDirectory(
            slicer.util.mainWindow(), _("Reading room"), self._settings.readingRoom
        )
        if chosen:
            self._settings.readingRoom = chosen
            self.ui.roomEdit.setText(chosen)
            messages.hide(self.ui.startMessageLabel)

    def _give_up_toggled(self, checked: bool = False) -> None:
        if self._rating is not None:
            self._rating.show_give_up(checked)

    def _connect(self) -> None:
        slots = {
            "roomButton": self._choose_room,
            "openButton": self.open_room,
            "showButton": self.begin,
            "leaveReadyButton": self.leave,
            "previousLesionButton": lambda: self.jump_lesion(-1),
            "nextLesionButton": lambda: self.jump_lesion(1),
            "overlayButton": self.toggle_overlay,
            "undoMarkButton": self.undo,
            "submitButton": self.submit,
            "pauseButton": self.pause,
            "giveUpButton": self.give_up,
            "nextButton": self._go_on,
            "resumeButton": self.resume,
            "leavePausedButton": self.leave,
            "leaveDoneButton": self.leave,
        }
        for name, slot in slots.items():
            getattr(self.ui, name).clicked.connect(lambda checked=False, slot=slot: slot())
        self.ui.notRatableButton.toggled.connect(self._give_up_toggled)

    def _bind_keys(self) -> None:
        if self._entered and self.session is not None:
            self._keys.bind(self._widget)


def _ui_file(name: str) -> str:
    return str(Path(__file__).resolve().parents[2] / "Resources" / "UI" / name)


def _ensure_store(address: str) -> str:
    """Install the packages that deliver the answers; return a message for the rater if that failed."""
    try:
        dependencies.ensureStore(address)
    except FlairSegError as error:
        return _("{error} Your answers are stored on this computer until they can be sent.").format(error=error.message)
    return ""


def _application() -> str:
    return f"3D Slicer {slicer.app.applicationVersion}"
