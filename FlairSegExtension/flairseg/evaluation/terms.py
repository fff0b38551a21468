"""Classes and metrics of an evaluation: ids, titles, units and order in tables, figures, report and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..labels import CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES

#: Ids of the classes, as in :mod:`flairseg.labels`.
VENTRICLES_ID, NORMAL_WMH_ID, LESION_ID = (CLASS_BY_VALUE[value].id for value in (VENTRICLES, NORMAL_WMH, LESION))
#: Class "all WMH": normal and abnormal hyperintensity together.
ALL_WMH = "all_wmh"
#: Levels of a confusion matrix.
VOXEL_LEVEL, LESION_LEVEL = "voxel", LESION_ID
#: Evaluated classes, in the order of every table: id -> label values.
EVALUATED: dict[str, tuple[int, ...]] = {
    VENTRICLES_ID: (VENTRICLES,),
    NORMAL_WMH_ID: (NORMAL_WMH,),
    LESION_ID: (LESION,),
    ALL_WMH: (NORMAL_WMH, LESION),
}
#: Id -> title.
CLASS_TITLES: dict[str, str] = {c.id: c.short_name for c in CLASSES} | {ALL_WMH: "All WMH (2 + 3)"}
#: Classes whose 26-connected components are counted as lesions.
LESION_CLASSES = (LESION_ID, ALL_WMH)
#: Rows and columns of the voxel-level confusion matrix, in the order of the label values.
VOXEL_LABELS: tuple[str, ...] = ("Background", *(CLASS_BY_VALUE[v].short_name for v in (1, 2, 3)))
#: Rows and columns of the lesion-level confusion matrix; "nothing": components in one mask only.
COMPONENT_LABELS: tuple[str, ...] = ("Nothing", "Normal WMH", "Lesions")


@dataclass(frozen=True)
class Figure:
    """Definition of a metric: key in rows and files, title, unit, decimals, direction of improvement, explanation."""

    key: str
    title: str
    unit: str = ""
    digits: int = 3
    better: Literal["higher", "lower", "zero"] = "higher"
    explanation: str = ""


#: Voxel-level metrics (attributes of :class:`.rows.CaseRow`), in the order of every table.
VOXEL_FIGURES: tuple[Figure, ...] = (
    Figure("dice", "Dice", explanation="2 TP / (2 TP + FP + FN)"),
    Figure("jaccard", "Jaccard", explanation="TP / (TP + FP + FN)"),
    Figure("precision", "Precision", explanation="TP / (TP + FP)"),
    Figure("recall", "Recall", explanation="TP / (TP + FN)"),
    Figure("hd95_mm", "HD95", "mm", 1, "lower", "95th percentile of surface distances, the larger of both directions"),
    Figure("nsd", "NSD", explanation="share of both surfaces within the tolerance of the other"),
    Figure("volume_error_ml", "Volume error", "ml", 2, "zero", "predicted minus reference"),
    Figure("volume_error_percent", "Volume error", "%", 1, "zero", "predicted minus reference, of the reference"),
    Figure("average_precision", "AUC-PR", explanation="average precision over the probabilities"),
    Figure("roc_auc", "ROC AUC", explanation="area under the receiver operating characteristic"),
)
#: Lesion-level metrics of :data:`LESION_CLASSES` (attributes of :class:`.rows.LesionCaseRow`).
LESION_FIGURES: tuple[Figure, ...] = (
    Figure("lesion_recall", "Lesion recall", explanation="reference lesions that were found"),
    Figure("lesion_precision", "Lesion precision", explanation="predicted lesions that are right"),
    Figure("lesion_f1", "Lesion F1", explanation="harmonic mean of both"),
    Figure("detection_error_ml", "Detection error", "ml", 2, "lower", "volume of lesions that only one side has"),
    Figure("outline_error_ml", "Outline error", "ml", 2, "lower", "disagreement on lesions that both sides have"),
)
FIGURES: dict[str, Figure] = {f.key: f for f in (*VOXEL_FIGURES, *LESION_FIGURES)}
