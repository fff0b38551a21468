"""The tab Queue: a list of cases, the one that is open with all that can be done about it, and the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import qt
import slicer
from flairseg.review.verdict import DECISIONS
from slicer.i18n import tr as _

from .. import drawing, phrasing
from ..panel import messages
from ..panel.editor_section import REVIEW_TAG
from ..panel.result_panel import ResultPanel
from ..panel.versions import versions_of, volume_of
from ..shortcuts import Shortcuts
from .case_list import CaseList
from .case_loader import CaseLoader
from .reference_section import ReferenceSection

if TYPE_CHECKING:
    from collections.abc import Callable

    from flairseg.errors import FlairSegError
    from flairseg.study.queue import QueueItem

    from ..settings import FlairSegSettings
    from .case_loader import LoadedCase

UI_FILE = Path(__file__).resolve().parents[2] / "Resources" / "UI" / "FlairSegQueue.ui"
#: Retry interval of a command that waits for a verdict to be saved, ms.
WAITING_MS = 50


class QueueTab:
    """Joins the list, the loader, the result panel and the reference sessions.

    Parameters
    ----------
    holder : QWidget
        The tab.
    settings : FlairSegSettings
    """

    def __init__(self, holder, settings: FlairSegSettings) -> None:
        self._settings = settings
        self._entered = False
        self._then: Callable[[], None] | None = None
        self.widget = slicer.util.loadUI(str(UI_FILE))
        layout = holder.layout()
        if layout is None:
            layout = qt.QVBoxLayout(holder)
            layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.loader = CaseLoader(self._loaded, self._failed)
        self.cases = CaseList(self.ui, settings, self.open, self._update)
        self.result = ResultPanel(
            self.ui.resultPlaceholder,
            settings,
            onDecided=self._decided,
            barPlaceholder=self.ui.verdictPlaceholder,
            editorTag=REVIEW_TAG,
        )
        self.reference = ReferenceSection(self.ui, settings, self.leave, self._reference_changed)
        self.ui.nextButton.clicked.connect(lambda checked=False: self.next())
        self.ui.keepButton.clicked.connect(lambda checked=False: self._answer(self.loader.release))
        self.ui.discardButton.clicked.connect(lambda checked=False: self._answer(self.loader.remove))
        self.ui.stayButton.clicked.connect(lambda checked=False: self._stay())
        self.ui.segmentButton.clicked.connect(lambda checked=False: self._segment())
        self.shortcuts = Shortcuts({"Ctrl+Return": self.next, "Ctrl+Enter": self.next})
        self._waiting = qt.QTimer()
        self._waiting.setSingleShot(True)
        self._waiting.setInterval(WAITING_MS)
        self._waiting.timeout.connect(self._try_to_leave)
        self._scroller = qt.QTimer()
        self._scroller.setSingleShot(True)
        self._scroller.setInterval(0)
        self._scroller.timeout.connect(lambda: _scroll_to(self.ui.askRow))
        self._update()

    @property
    def busy(self) -> bool:
        """Whether something is being searched, loaded, counted or saved."""
        return (
            self.cases.busy or self.loader.busy or self.result.busy or self.reference.busy or self._waiting.isActive()
        )

    def enter(self) -> None:
        """The tab is shown."""
        self._entered = True
        self.cases.reveal()
        self.shortcuts.bind(self.widget)
        self._follow_scene()
        self.reference.enter()
        if not self.reference.working:
            self.result.enter()
        self.cases.refresh_states()
        self._update()

    def exit(self) -> None:
        """Another tab or module is shown."""
        self._entered = False
        self.shortcuts.release()
        self.result.exit()
        self.reference.exit()
        self.cases.conceal()
        self.ui.nextButton.setToolTip("")

    def cleanup(self) -> None:
        """Clean up with the panel: all observers of the scene are removed."""
        self.exit()
        self._waiting.stop()
        self._scroller.stop()
        self.cases.cleanup()
        self.loader.forget()
        self.reference.cleanup()
        self.result.cleanup()

    def sceneClosing(self) -> None:
        """The scene is being closed."""
        self._then = None
        self._waiting.stop()
        self.loader.forget()
        self.result.onSceneStartClose()
        self.reference.sceneClosing()
        self.ui.askRow.setVisible(False)
        self.cases.set_opened("")

    def open(self, item: QueueItem) -> None:
        """Open a case; asks in the panel first if work on the one before it would be lost."""
        current = self.loader.current
        if current is not None and current.item.case == item.case:
            return
        self.leave(lambda: self._load(item.case))

    def next(self) -> None:
        """Open the case that should be read next."""
        current = self.loader.current
        item = self.cases.next(current.item.case if current is not None else "")
        if item is not None and self.ui.nextButton.enabled:
            self.open(item)

    def leave(self, then: Callable[[], None]) -> None:
        """Take the open case out of the scene; asks first if work would be lost.

        Parameters
        ----------
        then : callable
            Called without arguments once it is gone; never if the user stays.
        """
        self._then = then
        self._try_to_leave()

    def _try_to_leave(self) -> None:
        if self._then is None:
            return
        if self.loader.busy or self.result.busy:
            # A verdict on its way to the disk is never overtaken.
            self._waiting.start()
            return
        self._follow_scene()
        question = self.loader.unsaved()
        if question:
            messages.show(self.ui.askLabel, messages.WARNING, question)
            self.ui.askRow.setVisible(True)
            self.ui.casesCollapsibleButton.collapsed = False
            self._update()
            # The reader may be at the verdict, at the other end of the panel.
            self._scroller.start()
            return
        self._answer(self.loader.remove)

    def _answer(self, leave: Callable[[], None]) -> None:
        then, self._then = self._then, None
        self.ui.askRow.setVisible(False)
        with drawing.once():
            self.result.setSegmentation(None)
            self.ui.segmentRow.setVisible(False)
            leave()
        self.cases.set_opened("")
        messages.hide(self.ui.queueMessageLabel)
        if then is not None:
            then()
        self._update()

    def _stay(self) -> None:
        self._then = None
        self.ui.askRow.setVisible(False)
        self._update()

    # The open case

    def _segment(self) -> None:
        """Go to the module FLAIR Segmentation with this image, whatever was chosen there."""
        current, module = self.loader.current, getattr(slicer.modules, "flairseg", None)
        slicer.util.selectModule("FlairSeg")
        panel = module.widgetRepresentation().self() if module is not None else None
        if current is not None and panel is not None and panel.built:
            panel.case.choose(current.volume)

    def _load(self, case: str) -> None:
        # As it is listed now: leaving the case before may have changed what is known.
        item = self.cases.find(case)
        if item is None:
            return
        messages.quiet(self.ui.queueMessageLabel, _("Loading {case} …").format(case=case))
        self.loader.load(item, self._settings.casesFolder)
        self._update()

    def _loaded(self, loaded: LoadedCase) -> None:
        case = loaded.item.case
        self.cases.set_problem(case, "")
        self.cases.set_opened(case)
        notice = ""
        if loaded.going_on_from:
            notice = _("Shown as {origin}.").format(origin=loaded.going_on_from)
        messages.show(self.ui.queueMessageLabel, messages.INFO, notice)
        self.ui.segmentRow.setVisible(loaded.segmentation is None)
        if loaded.segmentation is None:
            slicer.util.setSliceViewerLayers(background=loaded.volume, fit=True)
        self.result.setSegmentation(loaded.segmentation, loaded.volume)
        self.cases.refresh_states()
        self._update()

    def _failed(self, item: QueueItem, error: FlairSegError) -> None:
        self.cases.set_problem(item.case, phrasing.text(error))
        messages.show(
            self.ui.queueMessageLabel,
            messages.ERROR,
            _("{case} cannot be opened. {error}").format(case=item.case, error=phrasing.text(error)),
        )
        self._update()

    def _decided(self) -> None:
        """A verdict was saved or withdrawn: the saved version is safe and listed."""
        current, verdict = self.loader.current, self.result.verdict.verdict
        if current is None or volume_of(self.result.segmentationNode) is not current.volume:
            return
        if verdict in DECISIONS:
            self.loader.note_saved()
            self.cases.set_state(current.item.case, verdict)
        self._update()

    def _follow_scene(self) -> None:
        """Nodes that the user deleted are gone; a segmentation that was made in the other module is there."""
        current = self.loader.current
        if current is None:
            return
        if current.volume.GetScene() is None:
            self.loader.forget()
            self.result.setSegmentation(None)
            self.cases.set_opened("")
            return
        if current.segmentation is None and (made := versions_of(None, current.volume)):
            self.loader.adopt(made[-1])
            self.ui.segmentRow.setVisible(False)
            self.result.setSegmentation(made[-1], current.volume)

    # Reference sessions

    def _reference_changed(self) -> None:
        """A reference task was started or ended: one brush at a time."""
        if self.reference.working:
            self.result.exit()
        elif self._entered:
            self.result.enter()
        self._update()

    def _update(self) -> None:
        idle = not self.loader.busy and not self.reference.working and self._then is None
        selected, current = self.cases.selected, self.loader.current
        opened = current.item.case if current is not None else ""
        self.ui.openButton.setEnabled(idle and selected is not None and selected.case != opened)
        following = self.cases.next(opened)
        self.ui.nextButton.setEnabled(idle and following is not None)
        if self.reference.working:
            tip = _("Close the case of the reference session first.")
        elif not self._entered:
            tip = ""
        elif following is None:
            tip = _("No case is waiting.")
        else:
            tip = _("{case}: likely to need most correction (Ctrl+Enter).").format(case=following.case)
        self.ui.nextButton.setToolTip(tip)
        items = self.cases.items
        judged = sum(item.state in DECISIONS for item in items)
        title = _("Cases")
        if items:
            title = _("Cases – {judged} of {all} judged").format(judged=judged, all=len(items))
        self.ui.casesCollapsibleButton.setText(title)


def _scroll_to(widget) -> None:
    """Bring a widget into the visible part of the module panel."""
    parent = widget.parent()
    while parent is not None:
        if parent.inherits("QScrollArea"):
            parent.ensureWidgetVisible(widget)
            return
        parent = parent.parent()
