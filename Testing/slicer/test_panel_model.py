"""Model and device: the card, what is learnt about time, models from a file, and what is said when one is no good."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from flairseg.models import DEFAULT_MODEL, store

from Testing.core.tiny import make_model
from Testing.slicer.panel_driver import add_volume, settle, shown


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder of the user's models."""
    folder = tmp_path / "cache" / "models"
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    return folder


@pytest.fixture
def panel(cache, no_worker, open_panel):
    return open_panel()


def test_the_default_model_is_chosen_and_its_card_is_short(panel):
    assert panel.model.modelId == DEFAULT_MODEL
    assert "(default)" in panel.ui.modelComboBox.currentText
    assert shown(panel.ui.modelSummaryLabel) == panel.model.card.summary
    assert panel.ui.modelCardButton.collapsed
    text = panel.ui.modelCardLabel.text
    for part in ("Trained on", "Measured", "Known limits", panel.model.card.licence, DEFAULT_MODEL, "not a medical"):
        assert part in text
    mean = panel.model.card.raw["results"][0]["figures"]["lesion_dice"]["mean"]
    assert f"{mean:.2f}" in text


def test_what_a_card_says_is_escaped(panel, tmp_path):
    from FlairSegLib.panel.model_section import card_html

    folder = make_model(tmp_path / "evil")
    raw = json.loads((folder / "card.json").read_text())
    raw["training_data"] = [{"name": "<img src='http://example.org/x'>", "licence": "x"}]
    raw["limitations"] = ["a < b & c"]
    (folder / "card.json").write_text(json.dumps(raw))
    from flairseg.models import load_card

    text = card_html(load_card(folder))
    assert "<img" not in text
    assert "a &lt; b &amp; c" in text


def test_a_card_with_the_least_that_is_needed_is_shown_too(panel, tmp_path):
    assert panel.model.install(make_model(tmp_path / "stick"))
    assert panel.model.modelId == "tiny-v1.0"
    assert "CC0-1.0" in panel.ui.modelCardLabel.text
    assert "Measured" not in panel.ui.modelCardLabel.text


def test_a_model_from_a_file_is_installed_and_chosen(panel, cache, tmp_path):
    assert panel.model.install(make_model(tmp_path / "stick") / "model.onnx")
    assert (cache / "tiny-v1.0" / "card.json").is_file()
    assert panel.model.modelId == "tiny-v1.0"
    assert "is installed" in shown(panel.ui.modelMessageLabel)
    assert panel.logic.getParameterNode().modelId == "tiny-v1.0"


@pytest.mark.parametrize("damage", ["weights", "card", "nothing"])
def test_a_model_that_is_no_good_is_refused_in_the_panel(panel, cache, tmp_path, damage, slicer):
    folder = make_model(tmp_path / "stick")
    if damage == "weights":
        (folder / "model.onnx").write_bytes(b"not what the card describes")
    elif damage == "card":
        (folder / "card.json").write_text("{")
    else:
        shutil.rmtree(folder)
    assert not panel.model.install(folder)
    message = shown(panel.ui.modelMessageLabel)
    assert message.count(".") >= 2, "what is wrong, and what to do"
    assert panel.model.modelId == DEFAULT_MODEL
    assert not cache.exists()
    assert slicer.app.messages == [], "nothing pops up"


def test_a_damaged_model_in_the_cache_is_told_and_the_others_work(panel, cache):
    (cache / "broken-v1.0").mkdir(parents=True)
    (cache / "broken-v1.0" / "card.json").write_text("{")
    panel.model.refresh()
    assert "broken-v1.0" in shown(panel.ui.modelMessageLabel)
    assert panel.model.modelId == DEFAULT_MODEL


def test_without_any_model_the_button_says_so(panel, monkeypatch, slicer):
    monkeypatch.setattr(store, "search_folders", lambda: [])
    panel.model.refresh()
    add_volume(slicer, "FLAIR")
    settle(panel)
    assert "No model is installed" in shown(panel.ui.modelMessageLabel)
    assert not panel.ui.segmentButton.enabled
    assert "No model" in panel.ui.segmentButton.toolTip


def test_time_is_learnt_and_scaled_by_the_number_of_slices(panel, slicer):
    from FlairSegLib.settings import FlairSegSettings

    assert "first run shows" in shown(panel.ui.modelTimeLabel)
    settings = FlairSegSettings()
    for seconds in (10.0, 12.0, 300.0):
        settings.rememberRun(DEFAULT_MODEL, "auto", 20, seconds)
    assert settings.expectedSeconds(DEFAULT_MODEL, "auto", 20) == pytest.approx(12.0)
    assert settings.expectedSeconds(DEFAULT_MODEL, "auto", 40) == pytest.approx(24.0)
    assert settings.expectedSeconds(DEFAULT_MODEL, "cuda", 40) is None
    add_volume(slicer, "FLAIR", shape=(100, 64, 64), spacing=(3.5, 3.5, 2.0))
    settle(panel)
    assert panel.case.slices == 100
    assert shown(panel.ui.modelTimeLabel).startswith("About 60 s")


def test_a_damaged_settings_file_is_learnt_anew(panel):
    import qt
    from FlairSegLib.settings import REMEMBERED_RUNS, FlairSegSettings

    settings = FlairSegSettings()
    qt.QSettings().setValue("FlairSeg/runs/m-v1.0/cpu", "{nonsense")
    assert settings.expectedSeconds("m-v1.0", "cpu", 10) is None
    for n in range(30):
        settings.rememberRun("m-v1.0", "cpu", 10, 1.0 + n)
    assert len(json.loads(qt.QSettings().value("FlairSeg/runs/m-v1.0/cpu"))) == REMEMBERED_RUNS
    settings.rememberRun("m-v1.0", "cpu", 0, 5.0)
    settings.rememberRun("m-v1.0", "cpu", 5, float("nan"))
    assert settings.expectedSeconds("m-v1.0", "cpu", 10) == pytest.approx(26.5)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (7.4, "7 s"), (43.0, "45 s"), (88.0, "90 s"), (200.0, "3 min")]
)
def test_durations_are_no_more_exact_than_they_can_be(slicer, seconds, words):
    from FlairSegLib.panel.model_section import duration

    assert duration(seconds) == words


def test_the_device_is_remembered_and_what_ran_is_told(panel, slicer, monkeypatch):
    from FlairSegLib import dependencies
    from FlairSegLib.settings import FlairSegSettings

    assert [panel.ui.deviceComboBox.itemText(n) for n in range(3)] == ["Automatic", "CPU", "GPU (NVIDIA)"]
    panel.ui.deviceComboBox.setCurrentIndex(1)
    assert FlairSegSettings().device == "cpu"
    panel.model.setDeviceUsed("cpu", "cpu")
    assert shown(panel.ui.deviceUsedLabel) == "The last run used the CPU."
    monkeypatch.setattr(dependencies, "gpuPresent", lambda: True)
    panel.model.setDeviceUsed("cpu", "auto")
    gpu = dependencies.GPU_RUNTIME in dependencies.installedFlavours()
    assert ("No working NVIDIA GPU" if gpu else "choose the device GPU") in shown(panel.ui.deviceUsedLabel)
    monkeypatch.setattr(dependencies, "gpuPresent", lambda: False)
    panel.model.setDeviceUsed("cpu", "auto")
    assert "choose the device GPU" not in shown(panel.ui.deviceUsedLabel)
    panel.model.setDeviceUsed("cpu", "cuda")
    assert "could not be used" in shown(panel.ui.deviceUsedLabel)
    panel.model.setDeviceUsed("cuda", "auto")
    assert shown(panel.ui.deviceUsedLabel) == "The last run used the GPU (NVIDIA)."


def test_settings_refuse_a_device_that_is_none(slicer):
    from FlairSegLib.settings import FlairSegSettings

    with pytest.raises(ValueError, match="tpu"):
        FlairSegSettings().device = "tpu"


def test_what_is_typed_into_the_settings_stays(panel, slicer, tmp_path):
    from FlairSegLib.settings import FlairSegSettings

    panel.ui.settingsCollapsibleButton.collapsed = False
    assert "Choose a folder" in shown(panel.ui.settingsHintLabel)
    panel.ui.readerLineEdit.setText(" R07 ")
    panel.ui.casesPathLineEdit.setCurrentPath(str(tmp_path / "cäses"))
    panel.ui.storeLineEdit.setText("postgresql+psycopg://reader@server/reviews")
    settings = FlairSegSettings()
    assert settings.readerName == "R07"
    assert settings.casesFolder == str(tmp_path / "cäses")
    assert settings.reviewStoreUrl.startswith("postgresql")
    assert "nothing is overwritten" in shown(panel.ui.settingsHintLabel)


def test_a_reader_who_is_named_elsewhere_is_shown_when_the_settings_are_opened(panel):
    from FlairSegLib.settings import FlairSegSettings

    FlairSegSettings().readerName = "R11"
    panel.ui.settingsCollapsibleButton.collapsed = False
    assert panel.ui.readerLineEdit.text == "R11"


def test_the_installed_weights_are_those_of_the_stick(panel, cache, tmp_path):
    source = make_model(tmp_path / "stick")
    panel.model.install(source)
    digests = {hashlib.sha256((f / "model.onnx").read_bytes()).hexdigest() for f in (source, cache / "tiny-v1.0")}
    assert len(digests) == 1
