"""Texts about lesions: regions, figures, load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairseg.anatomy.dissemination import SMALLEST_MM, large_enough
from flairseg.anatomy.lesion_table import split_count
from flairseg.anatomy.regions import (
    DEEP_WHITE_MATTER,
    INFRATENTORIAL,
    JUXTACORTICAL,
    PERIVENTRICULAR,
    REGIONS,
    UNKNOWN,
)
from flairseg.labels import BACKGROUND, CLASSES, LESION, VENTRICLES
from slicer.i18n import tr as _

from .. import keys
from .result_section import class_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flairseg.anatomy.lesion_table import LesionRow
    from flairseg.lesions.components import Lesion

    from ..measurement import Measurement


def region_names() -> dict[str, str]:
    """Regions in the reader's words."""
    return {
        PERIVENTRICULAR: _("Periventricular"),
        JUXTACORTICAL: _("Juxtacortical"),
        INFRATENTORIAL: _("Infratentorial"),
        DEEP_WHITE_MATTER: _("Deep white matter"),
        UNKNOWN: _("Unknown"),
    }


def short_region_name(region: str | None) -> str:
    """A region in a word that a column of 60 pixels holds; a dash where none was computed."""
    names = {
        PERIVENTRICULAR: _("Periventr."),
        JUXTACORTICAL: _("Juxtacort."),
        INFRATENTORIAL: _("Infratent."),
        DEEP_WHITE_MATTER: _("Deep WM"),
        UNKNOWN: _("Unknown"),
    }
    return "–" if not region else names.get(region, region)


def region_name(region: str | None) -> str:
    """A region in the reader's words; a dash where none was computed."""
    return "–" if not region else region_names().get(region, region)


def certainty(lesion: Lesion) -> float | None:
    """Return the confidence or agreement shown for a lesion, 0..1; None where unknown.

    Of an ensemble it is what the members' disagreement leaves, of a single model the share of such lesions that readers
    drew if its card has a calibration, else the mean probability.
    """
    return lesion.confidence if lesion.disagreement is None else 1.0 - lesion.disagreement


def confidence(lesion: Lesion) -> str:
    """:func:`certainty` as the list shows it."""
    sure = certainty(lesion)
    return "–" if sure is None else f"{100 * sure:.0f}"


def volume(ml: float) -> str:
    """A volume in ml, in five characters at most."""
    return f"{ml:.3f}" if ml < 1 else f"{ml:.2f}" if ml < 100 else f"{ml:.0f}"


def sheet(lesion: Lesion, row: LesionRow | None) -> str:
    """Everything that is known of a lesion, a line each."""
    lines = [_("Volume {ml:.3f} ml ({mm3:.0f} mm³)").format(ml=lesion.volume_ml, mm3=lesion.volume_mm3)]
    if row is not None:
        lines.append(_("Largest diameter {mm:.1f} mm").format(mm=row.diameter_mm))
    first, last = lesion.slices
    lines.append(_("Slices {first} to {last}").format(first=first + 1, last=last + 1))
    right, front, up = lesion.centre_ras
    lines.append(_("Centre (R, A, S) {r:.0f}, {a:.0f}, {s:.0f} mm").format(r=right, a=front, s=up))
    if lesion.ventricle_distance_mm is not None:
        lines.append(_("{mm:.1f} mm from the ventricles").format(mm=lesion.ventricle_distance_mm))
    if lesion.drawn_share is not None:
        lines.append(_("Readers drew {n:.0f} % of such lesions").format(n=100 * lesion.drawn_share))
    if lesion.mean_probability is not None:
        lines.append(
            _("Probability {mean:.0f} % on average, {peak:.0f} % at its highest").format(
                mean=100 * lesion.mean_probability, peak=100 * (lesion.peak_probability or 0.0)
            )
        )
    if lesion.disagreement is not None:
        lines.append(_("The models of the ensemble disagree by {n:.0f} %").format(n=100 * lesion.disagreement))
    if row is not None and row.parts > 1:
        lines.append(_("Confluent: {parts} lesions when split").format(parts=row.parts))
    return "\n".join(lines)


def finding(lesion: Lesion, row: LesionRow | None, located: bool) -> str:
    """Describe the location and diameter of a lesion, in the terms in which lesions are counted.

    Parameters
    ----------
    lesion : Lesion
    row : LesionRow or None
        Its figures, once they are known.
    located : bool
        Whether regions were computed.

    Returns
    -------
    str
        For instance "Periventricular, touches the ventricle, 17.4 mm long: over the limit of 3 mm."; empty where
        nothing is known.
    """
    parts = []
    if lesion.value != LESION:
        parts.append(_("Normal periventricular hyperintensity"))
    elif located and row is not None and row.region != UNKNOWN:
        parts.append(region_name(row.region))
    if lesion.touches_ventricles:
        parts.append(_("touches the ventricle"))
    elif lesion.ventricle_distance_mm is not None:
        parts.append(_("{mm:.1f} mm from the ventricle").format(mm=lesion.ventricle_distance_mm))
    if row is not None:
        parts.append(_length(row))
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _length(row: LesionRow) -> str:
    """Largest diameter, beside the length from which a lesion is counted."""
    text = _("{mm:.1f} mm long").format(mm=row.diameter_mm)
    if row.parts > 1:
        text += _(" ({parts} lesions when split)").format(parts=row.parts)
    if row.value == LESION:
        over = large_enough(row.diameter_mm)
        limit = _(": over the limit of {mm:.0f} mm") if over else _(": under the limit of {mm:.0f} mm")
        text += limit.format(mm=SMALLEST_MM)
    return text


def summary_line(measured: Measurement, known: Sequence[int]) -> str:
    """Number and volume of the lesions and the volumes of the other classes, as rich text.

    Parameters
    ----------
    measured : Measurement
    known : sequence of int
        Values of the classes that the model segments; others are left out unless a reader has drawn them.
    """
    count, parts = measured.count(LESION), []
    for label_class in sorted(CLASSES, key=lambda c: -c.value):
        volume = measured.volume_ml(label_class.value)
        if label_class.value not in known and not volume:
            continue
        if label_class.value == LESION:
            text = _("<b>{n} lesion, {ml:.2f} ml</b>") if count == 1 else _("<b>{n} lesions, {ml:.2f} ml</b>")
        else:
            text = _("{name} {ml:.2f} ml")
        name = label_class.short_name.lower().replace("wmh", "WMH")
        # Neither a number and its unit nor a name and its number are parted at the end of a line.
        parts.append(text.format(n=count, ml=volume, name=name).replace(" ", "\u00a0"))
    first = parts[:1] if measured.count(LESION) or LESION in known else []
    return "<br>".join([*first, " · ".join(parts[len(first) :])]) if parts else ""


def count_line(rows: Sequence[LesionRow]) -> str:
    """Number of lesions, and how many they are when confluent ones are split."""
    own = [row for row in rows if row.value == LESION]
    whole = split_count(own)
    text = _("{count} lesions.") if len(own) != 1 else _("{count} lesion.")
    if whole != len(own):
        text = _("{count} lesions; {whole} when confluent ones are split.")
    return text.format(count=len(own), whole=whole)


def load_line(load: Mapping[str, Mapping[str, float]]) -> str:
    """Number and volume of the lesions of each region in which there are any.

    Parameters
    ----------
    load : mapping
        As :func:`flairseg.anatomy.lesion_table.load_by_region` gives it.
    """
    names = region_names()
    parts = [
        _("{region} {count} ({volume:.2f} ml)").format(
            region=names[region], count=int(load[region]["count"]), volume=float(load[region]["volume_ml"])
        )
        for region in REGIONS
        if load.get(region, {}).get("count")
    ]
    return " · ".join(parts)


def confidence_tip(calibrated: bool) -> str:
    """Return the meaning of confidence, for models with and without calibrated lesion confidence."""
    if calibrated:
        return _(
            "Confidence, %: share of lesions of such probability and volume that readers drew; of normal"
            " hyperintensity, mean probability of the class"
        )
    return _("Confidence, %: mean probability of its class; of an ensemble, how far its models agree")


def column_tips() -> list[str]:
    """Return the meaning of the columns of the lesion list."""
    return [
        _("Number; coloured by class"),
        _("Volume, ml"),
        _("Largest diameter, mm"),
        _("Slice with the largest cross-section"),
        confidence_tip(calibrated=False),
        _("Region of the brain; normal hyperintensity belongs to no region"),
    ]


def headings() -> list[str]:
    """Headings of the list; what they mean is in their tooltips."""
    return [_("No."), _("ml"), _("mm"), _("Slice"), _("%"), _("Region")]


def key_line() -> str:
    """Keyboard shortcuts without the mouse."""
    return _(
        "Keys: {next}/{previous} next, previous · {flip} lesion ↔ normal · {delete} remove · {undo} undo ·"
        " {overlay} colours · {accept} accept · {reject} reject"
    ).format(
        next=keys.NEXT,
        previous=keys.PREVIOUS,
        flip=keys.FLIP,
        delete=keys.DELETE,
        undo=keys.UNDO,
        overlay=keys.OVERLAY,
        accept=keys.ACCEPT,
        reject=keys.REJECT,
    )


def explanation(lesion: Lesion) -> str:
    """Describe the confidence in a lesion's class: its mean probability, and that of the next class."""
    if lesion.mean_probability is None:
        return ""
    return _("Model: {own:.0f} % {name}, {other:.0f} % {next}.").format(
        own=100 * lesion.mean_probability,
        name=_in_words(lesion.value),
        other=100 * lesion.probabilities[lesion.runner_up],
        next=_in_words(lesion.runner_up),
    )


def _in_words(value: int) -> str:
    """Name of a class within a sentence."""
    if value == BACKGROUND:
        return _("no class")
    name = class_name(value)
    return name.lower() if value in (LESION, VENTRICLES) else name
