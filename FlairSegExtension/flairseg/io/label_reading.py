"""From the values of a file to FlairSeg's classes: which one a value is, whose word counts, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..errors import CaseWarning, UnsuitableMaskError
from ..labels import BACKGROUND, CLASS_BY_VALUE, CLASSES, LESION, NORMAL_WMH, VENTRICLES
from .label_meanings import FREESURFER_VENTRICLES, PRESETS, LabelMapping
from .probability_maps import probabilities
from .raw_labels import RawLabels, Segment
from .segment_names import class_of_code, class_of_id, class_of_name, is_generic, may_be_lesions

#: Kinds of files that describe their values.
_DESCRIBED = ("slicer", "mitk", "dicom-seg")
#: Distance to a whole number up to which a floating-point value is that number (scaled NIfTI files).
WHOLE = 1e-3
#: Half a step of 8 bits, as a share of the largest label, and 1 % for rounding: labels that were scaled to 0...255.
_HALF_STEP = 1.01 / 510
#: Largest label of such a file.
_LARGEST_SCALED = 25
#: Volumes (ml) that a class cannot reach in a head. Tissue classes (FSL FAST: CSF, grey, white) have the same values.
LARGEST_ML = {VENTRICLES: 900.0, LESION: 400.0}
#: Neighbours within a mask of which more than this share differ are grey levels, not numbers of components.
GREY_SHARE = 0.5
#: More values than any list of structures has: an image, if they are grey levels.
MANY_VALUES = 500
#: Fewer such neighbours are not decisive.
FEWEST_DIFFERENT = 100
#: Values of a list that are shown.
_SHOWN = 12
#: Parts of the file names of other programs, and the preset that reads their files.
_KNOWN_FILES = (
    (re.compile(r"seg[-_]lst"), "lst-ai"),
    (re.compile(r"ples_|(^|_)(lpa|lga)(_|\.)"), "lst"),
    (re.compile(r"samseg|(^|[_.])aseg|aparc"), "samseg"),
    (re.compile(r"wmh[-_]?synthseg"), "wmh-synthseg"),
    (re.compile(r"synthseg"), "synthseg"),
    (re.compile(r"bianca"), "bianca"),
)
_TISSUES = re.compile(r"pve_?seg|fast_?seg|tissue|5tt")


@dataclass(frozen=True)
class FoundLabel:
    """One value of a file.

    Attributes
    ----------
    layer, value : int
    name : str
        As the file calls it; empty if it does not.
    voxels : int
    class_value : int or None
        The class it was read as, 0 for background; None if unknown.
    """

    layer: int
    value: int
    name: str
    voxels: int
    class_value: int | None

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"{self.value}{name} ({self.voxels} voxel{'s' * (self.voxels != 1)})"


class LabelReading:
    """From values to classes."""

    def __init__(self, raw: RawLabels, mapping: LabelMapping | None, doubtful: str, subject: str) -> None:
        self.raw, self.mapping, self.doubtful = raw, mapping, doubtful
        self.prefix = f"{subject}:" if subject else ""
        self.warnings: list[CaseWarning] = []
        self.found: list[FoundLabel] = []
        self.classes: frozenset[int] = frozenset(CLASS_BY_VALUE)
        self.name = raw.path.name
        self.scores: np.ndarray | None = None

    def labels(self) -> np.ndarray:
        """Class labels (K, J, I) on the file's grid."""
        layers = self._finite(self.raw.layers)
        if self.raw.kind not in _DESCRIBED and len(layers) != 1:
            raise self._several(len(layers))
        if self.mapping is not None and self.mapping.nonzero is not None:
            self.classes = self.mapping.targets
            return self._nonzero(layers, self.mapping, self.mapping.nonzero)
        whole = self._whole(layers)
        counted = [_counts(layer) for layer in whole]
        names = {(s.layer, s.value): s for s in self.raw.segments}
        classes = self._classes(counted, names)
        self.found = [
            FoundLabel(n, value, names[n, value].title if (n, value) in names else "", count, classes.get((n, value)))
            for n, counts in enumerate(counted)
            for value, count in counts.items()
        ]
        labels = np.zeros(whole.shape[1:], np.uint8)
        overlap = np.zeros(whole.shape[1:], bool) if len(whole) > 1 else None
        for n, layer in enumerate(whole):
            here = np.zeros(layer.shape, np.uint8)
            for (layer_number, value), class_value in classes.items():
                if layer_number == n and class_value:
                    here[layer == value] = class_value
            if overlap is not None:
                overlap |= (here > 0) & (labels > 0) & (here != labels)
            # The numbers of the classes are in the order of their precedence.
            np.maximum(labels, here, out=labels)
        if overlap is not None and (shared := int(np.count_nonzero(overlap))):
            self._warn(
                f"{shared} voxels of {self.name} belong to segments of several classes; lesions take precedence over "
                "normal WMH, normal WMH over ventricles.",
                "overlapping-segments",
            )
        return labels

    # --- values

    def _finite(self, layers: np.ndarray) -> np.ndarray:
        if layers.dtype.kind != "f":
            return layers
        bad = ~np.isfinite(layers)
        if not bad.any():
            return layers
        self._warn(
            f"{self.name} holds {int(bad.sum())} voxels that are NaN or infinite; they count as background.",
            "labels-not-finite",
        )
        return np.where(bad, 0, layers)

    def _whole(self, layers: np.ndarray) -> np.ndarray:
        """The values as integers, or a refusal of fractions."""
        if layers.dtype.kind != "f":
            return layers
        rounded = np.rint(layers)
        if _has_fractions(layers):
            low, high = float(layers.min()), float(layers.max())
            raise UnsuitableMaskError(
                f"{self.name} holds fractions from {low:.4g} to {high:.4g}: probabilities, not labels.",
                f"If they are probabilities of lesions, state {self.prefix}probability; else give the label map.",
                code="probabilities-not-labels",
                file=self.name,
                prefix=self.prefix,
                suggestion="probability",
            )
        out: np.ndarray = rounded.astype(np.int64)
        return out

    def _nonzero(self, layers: np.ndarray, mapping: LabelMapping, target: int) -> np.ndarray:
        """Labels of a binary mask or of probabilities, by the mapping: one class, ``target``."""
        if _has_fractions(layers):
            if len(layers) != 1:
                raise self._several(len(layers))
            self.scores = probabilities(layers[0], self.name)
            inside = self.scores >= mapping.threshold
            self.found = [FoundLabel(0, 1, "", int(np.count_nonzero(inside)), target)]
        else:
            if layers.dtype.kind == "f":
                layers = np.rint(layers)
            counted = [_counts(layer) for layer in layers]
            self.found = [
                FoundLabel(n, value, "", count, target)
                for n, counts in enumerate(counted)
                for value, count in counts.items()
            ]
            self._check_binary(sorted({v for counts in counted for v in counts}), layers, mapping, target)
            inside = (layers != 0).any(axis=0)
        return np.where(inside, np.uint8(target), np.uint8(BACKGROUND))

    def _check_binary(self, values: list[int], layers: np.ndarray, mapping: LabelMapping, target: int) -> None:
        """Whether whole numbers can be a mask: one value, labels 1..N of the same thing, but no grey levels."""
        if not values or (len(values) == 1 and values[0] > 0):
            return
        numbered = values == list(range(1, len(values) + 1))
        if values[0] < 0 or (not numbered and values[-1] > _SHOWN) or any(map(_is_grey, layers)):
            raise UnsuitableMaskError(
                f"{self.name} holds {len(values)} different values from {values[0]} to {values[-1]}: neither a binary "
                "mask nor probabilities from 0 to 1.",
                "Divide by 100 (per cent) or by 255, or give the mask itself.",
                code="neither-mask-nor-probabilities",
                file=self.name,
            )
        self._warn(
            f"{self.name} holds the values {_listed(values)}; all of them count as "
            f"{CLASS_BY_VALUE[target].short_name.lower()}, as {mapping.name} states.",
            "several-values-in-mask",
        )

    # --- classes

    def _classes(
        self, counted: list[dict[int, int]], names: dict[tuple[int, int], Segment]
    ) -> dict[tuple[int, int], int]:
        """Layer and value -> class (0 background); refuses what nothing names."""
        present = {(n, value): count for n, counts in enumerate(counted) for value, count in counts.items()}
        if self.mapping is not None and not self.mapping.own:
            return self._mapped(present, names, self.mapping)
        if self.raw.kind in _DESCRIBED:
            return self._named(present, names)
        return {(0, value): class_value for value, class_value in self._plain(counted[0]).items()}

    def _mapped(
        self, present: dict[tuple[int, int], int], names: dict[tuple[int, int], Segment], mapping: LabelMapping
    ) -> dict[tuple[int, int], int]:
        classes: dict[tuple[int, int], int] = {}
        wanted = {name.casefold(): target for name, target in mapping.names.items()}
        missing = [n for n in mapping.names if not any(n.casefold() in _called(s) for s in names.values())]
        if missing:
            raise self._refused(present, names, f"and none is called {missing[0]!r}", code="labels-not-in-mapping")
        for key in present:
            segment = names.get(key)
            called = next((wanted[n] for n in _called(segment) if n in wanted), None) if segment else None
            target = called if called is not None else mapping.values.get(key[1])
            if target is not None:
                classes[key] = target
            if called is None and target is not None and sum(value == key[1] for _, value in present) > 1:
                raise UnsuitableMaskError(
                    f"The value {key[1]} stands for different segments in the layers of {self.name}.",
                    f"State their meaning by name, for instance {self.prefix}{names[key].title if segment else '?'}=3.",
                    code="ambiguous-label-value",
                    file=self.name,
                )
        rest = [key for key in present if key not in classes]
        if present and not classes:
            raise self._refused(present, names, f"and {mapping.name} names none of them", code="labels-not-in-mapping")
        if rest and not mapping.rest:
            shown = ", ".join(
                str(FoundLabel(k[0], k[1], names[k].title if k in names else "", present[k], None)) for k in rest
            )
            self._warn(f"{mapping.name} does not name {shown} of {self.name}: background.", "unmapped-labels")
        only = {value for _, value in present}
        if mapping.name in PRESETS and only == {1} and mapping.values.get(1) not in (None, LESION):
            title = CLASS_BY_VALUE[mapping.values[1]].short_name.lower()
            self._warn(
                f"{self.name} holds the value 1 alone, which {mapping.name} reads as {title}. If it marks lesions, "
                f"state {self.prefix}binary.",
                "binary-mask-in-doubt",
            )
        self.classes = mapping.targets
        return classes

    def _named(
        self, present: dict[tuple[int, int], int], names: dict[tuple[int, int], Segment]
    ) -> dict[tuple[int, int], int]:
        classes: dict[tuple[int, int], int] = {}
        other: list[tuple[int, int]] = []
        unknown = [key for key in present if key not in names]
        for key, segment in names.items():
            class_value = self._checked_class(segment)
            if class_value is None and self.mapping is not None and is_generic(segment.title):
                class_value = segment.value if segment.value in CLASS_BY_VALUE else None
            if class_value is not None:
                classes[key] = class_value
            elif key in present:
                (unknown if is_generic(segment.title) or may_be_lesions(segment.title) else other).append(key)
        if self.mapping is not None:
            # Stated to be FlairSeg's own values.
            classes |= {key: key[1] for key in unknown if key not in names and key[1] in CLASS_BY_VALUE}
            unknown = [key for key in unknown if key not in classes]
        if unknown or (other and not classes):
            refused = {key: present[key] for key in unknown or other}
            why = "their meaning is not stated" if unknown else "none is called a lesion, a ventricle or normal WMH"
            raise self._refused(refused, names, f"and {why}", code="unnamed-labels")
        if other:
            shown = ", ".join(str(FoundLabel(k[0], k[1], names[k].title, present[k], None)) for k in other)
            self._warn(f"Segments of {self.name} that are not FlairSeg's classes are left out: {shown}.",
                       "other-segments")  # fmt: skip
            classes |= dict.fromkeys(other, BACKGROUND)
        if names:
            self.classes = frozenset(classes.values()) - {BACKGROUND}
        return classes

    def _checked_class(self, segment: Segment) -> int | None:
        class_value, named = class_of_segment(segment), class_of_name(segment.name)
        if class_value is not None and named is not None and named != class_value:
            self._warn(
                f"The segment {segment.name!r} of {self.name} has the id {segment.id!r} and is read as "
                f"{CLASS_BY_VALUE[class_value].short_name.lower()}.",
                "segment-name-against-id",
            )
        return class_value

    def _plain(self, counts: dict[int, int]) -> dict[int, int]:
        """Values of a file that describes none of them."""
        values = sorted(counts)
        noted = self.raw.noted
        # Other voxels under FlairSeg's header: another program's, which copied it.
        same = noted is None or all((n or 0) == counts.get(c.value, 0) for n, c in zip(noted, CLASSES, strict=True))
        stated = self.mapping is not None or (self.raw.signed == "labels" and same)
        if noted is not None and same:
            self.classes = frozenset(c.value for n, c in zip(noted, CLASSES, strict=True) if n is not None)
        if self.raw.signed == "change-map" and self.mapping is None:
            raise UnsuitableMaskError(
                f"{self.name} is FlairSeg's map of changes (new, enlarging, ...), not a label map.",
                "Give the label map of the study.",
                code="change-map-not-labels",
                file=self.name,
            )
        if self.raw.signed == "lesion-mask" and self.mapping is None:
            if values not in ([], [1]):
                raise self._refused_values(counts, "though it was written as a lesion mask of 0 and 1")
            self.classes = frozenset([LESION])
            return dict.fromkeys(values, LESION)
        if not set(values) <= set(CLASS_BY_VALUE):
            if len(values) > MANY_VALUES and self.mapping is None and any(map(_is_grey, self.raw.layers)):
                raise UnsuitableMaskError(
                    f"{self.name} holds {len(values)} values that change from voxel to voxel: it is an image, "
                    "not a label map.",
                    "Give the label map that belongs to the image.",
                    code="image-not-labels",
                    file=self.name,
                )
            raise self._refused_values(counts, "and their meaning is not stated")
        if not stated and values:
            self._doubt(values, counts)
        return {value: value for value in values}

    def _doubt(self, values: list[int], counts: dict[int, int]) -> None:
        """Values 1 to 3 of a file of unknown origin: are they FlairSeg's?"""
        tool = _tool_of(self.name)
        # A program that writes one class alone has not written these values, whatever the patient is called.
        named = tool and not (LESION in values and PRESETS[tool].nonzero is not None)
        if named or _TISSUES.search(self.name.lower()):
            raise self._refused_values(counts, "and its name is that of another program's file")
        voxel_ml = self.raw.geometry.voxel_volume_ml
        for class_value, limit in LARGEST_ML.items():
            if (ml := counts.get(class_value, 0) * voxel_ml) > limit:
                raise UnsuitableMaskError(
                    f"The value {class_value} of {self.name} covers {ml:.0f} ml, too much for "
                    f"{CLASS_BY_VALUE[class_value].short_name.lower()}: these look like tissue classes of another "
                    "program.",
                    f"State what the values mean, for instance {self.prefix}1=1,3=3, or {self.prefix}flairseg.",
                    code="implausible-labels",
                    file=self.name,
                    prefix=self.prefix,
                    suggestion="flairseg",
                )
        if LESION in values:
            return
        single = len(values) == 1
        if (single and self.doubtful != "warn") or self.doubtful == "refuse":
            raise self._refused_values(counts, "and it is not stated whether they are FlairSeg's or another program's")
        read_as = " and ".join(f"{v} as {CLASS_BY_VALUE[v].short_name.lower()}" for v in values)
        alone = "alone " if single else "and no 3 "
        self._warn(
            f"{self.name} holds the value{'s' * (not single)} {_listed(values)} {alone}and is read as FlairSeg's own: "
            f"{read_as}. If it marks lesions, state {self.prefix}{'binary' if single else f'{values[0]}=lesion'}.",
            "binary-mask-in-doubt" if single else "labels-in-doubt",
        )

    # --- messages

    def _several(self, count: int) -> UnsuitableMaskError:
        return UnsuitableMaskError(
            f"{self.name} holds {count} volumes, not one label map.",
            "Export one label map, for instance from 3D Slicer's module Segmentations; give probabilities separately.",
            code="several-volumes",
            file=self.name,
            volumes=count,
        )

    def _refused_values(self, counts: dict[int, int], why: str) -> UnsuitableMaskError:
        return self._refused({(0, value): count for value, count in counts.items()}, {}, why, code="unnamed-labels")

    def _refused(
        self, present: dict[tuple[int, int], int], names: dict[tuple[int, int], Segment], why: str, code: str
    ) -> UnsuitableMaskError:
        found = [
            FoundLabel(*key, names[key].title if key in names else "", count, None) for key, count in present.items()
        ]
        shown = ", ".join(map(str, found[:_SHOWN])) + (f" and {len(found) - _SHOWN} more" * (len(found) > _SHOWN))
        suggestion = _suggestion(self.name, found)
        return UnsuitableMaskError(
            f"{self.name} holds {shown or 'nothing'}, {why}.",
            f"State their meaning, for instance {self.prefix}{suggestion} ("
            + ", ".join(f"{c.value} {c.short_name.lower()}" for c in CLASSES)
            + ", 0 background).",
            code=code,
            file=self.name,
            values=[label.value for label in found],
            names=[label.name for label in found],
            voxels=[label.voxels for label in found],
            prefix=self.prefix,
            suggestion=suggestion,
        )

    def _warn(self, text: str, code: str) -> None:
        self.warnings.append(CaseWarning(text, code))


def class_of_segment(segment: Segment) -> int | None:
    """Class of a segment by id, name, code, then the code's words; None if none of them is known."""
    for found in (
        class_of_id(segment.id),
        class_of_name(segment.name),
        class_of_code(*segment.code[:2]),
        class_of_name(segment.code[2]),
    ):
        if found is not None:
            return found
    return None


def _called(segment: Segment) -> set[str]:
    return {text.casefold() for text in (segment.id, segment.name) if text}


def _is_grey(layer: np.ndarray) -> bool:
    """Whether values change from voxel to voxel, as per cent and grey levels do, and numbers of components do not."""
    touching = different = 0
    for axis in range(layer.ndim):
        moved = np.moveaxis(layer, axis, 0)
        one, other = moved[:-1], moved[1:]
        both = (one != 0) & (other != 0)
        touching += int(np.count_nonzero(both))
        different += int(np.count_nonzero(both & (one != other)))
    return different >= FEWEST_DIFFERENT and different > GREY_SHARE * touching


def _has_fractions(layers: np.ndarray) -> bool:
    """Whether values are no labels.

    Labels that a program scaled to 0...255 when it wrote them (NIfTI, ``scl_slope``) come back as the nearest of 255
    steps: 0, 1, 2 as 0, 0.996, 2. Up to 1 such a value could be a probability.
    """
    if layers.dtype.kind != "f":
        return False
    largest = float(layers.max(initial=0))
    scaled = 1.5 < largest <= _LARGEST_SCALED
    tolerance = max(WHOLE, largest * _HALF_STEP) if scaled else WHOLE
    return float(np.abs(np.rint(layers) - layers).max(initial=0)) > tolerance


def _counts(layer: np.ndarray) -> dict[int, int]:
    """Value -> voxels, without 0."""
    if layer.dtype.kind in "bu" and layer.dtype.itemsize <= 2:
        counts = np.bincount(layer.ravel())
        return {int(v): int(counts[v]) for v in np.flatnonzero(counts) if v != 0}
    values, counts = np.unique(layer, return_counts=True)
    return {int(v): int(n) for v, n in zip(values, counts, strict=True) if v != 0}


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:_SHOWN])) + (", ..." if len(values) > _SHOWN else "")


def _tool_of(name: str) -> str:
    """Preset of the program whose files are called so; empty if none is known."""
    return next((preset for pattern, preset in _KNOWN_FILES if pattern.search(name.lower())), "")


def _suggestion(name: str, found: list[FoundLabel]) -> str:
    """The meaning that a user most likely has to state."""
    values = {label.value for label in found}
    named = next((label.name for label in found if label.name), "")
    if named:
        first = next((label.name for label in found if may_be_lesions(label.name)), named)
        meaning = f"{first}={CLASS_BY_VALUE[NORMAL_WMH if 'norm' in first.lower() else LESION].id}"
        return f"'{meaning}'" if " " in first else meaning
    if len(values & {*FREESURFER_VENTRICLES, 2, 3, 41, 42}) >= 4:
        return "samseg" if 99 in values else "wmh-synthseg" if 77 in values else "synthseg"
    tool = _tool_of(name)
    if tool:
        return tool
    if len(values) == 1 and min(values) > 0:
        return "binary"
    return ",".join(f"{value}={BACKGROUND if value < 0 else LESION}" for value in sorted(values)[-1:])
