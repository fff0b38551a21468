"""The wheel holds the whole core and its models, and works in an environment of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "FlairSegExtension" / "flairseg"
MODELS = "flairseg/data/models"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("flairseg-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Folder of programs of a fresh environment: the wheel from its own files, libraries borrowed from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([str(python), "-c", query], check=True, capture_output=True, text=True).stdout.strip()
    # A path file inside a borrowed folder is not read: this checkout's own editable install stays out.
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


def test_wheel_holds_every_module_and_nothing_foreign(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {f"flairseg/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*.py")}
    assert modules <= names
    assert all(name.startswith("flairseg/") for name in names)


def test_wheel_holds_the_default_model_and_its_weights_are_those_of_the_card(wheel):
    from flairseg.models import DEFAULT_MODEL

    archive = zipfile.ZipFile(wheel)
    assert f"{MODELS}/card.schema.json" in archive.namelist()
    card = json.loads(archive.read(f"{MODELS}/{DEFAULT_MODEL}/card.json"))
    weights = archive.read(f"{MODELS}/{DEFAULT_MODEL}/{card['weights']['file']}")
    assert hashlib.sha256(weights).hexdigest() == card["weights"]["sha256"]
    assert len(weights) <= 16 * 1024 * 1024


def test_wheel_segments_a_phantom_away_from_the_repository(installed, tmp_path):
    query = "import flairseg.models as m; print(m.find_model().path)"
    command = [str(installed / "python"), "-c", query]
    where = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert Path(where.strip()).is_relative_to(installed.parent)

    program = str(installed / "flairseg")
    subprocess.run([program, "phantom", "--output", "head"], cwd=tmp_path, check=True, capture_output=True)
    (flair,) = (tmp_path / "head").glob("*flair.nii.gz")
    done = subprocess.run(
        [program, "segment", str(flair), "--output", "out"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    stem = flair.name.removesuffix(".nii.gz")
    endings = ("_labels.nii.gz", ".seg.nrrd", "_summary.json", "_overview.png", "_lesions.csv", "_lesion_mask.nii.gz")
    expected = {f"{stem}{ending}" for ending in endings}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
