"""Content of a ``summary.json`` as far as it can be understood; files may be old, edited or made by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..anatomy.dissemination import Dissemination
from ..errors import CaseWarning, warnings_from
from ..files.summary_paths import grid_of
from ..image.geometry import VolumeGeometry
from ..image.volume import Volume
from ..labels import CLASSES
from ..lesions.components import LesionMap
from ..segmentation.result import not_assessed
from .case import Provenance, Row, class_volumes, dissemination_of, rows_of
from .json_values import mapping, number, text, whole

#: Largest difference between a summary and the label map that it describes.
_SAME_ML = 0.002
_SAME_SHARE = 0.002


@dataclass(frozen=True)
class Summary:
    """Content of a summary of a case; empty without a summary.

    Attributes
    ----------
    case : str
    study_date : str
        ISO date; empty where not stated.
    provenance : Provenance
        With the input's path.
    grid : VolumeGeometry or None
        Of the image.
    volumes_ml : mapping of int to (float or None)
        Classes that are stated, by value; None: not assessed, or no number.
    lesion_count : int or None
    lesions : tuple of Row or None
        None where the summary has no list of lesions.
    dissemination : Dissemination or None
    warnings : tuple of CaseWarning
    not_assessed : frozenset of int
        Values of the classes that are stated as not assessed.
    """

    case: str = ""
    study_date: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    grid: VolumeGeometry | None = None
    volumes_ml: Mapping[int, float | None] = field(default_factory=dict)
    lesion_count: int | None = None
    lesions: tuple[Row, ...] | None = None
    dissemination: Dissemination | None = None
    warnings: tuple[CaseWarning, ...] = ()
    not_assessed: frozenset[int] = frozenset()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Summary:
        """From ``summary.json``, or from the parts of it that ``verdict.json`` has."""
        volumes = mapping(content.get("volumes_ml"))
        return cls(
            text(content.get("case")),
            text(content.get("study_date")) or text(content.get("date")),
            Provenance.from_json(content),
            grid_of(mapping(content.get("grid"))),
            {c.value: number(volumes[c.id]) for c in CLASSES if c.id in volumes},
            whole(content.get("lesion_count")),
            None if content.get("lesions") is None else rows_of(content["lesions"]),
            dissemination_of(content.get("dissemination")),
            warnings_from(content.get("warnings")),
            not_assessed(content),
        )

    def describes(self, labels: np.ndarray, volume: Volume, count: int) -> bool:
        """Whether its figures are those of a label map: else the map was edited, or the summary is another's."""
        for label_class in CLASSES:
            value = self.volumes_ml.get(label_class.value)
            true = class_volumes(labels, volume)[label_class.value]
            if value is None and label_class.value in self.volumes_ml and not true:
                continue  # A class that the model does not know.
            if value is None or abs(value - true) > max(_SAME_ML, _SAME_SHARE * true):
                return False
        return self.lesion_count == count

    def lists(self, found: LesionMap, labels: np.ndarray, volume: Volume) -> bool:
        """Whether its rows are the lesions of a label map, number by number."""
        rows = self.lesions or ()
        if not self.describes(labels, volume, len(found.lesions)) or len(rows) != len(found.lesions):
            return False
        true = {lesion.number: lesion.volume_mm3 / 1000 for lesion in found.lesions}
        return all(abs(true.get(row.number, -1.0) - row.volume_ml) <= _SAME_ML for row in rows)
