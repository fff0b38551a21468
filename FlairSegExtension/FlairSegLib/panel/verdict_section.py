"""Verdict: accept, accept after edits or reject; the panel confirms it once it is on disk."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import slicer
from flairseg import __version__
from flairseg.errors import FlairSegError
from flairseg.labels import CLASS_BY_VALUE
from flairseg.lesions.edits import count_edits
from flairseg.review.events import utc_now
from flairseg.review.recorder import open_recorder
from flairseg.review.verdict import ACCEPTED, ACCEPTED_AFTER_EDITS, PENDING, REJECTED, Verdict
from slicer.i18n import tr as _

from .. import background, keys, phrasing, segment_tags, segment_voxels, volume_nodes
from ..case_names import case_of
from ..verdict_notes import FOLDER, READER, REASON, SAVED_AS, SAVED_AT, note, verdict_of
from . import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from flairseg.image.volume import Volume
    from flairseg.review.recorder import Recorded

    from ..measurement import Measurement
    from ..segment_voxels import Snapshot
    from ..settings import FlairSegSettings


@dataclass(frozen=True)
class Judged:
    """Everything that is saved with a verdict, taken at the moment of the click."""

    case: str
    snapshot: Snapshot
    flair: Volume
    verdict: Verdict
    original: np.ndarray | None
    contents: str


class VerdictSection:
    """Reader, folder, the three verdicts, and what became of them.

    Parameters
    ----------
    ui : namespace
        Widgets of ``FlairSegVerdict.ui`` and ``FlairSegResult.ui``.
    settings : FlairSegSettings
    on_lock : callable
        Called with True while a verdict is being saved and once it is, with False when the case is open again.
    on_decided : callable
        Called without arguments after a verdict was saved or revoked.
    """

    def __init__(
        self,
        ui,
        settings: FlairSegSettings,
        on_lock: Callable[[bool], None],
        on_decided: Callable[[], None],
    ) -> None:
        self.ui = ui
        self._settings = settings
        self._on_lock, self._on_decided = on_lock, on_decided
        self._node = self._volume = None
        self._original = None
        self._measured: Measurement | None = None
        self._seconds = 0.0
        self._started_at = ""
        self._saving = self._edited = False
        self._waiting: str | None = None
        self._reconciled: set[str] = set()
        #: Called without arguments when the reader chose the folder here: other widgets show it, too.
        self.onFolder: Callable[[], None] = lambda: None
        ui.reasonSelector.addItem(_("Choose a reason …"))
        for reason in reasons():
            ui.reasonSelector.addItem(reason)
        ui.readerEdit.textChanged.connect(self._reader_changed)
        ui.acceptButton.clicked.connect(lambda checked=False: self.decide(ACCEPTED))
        ui.acceptEditedButton.clicked.connect(lambda checked=False: self.decide(ACCEPTED_AFTER_EDITS))
        ui.rejectButton.clicked.connect(self._reject_clicked)
        ui.confirmRejectButton.clicked.connect(lambda checked=False: self.decide(REJECTED))
        ui.cancelRejectButton.clicked.connect(lambda checked=False: self._show_rejection(False))
        ui.reasonSelector.currentIndexChanged.connect(self._reason_changed)
        ui.reasonEdit.textChanged.connect(self._reason_changed)
        ui.reasonEdit.returnPressed.connect(lambda: self.decide(REJECTED))
        ui.folderButton.clicked.connect(lambda checked=False: self._folder_chosen())
        ui.reopenButton.clicked.connect(lambda checked=False: self.reopen())

    @property
    def verdict(self) -> str:
        """Verdict on the segmentation that is shown: one of flairseg.review.verdict's."""
        if self._node is None:
            return PENDING
        return verdict_of(self._node)

    @property
    def saving(self) -> bool:
        """Whether a verdict is on its way to the disk."""
        return self._saving

    def show(self, node, volume_node) -> None:
        """Show a segmentation node (None: nothing) with the verdict that it carries."""
        self._node, self._volume, self._original = node, volume_node, None
        self._measured, self._saving, self._waiting = None, False, None
        self._edited = False
        self._started_at = utc_now()
        self.refresh_settings()
        self._show_rejection(False)
        self.ui.folderRow.setVisible(False)
        self._on_lock(self.verdict != PENDING)
        self._show_saved()
        self._update()

    def measured(self, measured: Measurement | None) -> None:
        """The measurement of the segmentation; None while it is being measured."""
        self._measured = measured
        self._update()
        self._withdraw_if_edited()

    def set_original(self, original: np.ndarray) -> None:
        """The labels that count as unedited: the model's own (K, J, I), else those that were loaded."""
        self._original = original

    def show_work(self, seconds: float) -> None:
        """Show for how long the reader worked, and what was changed."""
        self._seconds = seconds
        self.ui.workLabel.setText(self._work_text())
        self.ui.workLabel.setVisible(self._node is not None)

    def enter(self) -> None:
        """The module is shown: make up for verdicts that were saved, but whose entry a crash kept from the store."""
        self.refresh_settings()
        folder, store = self._settings.casesFolder, self._settings.reviewStoreUrl
        if not folder or folder in self._reconciled or not Path(folder).is_dir():
            return
        self._reconciled.add(folder)

        def failed(error: Exception) -> None:
            logging.warning("FlairSeg: the review store could not be brought up to date: %s", error)

        background.run(lambda: _reconcile(folder, store), lambda count: None, failed)

    def refresh_settings(self) -> None:
        """Show the reader and folder that the settings hold now."""
        if self.ui.readerEdit.text != self._settings.readerName:
            self.ui.readerEdit.setText(self._settings.readerName)

    def forget(self) -> None:
        """The scene is closing. What is being saved is saved nevertheless."""
        self.show(None, None)

    def decide(self, verdict: str) -> None:
        """Save a verdict; asks for a folder in the panel if none is set."""
        if self._node is None or self._saving or not self._allowed(verdict):
            return
        if not self._settings.casesFolder:
            self._waiting = verdict
            self.ui.folderRow.setVisible(True)
            messages.hide(self.ui.verdictMessageLabel)
            return
        try:
            judged = self._judged(verdict)
        except FlairSegError as error:
            messages.show(self.ui.verdictMessageLabel, messages.ERROR, phrasing.text(error))
            return
        self._save(judged)

    def accept(self) -> None:
        """Accept, by key: unchanged or as corrected."""
        edited = self._measured is not None and self._measured.edited
        self.decide(ACCEPTED_AFTER_EDITS if edited else ACCEPTED)

    def reject(self) -> None:
        """Ask why, by key; once a reason is there, reject."""
        if self.ui.rejectRow.visible and self._reason():
            self.decide(REJECTED)
        elif self.ui.rejectButton.enabled:
            self._show_rejection(True)
            self.ui.reasonSelector.setFocus()

    def cleanup(self) -> None:
        """Forget the node; what is being saved is saved nevertheless. The widgets may be gone already."""
        self._node = self._volume = self._original = self._measured = None
        self._saving, self._waiting = False, None

    def reopen(self) -> None:
        """Edit again. The saved version is kept; a further verdict makes the next version."""
        if self._node is None or self._saving or self.verdict == PENDING:
            return
        self._open_again()
        messages.quiet(
            self.ui.verdictMessageLabel,
            _("Open again. The saved version is kept; a further verdict makes the next version."),
        )

    def _open_again(self) -> None:
        note(self._node, PENDING, {})
        self._on_lock(False)
        self._on_decided()
        self._update()

    def _withdraw_if_edited(self) -> None:
        """A verdict is no longer that of a segmentation edited since, in the module Segment Editor for instance."""
        if self._node is None or self._saving or self._measured is None or self.verdict == PENDING:
            return
        judged = segment_tags.first_tag(self._node, segment_tags.VERDICT_CONTENTS)
        if not judged or judged == self._measured.contents:
            return
        self._open_again()
        messages.show(
            self.ui.verdictMessageLabel,
            messages.WARNING,
            _(
                "Edited since the verdict, which no longer applies. The saved version is kept; a further verdict makes"
                " the next version."
            ),
        )

    # Saving

    def _judged(self, verdict: str) -> Judged:
        node, volume_node = self._node, self._volume
        grid = segment_voxels.grid_of(node, volume_node)
        rejected = verdict == REJECTED
        return Judged(
            case_of(volume_node),
            segment_voxels.snapshot(node, volume_node, grid),
            volume_nodes.volume_from_node(volume_node),
            Verdict(
                verdict,
                reason=self._reason() if rejected else "",
                reader=self._settings.readerName,
                started_at=self._started_at,
                decided_at=utc_now(),
                active_seconds=round(self._seconds, 1),
                model=_model(node),
                software={"flairseg": __version__, "slicer": str(slicer.app.applicationVersion)},
                classes=tuple(CLASS_BY_VALUE[value].id for value in segment_voxels.segments_by_class(node)),
            ),
            self._original,
            self._measured.contents,
        )

    def _save(self, judged: Judged) -> None:
        self._saving = True
        self._on_lock(True)
        messages.quiet(self.ui.verdictMessageLabel, _("Saving …"))
        self._update()
        node_id = self._node.GetID()
        folder, store = self._settings.casesFolder, self._settings.reviewStoreUrl

        def saved(recorded: Recorded) -> None:
            node = slicer.mrmlScene.GetNodeByID(node_id)
            if node is not None and node.IsA("vtkMRMLSegmentationNode"):
                note(
                    node,
                    judged.verdict.verdict,
                    {
                        REASON: judged.verdict.reason,
                        READER: judged.verdict.reader,
                        SAVED_AT: judged.verdict.decided_at,
                        SAVED_AS: f"{recorded.saved.path.parent.name}/{recorded.saved.path.name}",
                        FOLDER: folder,
                    },
                    judged.contents,
                )
            if node is not None and node is self._node:
                self._saving = False
                self._show_rejection(False)
                self._on_lock(True)
                self._show_saved(waits=not recorded.delivered)
                self._on_decided()
                self._update()
                self._withdraw_if_edited()

        def failed(error: Exception) -> None:
            if self._node is None or self._node.GetID() != node_id:
                return
            self._saving = False
            self._on_lock(False)
            text = (
                phrasing.text(error)
                if isinstance(error, FlairSegError)
                else _("It could not be saved: {error}.").format(error=phrasing.text(error))
            )
            messages.show(
                self.ui.verdictMessageLabel,
                messages.ERROR,
                _("Not saved. {what} Nothing is lost; try again or choose another folder.").format(what=text),
            )
            if isinstance(error, (FlairSegError, OSError)):
                self.ui.folderEdit.setCurrentPath(folder)
                self.ui.folderRow.setVisible(True)
                self._waiting = judged.verdict.verdict
            self._update()

        background.run(lambda: _record(judged, folder, store), saved, failed)

    # Choices

    def _allowed(self, verdict: str) -> bool:
        return not self._refusal(verdict)

    def _refusal(self, verdict: str) -> str:
        """Why a verdict cannot be given now; empty if it can."""
        if self._node is None:
            return _("Segment a FLAIR first.")
        if self._volume is None:
            return _("Load the FLAIR that belongs to this segmentation.")
        if self._saving:
            return _("The verdict is being saved.")
        if self.verdict != PENDING:
            return _("There is already a verdict. Reopen the case to change it.")
        if self._measured is None:
            return _("Counting …")
        if verdict == REJECTED:
            return "" if self._reason() or not self.ui.rejectButton.checked else _("Choose or enter a reason.")
        if verdict == ACCEPTED and self._measured.edited:
            return _("You have edited the result: use 'Accept after edits'.")
        if verdict == ACCEPTED_AFTER_EDITS and not self._measured.edited:
            return _("Nothing was edited: use 'Accept'.")
        return ""

    def _reason(self) -> str:
        chosen = self.ui.reasonSelector.currentText if self.ui.reasonSelector.currentIndex > 0 else ""
        own = self.ui.reasonEdit.text.strip()
        if chosen == reasons()[-1]:
            return own
        return f"{chosen}: {own}" if chosen and own else chosen or own

    def _reason_changed(self, *_arguments) -> None:
        self.ui.confirmRejectButton.setEnabled(bool(self._reason()) and not self._saving)

    def _reject_clicked(self, checked: bool = False) -> None:
        self._show_rejection(self.ui.rejectButton.checked)

    def _show_rejection(self, shown: bool) -> None:
        self.ui.rejectButton.setChecked(shown)
        self.ui.rejectRow.setVisible(shown)
        if not shown:
            self.ui.reasonSelector.setCurrentIndex(0)
            self.ui.reasonEdit.setText("")
        self._reason_changed()
        self._show_choices()

    def _reader_changed(self, text: str = "") -> None:
        self._settings.readerName = text

    def _folder_chosen(self) -> None:
        folder = self.ui.folderEdit.currentPath.strip()
        if not folder:
            messages.show(self.ui.verdictMessageLabel, messages.WARNING, _("Choose or enter a folder first."))
            return
        self._settings.casesFolder = str(Path(folder).expanduser())
        self.onFolder()
        self.ui.folderRow.setVisible(False)
        messages.hide(self.ui.verdictMessageLabel)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.decide(waiting)

    # Display

    def _update(self) -> None:
        for button, verdict, tip, key in (
            (self.ui.acceptButton, ACCEPTED, _("The result is correct as it is."), keys.ACCEPT),
            (
                self.ui.acceptEditedButton,
                ACCEPTED_AFTER_EDITS,
                _("The result is correct with your edits."),
                keys.ACCEPT,
            ),
            (self.ui.rejectButton, REJECTED, _("The result is not usable; a reason is required."), keys.REJECT),
        ):
            refusal = self._refusal(verdict)
            if verdict == REJECTED and self.ui.rejectButton.checked:
                refusal = ""
            button.setEnabled(not refusal)
            button.setToolTip(refusal or _("{what} Key: {key}").format(what=tip, key=key))
        pending = self.verdict == PENDING
        if self._measured is not None:
            self._edited = self._measured.edited
        self._show_choices()
        self.ui.readerWidget.setVisible(pending)
        self.ui.reopenButton.setVisible(not pending and not self._saving)
        self.ui.readerEdit.setEnabled(pending and not self._saving)
        self._reason_changed()
        self.show_work(self._seconds)

    def _show_choices(self) -> None:
        """The buttons of the verdict; while a reason is entered, there is another Reject beside it."""
        offered = self.verdict == PENDING and not self.ui.rejectButton.checked
        # One of the two is possible at a time; the other would take the room of a narrow panel.
        self.ui.acceptButton.setVisible(offered and not self._edited)
        self.ui.acceptEditedButton.setVisible(offered and self._edited)
        self.ui.rejectButton.setVisible(offered)

    def _show_saved(self, waits: bool = False) -> None:
        node, verdict = self._node, self.verdict
        if verdict == PENDING:
            messages.hide(self.ui.verdictMessageLabel)
            return
        name = {ACCEPTED: _("Accepted"), ACCEPTED_AFTER_EDITS: _("Accepted after edits"), REJECTED: _("Rejected")}[
            verdict
        ]
        reader, reason = node.GetAttribute(READER), node.GetAttribute(REASON)
        head = _("{verdict} by {reader}").format(verdict=name, reader=reader) if reader else name
        lines = [f"{head} – {reason}" if reason else head]
        if node.GetAttribute(SAVED_AS):
            lines.append(
                _("Saved as {name} in {folder}").format(
                    name=node.GetAttribute(SAVED_AS), folder=node.GetAttribute(FOLDER) or ""
                )
            )
        if waits:
            lines.append(_("The entry for the review store is pending until the store is reachable."))
        messages.show(self.ui.verdictMessageLabel, messages.SUCCESS, "\n".join(lines))

    def _work_text(self) -> str:
        if self._node is None:
            return ""
        minutes, seconds = divmod(round(self._seconds), 60)
        time = _("{minutes} min {seconds} s").format(minutes=minutes, seconds=seconds)
        if not minutes:
            time = _("{seconds} s").format(seconds=seconds)
        parts = []
        for value, (added, removed) in (self._measured.edits if self._measured is not None else {}).items():
            if added or removed:
                parts.append(f"{CLASS_BY_VALUE[value].short_name} +{added} −{removed}")
        changes = ", ".join(parts) + _(" voxels") if parts else _("nothing edited")
        return _("Active time {time}; {changes}.").format(time=time, changes=changes)


def reasons() -> list[str]:
    """Reasons for rejection, most frequent first; the last one needs the reader's own text."""
    return [
        _("Lesions missed"),
        _("False lesions"),
        _("Normal and abnormal WMH confused"),
        _("Incorrect outlines"),
        _("Incorrect ventricles"),
        _("Image not usable (motion, artefact)"),
        _("Not a brain FLAIR"),
        _("Other"),
    ]


def _record(judged: Judged, folder: str, store: str) -> Recorded:
    """Save a case with its verdict; in a thread."""
    labels = judged.snapshot.labels()
    edits = {}
    if judged.original is not None and judged.original.shape == labels.shape:
        counted = count_edits(judged.original, labels, CLASS_BY_VALUE)
        edits = {CLASS_BY_VALUE[v].id: {"voxels_added": a, "voxels_removed": r} for v, (a, r) in counted.items()}
    recorder = open_recorder(folder, store or None)
    try:
        return recorder.record(judged.case, labels, judged.flair, replace(judged.verdict, edits=edits))
    finally:
        recorder.close()


def _reconcile(folder: str, store: str) -> int:
    recorder = open_recorder(folder, store or None)
    try:
        return recorder.reconcile()
    finally:
        recorder.close()


def _model(node) -> dict[str, str]:
    known = {"id": segment_tags.MODEL, "sha256": segment_tags.MODEL_SHA256}
    return {name: text for name, key in known.items() if (text := segment_tags.first_tag(node, key))}
