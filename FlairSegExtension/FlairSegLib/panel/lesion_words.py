"""Lesions in words: regions, figures, load. Texts only; what they say is measured elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flairseg.anatomy.regions import (
    DEEP_WHITE_MATTER,
    INFRATENTORIAL,
    JUXTACORTICAL,
    PERIVENTRICULAR,
    REGIONS,
    UNKNOWN,
)
from flairseg.labels import LESION
from flairseg.lesion_table import split_count
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flairseg.lesion_table import LesionRow
    from flairseg.lesions import Lesion


def region_names() -> dict[str, str]:
    """Regions in the reader's words, short enough for a column."""
    return {
        PERIVENTRICULAR: _("Periventricular"),
        JUXTACORTICAL: _("Juxtacortical"),
        INFRATENTORIAL: _("Infratentorial"),
        DEEP_WHITE_MATTER: _("Deep white m."),
        UNKNOWN: _("Unknown"),
    }


def region_name(region: str | None) -> str:
    """A region in the reader's words; a dash where none was looked for."""
    return "–" if not region else region_names().get(region, region)


def certainty(lesion: Lesion) -> float | None:
    """How sure the list says the models are of a lesion, 0..1; None where nothing is known.

    Of an ensemble it is what the members' disagreement leaves, of a single model the mean probability.
    """
    return lesion.confidence if lesion.disagreement is None else 1.0 - lesion.disagreement


def confidence(lesion: Lesion) -> str:
    """:func:`certainty` as the list shows it."""
    sure = certainty(lesion)
    return "–" if sure is None else f"{100 * sure:.0f} %"


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
    if lesion.confidence is not None:
        lines.append(
            _("Probability {mean:.0f} % on average, {peak:.0f} % at its highest").format(
                mean=100 * lesion.confidence, peak=100 * (lesion.peak_probability or 0.0)
            )
        )
    if lesion.disagreement is not None:
        lines.append(_("The models of the ensemble disagree by {n:.0f} %").format(n=100 * lesion.disagreement))
    if row is not None and row.parts > 1:
        lines.append(_("Confluent: {parts} lesions when split").format(parts=row.parts))
    return "\n".join(lines)


def figures_line(row: LesionRow | None) -> str:
    """Diameter and parts of the selected lesion, in a sentence."""
    if row is None:
        return ""
    text = _("{mm:.1f} mm across").format(mm=row.diameter_mm)
    if row.parts > 1:
        text += _(", {parts} lesions when split").format(parts=row.parts)
    return f"{text}."


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
        As :func:`flairseg.lesion_table.load_by_region` gives it.
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


def column_tips() -> list[str]:
    """What the columns of the list of lesions mean."""
    return [
        _("Number; the colour is that of the class"),
        _("Volume, ml"),
        _("Largest diameter, mm"),
        _("Slice in which it is largest"),
        _("Mean probability of its class; of an ensemble, how far its models agree"),
        _("Region of the brain; normal hyperintensity is named as such and counts in no region"),
    ]
