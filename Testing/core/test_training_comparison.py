"""Out-of-fold predictions, training curves, what a model costs, and the table of all systems."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from Testing.core.made_evaluation import made_evaluation
from Testing.core.small_data import PATIENTS, write_patients

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'flairseg[training]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'flairseg[study]'")
pytest.importorskip("statsmodels", reason="statsmodels is not installed: pip install 'flairseg[study]'")

from flairseg.adapt.networks import PlainUNet  # noqa: E402
from flairseg.io.reader import read_volume  # noqa: E402

from training import compare_systems, cost, plot_curves, predict_folds  # noqa: E402
from training.config import TrainingConfig, dump_config, load_config  # noqa: E402
from training.data import folds, load_tabriz  # noqa: E402
from training.export import export_onnx, round_to_half  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.run import run_folder  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "training" / "configs"


def test_batch_norm_keeps_its_half_precision_weights_exact(tmp_path):
    """Folded into the convolutions, they would be rounded twice (found on S3: a difference of 0.05)."""
    torch.manual_seed(0)
    network = PlainUNet(width=16, levels=2, batch_norm=True)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 4)
            torch.nn.init.uniform_(module.weight, 1, 3)
    assert export_onnx(round_to_half(network), (1, 32, 32), tmp_path / "half.onnx", half=True, unit_range=True) < 1e-4


# --- predictions


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return {case.name: case for case in load_tabriz(write_patients(tmp_path_factory.mktemp("data"), PATIENTS[:4]))}


@pytest.fixture
def config() -> TrainingConfig:
    """S3's recipe on a small network and frame."""
    config = load_config(CONFIGS / "s3-unet.json", steps=1)
    config.network = {**config.network, "width": 2, "levels": 2}
    config.pipeline = {**config.pipeline, "frame_size": [64, 64]}
    return replace(config, folds=2)


def train(config: TrainingConfig, runs: Path, fold: int, finished: bool = True) -> Path:
    """A run's folder as training leaves it, with random weights."""
    torch.manual_seed(fold)
    config = replace(config, fold=fold)
    folder = run_folder(config, runs)
    folder.mkdir(parents=True)
    torch.save({"ema": build_network(config).state_dict(), "config": dump_config(config)}, folder / "last.pt")
    if finished:
        (folder / "finished.json").write_text("{}")
    return folder / "last.pt"


def test_every_patient_is_segmented_by_the_fold_that_left_it_out_once(cases, config, tmp_path, monkeypatch):
    runs, output = tmp_path / "runs", tmp_path / "predictions"
    first, _ = train(config, runs, 0), train(config, runs, 1, finished=False)
    used: dict[str, str] = {}
    segment = predict_folds.segment

    def watched(volume, model, device):
        used[next(name for name, case in cases.items() if case.volume is volume)] = Path(model).parent.name
        return segment(volume, model=model, device=device)

    monkeypatch.setattr(predict_folds, "segment", watched)
    assert predict_folds.predict(config, cases, runs, output) == [1]
    left_out = folds(list(cases), 2)
    assert used == dict.fromkeys(left_out[0], "s3-unet-fold0-v0.1")
    assert predict_folds.predict(config, cases, runs, output, unfinished=True) == []
    assert set(used) == set(cases)
    assert {used[name] for name in left_out[1]} == {"s3-unet-fold1-v0.1"}
    used.clear()
    assert predict_folds.predict(config, cases, runs, output, unfinished=True) == []
    assert not used, "what is there is kept"
    os.utime(first, (first.stat().st_atime, first.stat().st_mtime + 1000))
    predict_folds.predict(config, cases, runs, output)
    assert set(used) == set(left_out[0]), "trained on: predicted again"

    name = left_out[0][0]
    labels = read_volume(output / "s3-unet" / f"{name}_labels.nii.gz")
    assert np.allclose(labels.ijk_to_ras, cases[name].volume.ijk_to_ras, atol=1e-4)
    assert set(np.unique(labels.array)) <= {0, 3}
    import nibabel as nib

    probabilities = np.asarray(nib.load(output / "s3-unet" / f"{name}_probabilities.nii.gz").dataobj)
    assert probabilities.shape == (*labels.array.shape[::-1], 4)
    assert np.allclose(probabilities.sum(-1), 1, atol=2e-3)


def test_folds_that_were_dealt_otherwise_are_refused(cases, config, tmp_path):
    """Else a patient could be predicted by a network that was trained on it."""
    train(config, tmp_path, 0)
    with pytest.raises(ValueError, match="may have been used for training"):
        predict_folds.predict_fold(replace(config, folds=3, fold=0), cases, tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="train fold 1"):
        predict_folds.predict_fold(replace(config, fold=1), cases, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_references_are_the_annotated_labels(cases, tmp_path):
    made = predict_folds.write_references(list(cases.values()), tmp_path)
    assert [path.name for path in made] == [f"{name}_labels.nii.gz" for name in cases]
    for path, case in zip(made, cases.values(), strict=True):
        assert np.array_equal(read_volume(path).array, case.labels)
    assert {1, 3} <= set(np.unique(case.labels))
    before = made[0].stat().st_mtime_ns
    predict_folds.write_references(list(cases.values()), tmp_path)
    assert made[0].stat().st_mtime_ns == before


# --- curves


def write_log(folder: Path, loss: str = "loss", rows: int = 8) -> None:
    folder.mkdir(parents=True)
    lines = [f"step,{loss},seconds,dice_ventricles,dice_lesion,auc_pr_lesion"]
    lines += [f"{n * 100},{1 / n:.5f},{n},,{0.1 * n:.4f},{0.09 * n:.4f}" for n in range(1, rows)]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")


def test_curves_are_small_pictures_one_a_recipe_folds_in_order(tmp_path):
    for name in ("s3-unet-fold10", "s3-unet-fold2", "s3-unet"):
        write_log(tmp_path / "runs" / name)
    write_log(tmp_path / "runs" / "s1-pix2pix-fold0", "generator_loss")
    (tmp_path / "runs" / "begun-fold0").mkdir()
    (tmp_path / "runs" / "begun-fold0" / "log.csv").write_text("step,loss\n")
    logs = plot_curves.find_logs(tmp_path / "runs")
    assert {recipe: [log.name for log in of] for recipe, of in logs.items()} == {
        "s3-unet": ["fold 2", "fold 10", "all patients"],
        "s1-pix2pix": ["fold 0"],
    }
    made = plot_curves.plot(logs, tmp_path / "curves")
    assert sorted(path.name for path in made) == ["s1-pix2pix.svg", "s3-unet.svg"]
    for path in made:
        assert path.stat().st_size < plot_curves.LARGEST
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    text = (tmp_path / "curves" / "s3-unet.svg").read_text()
    for word in ("fold 10", "all patients", "AUC-PR, Lesions", "Training loss", "s3-unet"):
        assert word in text
    assert "Dice, Ventricles" not in text


def test_a_picture_too_large_for_git_is_refused(tmp_path, monkeypatch):
    write_log(tmp_path / "runs" / "a-fold0")
    monkeypatch.setattr(plot_curves, "LARGEST", 1000)
    with pytest.raises(ValueError, match="more than 1"):
        plot_curves.plot(plot_curves.find_logs(tmp_path / "runs"), tmp_path)


# --- cost


def test_seconds_and_memory_are_those_of_the_command(model, head_file, tmp_path, monkeypatch):
    store = tmp_path / "costs.json"
    real = cost.measure_cost
    monkeypatch.setattr(cost, "measure_cost", lambda folder, repeats: real(folder, 1, head_file))
    found = cost.stored_cost(model, store)
    assert 0.2 < found.seconds < 600
    assert 60 < found.memory_mb < 4000, "Python, NumPy and onnxruntime take that much"
    assert found.megabytes == pytest.approx((model / "model.onnx").stat().st_size / 1e6)
    monkeypatch.setattr(cost, "measure_cost", lambda *a: pytest.fail("it is known"))
    assert cost.stored_cost(model, store) == found


def test_a_model_that_fails_is_no_fast_model(model, tmp_path):
    broken = tmp_path / "nothing.nii.gz"
    broken.write_bytes(b"no image")
    with pytest.raises(RuntimeError, match="nothing"):
        cost.measure_cost(model, 1, broken)


def test_an_ensemble_weighs_what_its_members_weigh(model, tmp_path):
    import shutil

    for n in (1, 2):
        shutil.copytree(model, tmp_path / f"tiny{n}-v1.0")
    folder = tmp_path / "both-v1.0"
    folder.mkdir()
    members = [{"id": f"tiny{n}-v1.0", "weights": {"lesion": 1}} for n in (1, 2)]
    (folder / "card.json").write_text(json.dumps({"id": "both-v1.0", "ensemble": {"members": members}}))
    assert cost.weights_of(folder)[1] == pytest.approx(2 * cost.weights_of(model)[1])


# --- the table


@pytest.fixture(scope="module")
def result():
    return made_evaluation(10, ("S3 U-Net", "FlairSeg 2D"), {"S3 U-Net": ("lesion",)})


def systems(*names: str) -> list[compare_systems.System]:
    known = json.loads(compare_systems.PUBLISHED.read_text())["systems"]
    return [compare_systems.System(name, known[name]["title"], None, known[name]) for name in names]


def test_the_table_has_each_system_once_beside_its_papers_figures(result):
    both = systems("s3-unet", "flairseg2d")
    made = compare_systems.table(result, both, {"s3-unet": cost.Cost(500_000, 1.04, 3.21, 410.4)})
    lines = [line for line in made.splitlines() if line.startswith("|")]
    widths = {line.count("|") for line in lines}
    assert len(lines) == 4
    assert len(widths) == 1
    head, first, second = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:]))
    row = next(r for r in result.summary if (r.method, r.class_id, r.figure, r.grouping) ==
               ("S3 U-Net", "lesion", "dice", "all"))  # fmt: skip
    assert first[head.index("lesion Dice")] == f"{row.mean.value:.3f} ± {row.sd:.3f}"
    assert first[head.index("ventricle Dice")] == "–"
    assert first[head.index("its paper, own patients")] == "Dice 0.729, precision 0.759, recall 0.702"
    assert first[-4:] == ["0.5 M", "1.0", "3.2", "410"]
    assert second[-5:] == ["–"] * 5
    assert "same 10 patients" in made
    assert "not for comparison" in made
    assert "10 patients" in made.splitlines()[-1]


def test_a_class_that_is_never_found_is_known_all_the_same():
    found = compare_systems.mappings(systems("s1-pix2pix", "s3-unet", "ensemble"))
    assert {title: mapping.targets for title, mapping in found.items()} == {
        "S1 pix2pix": frozenset({1, 2, 3}),
        "S3 U-Net": frozenset({3}),
    }
    assert found["S1 pix2pix"].values == {1: 1, 2: 2, 3: 3}


def test_lesions_alone_are_not_judged_as_all_hyperintensity():
    made = made_evaluation(3, ("S3 U-Net",), {"S3 U-Net": ("lesion", "all_wmh")})
    rows = [line.split("|") for line in compare_systems.table(made, systems("s3-unet"), {}).splitlines()]
    assert rows[2][[cell.strip() for cell in rows[0]].index("all WMH Dice")].strip() == "–"


def test_the_readme_keeps_all_but_what_stands_between_the_markers():
    text = f"before\n{compare_systems.BEGIN}\nold\n{compare_systems.END}\nafter\n"
    made = compare_systems.put_between(text, "new")
    assert made == f"before\n{compare_systems.BEGIN}\nnew\n{compare_systems.END}\nafter\n"
    assert compare_systems.put_between(made, "new") == made
    for wrong in ("no markers", text + text, f"{compare_systems.END}{compare_systems.BEGIN}"):
        with pytest.raises(ValueError, match="once each"):
            compare_systems.put_between(wrong, "new")


def test_systems_that_lack_patients_are_left_out_and_named(tmp_path):
    for name in ("references", "s3-unet", "own-system", "s1-pix2pix"):
        (tmp_path / name).mkdir()
        for patient in ("a", "b"):
            if (name, patient) != ("s1-pix2pix", "b"):
                (tmp_path / name / f"{patient}_labels.nii.gz").touch()
    (tmp_path / "s3-unet" / "a_probabilities.nii.gz").touch()
    (tmp_path / "models" / "s3-unet-v1.9").mkdir(parents=True)
    (tmp_path / "models" / "s3-unet-v1.10").mkdir()
    for version in ("1.9", "1.10"):
        (tmp_path / "models" / f"s3-unet-v{version}" / "card.json").touch()
    found = compare_systems.find_systems(tmp_path, tmp_path / "models")
    assert [s.recipe for s in found] == ["s1-pix2pix", "s3-unet", "models", "own-system"]
    assert found[1].model.name == "s3-unet-v1.10"
    gathered, incomplete = compare_systems.gather(tmp_path, found, tmp_path)
    assert incomplete == {"s1-pix2pix": ["b"], "models": ["a", "b"]}
    assert [(c.case, c.method, c.probabilities is not None) for c in gathered] == [
        ("a", "S3 U-Net", True), ("b", "S3 U-Net", False), ("a", "own-system", False), ("b", "own-system", False),
    ]  # fmt: skip
    with pytest.raises(FileNotFoundError, match="predict_folds"):
        compare_systems.gather(tmp_path / "s3-unet", found, tmp_path)


def test_printed_figures_belong_to_recipes_and_name_their_source():
    known = json.loads(compare_systems.PUBLISHED.read_text())["systems"]
    for number in range(1, 6):
        recipe = next(name for name in known if name.startswith(f"s{number}-"))
        assert (CONFIGS / f"{recipe}.json").exists()
        assert known[recipe]["source"].startswith(f"S{number}: ")
        assert known[recipe]["printed"]
        assert set(known[recipe]["printed"]) <= set(compare_systems.PRINTED)
        for key, value in known[recipe]["printed"].items():
            assert 0 < value < (100 if "mm" in key else 1)
        assert re.search(r"Dice 0\.\d{3}", compare_systems.printed(known[recipe]))
