"""Cards: the schema, the dataclasses and the stages name the same variants; altered or missing models are refused."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
from flairseg import errors, preprocessing
from flairseg.adapt.cards import write_adapted
from flairseg.models import card as card_module
from flairseg.models import find_model, list_models, load_card, schema, store
from flairseg.models.card import CHOICES, PipelineConfig, with_lesion_threshold
from flairseg.models.lesion_confidence import lesion_confidence_of
from flairseg.preprocessing.normalisation import NORMALISATIONS

from Testing.core.tiny import PIPELINE, make_model

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIDENCE = {"intercept": -3.77, "logit_probability": 1.08, "ln_volume": 0.56, "fitted_on": "lesions of tests"}
SCHEMA = json.loads((REPOSITORY / "models" / "card.schema.json").read_text())


def changed(model: Path, tmp_path: Path, **values) -> Path:
    """A copy of a model whose card has other values; None removes a key, dotted keys reach inside."""
    folder = tmp_path / "changed-v1.0"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    card = json.loads((folder / "card.json").read_text())
    for key, value in values.items():
        target, *inside = key.split("__")
        holder, name = (card, target) if not inside else (card[target], inside[0])
        if value is None:
            del holder[name]
        else:
            holder[name] = value
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_schema_and_dataclass_know_the_same_fields_and_variants():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["properties"]["pipeline"]["properties"]
    assert set(properties) == {f.name for f in fields(PipelineConfig)}
    for name, allowed in CHOICES.items():
        assert tuple(properties[name]["enum"]) == allowed


def test_cards_and_stages_know_the_same_variants():
    assert set(CHOICES["normalisation"]) == set(NORMALISATIONS)
    assert set(CHOICES["framing"]) == set(preprocessing.FRAMINGS)
    assert set(CHOICES["denoise"]) == set(preprocessing.DENOISERS)


def test_every_card_of_the_repository_is_valid():
    for path in (REPOSITORY / "models").glob("*/card.json"):
        raw = json.loads(path.read_text())
        jsonschema.validate(raw, SCHEMA)
        card = load_card(path, verify="ensemble" in raw or path.with_name("model.onnx").exists())
        assert card.id == path.parent.name


@pytest.mark.parametrize("named", ["folder", "card", "weights", "string"])
def test_a_model_is_found_by_its_path(model, named):
    path = {
        "folder": model,
        "card": model / "card.json",
        "weights": model / "model.onnx",
        "string": str(model / "model.onnx"),
    }[named]
    card = find_model(path)
    assert card.id == "tiny-v1.0"
    assert card.path == model / "model.onnx"
    assert card.pipeline.frame_size == (96, 80)
    assert card.raw["intended_use"] == "Tests."


def test_a_bare_folder_name_is_a_path_when_no_id_matches(model_folder, monkeypatch):
    monkeypatch.chdir(model_folder)
    assert find_model("tiny-v1.0").id == "tiny-v1.0"


def test_first_hit_wins(tmp_path, model, monkeypatch):
    make_model(tmp_path / "a", pipeline={"min_lesion_mm3": 11.0})
    make_model(tmp_path / "b", pipeline={"min_lesion_mm3": 22.0})
    monkeypatch.setenv(
        store.ENVIRONMENT, os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")])
    )
    assert find_model("tiny-v1.0").pipeline.min_lesion_mm3 == 11.0
    assert [c.id for c in list_models()].count("tiny-v1.0") == 1
    # A folder that is itself a model, and the user's cache.
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "b" / "tiny-v1.0"))
    assert find_model("tiny-v1.0").pipeline.min_lesion_mm3 == 22.0
    monkeypatch.delenv(store.ENVIRONMENT)
    monkeypatch.setattr(store, "user_cache", lambda: tmp_path / "a")
    assert find_model("tiny-v1.0").pipeline.min_lesion_mm3 == 11.0


def test_the_user_cache_is_the_same_with_and_without_platformdirs(monkeypatch):
    with_platformdirs = store.user_cache()
    assert "flairseg" in str(with_platformdirs)
    monkeypatch.setitem(__import__("sys").modules, "platformdirs", None)
    assert store.user_cache() == with_platformdirs


def test_the_default_is_asked_for_by_its_id(monkeypatch, tmp_path):
    monkeypatch.setattr(store, "search_folders", lambda: [("here", tmp_path)])
    with pytest.raises(errors.ModelNotFoundError, match=store.DEFAULT_MODEL.replace(".", r"\.")) as caught:
        find_model()
    assert caught.value.code == "unknown-model"
    assert "installed models" in caught.value.advice
    make_model(tmp_path, store.DEFAULT_MODEL)
    assert find_model().id == store.DEFAULT_MODEL


@pytest.mark.parametrize(
    "named", ["nowhere-v1.0", "./nowhere", "nowhere.onnx", "/nowhere/model.onnx", "a" * 300 + ".onnx", "nul\0.onnx"]
)
def test_models_that_are_not_there(named):
    with pytest.raises(errors.ModelNotFoundError) as caught:
        find_model(named)
    assert caught.value.advice


def test_weights_without_card_and_card_without_weights(tmp_path, model):
    shutil.copy(model / "model.onnx", tmp_path / "alone.onnx")
    with pytest.raises(errors.ModelNotFoundError, match="no model card"):
        find_model(tmp_path / "alone.onnx")
    shutil.copytree(model, tmp_path / "bare")
    (tmp_path / "bare" / "model.onnx").unlink()
    with pytest.raises(errors.ModelNotFoundError, match="missing"):
        find_model(tmp_path / "bare")
    assert load_card(tmp_path / "bare", verify=False).id == "tiny-v1.0"


def test_altered_weights_are_an_error(tmp_path, model):
    folder = changed(model, tmp_path)
    raw = bytearray((folder / "model.onnx").read_bytes())
    raw[-1] ^= 1
    (folder / "model.onnx").write_bytes(raw)
    with pytest.raises(errors.InvalidModelError, match="sha256"):
        find_model(folder)
    # And again after a good answer was remembered: the memory ends when the file changes.
    folder = changed(model, tmp_path)
    find_model(folder)
    (folder / "model.onnx").write_bytes(raw + b"x")
    with pytest.raises(errors.InvalidModelError, match="sha256"):
        find_model(folder)


@pytest.mark.parametrize("without_jsonschema", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        {"id": None},
        {"weights": None},
        {"weights__sha256": None},
        {"weights__file": "../elsewhere/model.onnx"},
        {"pipeline": "fast"},
        {"pipeline__plane": "diagonal"},
        {"pipeline__normalisation": "magic"},
        {"pipeline__output": "argmax"},
        {"pipeline__frame_size": [96]},
        {"pipeline__frame_size": [1, 1]},
        {"pipeline__frame_size": ["a", "b"]},
        {"pipeline__input_slices": 2},
        {"pipeline__frame_spacing_mm": 0},
        {"pipeline__min_lesion_mm3": -1},
        {"pipeline__min_lesion_mm3": "much"},
        {"pipeline__output_classes": [0, 1, 2, 7]},
        {"pipeline__output_classes": [0, 1, 1, 3]},
        {"pipeline__thresholds": {"3": 1.5}},
        {"pipeline__thresholds": {"0": 0.5}},
        {"pipeline__surprise": 1},
        {"lesion_confidence": "high"},
        {"lesion_confidence": {"intercept": -4, "logit_probability": 1}},
        {"lesion_confidence": {**CONFIDENCE, "logit_probability": 0}},
        {"lesion_confidence": {**CONFIDENCE, "ln_volume": "large"}},
        {"lesion_confidence": {**CONFIDENCE, "ln_volume": float("nan")}},
    ],
)
def test_cards_that_make_no_sense(tmp_path, model, monkeypatch, values, without_jsonschema):
    if without_jsonschema:
        monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(errors.InvalidModelError) as caught:
        load_card(changed(model, tmp_path, **values))
    assert "not valid" in str(caught.value)
    assert caught.value.advice


@pytest.mark.parametrize(
    "pipeline",
    [
        {"output": "sigmoid"},
        {"output": "softmax", "output_classes": [1, 2, 3]},
        {"output": "gray", "class_values": [0.0, 1.0]},
    ],
)
def test_outputs_that_contradict_themselves(tmp_path, model, pipeline):
    with pytest.raises(errors.InvalidModelError, match="class"):
        load_card(changed(model, tmp_path, pipeline={**PIPELINE, **pipeline}))


def test_files_that_are_no_cards(tmp_path, model):
    folder = changed(model, tmp_path)
    for content in (b"{", b"[]", b"\xff\xfe"):
        (folder / "card.json").write_bytes(content)
        with pytest.raises(errors.InvalidModelError, match="not"):
            load_card(folder)


def test_a_card_does_not_stand_for_other_weights(tmp_path, model):
    folder = changed(model, tmp_path)
    shutil.copy(folder / "model.onnx", folder / "other.onnx")
    with pytest.raises(errors.InvalidModelError, match=r"describes model\.onnx"):
        load_card(folder / "other.onnx")


def test_without_schema_the_dataclasses_still_check(model, tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "_PACKAGE", tmp_path / "a" / "b")
    assert schema.schema_path() is None
    assert load_card(model).id == "tiny-v1.0"
    with pytest.raises(errors.InvalidModelError, match="plane"):
        load_card(changed(model, tmp_path, pipeline__plane="diagonal"))


def test_lesion_confidence_is_the_share_of_such_lesions_that_readers_drew(tmp_path, model):
    assert load_card(model).lesion_confidence is None
    found = load_card(changed(model, tmp_path, lesion_confidence=CONFIDENCE)).lesion_confidence
    # logit(0.9) = ln 9, 20 mm3: -3.77 + 1.08 ln 9 + 0.56 ln 20 = 0.2806
    assert found.drawn_share(0.9, 20.0) == pytest.approx(1 / (1 + math.exp(-0.2806)), abs=1e-4)
    assert found.drawn_share(0.9, 200.0) > found.drawn_share(0.9, 20.0) > found.drawn_share(0.6, 20.0)
    assert 0 < found.drawn_share(0.0, 1e-3) == found.drawn_share(1e-4, 1e-3) < 1e-6
    assert 0.999 < found.drawn_share(1.0, 1e4) == found.drawn_share(1 - 1e-4, 1e4) < 1


def test_lesion_confidence_holds_for_lesions_as_the_card_decodes_them(tmp_path, model):
    card = load_card(changed(model, tmp_path, lesion_confidence=CONFIDENCE, pipeline__thresholds={"3": 0.5}))
    assert with_lesion_threshold(card, 0.5) is card
    assert with_lesion_threshold(card, 0.3).lesion_confidence is None
    assert card.lesion_confidence is not None


def test_the_least_mean_probability_holds_for_lesions_as_the_card_decodes_them(tmp_path, model):
    card = load_card(changed(model, tmp_path, pipeline__thresholds={"3": 0.5}, pipeline__min_lesion_probability=0.7))
    assert with_lesion_threshold(card, 0.5).pipeline.min_lesion_probability == 0.7
    assert with_lesion_threshold(card, 0.3).pipeline.min_lesion_probability == 0.0


def test_an_adapted_model_does_not_inherit_its_base_s_lesion_confidence(tmp_path, model):
    base = load_card(changed(model, tmp_path, lesion_confidence=CONFIDENCE))
    weights = tmp_path / "adapted" / "model.onnx"
    weights.parent.mkdir()
    weights.write_bytes(base.path.read_bytes())
    write_adapted(base, "tiny-site-v1.0", weights)
    assert load_card(weights.parent).lesion_confidence is None
    assert base.lesion_confidence is not None


def test_the_votes_of_an_ensemble_are_not_calibrated(tmp_path):
    raw = json.loads((REPOSITORY / "models" / "ensemble-v1.0" / "card.json").read_text())
    raw["lesion_confidence"] = CONFIDENCE
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, SCHEMA)
    with pytest.raises(ValueError, match="ensemble"):
        lesion_confidence_of(raw)


def test_thresholds_and_defaults(tmp_path, model):
    card = load_card(changed(model, tmp_path, pipeline__thresholds={"3": 0.3, "1": 0.6}))
    assert dict(card.pipeline.thresholds) == {3: 0.3, 1: 0.6}
    assert not load_card(model).pipeline.flip_average


def test_survey_tells_about_broken_cards(tmp_path, model_folder, monkeypatch):
    shutil.copytree(model_folder, tmp_path / "m")
    (tmp_path / "m" / "broken-v1.0").mkdir()
    (tmp_path / "m" / "broken-v1.0" / "card.json").write_text("{}")
    monkeypatch.setattr(store, "search_folders", lambda: [("here", tmp_path / "m")])
    assert {type(c).__name__ for _, c in store.survey()} == {"ModelCard", "InvalidModelError"}
    assert [c.id for c in list_models()] == ["tiny-v1.0"]


def test_unreadable_files(model, monkeypatch):
    def deny(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    card = load_card(model)
    card_module._HASHES.clear()
    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(errors.InvalidModelError, match="Permission denied"):
        card.verify()
    monkeypatch.setattr(Path, "read_text", deny)
    with pytest.raises(errors.InvalidModelError, match="Permission denied"):
        load_card(model)
    monkeypatch.setattr(Path, "is_dir", deny)
    with pytest.raises(errors.InvalidModelError, match="Permission denied"):
        load_card(model)
    assert store.search_folders() == []
    monkeypatch.setattr(Path, "stat", deny)
    with pytest.raises(errors.InvalidModelError, match="Permission denied"):
        card.verify()


def test_a_card_in_the_root_folder_is_no_shipped_one(tmp_path):
    """As of a container into which a model was put at ``/card.json``."""
    assert not card_module._shipped(Path(tmp_path.anchor) / "card.json")
    assert card_module._shipped(REPOSITORY / "models" / "flairseg2d-v1.0" / "card.json")


def test_shipped_cards_need_no_schema_and_others_do(model):
    """The shipped ones are held against it here; loading jsonschema takes longer than reading them."""
    code = "import sys, flairseg.models as m; m.load_card(sys.argv[1]); print('jsonschema' in sys.modules)"
    for folder, loaded in ((REPOSITORY / "models" / "flairseg2d-v1.0", "False"), (model, "True")):
        done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == loaded
