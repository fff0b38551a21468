"""Summary, undo and verdict stay in view wherever the panel was scrolled to, at the widths that Slicer gives it."""

from __future__ import annotations

import pytest

from Testing.harness.interaction import click, run_event_loop, wait_until
from Testing.slicer.result_driver import segmented

IN_VIEW = ("summaryLabel", "undoButton", "redoButton", "readerEdit", "acceptButton", "rejectButton")


def whole(widget) -> bool:
    seen = widget.visibleRegion().boundingRect()
    return seen.height() >= widget.height and seen.width() >= widget.width


@pytest.fixture(params=[(1400, 310), (1680, 420)], ids=["310", "420"])
def panel(request, slicer, main_window, load_module, head):
    width, panel_width = request.param
    load_module("FlairSeg")
    main_window("FlairSeg", width=width, height=1000, panel_width=panel_width)
    widget = slicer.modules.flairseg.widgetRepresentation().self()
    _, node = segmented(slicer, head)
    run_event_loop(0.4)
    widget.model.fold("cpu", 9.0)
    widget.result.setSegmentation(node)
    wait_until(lambda: not widget.result.busy, 30)
    widget.result.begin()
    run_event_loop(0.2)
    return widget


def test_whatever_is_scrolled_to(panel):
    ui = panel.result.ui
    assert whole(ui.lesionTable), "the list of lesions is what a reader needs first"
    assert "3\u00a0lesions" in ui.summaryLabel.text
    bar = panel.ui.contentArea.verticalScrollBar()
    assert panel.ui.contentArea.horizontalScrollBar().maximum == 0
    for place in (bar.minimum, bar.maximum):
        bar.setValue(place)
        run_event_loop(0.05)
        for name in IN_VIEW:
            assert whole(getattr(ui, name)), name
    click(ui.rejectButton)
    assert whole(ui.reasonSelector)
    assert whole(ui.confirmRejectButton)


@pytest.fixture
def small(main_window):
    """A window of 1280 x 800 at 150 %."""
    return lambda module: main_window(module, width=853, height=533, panel_width=310)


def assert_in_view(window, ui) -> None:
    scroll = window.panel
    assert (scroll.verticalScrollBar().maximum, scroll.horizontalScrollBar().maximum) == (0, 0)
    for name in IN_VIEW:
        assert whole(getattr(ui, name)), name


def test_in_a_small_window(slicer, small, load_module, head):
    load_module("FlairSeg")
    window = small("FlairSeg")
    widget = slicer.modules.flairseg.widgetRepresentation().self()
    _, node = segmented(slicer, head)
    run_event_loop(0.3)
    widget.result.setSegmentation(node)
    wait_until(lambda: not widget.result.busy, 30)
    run_event_loop(0.2)
    ui = widget.result.ui
    assert_in_view(window, ui)
    assert widget.ui.contentArea.horizontalScrollBar().maximum == 0
    click(ui.rejectButton)
    run_event_loop(0.1)
    for name in ("reasonSelector", "reasonEdit", "confirmRejectButton", "cancelRejectButton"):
        assert whole(getattr(ui, name)), name


def test_a_case_of_the_queue_in_a_small_window(slicer, small, load_module, head, tmp_path):
    from FlairSegLib.settings import FlairSegSettings

    from Testing.slicer.queue_driver import QueueDriver, write_result

    load_module("FlairSegReview")
    window = small("FlairSegReview")
    tab = slicer.modules.flairsegreview.widgetRepresentation().self().queue
    write_result(tmp_path / "results", "a", head, 0.3)
    queue = QueueDriver(slicer, tab, window, FlairSegSettings())
    queue.list(tmp_path / "results")
    queue.open("a")
    run_event_loop(0.2)
    assert_in_view(window, tab.result.ui)
    assert tab.ui.queueArea.horizontalScrollBar().maximum == 0


def test_one_pair_of_each_tool(panel, slicer):
    """Brush, eraser, undo and redo are offered once."""
    import qt

    panel.result.editor.use("Paint")
    buttons = [
        button
        for kind in (qt.QPushButton, qt.QToolButton)
        for root in (panel.result.widget, panel.result.bar)
        for button in slicer.util.findChildren(root)
        if isinstance(button, kind) and not button.isHidden() and button.isVisibleTo(root)
    ]
    for word in ("Paint", "Erase", "Undo", "Redo"):
        assert sum(word in str(button.text) for button in buttons) == 1, word
