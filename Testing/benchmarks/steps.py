"""What comes after a segmentation, step by step: a process that the benchmark measures, and what each step works on.

``python steps.py inputs FOLDER STEP...``  writes phantoms, and what else the steps need; prints paths of the grids of
                                           ``segment``, where that is one of them, and ends.
``python steps.py STEP FOLDER``            answers ``{}`` with ``{"seconds": {part: seconds}}`` of one whole round.

Inputs are made in a process of their own, so that the peak memory of a step is the step's.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from heads import on_grid, scan, write_grids
from worker import THREADS, answer, requests

ROOT = Path(__file__).resolve().parents[2]
#: (slices, rows, columns) and mm along columns, rows and slices of the studies of a pair.
PAIR_SHAPE, PAIR_MM = (48, 224, 192), (1.0, 1.0, 3.0)
#: How the head lies in the studies of a pair, degrees.
PAIR_TILTS = (4.0, -3.0)
#: Heads that are evaluated, and the methods whose masks of them are compared with the truth.
EVALUATED, METHODS = 2, ("model", "shifted")
#: Ids under which the default model is compared with itself: the time per model is that of the default.
COMPARED = ("bench-first-v1.0", "bench-second-v1.0")

Seconds = dict[str, float]


class Clock:
    """Seconds of the parts of a round."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add what happens inside to a part."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


# --- what the steps work on


def inputs(folder: str, *steps: str) -> None:
    """Write the phantoms of the steps that are asked for."""
    paths: dict[str, str] = {}
    for step in steps:
        place = Path(folder) / step
        place.mkdir(exist_ok=True)
        if step == "segment":
            paths = write_grids(place)
        else:
            _INPUTS[step](place)
    answer(**paths)


def _write(path: Path, phantom) -> None:
    """A phantom's FLAIR as ``path``, its truth beside it."""
    import SimpleITK as sitk
    from flairseg.image.volume import volume_to_sitk

    volume = phantom.volume
    sitk.WriteImage(volume_to_sitk(volume), str(path))
    sitk.WriteImage(volume_to_sitk(volume.with_array(phantom.labels)), str(_truth(path)))


def _truth(path: Path) -> Path:
    return path.with_name(path.name.replace("flair", "truth"))


def _pair_inputs(folder: Path) -> None:
    for n, tilt in enumerate(PAIR_TILTS, start=1):
        _write(folder / f"flair{n}.nii.gz", scan(PAIR_SHAPE, PAIR_MM, 0, tilt))


def _thin_inputs(folder: Path) -> None:
    _write(folder / "flair1.nii.gz", on_grid("200 x 256 x 256"))


def _report_inputs(folder: Path) -> None:
    from flairseg import segment, write_segmentation

    flair = folder / "flair.nii.gz"
    _write(flair, on_grid("20 x 256 x 256"))
    write_segmentation(segment(flair, device="cpu", regions=True), folder)


def _dicom_inputs(folder: Path) -> None:
    import numpy as np

    sys.path.insert(0, str(ROOT))
    from flairseg.image.volume import Volume

    from Testing.core.dicom_series import Study, write_localizer, write_series

    phantom, study = on_grid("200 x 256 x 256"), Study()
    volume = phantom.volume
    write_localizer(volume, folder / "study" / "1", "siemens", study)
    few = Volume(np.ascontiguousarray(volume.array[80:120]), volume.ijk_to_ras)
    write_series(few, folder / "study" / "2", "siemens", "t1", study, 2)
    write_series(volume, folder / "study" / "3", "siemens", "flair", study, 3)
    np.save(folder / "truth.npy", phantom.labels)


def _evaluate_inputs(folder: Path) -> None:
    import numpy as np
    import SimpleITK as sitk
    from flairseg import segment, write_segmentation

    rows = ["case,method,prediction,reference,probabilities,image"]
    for seed in range(EVALUATED):
        flair = folder / f"head{seed}_flair.nii.gz"
        _write(flair, on_grid("20 x 256 x 256", seed))
        write_segmentation(segment(flair, device="cpu"), folder, f"head{seed}", probabilities=True)
        truth = sitk.ReadImage(str(_truth(flair)))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(truth), 1, axis=1))
        moved.CopyInformation(truth)
        sitk.WriteImage(moved, str(folder / f"head{seed}_shifted.nii.gz"))
        known = f"head{seed}_labels.nii.gz", f"head{seed}_shifted.nii.gz"
        for method, mask in zip(METHODS, known, strict=True):
            scores = f"head{seed}_probabilities.nii.gz" if method == "model" else ""
            rows.append(f"head{seed},{method},{mask},{_truth(flair).name},{scores},{flair.name}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _compare_inputs(folder: Path) -> None:
    from flairseg.models import find_model

    _write(folder / "flair.nii.gz", on_grid("20 x 256 x 256"))
    card = find_model()
    for name in COMPARED:
        shutil.copytree(card.path.parent, folder / name)
        path = folder / name / "card.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "id": name}), encoding="utf-8")


# --- the steps


def lesions(folder: Path) -> Callable[[], Seconds]:
    """Regions once, the lesion table, and the table again after a stroke of a reader's brush."""
    import numpy as np
    from flairseg import read_volume
    from flairseg.anatomy import find_regions
    from flairseg.anatomy.lesion_table import Measured, lesion_table
    from flairseg.labels import LESION

    volume = read_volume(folder / "flair1.nii.gz")
    drawn = read_volume(folder / "truth1.nii.gz").array.astype(np.uint8)

    def once() -> Seconds:
        clock, labels, measured = Clock(), drawn.copy(), Measured()
        with clock.part("regions of the brain"):
            found = find_regions(volume, labels)
        with clock.part("lesion table"):
            before = lesion_table(labels, volume.ijk_to_ras, regions=found, measured=measured)
        # A disc of 4 mm in the largest lesion's slice, over whatever lies there.
        centre = np.linalg.inv(volume.ijk_to_ras) @ (*before[0].centre_ras_mm, 1.0)
        k, j, i = (round(x) for x in centre[2::-1])
        rows, columns = np.ogrid[: labels.shape[1], : labels.shape[2]]
        away = np.hypot((rows - j) * volume.spacing[1], (columns - i) * volume.spacing[0])
        labels[k][away < 4.0] = LESION
        with clock.part("table after an edit"):
            lesion_table(labels, volume.ijk_to_ras, regions=found, measured=measured)
        return clock.seconds

    return once


def follow(folder: Path) -> Callable[[], Seconds]:
    """A follow-up pair, files to files, with the lesions' regions, as the command does it."""
    from flairseg.longitudinal import follow as follow_studies
    from flairseg.longitudinal import write_followup

    studies = [folder / "flair1.nii.gz", folder / "flair2.nii.gz"]

    def once() -> Seconds:
        result = follow_studies(studies, device="cpu", regions=True)
        write_followup(result, folder / "ours", overwrite=True)
        return {name: seconds for name, seconds in result.seconds.items() if name != "total"}

    return once


def report(folder: Path) -> Callable[[], Seconds]:
    """The report of a case from its files: what it says, HTML, PDF."""
    from flairseg.report import CaseReport

    def once() -> Seconds:
        clock = Clock()
        with clock.part("content"):
            made = CaseReport.from_files(folder / "flair_summary.json", folder / "flair.nii.gz")
            _ = made.content
        with clock.part("HTML"):
            made.write_html(folder / "report.html", overwrite=True)
        with clock.part("PDF"):
            made.write_pdf(folder / "report.pdf", overwrite=True)
        return clock.seconds

    return once


def dicom(folder: Path) -> Callable[[], Seconds]:
    """From a study's folder to its FLAIR, and what goes back: SEG and SR."""
    import numpy as np
    from flairseg.anatomy.lesion_table import lesion_table
    from flairseg.dicom import find_flair, read_series
    from flairseg.dicom.making import Algorithm, save
    from flairseg.dicom.seg import make_seg
    from flairseg.dicom.sr import CaseMeasurements, make_sr
    from flairseg.labels import CLASSES
    from flairseg.segmentation.dicom_results import lesion_measurements

    labels = np.load(folder / "truth.npy")
    algorithm = Algorithm("bench", "1.0")

    def once() -> Seconds:
        clock = Clock()
        with clock.part("find the FLAIR"):
            found = find_flair(folder / "study")
        with clock.part("read"):
            read = read_series(found.series, found.stack)
        volume = read.volume
        rows = lesion_measurements(lesion_table(labels, volume.ijk_to_ras))
        volumes = {c.id: float(np.count_nonzero(labels == c.value)) * volume.voxel_mm3 / 1000 for c in CLASSES}
        with clock.part("SEG"):
            seg = make_seg(labels, read.source, algorithm, volume.ijk_to_ras)
            save(seg, folder / "seg.dcm")
        with clock.part("SR"):
            save(make_sr(seg, read.source, CaseMeasurements(volumes, rows), algorithm), folder / "sr.dcm")
        return clock.seconds

    return once


def evaluate(folder: Path) -> Callable[[], Seconds]:
    """Masks against references, with probabilities for one method, then statistics, tables and report."""
    from flairseg.evaluation import evaluate as evaluate_cases
    from flairseg.evaluation import read_manifest, write_evaluation

    cases = read_manifest(folder / "cases.csv")

    def once() -> Seconds:
        began, measured = time.perf_counter(), 0.0

        def tell(_: float, stage: str) -> None:
            nonlocal measured
            if stage == "statistics" and not measured:
                measured = time.perf_counter() - began

        result = evaluate_cases(cases, progress=tell)
        if result.refusals:
            raise SystemExit(f"A case of the benchmark was refused: {result.refusals[0]}")
        computed = time.perf_counter() - began
        write_evaluation(result, folder / "evaluation", overwrite=True)
        return {
            "cases": measured,
            "statistics": computed - measured,
            "tables and report": time.perf_counter() - began - computed,
        }

    return once


def compare(folder: Path) -> Callable[[], Seconds]:
    """Two models on one case, and what is written of it."""
    from flairseg.comparison.comparing import compare as compare_models
    from flairseg.comparison.writing import write_comparison

    models = [folder / name for name in COMPARED]

    def once() -> Seconds:
        clock = Clock()
        with clock.part("models"):
            result = compare_models(folder / "flair.nii.gz", models, "cpu")
        failed = next((one for one in result.models if one.error is not None), None)
        if failed is not None:
            raise SystemExit(f"A model of the benchmark failed: {failed.error}")
        with clock.part("agreement and files"):
            write_comparison(result, folder / "comparison", overwrite=True)
        return clock.seconds

    return once


_INPUTS: dict[str, Callable[[Path], None]] = {
    "lesions": _pair_inputs,
    "lesions-thin": _thin_inputs,
    "follow": _pair_inputs,
    "report": _report_inputs,
    "dicom": _dicom_inputs,
    "evaluate": _evaluate_inputs,
    "compare": _compare_inputs,
}
_STEPS: dict[str, Callable[[Path], Callable[[], Seconds]]] = {
    "lesions": lesions,
    "lesions-thin": lesions,
    "follow": follow,
    "report": report,
    "dicom": dicom,
    "evaluate": evaluate,
    "compare": compare,
}


def serve(step: str, folder: str) -> None:
    """Do a step as often as is asked for."""
    once = _STEPS[step](Path(folder) / step)
    for _ in requests():
        answer(seconds=once())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    if sys.argv[1] == "inputs":
        inputs(*sys.argv[2:])
    else:
        serve(*sys.argv[1:])
