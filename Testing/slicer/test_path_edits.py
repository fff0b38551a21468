"""A path that is cleared is a path that changed, although the application's widget does not say so."""

from __future__ import annotations

from pathlib import Path

import pytest

UI_FILES = Path(__file__).parents[2] / "FlairSegExtension" / "Resources" / "UI"


@pytest.fixture
def section(slicer):
    from FlairSegLib.panel.settings_section import SettingsSection
    from FlairSegLib.settings import FlairSegSettings

    widget = slicer.util.loadUI(str(UI_FILES / "FlairSeg.ui"))
    made = SettingsSection(slicer.util.childWidgetVariables(widget), FlairSegSettings())
    yield made
    widget.deleteLater()


def test_a_folder_of_cases_that_is_cleared_is_forgotten(section, tmp_path):
    from FlairSegLib.settings import FlairSegSettings

    edit = section.ui.casesPathLineEdit
    edit.setCurrentPath(str(tmp_path))
    assert FlairSegSettings().casesFolder == str(tmp_path)
    edit.setCurrentPath("")
    assert FlairSegSettings().casesFolder == ""
    assert "Choose a folder" in section.ui.settingsHintLabel.text


def test_the_slot_has_the_path_each_time(slicer, tmp_path):
    import ctk
    from FlairSegLib.panel.path_edits import onPathChanged

    heard = []
    edit = ctk.ctkPathLineEdit()
    onPathChanged(edit, heard.append)
    for path in (str(tmp_path), "", str(tmp_path / "other")):
        edit.setCurrentPath(path)
        assert heard[-1] == path
        heard.clear()
