"""Models from files: folders, zips and loose weights; every refusal leaves the user's models as they were."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from flairseg import errors
from flairseg.models import install, store
from flairseg.models.install import install_model

from Testing.core.tiny import make_model


@pytest.fixture
def model(tmp_path) -> Path:
    return make_model(tmp_path / "usb stick é")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "home" / "cache" / "models"
    monkeypatch.delenv(store.ENVIRONMENT, raising=False)
    monkeypatch.setattr(store, "user_cache", lambda: folder)
    return folder


def zipped(model: Path, path: Path, inside: str = "tiny/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in model.iterdir():
            archive.write(file, inside + file.name)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("form", ["folder", "parent", "zip", "flat zip", "onnx", "card"])
def test_every_form_installs_the_same_model(form, model, cache, tmp_path):
    (model / "card.md").write_text("for people")
    source = {
        "folder": lambda: model,
        "parent": lambda: model.parent,
        "zip": lambda: zipped(model, tmp_path / "model.zip"),
        "flat zip": lambda: zipped(model, tmp_path / "MODEL.ZIP", inside=""),
        "onnx": lambda: model / "model.onnx",
        "card": lambda: model / "card.json",
    }[form]()
    card = install_model(source)
    assert card.path == cache / "tiny-v1.0" / "model.onnx"
    assert everything(cache / "tiny-v1.0") == everything(model)
    assert store.find_model("tiny-v1.0").path == card.path
    assert [p.name for p in cache.parent.iterdir()] == ["models"]


def test_installing_twice_changes_nothing(model, cache):
    first = install_model(model)
    before = first.path.stat().st_mtime_ns
    assert install_model(model).path == first.path
    assert first.path.stat().st_mtime_ns == before


def test_another_model_of_the_same_id_is_not_replaced(model, cache, tmp_path):
    install_model(model)
    before = everything(cache)
    other = make_model(tmp_path / "other", pipeline={"min_lesion_mm3": 99.0})
    with pytest.raises(errors.InvalidModelError, match=r"already named tiny-v1\.0") as caught:
        install_model(other)
    assert "new version" in caught.value.advice
    assert everything(cache) == before


def test_an_embedded_model_is_not_shadowed(model, cache, tmp_path, monkeypatch):
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "shared"))
    make_model(tmp_path / "shared", pipeline={"min_lesion_mm3": 99.0})
    with pytest.raises(errors.InvalidModelError, match="already named"):
        install_model(model)
    assert not cache.exists()


def test_a_damaged_model_in_the_way_is_named(model, cache):
    (cache / "tiny-v1.0").mkdir(parents=True)
    with pytest.raises(errors.InvalidModelError, match="A damaged model"):
        install_model(model)


def altered(model: Path, **changes) -> None:
    card = json.loads((model / "card.json").read_text())
    card.update(changes)
    (model / "card.json").write_text(json.dumps(card))


def break_weights(model):
    (model / "model.onnx").write_bytes(b"x" + (model / "model.onnx").read_bytes()[1:])


def bad_id(model):
    altered(model, id="../../evil-v1.0")


def weights_elsewhere(model):
    altered(model, weights={"file": "../model.onnx", "sha256": "0" * 64})


DAMAGE = {
    "sha256 differs": (break_weights, errors.InvalidModelError),
    "missing": (lambda model: (model / "model.onnx").unlink(), errors.ModelNotFoundError),
    "card.json is missing": (lambda model: (model / "card.json").unlink(), errors.ModelNotFoundError),
    "not JSON": (lambda model: (model / "card.json").write_text("{"), errors.InvalidModelError),
    "is empty": (lambda model: (model / "model.onnx").write_bytes(b""), errors.InvalidModelError),
    "id": (bad_id, errors.InvalidModelError),
    "file": (weights_elsewhere, errors.InvalidModelError),
    "pipeline": (lambda model: altered(model, pipeline={"framing": "none"}), errors.InvalidModelError),
}


@pytest.mark.parametrize("says", DAMAGE)
@pytest.mark.parametrize("as_zip", [False, True])
def test_damaged_models_are_refused_and_leave_nothing(says, as_zip, model, cache, tmp_path):
    damage, error = DAMAGE[says]
    damage(model)
    source = zipped(model, tmp_path / "model.zip") if as_zip else model
    if as_zip and says == "card.json is missing":
        error, says = errors.InvalidModelError, "no card.json"
    with pytest.raises(error, match=says) as caught:
        install_model(source)
    assert caught.value.advice
    assert not cache.exists()
    assert not list(cache.parent.glob(".*"))


def test_ids_are_checked_even_without_the_schema(model, cache, monkeypatch):
    """Slicer's Python has no jsonschema."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    bad_id(model)
    with pytest.raises(errors.InvalidModelError, match="not the id of a model"):
        install_model(model)
    assert not (cache.parent / "evil-v1.0").exists()


def test_a_zip_cannot_write_outside_its_place(model, cache, tmp_path):
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        for name in ("card.json", "model.onnx"):
            archive.write(model / name, f"../../../{name}")
        archive.writestr("../../../card.md", "slipped")
        archive.writestr("/etc/flairseg-evil", "slipped")
    before = everything(tmp_path)
    install_model(evil)
    after = everything(tmp_path)
    new = {name for name in after if name not in before}
    inside = cache.relative_to(tmp_path) / "tiny-v1.0"
    assert new == {str(inside / name) for name in ("card.json", "model.onnx", "card.md")}
    assert not os.path.exists("/etc/flairseg-evil")


def test_a_zip_bomb_is_stopped(model, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(install, "WEIGHTS_BYTES", 100)
    with pytest.raises(errors.InvalidModelError, match="larger than"):
        install_model(zipped(model, tmp_path / "model.zip"))
    assert not cache.exists()


def test_damaged_and_foreign_archives(model, cache, tmp_path):
    whole = zipped(model, tmp_path / "model.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[120:140] = bytes(20)
    (tmp_path / "flipped.zip").write_bytes(bytes(flipped))
    (tmp_path / "text.zip").write_text("no zip")
    for name in ("cut", "flipped", "text"):
        with pytest.raises(errors.InvalidModelError):
            install_model(tmp_path / f"{name}.zip")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a/card.json", "{}")
        archive.writestr("b/card.json", "{}")
    with pytest.raises(errors.InvalidModelError, match="2 models"):
        install_model(tmp_path / "two.zip")


def test_what_is_no_model(cache, tmp_path):
    with pytest.raises(errors.ModelNotFoundError, match="no model at"):
        install_model(tmp_path / "nowhere.onnx")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(errors.InvalidModelError, match="is not a model"):
        install_model(tmp_path / "notes.txt")
    shutil.copytree(make_model(tmp_path / "x"), tmp_path / "two" / "a")
    shutil.copytree(make_model(tmp_path / "y"), tmp_path / "two" / "b")
    with pytest.raises(errors.InvalidModelError, match="2 models"):
        install_model(tmp_path / "two")


def test_a_full_disk_is_said_and_leaves_nothing(model, cache, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(install.os, "rename", full)
    with pytest.raises(errors.OutputError, match="No space left") as caught:
        install_model(model)
    assert "free space" in caught.value.advice
    assert everything(cache.parent) == {}
