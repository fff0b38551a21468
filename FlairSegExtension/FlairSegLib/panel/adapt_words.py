"""Texts about cases available for adaptation, and about the proof of an adapted model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING

from flairseg.adapt.terms import BETTER, FEWEST_FOR_PROOF, FEWEST_PATIENTS, FIGURES, WORSE
from slicer.i18n import tr as _

if TYPE_CHECKING:
    from flairseg.adapt.outcomes import Outcome, Readiness
    from flairseg.adapt.record import ProofRecord

#: Figures from so many on are written without decimals: voxels.
_WHOLE = 100
#: Up to this number, cases left out are listed one by one.
MOST_LEFT_OUT = 4


def ready_line(found: Readiness) -> str:
    """Describe the number of cases available for adaptation."""
    if not found.cases:
        return _("No case is ready: accept or correct some results first.")
    return _("{cases} of {patients} ready: {corrected} corrected, {confirmed} accepted unchanged.").format(
        cases=_counted(found.cases, _("1 case"), _("{n} cases")),
        patients=_counted(found.patients, _("1 patient"), _("{n} patients")),
        corrected=found.corrected,
        confirmed=found.confirmed,
    )


def lacks_patients(found: Readiness) -> str:
    """Why no adaptation is possible yet; empty if there are enough patients."""
    lacking = FEWEST_PATIENTS - found.patients
    if lacking <= 0:
        return ""
    return _(
        "Cases of {patients} are missing: {least} patients are required; from {proof} on a gain can be shown."
    ).format(
        patients=_counted(lacking, _("1 more patient"), _("{n} more patients")),
        least=FEWEST_PATIENTS,
        proof=FEWEST_FOR_PROOF,
    )


def missing_lines(found: Readiness) -> list[str]:
    """Return the obstacles to adapting, or to showing a gain; empty if there are none."""
    lines = [lacks_patients(found)]
    lacking = FEWEST_FOR_PROOF - found.patients
    if not lines[0] and lacking > 0:
        lines.append(
            _("With fewer than {proof} patients no gain can be shown: cases of {patients} are missing.").format(
                proof=FEWEST_FOR_PROOF, patients=_counted(lacking, _("1 more patient"), _("{n} more patients"))
            )
        )
    if found.cases and not found.corrected:
        lines.append(_("No case was corrected. Results accepted unchanged confirm the model and teach it little."))
    left_out = [_reason(code, count) for code, count in found.left_out.items()]
    if left_out:
        lines.append(_("Not used: {reasons}.").format(reasons="; ".join(left_out)))
    return [line for line in lines if line]


def verdict_words(verdict: str) -> str:
    """The verdict as a heading."""
    return {BETTER: _("Better"), WORSE: _("Worse")}.get(verdict, _("No difference shown"))


def next_words(verdict: str) -> str:
    """Return the consequence of a verdict."""
    if verdict == BETTER:
        return _("It is not in use until you select it.")
    return _("It is not proposed; the old model stays in use.")


def figure_rows(proof: ProofRecord) -> list[tuple[list[str], str]]:
    """Rows of the proof's figures: figure, old, new, gain with its interval; and a tip for each."""
    rows = []
    for one in proof.comparisons:
        gain = _signed(one.gain)
        bounded = isfinite(one.low) and isfinite(one.high)
        shown = f"{gain} ({_signed(one.low)} … {_signed(one.high)})" if bounded else gain
        tip = _("{title}: better for {improved} of {patients}; p {p:.3f}, 95 % interval over patients.").format(
            title=FIGURES[one.key][0],
            improved=one.improved,
            patients=_counted(one.patients, _("1 patient"), _("{n} patients")),
            p=one.p,
        )
        rows.append(([_short(one.key), number(one.base), number(one.adapted), shown], tip))
    return rows


def case_rows(proof: ProofRecord, names: Mapping[str, str]) -> list[tuple[list[str], str]]:
    """Rows of the cases: case, lesion Dice and voxels to edit with the old and the adapted model; and a tip for each.

    Parameters
    ----------
    proof : ProofRecord
    names : mapping of str to str
        Number -> name of a case, as far as known: the proof has numbers only.
    """
    rows = []
    for one in proof.cases:
        base, ours = one.base, one.adapted
        name = names.get(str(one.case), _("Case {n}").format(n=one.case))
        cells = [
            name,
            *(number(side.get(key, nan)) for key in ("lesion_dice", "edit_voxels") for side in (base, ours)),
        ]
        tip = "\n".join(
            f"{title}: {number(base[key])} → {number(ours[key])}"
            for key, (title, _more) in FIGURES.items()
            if isfinite(base.get(key, nan))
        )
        rows.append((cells, f"{name}\n{tip}"))
    return rows


def left_out_lines(proof: ProofRecord, names: Mapping[str, str]) -> list[str]:
    """Cases that the checks of the adaptation left out, and why."""
    found = proof.left_out
    lines = [
        _("Not used: {case}. {reason}").format(
            case=names.get(str(one.number), _("case {n}").format(n=one.number)), reason=one.reason
        )
        for one in found[:MOST_LEFT_OUT]
    ]
    if len(found) > MOST_LEFT_OUT:
        lines.append(_("{n} more are listed in the report.").format(n=len(found) - MOST_LEFT_OUT))
    return lines


def convention_lines(proof: ProofRecord) -> list[str]:
    """What most masks share that the figures cannot judge, and which statement makes it the readers' convention."""
    lines = []
    for one in proof.conventions:
        found = _("{found} Stated: {statement}.") if one.accepted else _("{found} Is this so: {statement}?")
        lines.append(found.format(found=one.text, statement=statement(one.code).lower()))
    return lines


def asked(proof: ProofRecord) -> list[str]:
    """Codes of what the user has to state before the model can be used; none if that would not make it better."""
    if proof.by_figures.verdict != BETTER:
        return []
    return [one.code for one in proof.conventions if not one.accepted]


def acceptance(codes: Sequence[str]) -> str:
    """Text of the check box by which the user states them."""
    return statement(codes[0]) if len(codes) == 1 else _("All of this is so")


def statement(code: str) -> str:
    """The statement that makes a difference of the masks the readers' convention."""
    words = {
        "normal-drawn-as-lesions": _("Our readers count periventricular caps as lesions"),
        "lesions-drawn-as-normal": _("Our readers count these periventricular lesions as normal hyperintensity"),
        "lesions-not-drawn": _("Our readers drew all lesions; anything else the base finds is not a lesion"),
        "lesions-drawn-wide": _("Our readers draw lesions with their surroundings"),
        "ventricles-drawn-wide": _("Our readers draw ventricles with their surroundings"),
        "masks-displaced-alike": _("The masks are where our readers drew them"),
    }
    return words.get(code, code)


def learnt_line(outcome: Outcome) -> str:
    """Return the training cases of the adapted model."""
    made = outcome.card.raw["adaptation"]
    return _("{model} was adapted to {cases} of {patients} in {minutes} min.").format(
        model=outcome.card.id,
        cases=_counted(made["data"]["cases"], _("1 case"), _("{n} cases")),
        patients=_counted(made["data"]["patients"], _("1 patient"), _("{n} patients")),
        minutes=max(1, round(made["minutes"])),
    )


def stage_words(stage: str) -> str:
    """Text for a stage of an adaptation; an unknown stage as it is."""
    words = {
        "check": _("Checking the cases"),
        "base": _("Segmenting the cases with the model in use"),
        "prove": _("Proof: adapting without each patient in turn"),
        "train": _("Adapting to all cases"),
        "no-harm": _("Checking for forgetting"),
        "write": _("Writing the report"),
        "fill": _("Reading the result"),
    }
    return words.get(stage, stage)


def number(value: float) -> str:
    """A figure of the proof."""
    if value != value:
        return "–"
    return f"{value:.0f}" if abs(value) >= _WHOLE else f"{value:.2f}"


def _signed(value: float) -> str:
    text = number(abs(value))
    return text if not float(text) else f"{'+' if value > 0 else '−'}{text}"


def _counted(count: int, one: str, many: str) -> str:
    return one if count == 1 else many.format(n=count)


def _short(key: str) -> str:
    """Name of a figure in a narrow column."""
    words = {
        "lesion_dice": _("Lesion Dice"),
        "lesion_f1": _("Lesion F1"),
        "lesion_volume_error_ml": _("Error, ml"),
        "ventricles_dice": _("Ventr. Dice"),
        "normal_wmh_dice": _("Normal Dice"),
        "edit_voxels": _("To edit"),
    }
    return words[key]


def _reason(code: str, count: int) -> str:
    words = {
        "rejected": _("{n} rejected and not corrected since"),
        "no-class-reviewed": _("{n} in which no class was reviewed"),
        "verdict-unknown": _("{n} with an unknown verdict"),
        "verdict-damaged": _("{n} whose verdict cannot be read"),
    }
    return words.get(code, "{n} " + code).format(n=count)
