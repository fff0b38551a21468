"""Adapt to this scanner: five corrected heads, adapt in the worker process, proof, use, segment, roll back."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from flairseg.adapt import outcomes
from flairseg.adapt.terms import BETTER, NO_DIFFERENCE, WORSE
from flairseg.adapt.work import FOLDER as WORK
from flairseg.errors import MissingDependencyError
from flairseg.models import choosing, store
from flairseg.models.switch import FILE

from Testing.core.tiny import make_model
from Testing.harness.interaction import click, wait_until
from Testing.slicer.adaptation_driver import BASE, cells, opened, prepare_site, write_outcome, write_verdict
from Testing.slicer.helpers import labels_of
from Testing.slicer.panel_driver import settle, shown
from Testing.slicer.test_panel_run import RUN_S


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The user's models: the tiny base alone, which is the model that comes with FlairSeg here."""
    folder = tmp_path / "cache" / "models"
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    monkeypatch.setattr(choosing, "user_cache", lambda: folder)
    monkeypatch.setattr(store, "DEFAULT_MODEL", BASE)
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def cases(tmp_path):
    """A folder of cases, set as the user's."""
    from FlairSegLib.settings import FlairSegSettings

    folder = tmp_path / "MS cases"
    folder.mkdir()
    FlairSegSettings().casesFolder = str(folder)
    return folder


@pytest.fixture
def panel(models, cases, open_panel):
    return open_panel(height=1400)


# --- what is there, and what is missing -------------------------------------------------------------------------------


def test_what_is_ready_and_what_is_missing_is_said_in_words(panel, cases, models):
    from FlairSegLib.settings import FlairSegSettings

    section = opened(panel)
    assert "accept or correct some results first" in shown(section.ui.adaptReadyLabel)
    assert not section.ui.adaptButton.enabled
    write_verdict(cases, "sub-01_ses-1", "accepted_after_edits")
    write_verdict(cases, "sub-01_ses-2", "accepted", model={"sha256": "1"}, edits={})
    write_verdict(cases, "sub-02_ses-1", "accepted", model={"sha256": "1"}, edits={})
    write_verdict(cases, "sub-03_ses-1", "rejected")
    opened(panel)
    assert shown(section.ui.adaptReadyLabel) == "3 cases of 2 patients ready: 1 corrected, 2 accepted unchanged."
    missing = shown(section.ui.adaptMissingLabel)
    assert "Cases of 1 more patient are missing: 3 patients are required" in missing
    assert "Not used: 1 rejected and not corrected since." in missing
    assert not section.ui.adaptButton.enabled
    assert section.ui.adaptButton.toolTip in missing
    write_verdict(cases, "sub-03_ses-1", "accepted_after_edits", 2)
    opened(panel)
    assert "With fewer than 5 patients no gain can be shown: cases of 2 more patients" in shown(
        section.ui.adaptMissingLabel
    )
    assert section.ui.adaptButton.enabled
    for n in (4, 5):
        write_verdict(cases, f"sub-0{n}_ses-1", "accepted_after_edits")
    opened(panel)
    assert shown(section.ui.adaptReadyLabel).startswith("6 cases of 5 patients ready")
    assert shown(section.ui.adaptMissingLabel) == ""
    FlairSegSettings().casesFolder = ""
    opened(panel)
    assert "Choose the folder" in shown(section.ui.adaptReadyLabel)
    assert not section.ui.adaptButton.enabled


def test_the_time_is_remembered(panel, cases):
    from FlairSegLib.settings import ADAPT_MINUTES, FlairSegSettings

    spin = panel.further.adapt.ui.adaptMinutesSpinBox
    assert spin.value == ADAPT_MINUTES == 20
    spin.setValue(45)
    assert FlairSegSettings().adaptMinutes == 45


# --- the proof that is shown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "heading"), [(BETTER, "Better."), (NO_DIFFERENCE, "No difference shown."), (WORSE, "Worse.")]
)
def test_only_a_better_model_can_be_used(panel, cases, word, heading, monkeypatch):
    import qt

    folder = write_outcome(cases, word)
    section = opened(panel)
    ui = section.ui
    assert shown(ui.proofVerdictLabel) == f"{heading} Lesion Dice rose by 0.100."
    assert "was adapted to 6 cases of 5 patients in 8 min" in shown(ui.proofTellsLabel)
    assert cells(ui.proofTable) == [
        ["Lesion Dice", "0.50", "0.60", "+0.10 (+0.05 … +0.15)"],
        ["To edit", "812", "640", "+172"],
    ]
    assert cells(ui.proofCasesTable)[2] == ["Case 3", "0.50", "0.60", "812", "640"]
    assert "better for 4 of 5 patients; p 0.031" in ui.proofTable.item(0, 0).toolTip()
    assert shown(ui.proofLeftOutLabel) == "Not used: case 7. The same image under another name."
    assert ui.useButton.isVisible() == ui.keepButton.isVisible() == (word == BETTER)
    opened_pages = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened_pages.append(url.toLocalFile()) or True)
    click(ui.proofButton)
    assert opened_pages == [str(folder / "proof.html")]
    assert panel.model.modelId == BASE or panel.model.modelId == ""
    section.use()
    assert not (store.user_cache() / FILE).exists() or word == BETTER


def test_a_proof_that_was_altered_is_not_shown(panel, cases):
    folder = write_outcome(cases, BETTER, 2)
    write_outcome(cases, WORSE, 1)
    raw = json.loads((folder / "card.json").read_text())
    raw["adaptation"]["data"]["patients"] = 50
    (folder / "card.json").write_text(json.dumps(raw))
    section = opened(panel)
    assert section.outcome.verdict == WORSE
    assert outcomes.next_folder(cases).name == "adaptation-3"


def test_an_unfinished_adaptation_is_gone_on_with(cases):
    assert outcomes.next_folder(cases).name == "adaptation-1"
    (cases / outcomes.FOLDER / "adaptation-4" / WORK).mkdir(parents=True)
    assert outcomes.next_folder(cases).name == "adaptation-4"


def test_use_keep_and_roll_back(panel, cases, models, slicer):
    make_model(models, BASE)
    panel.model.refresh()
    write_outcome(cases, BETTER)
    section = opened(panel)
    ui = section.ui
    assert f"({BASE})" in shown(ui.inUseLabel)
    assert "(default)" in panel.ui.modelComboBox.currentText
    assert not ui.rollbackButton.isVisible()
    click(ui.keepButton)
    assert "You kept the old model" in shown(ui.proofTellsLabel)
    assert panel.model.modelId == BASE
    assert not ui.keepButton.enabled
    click(ui.useButton)
    assert "Now in use: tiny2d-site-v1.0" in shown(ui.adaptMessageLabel)
    assert panel.model.modelId == panel.model.inUse == "tiny2d-site-v1.0"
    assert "(in use)" in panel.ui.modelComboBox.currentText
    assert not ui.useButton.enabled
    assert "It is in use" in shown(ui.proofTellsLabel)
    click(ui.rollbackButton)
    assert f"In use again: {BASE}" in shown(ui.adaptMessageLabel)
    assert panel.model.modelId == BASE
    assert not ui.rollbackButton.isVisible()
    assert ui.useButton.enabled


def test_a_convention_is_asked_for_before_the_model_can_be_used(panel, cases, models, slicer):
    make_model(models, BASE)
    panel.model.refresh()
    folder = write_outcome(cases, BETTER, codes=("normal-drawn-as-lesions",))
    section = opened(panel)
    ui = section.ui
    assert shown(ui.proofVerdictLabel).startswith("No difference shown. 70% of what the base calls normal")
    assert "Is this so: our readers count periventricular caps as lesions?" in shown(ui.conventionsLabel)
    assert ui.conventionsCheckBox.isVisible()
    assert ui.conventionsCheckBox.text == "Our readers count periventricular caps as lesions"
    assert ui.useButton.isVisible()
    assert not ui.useButton.enabled
    section.use()
    assert panel.model.modelId == BASE
    click(ui.conventionsCheckBox)
    click(ui.useButton)
    assert "Now in use: tiny2d-site-v1.0" in shown(ui.adaptMessageLabel)
    assert panel.model.modelId == "tiny2d-site-v1.0"
    assert shown(ui.proofVerdictLabel).startswith("Better. Lesion Dice rose")
    assert "Stated: our readers count" in shown(ui.conventionsLabel)
    assert not ui.conventionsCheckBox.isVisible()
    assert store.find_model("tiny2d-site-v1.0").raw["adaptation"]["conventions"][0]["accepted"]
    assert outcomes.read_outcome(folder).verdict == BETTER
    # What was stated of one adaptation says nothing of the next one.
    write_outcome(cases, BETTER, 2, "tiny2d-site-v1.1", codes=("normal-drawn-as-lesions", "lesions-not-drawn"))
    opened(panel)
    assert ui.conventionsCheckBox.text == "All of this is so"
    assert not ui.conventionsCheckBox.checked
    assert not ui.useButton.enabled


def test_a_worse_model_is_not_asked_about(panel, cases):
    write_outcome(cases, WORSE, codes=("normal-drawn-as-lesions",))
    ui = opened(panel).ui
    assert "normal periventricular" in shown(ui.conventionsLabel)
    assert not ui.conventionsCheckBox.isVisible()
    assert not ui.useButton.isVisible()


# --- the model in use -------------------------------------------------------------------------------------------------


def test_the_list_follows_the_model_in_use_until_the_user_chooses_another(panel, models, slicer):
    for name in (BASE, "other-v1.0", "third-v1.0"):
        make_model(models, name)
    panel.model.refresh()
    assert panel.model.modelId == BASE
    choosing.use(store.find_model("other-v1.0"))
    panel.exit()
    panel.enter()
    assert panel.model.modelId == "other-v1.0"
    assert "(in use)" in panel.ui.modelComboBox.currentText
    # The user's own choice holds, through scenes and restarts, until another model is put in use.
    box = panel.ui.modelComboBox
    box.setCurrentIndex(box.findData("third-v1.0"))
    slicer.mrmlScene.Clear(0)
    panel.model.refresh()
    assert panel.model.modelId == "third-v1.0"
    choosing.rollback()
    panel.enter()
    assert panel.model.modelId == BASE
    # A scene's model is that scene's alone.
    panel.logic.getParameterNode().modelId = "third-v1.0"
    panel.model.setParameterNode(panel.logic.getParameterNode())
    assert panel.model.modelId == "third-v1.0"
    slicer.mrmlScene.Clear(0)
    assert panel.model.modelId == BASE


def test_another_model_is_never_taken_in_place_of_the_one_in_use(panel, models, slicer):
    for name in (BASE, "other-v1.0"):
        make_model(models, name)
    choosing.use(store.find_model("other-v1.0"))
    (models / "other-v1.0").rename(models.parent / "away")
    panel.enter()
    assert panel.model.modelId == ""
    message = shown(panel.ui.modelMessageLabel)
    assert "other-v1.0" in message
    assert "cannot be used" in message
    assert panel.model.refusal == "Choose a model."
    section = opened(panel)
    assert "cannot be used" in shown(section.ui.inUseLabel)
    click(section.ui.rollbackButton)
    assert panel.model.modelId == BASE
    assert shown(panel.ui.modelMessageLabel) == ""


# --- packages ---------------------------------------------------------------------------------------------------------


class Pip:
    """Slicer's pip_install, which installs what it is told."""

    def __init__(self, installed: dict[str, str]) -> None:
        self.installed, self.calls = dict(installed), []

    def install(self, arguments):
        assert arguments[0] == "-c"
        self.calls.append((Path(arguments[1]).read_text(), arguments[2:]))
        for line in arguments[2:]:
            if not line.startswith(("-", "http")):
                self.installed[line.partition(">")[0]] = "9.9"


@pytest.fixture
def computer(slicer, monkeypatch):
    from FlairSegLib import dependencies

    def make(installed, agrees=True):
        pip, pip.questions = Pip(installed), []
        monkeypatch.setattr(dependencies, "installedVersion", lambda name: pip.installed.get(name))
        monkeypatch.setattr(slicer.util, "pip_install", pip.install, raising=False)
        monkeypatch.setattr(
            slicer.util,
            "confirmOkCancelDisplay",
            lambda text, *a, **k: pip.questions.append(text) or agrees,
            raising=False,
        )
        return pip

    for name in ("PIP_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # the real pip is asked for its settings
    return make


SLICER = {"numpy": "2.4.0", "scipy": "1.17.0", "SimpleITK": "2.5.3", "onnxruntime": "1.27.0"}


def test_pytorch_is_asked_for_with_size_and_reason_and_slicers_packages_stay(computer, monkeypatch):
    from FlairSegLib import training_packages

    pip = computer(SLICER)
    monkeypatch.setattr(sys, "platform", "linux")
    assert "200 MB" in training_packages.reason()
    training_packages.ensure()
    (question,) = pip.questions
    for part in ("PyTorch", "200 MB", "trains the network", "not changed"):
        assert part in question
    torch_call, others = pip.calls
    assert torch_call[1] == ["--index-url", training_packages.CPU_INDEX, training_packages.TORCH]
    assert [line.partition(">")[0] for line in others[1]] == ["onnx", "jinja2", "matplotlib"]
    assert all("numpy==2.4.0" in constraints.splitlines() for constraints, _ in pip.calls)
    assert training_packages.reason() == ""
    training_packages.ensure()
    assert len(pip.questions) == 1


@pytest.mark.parametrize("where", ["environment", "pip.ini", "folder of packages"])
def test_a_hospitals_own_index_is_used(computer, monkeypatch, tmp_path, capfd, where):
    from FlairSegLib import training_packages

    pip = computer(SLICER)
    monkeypatch.setattr(sys, "platform", "linux")
    if where == "environment":
        monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.org/simple")
    else:
        line = "index-url = https://anna:secret@mirror.example.org/simple" if where == "pip.ini" else "no-index = true"
        (tmp_path / "pip.ini").write_text(f"[global]\n{line}\n")
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.ini"))
    training_packages.ensure()
    assert "secret" not in "".join(capfd.readouterr())
    assert [arguments for _, arguments in pip.calls] == [list(training_packages.PACKAGES)]


def test_declining_leaves_all_as_it_is_and_an_old_pytorch_is_not_replaced(computer):
    from FlairSegLib import training_packages

    pip = computer(SLICER, agrees=False)
    with pytest.raises(MissingDependencyError, match="were not installed") as caught:
        training_packages.ensure()
    assert "torch" in caught.value.advice
    old = computer({**SLICER, "torch": "2.2.0"})
    with pytest.raises(MissingDependencyError, match=r"2\.2\.0 is installed"):
        training_packages.ensure()
    assert pip.calls == old.calls == []


def test_nothing_is_asked_for_before_an_adaptation_is_started(panel, cases, computer):
    for n in range(1, 6):
        write_verdict(cases, f"sub-0{n}", "accepted_after_edits")
    pip = computer({**SLICER, "scikit-image": "0.26.0"}, agrees=False)
    section = opened(panel)
    assert "200 MB" in shown(section.ui.adaptPackagesLabel)
    assert pip.questions == []
    click(section.ui.adaptButton)
    assert len(pip.questions) == 1
    assert "were not installed" in shown(section.ui.adaptMessageLabel)
    assert not section.running
    assert not (cases / outcomes.FOLDER).exists()


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(models, cases, tmp_path, monkeypatch):
    """Five corrected heads of a site whose lesions are fainter than what the base knows; the worker's own files."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[adapt]'")
    monkeypatch.setenv("PYTHONPATH", str(prepare_site(models, cases, tmp_path / "site")))
    return cases


def segmented(panel, slicer) -> tuple[np.ndarray, object]:
    """Labels and node of a further head of the site, by the chosen model."""
    from Testing.core.site_cases import site_head

    volume, _ = site_head(9, gain=0.7)
    node = slicer.util.addVolumeFromArray(volume.array, volume.ijk_to_ras, "FLAIR")
    settle(panel)
    panel.ui.inputSelector.setCurrentNode(node)
    settle(panel)
    click(panel.ui.segmentButton)
    wait_until(lambda: not panel.run.running, RUN_S)
    found = panel.result.segmentationNode
    return labels_of(slicer, found, node), found


@pytest.mark.slow
def test_adapt_prove_use_segment_and_roll_back(site, panel, models, slicer):
    from FlairSegLib import segment_tags

    panel.model.refresh()
    before, node = segmented(panel, slicer)
    assert segment_tags.first_tag(node, segment_tags.MODEL) == BASE
    section = opened(panel)
    ui = section.ui
    ui.adaptMinutesSpinBox.setValue(1440)
    assert shown(ui.adaptReadyLabel).startswith("5 cases of 5 patients ready")

    # Cancelled on the way, the old model is in use, and what was finished is kept.
    click(ui.adaptButton)
    assert ui.adaptButton.text == "Cancel"
    folder = site / outcomes.FOLDER / "adaptation-1"
    wait_until(lambda: (folder / WORK / "fold-1.json").exists() or not section.running, 600)
    assert section.running, shown(ui.adaptMessageLabel)
    assert "adapting without each patient" in shown(ui.adaptStageLabel)
    slicer.mrmlScene.Clear(0)
    assert section.running, "an adaptation has nothing to do with the scene"
    pid = section.controller.workerPid
    click(ui.adaptButton)
    assert not section.running
    assert "Adapt resumes from them" in shown(ui.adaptMessageLabel)
    wait_until(lambda: not _alive(pid), 10)
    assert not (folder / "card.json").exists()
    assert not (models / FILE).exists()
    assert panel.model.modelId == BASE
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / WORK).glob("fold-1*.json")}

    click(ui.adaptButton)
    wait_until(lambda: (folder / WORK / "fold-2.json").exists() or not section.running, 600)
    assert {name: (folder / WORK / name).stat().st_mtime_ns for name in kept} == kept
    wait_until(lambda: not section.running, 600)
    wait_until(lambda: not section.looking, 20)
    assert section.outcome is not None, shown(ui.adaptMessageLabel)
    assert section.outcome.folder == folder
    assert section.outcome.verdict == BETTER, shown(ui.proofVerdictLabel)
    assert shown(ui.proofVerdictLabel).startswith("Better. Lesion Dice rose by")
    assert [row[0] for row in cells(ui.proofCasesTable)] == ["p1", "p2", "p3", "p4", "p5"]
    assert panel.model.modelId == BASE, "nothing is used before the user says so"
    assert "p3" not in (folder / "proof.json").read_text()

    click(ui.useButton)
    assert panel.model.modelId == section.outcome.card.id == "tiny2d-site-v1.0"
    after, node = segmented(panel, slicer)
    assert segment_tags.first_tag(node, segment_tags.MODEL) == "tiny2d-site-v1.0"
    assert segment_tags.first_tag(node, segment_tags.MODEL_SHA256) == section.outcome.card.sha256
    assert (after == 3).sum() > (before == 3).sum()

    click(ui.rollbackButton)
    assert panel.model.modelId == BASE
    again, node = segmented(panel, slicer)
    assert segment_tags.first_tag(node, segment_tags.MODEL) == BASE
    assert np.array_equal(again, before)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().split()[2] != "Z"
    except OSError:  # gone, perhaps between two of these lines
        return False
