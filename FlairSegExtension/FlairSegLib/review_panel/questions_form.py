"""The protocol's questions as a form: one row each, answered with the mouse or with single keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import qt
from flairseg.files.csv_tables import is_ambiguous_number
from flairseg.study.records import (
    ACCEPTABILITY,
    ACCEPTABLE,
    CONFIDENCE_QUESTION,
    LIKERT_5,
    NO,
    NUMERIC,
    UNACCEPTABLE,
    YES,
    YES_NO,
    Answer,
)
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from flairseg.study.protocol import Question, Rules

#: Pause in typing after which the text is saved, ms.
TYPING_MS = 500
#: Colour of the chosen answer; white reads well on each.
_CHOSEN = {ACCEPTABLE: "#1d6b34", UNACCEPTABLE: "#a3261b", None: "#2b5f8f"}


class QuestionsForm:
    """Builds itself from a protocol's rules into a widget.

    Parameters
    ----------
    holder : QWidget
        With a vertical layout.
    rules : Rules
    on_answer : callable
        Called with (question id, value): the session's ``answer``; confidence comes with ``CONFIDENCE_QUESTION``. A
        value that is refused is put back by the caller through :meth:`show`.
    """

    def __init__(self, holder, rules: Rules, on_answer: Callable[[str, Answer], None]) -> None:
        self._on_answer = on_answer
        self._rows: dict[str, Any] = {}
        self._box = qt.QWidget()
        layout = qt.QVBoxLayout(self._box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(9)
        for question in rules.questions:
            self._add(layout, question)
        if rules.confidence:
            words = (_("guessing"), "", "", "", _("certain"))
            row = _Choice(CONFIDENCE_QUESTION, _("How certain are you?"), [(n, str(n)) for n in range(1, 6)], words)
            self._put(layout, row)
        holder.layout().addWidget(self._box)

    @property
    def typing(self) -> bool:
        """Whether the keyboard is in one of the form's lines."""
        return any(row.typing for row in self._rows.values())

    def show(self, answers: Mapping[str, Answer], proposed: str | None) -> None:
        """Show what is chosen, without telling anybody; ``proposed``: what the rule of acceptability proposes."""
        for name, row in self._rows.items():
            row.show(answers.get(name), proposed)
        active = self._active()
        for row in self._rows.values():
            row.mark_active(row is active)

    def press_digit(self, digit: int) -> None:
        """A digit answers the first open scale, or the last one again."""
        row = self._active()
        if row is not None:
            row.choose_nth(digit)

    def press_acceptability(self, value: str) -> None:
        """Answer the acceptability question."""
        for row in self._rows.values():
            if row.kind == ACCEPTABILITY:
                row.choose(value)

    def flush(self) -> None:
        """Keep what is being typed."""
        for row in self._rows.values():
            row.flush()

    def leave(self) -> None:
        """Take the keyboard out of the form's lines."""
        for row in self._rows.values():
            row.leave()

    def set_enabled(self, enabled: bool) -> None:
        """Time is up, or not."""
        self._box.setEnabled(enabled)

    def label_of(self, question_id: str) -> str:
        """The question's words."""
        row = self._rows.get(question_id)
        return row.text if row is not None else question_id

    def remove(self) -> None:
        """Take the form away."""
        for row in self._rows.values():
            row.stop()
        self._rows = {}
        self._box.setParent(None)
        self._box.deleteLater()

    def _active(self):
        """The scale that the digits answer: the first open one; else the last."""
        scales = [row for row in self._rows.values() if row.takes_digits]
        return next((row for row in scales if row.value is None), scales[-1] if scales else None)

    def _add(self, layout, question: Question) -> None:
        if question.type == ACCEPTABILITY:
            choices = [(ACCEPTABLE, _("Acceptable (A)")), (UNACCEPTABLE, _("Unacceptable (U)"))]
            row = _Choice(question.id, question.text, choices, (), ACCEPTABILITY)
        elif question.type == YES_NO:
            row = _Choice(question.id, question.text, [(YES, _("Yes (1)")), (NO, _("No (2)"))], (), YES_NO)
        elif question.type == LIKERT_5:
            row = _Choice(question.id, question.text, [(n, str(n)) for n in range(1, 6)], question.labels)
        else:
            row = _Line(question)
        self._put(layout, row)

    def _put(self, layout, row) -> None:
        row.answered = lambda value, name=row.name: self._on_answer(name, value)
        layout.addWidget(row.widget)
        self._rows[row.name] = row


class _Choice:
    """A question with a few answers, as buttons side by side; pressing the chosen one again takes it back."""

    typing = False

    def __init__(self, name: str, text: str, choices: list[tuple[Answer, str]], words, kind: str = LIKERT_5) -> None:
        self.name, self.text, self.kind = name, text, kind
        self.value: Answer = None
        self.takes_digits = kind != ACCEPTABILITY
        self.answered: Callable[[Answer], None] = lambda value: None
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        self._label = _text_label(text)
        column.addWidget(self._label)
        row = qt.QHBoxLayout()
        row.setSpacing(4)
        self._buttons = {}
        for n, (value, caption) in enumerate(choices):
            button = qt.QPushButton(caption)
            button.setObjectName(f"answer_{name}_{value}")
            button.setCheckable(True)
            button.setFocusPolicy(qt.Qt.NoFocus)
            button.setMinimumSize(24, 26)
            button.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
            word = words[n] if n < len(words) else ""
            if word:
                button.setToolTip(word)
            colour = _CHOSEN.get(value, _CHOSEN[None])
            button.setStyleSheet(
                f"QPushButton:checked {{ background: {colour}; color: white; font-weight: bold; border: 1px solid"
                f" {colour}; border-radius: 3px; }}"
            )
            button.clicked.connect(lambda checked=False, v=value: self.choose(v))
            row.addWidget(button, 1)
            self._buttons[value] = button
        column.addLayout(row)
        if any(words):
            column.addLayout(_ends(words))
        self._note = _text_label("")
        self._note.setVisible(False)
        column.addWidget(self._note)

    def show(self, value: Answer, proposed: str | None) -> None:
        self.value = value
        for own, button in self._buttons.items():
            button.setChecked(own == value)
        if self.kind == ACCEPTABILITY:
            differs = value is not None and proposed is not None and value != proposed
            self._note.setText(_("Your answer differs from the rule's proposal; this is allowed.") if differs else "")
            self._note.setVisible(differs)

    def mark_active(self, active: bool) -> None:
        keys = _("keys 1 and 2") if self.kind == YES_NO else _("keys 1 to 5")
        self._label.setText(f"{self.text}   \u25b8 {keys}" if active else self.text)

    def choose(self, value: Answer) -> None:
        self.answered(None if value == self.value else value)

    def choose_nth(self, digit: int) -> None:
        values = list(self._buttons)
        if 1 <= digit <= len(values) and values[digit - 1] != self.value:
            self.answered(values[digit - 1])

    def flush(self) -> None:
        """Buttons are kept at once."""

    def leave(self) -> None:
        """Buttons never have the keyboard."""

    def stop(self) -> None:
        """Nothing runs here."""


class _Line:
    """A question that is answered by typing: a number, or free text. Kept when typing rests."""

    takes_digits = False
    kind = ""

    def __init__(self, question: Question) -> None:
        self.name, self.text = question.id, question.text
        self.value: Answer = None
        self._numeric = question.type == NUMERIC
        self.answered: Callable[[Answer], None] = lambda value: None
        self.widget = qt.QWidget()
        column = qt.QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        column.addWidget(_text_label(question.text))
        self._edit = qt.QLineEdit()
        self._edit.setObjectName(f"answer_{question.id}")
        if self._numeric:
            self._edit.setPlaceholderText(_range_text(question))
        column.addWidget(self._edit)
        self._note = _text_label("")
        self._note.setVisible(False)
        column.addWidget(self._note)
        self._waiting = False
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(TYPING_MS)
        self._timer.timeout.connect(self.flush)
        self._edit.textEdited.connect(lambda text="": self._edited())

    @property
    def typing(self) -> bool:
        return self._edit.hasFocus()

    def show(self, value: Answer, proposed: str | None) -> None:
        self.value = value
        if self._waiting:
            return
        text = "" if value is None else (f"{value:.12g}" if self._numeric else str(value))
        if self._parsed() != value:
            self._edit.setText(text)

    def mark_active(self, active: bool) -> None:
        """Typing shows its own cursor."""

    def flush(self) -> None:
        self._timer.stop()
        if not self._waiting:
            return
        self._waiting = False
        value = self._parsed()
        text = self._edit.text.strip()
        wrong = self._numeric and value is None and bool(text)
        why = _("This is not a number.")
        if is_ambiguous_number(text):
            why = _("The separator may stand for thousands. Write 1234 or 1.234.")
        self._note.setText(why if wrong else "")
        self._note.setVisible(wrong)
        if value != self.value:
            self.answered(value)

    def leave(self) -> None:
        self._edit.clearFocus()

    def stop(self) -> None:
        self._timer.stop()

    def _edited(self) -> None:
        self._waiting = True
        self._timer.start()

    def _parsed(self) -> Answer:
        text = self._edit.text.strip()
        if not self._numeric:
            return text or None
        if is_ambiguous_number(text):
            return None
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return None


def _text_label(text: str):
    label = qt.QLabel(text)
    label.setTextFormat(qt.Qt.PlainText)
    label.setWordWrap(True)
    return label


def _ends(words):
    """The words of both ends of a scale below it."""
    row = qt.QHBoxLayout()
    first, last = qt.QLabel(f"1 {words[0]}" if words[0] else ""), qt.QLabel(f"5 {words[-1]}" if words[-1] else "")
    for label in (first, last):
        label.setTextFormat(qt.Qt.PlainText)
    row.addWidget(first)
    row.addStretch(1)
    row.addWidget(last)
    return row


def _range_text(question: Question) -> str:
    if question.minimum is not None and question.maximum is not None:
        return _("{low} to {high}").format(low=f"{question.minimum:g}", high=f"{question.maximum:g}")
    return _("a number")
