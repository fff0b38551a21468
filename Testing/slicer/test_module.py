"""The module as Slicer meets it: what it says about itself, startup, reload, several visits, clipping at any width."""

from __future__ import annotations

import sys

import pytest

from Testing.harness.interaction import run_event_loop
from Testing.slicer.panel_driver import add_volume, settle


@pytest.fixture
def module(main_window, load_module, no_worker):
    return load_module("FlairSeg")


def test_what_the_module_says_about_itself(module):
    assert module.title == "FLAIR Segmentation"
    assert module.categories == ("Segmentation",)
    assert not module.hidden
    for part in ("not a medical device", "wmh-normal-abnormal-segmentation", "FlairSegLogic().process"):
        assert part in module.helpText
    assert "doi:10.1016/j.mri.2012.05.001" in module.acknowledgementText


def test_startup_registers_samples_and_terms(module, slicer):
    import SampleData
    from FlairSegLib import sample_data, terminology

    names = {sample.name for sample in sample_data.SAMPLES} | {sample_data.PHANTOM}
    assert names <= set(SampleData.SampleDataLogic.registered)
    assert slicer.modules.terminologies.logic().IsTerminologyContextLoaded(terminology.CONTEXT)


@pytest.mark.usefixtures("no_worker")
def test_a_module_loaded_into_a_running_slicer_is_registered(slicer, main_window, load_module, monkeypatch):
    """The extension loaded by hand: Slicer's start-up is over and no longer announced."""
    import SampleData
    from FlairSegLib import slice_layout

    main_window()
    monkeypatch.setattr(SampleData.SampleDataLogic, "registered", {})
    monkeypatch.setattr(type(slicer.app), "complete_startup", lambda self: None)
    load_module("FlairSeg")
    assert "FlairSegPhantom" in SampleData.SampleDataLogic.registered
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert all(node.IsLayoutDescription(number) for number in slice_layout.descriptions())


def test_the_logic_is_there_for_the_console(module, slicer):
    logic = sys.modules["FlairSeg"].FlairSegLogic()
    parameters = logic.getParameterNode()
    node = add_volume(slicer, "FLAIR")
    parameters.inputVolume = node
    assert logic.getParameterNode().inputVolume is node
    assert parameters.modelId == ""
    assert not parameters.inputChosen


def test_the_panel_is_entered_left_and_entered_again(module, main_window, slicer):
    main_window("FlairSeg")
    panel = module.widgetRepresentation().self()
    selector = slicer.util.mainWindow().moduleSelector()
    add_volume(slicer, "FLAIR")
    settle(panel)
    for _ in range(3):
        assert panel.run._shortcuts.bound
        selector.selectModule("Volumes")
        assert not panel.run._shortcuts.bound
        selector.selectModule("FlairSeg")
    assert panel.case.volumeNode.GetName() == "FLAIR"


def test_a_flair_that_is_chosen_again_is_shown_with_its_own_result(module, main_window, slicer, head):
    """The list and the verdict were those of the other FLAIR, under the name of the one chosen."""
    from Testing.slicer.result_driver import segmented

    main_window("FlairSeg")
    panel = module.widgetRepresentation().self()
    (first, of_first), (second, of_second) = (segmented(slicer, head, name) for name in ("FLAIR A", "FLAIR B"))
    other = add_volume(slicer, "FLAIR without result")
    settle(panel)
    for volume, node in ((second, of_second), (first, of_first), (second, of_second)):
        panel.ui.inputSelector.setCurrentNode(volume)
        settle(panel)
        assert panel.result.segmentationNode is node
        assert panel.result.volumeNode is volume
    panel.ui.inputSelector.setCurrentNode(other)
    settle(panel)
    assert panel.result.segmentationNode is of_second, "what is shown stays until there is something to show"
    panel.result.setSegmentation(of_first)
    panel._selectionChanged()
    run_event_loop(0.1)
    assert panel.result.segmentationNode is of_first, "nothing else was chosen"


def test_a_panel_that_is_gone_observes_nothing(module, main_window, slicer):
    main_window("FlairSeg")
    panel = module.widgetRepresentation().self()
    panel.cleanup()
    slicer.mrmlScene.Clear(False)
    add_volume(slicer, "FLAIR")
    run_event_loop(0.5)
    assert panel._parameterNode is None


def _clipped(widget) -> list[str]:
    """Visible labels and buttons whose text has not the room that it needs."""
    import qt

    short = []
    for label in widget.findChildren(qt.QLabel):
        if label.isVisible() and label.text:
            needed = label.heightForWidth(label.width) if label.wordWrap else label.sizeHint.height()
            if label.height < needed - 1 or (not label.wordWrap and label.width < label.sizeHint.width() - 1):
                short.append(f"{label.objectName}: {label.width} x {label.height}, needs {needed} rows")
    for button in (*widget.findChildren(qt.QPushButton), *widget.findChildren(qt.QToolButton)):
        if button.isVisible() and button.text and button.width < button.minimumSizeHint.width():
            short.append(f"{button.objectName}: {button.width} wide")
    return short


@pytest.mark.parametrize("width", [310, 380, 460])
def test_nothing_is_clipped_at_any_usual_width(module, main_window, slicer, width):
    from FlairSegLib import dependencies, pip_failures
    from FlairSegLib.panel import messages

    window = main_window("FlairSeg", height=1400)
    panel = module.widgetRepresentation().self()
    window.panel.parent().setFixedWidth(width)
    node = add_volume(slicer, "T1_mprage_sag_p2_iso_with_a_rather_long_series_description")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    panel.ui.modelCardButton.collapsed = False
    panel.ui.settingsCollapsibleButton.collapsed = False
    further = panel.further
    for section in (further.compare.ui.compareCollapsibleButton, further.follow.ui.followCollapsibleButton):
        section.collapsed = False
    further.export.ui.exportCollapsibleButton.collapsed = False
    further.adapt.ui.adaptCollapsibleButton.collapsed = False
    further.export.ui.dicomCheckBox.setChecked(True)
    further.export.ui.pseudonymiseCheckBox.setChecked(True)
    panel.model.setDeviceUsed("cpu", "auto")
    message, advice = pip_failures.explain("CERTIFICATE_VERIFY_FAILED", dependencies.PACKAGES)
    offline = pip_failures.offline_advice(dependencies.PACKAGES)
    messages.show(panel.ui.statusLabel, messages.ERROR, f"{message}\n{advice}\n{offline}")
    panel.ui.copyDiagnosticsButton.setVisible(True)
    content = panel.ui.content
    for _turn in range(20):
        # Sections within sections are laid out one after the other, on a busy computer slowly.
        run_event_loop(0.2)
        if not _clipped(content):
            break
    assert content.width <= width
    assert _clipped(content) == []


def test_every_text_of_the_ui_file_is_plain_and_complete():
    """No leftover of Designer, no code word, no missing full stop where there is a sentence."""
    from pathlib import Path
    from xml.etree import ElementTree

    import flairseg

    folder = Path(flairseg.__file__).parents[1] / "Resources" / "UI"
    for name in ("FlairSeg", "FlairSegAdapt", "FlairSegCompare", "FlairSegExport", "FlairSegFollow", "FlairSegResult"):
        root = ElementTree.parse(folder / f"{name}.ui").getroot()
        # What is no text for people (types of nodes) stands in lists that are marked.
        marked = {id(node) for part in root.iter("stringlist") if part.get("notr") == "true" for node in part}
        texts = [n.text for n in root.iter("string") if n.text and n.get("notr") != "true" and id(n) not in marked]
        assert texts, name
        for text in texts:
            assert not text.startswith(("Form", "TextLabel", "PushButton"))
            assert "_" not in text


def test_the_list_of_keys_is_what_is_bound(module, main_window, slicer):
    from FlairSegLib import keys

    main_window("FlairSeg")
    panel = module.widgetRepresentation().self()
    bound = [key for shortcuts in (panel.run._shortcuts, panel.result.shortcuts) for key in shortcuts._actions]
    assert sorted(bound) == sorted(keys.descriptions())
    assert all(keys.descriptions().values())


def test_the_manual_lists_the_keys(slicer):
    from pathlib import Path

    from FlairSegLib import keys

    manual = (Path(__file__).parents[2] / "docs" / "slicer.md").read_text(encoding="utf-8")
    section = manual.split("<!-- keys:start -->")[1].split("<!-- keys:end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in section.strip().splitlines()[2:]]
    assert rows == [[f"`{key}`", text] for key, text in keys.descriptions().items()], "run `make readme SECTIONS=keys`"


def test_a_developer_reloads_the_module(module, main_window, slicer):
    main_window("FlairSeg")
    panel = module.widgetRepresentation().self()
    add_volume(slicer, "FLAIR")
    settle(panel)
    old = sys.modules["FlairSegLib.panel.case_section"]
    panel.onReload()
    run_event_loop(0.2)
    again = module.widgetRepresentation().self()
    assert again is not panel
    assert sys.modules["FlairSegLib.panel.case_section"] is not old
    settle(again)
    assert again.case.volumeNode.GetName() == "FLAIR"
    assert panel._sections == []
    assert not panel.result.shortcuts.bound
    assert again.result.shortcuts.bound, "the keys work without the module being chosen again"
