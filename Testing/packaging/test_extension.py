"""The Slicer extension as it would be installed: its CMake files run, and the flat folder they make is tried out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "FlairSegExtension/"
MODELS = "flairseg/data/models"


@pytest.fixture(scope="module")
def configured(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """(folder as Slicer would install it, extension metadata), made by the extension's own CMake files."""
    beside_python = Path(sys.executable).with_name("cmake")
    cmake = str(beside_python) if beside_python.exists() else shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed: pip install 'flairseg[test]'")
    folder = tmp_path_factory.mktemp("extension")
    script = Path(__file__).with_name("cmake") / "install_tree.cmake"
    done = subprocess.run(
        [cmake, f"-DSOURCE={ROOT}", f"-DTREE={folder}", "-P", str(script)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("-- EXTENSION_") for line in done.stdout.splitlines() if "EXTENSION_" in line]
    return folder / "qt-scripted-modules", dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def tree(configured) -> Path:
    return configured[0]


def tracked() -> set[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git working tree")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listing.split("\0") if name and (ROOT / name).exists()}


def embedded_models() -> list[str]:
    """Models with weights in the repository, and ensembles, which have none of their own."""
    cards = sorted((ROOT / "models").glob("*/card.json"))
    return [
        card.parent.name
        for card in cards
        if card.with_name("model.onnx").exists() or "ensemble" in json.loads(card.read_text(encoding="utf-8"))
    ]


def run(tree: Path, code: str, **environment: str) -> dict:
    """Run Python in an empty folder with the installed tree first on the path; its last line of output is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(ROOT)]), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_shipped_is_what_is_in_git(tree):
    shipped = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    names = tracked()
    expected = {name.removeprefix(SOURCE) for name in names if name.startswith(SOURCE)} - {"CMakeLists.txt"}
    for model in embedded_models():
        files = {f"models/{model}/{file}" for file in ("card.json", "card.md", "model.onnx")} & names
        assert {f"models/{model}/card.json", f"models/{model}/card.md"} <= files
        expected |= {f"{MODELS}/{file.removeprefix('models/')}" for file in files}
    expected.add(f"{MODELS}/card.schema.json")
    assert shipped == expected


def test_names_do_not_collide_in_the_flat_folder(tree):
    """Slicer puts the modules of all extensions on one path; some file systems do not tell FlairSeg from flairseg."""
    importable = [path.name for path in tree.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    assert all(name.lower().startswith("flairseg") for name in importable)
    assert len({name.lower() for name in importable}) == len(importable)


def test_metadata(configured):
    _, metadata = configured
    assert set(metadata) == {"HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"}
    assert "not a medical device" in metadata["DESCRIPTION"]
    for field in ("ICONURL", "SCREENSHOTURLS"):
        base = metadata["HOMEPAGE"] + "/raw/main/"
        assert metadata[field].startswith(base)
        assert (ROOT / metadata[field].removeprefix(base)).is_file()


def test_the_catalogue_entry_can_be_submitted(configured):
    """Slicer/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json, and what the index's reviewers look for."""
    entry = json.loads((ROOT / "Resources" / "ExtensionsIndex" / "FlairSeg.json").read_text(encoding="utf-8"))
    allowed = {
        "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory",
        "enabled", "tier", "dicom_support_rule",
    }  # fmt: skip
    assert {"$schema", "category", "scm_url"} <= set(entry) <= allowed
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["scm_url"].removesuffix(".git") == configured[1]["HOMEPAGE"]
    assert entry["scm_url"].endswith(".git")
    assert entry["build_subdirectory"] == "."
    assert isinstance(entry["tier"], int)
    assert 1 <= entry["tier"] <= 5
    # The index finds the entry by the name of the CMake project.
    assert re.search(r"^project\(FlairSeg\)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_icon(tree):
    icon = Image.open(tree / "Resources" / "Icons" / "FlairSeg.png")
    assert icon.size == (128, 128)
    assert icon.mode == "RGBA"


def test_embedded_models_are_found_in_the_installed_tree(tree):
    code = (
        "import json; from flairseg.models.store import survey, find_model;"
        "found = [card.id for where, card in survey() if where == 'installed'];"
        "[find_model(model) for model in found];"
        "print(json.dumps(found))"
    )
    assert run(tree, code, FLAIRSEG_MODELS="") == embedded_models()


PROCESS = """
import json, sys
from Testing.harness.application import start
start()
import slicer
from Testing.harness.small_case import make_head
import FlairSeg

head, _ = make_head()
volume = slicer.util.addVolumeFromArray(head.array, ijkToRAS=head.ijk_to_ras, name="FLAIR")
node = FlairSeg.FlairSegLogic().process(volume, modelId="intensity-v0.1", device="cpu")
segments = node.GetSegmentation()
ids = [segments.GetNthSegmentID(n) for n in range(segments.GetNumberOfSegments())]
voxels = {name: int(slicer.util.arrayFromSegmentBinaryLabelmap(node, name).sum()) for name in ids}
ours = ("FlairSeg", "FlairSegLib", "flairseg")
files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in ours]
print(json.dumps({"voxels": voxels, "files": files}))
"""


def test_the_installed_tree_segments_a_volume(tree, tmp_path):
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'flairseg[slicer]'")
    from Testing.harness.small_case import write_intensity_model

    write_intensity_model(tmp_path)
    result = run(tree, PROCESS, FLAIRSEG_MODELS=str(tmp_path))
    assert list(result["voxels"]) == ["ventricles", "normal_wmh", "lesion"]
    assert all(count > 100 for count in result["voxels"].values())
    assert all(Path(file).is_relative_to(tree) for file in result["files"])


HELP = """
import json
from types import SimpleNamespace
from Testing.harness.application import start
start()
import FlairSeg

parent = SimpleNamespace()
FlairSeg.FlairSeg(parent)
print(json.dumps(vars(parent)))
"""


def test_the_module_introduces_itself(tree):
    pytest.importorskip("slicer", reason="slicer-core is not installed: pip install 'flairseg[slicer]'")
    about = run(tree, HELP)
    assert about["title"] == "FLAIR Segmentation"
    assert about["categories"] == ["Segmentation"]
    assert about["contributors"]
    assert "not a medical device" in about["helpText"]
    assert "doi:" in about["acknowledgementText"]
