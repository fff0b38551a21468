"""The proof as one HTML page: verdict, paired comparison, cases by number, omissions, training."""

from __future__ import annotations

from math import isfinite, nan
from pathlib import Path

from ..models.card import ModelCard
from ..reporting.drawing import Figure, canvas, finished, style
from ..reporting.layout import KeyFigure, Section, Table, cells
from ..reporting.page import TEMPLATES, render_page
from ..reporting.wording import counted
from .cards import CaseCounts
from .record import LARGEST_LOSS, Comparison, Limit, ProofRecord
from .terms import BETTER, FIGURES, WORSE

_NEXT = {
    BETTER: "The adapted model is proposed for use at this site; it is not in use until selected.",
    WORSE: "The adapted model is not proposed. The base stays in use.",
}


def write_page(path: Path, card: ModelCard, proof: ProofRecord) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    card : ModelCard
        Of the adapted model.
    proof : ProofRecord
    """
    made, counts = card.raw["adaptation"], CaseCounts.of_card(card)
    word = proof.judgement.verdict
    context = {
        "kind": "Local adaptation of a FlairSeg model",
        "title": f"{card.id}: {word}",
        "alerts": [] if word == BETTER else [_NEXT.get(word, "No difference was shown: the base stays in use.")],
        "facts": [
            ("Model", f"{card.id}, sha256 {card.sha256[:16]}"),
            ("Adapted from", f"{made['parent']['id']}, sha256 {made['parent']['sha256'][:16]}"),
            ("Trained on", f"{counted(counts.cases, 'case')} of {counted(counts.patients, 'patient')}"),
            ("Seed, minutes", f"{made['seed']}, {made['minutes']}"),
        ],
        "key": [_key(one) for one in proof.comparisons if one.key in ("lesion_dice", "lesion_f1", "edit_voxels")],
        "sections": [
            _verdict_section(word, proof),
            *_convention_sections(proof),
            _comparison_section(proof),
            _harm_section(proof),
            _case_section(proof),
            _data_section(proof, counts),
            _training_section(proof, card),
        ],
    }
    path.write_text(render_page("page.html.j2", TEMPLATES, context), encoding="utf-8")


def _key(one: Comparison) -> KeyFigure:
    title = FIGURES[one.key][0]
    return KeyFigure(
        title, f"{_number(one.base)} to {_number(one.adapted)}", f"gain {_number(one.gain)} ({_interval(one)})"
    )


def _verdict_section(word: str, proof: ProofRecord) -> Section:
    told = _NEXT.get(word, "The base stays in use.")
    return Section("verdict", "Verdict", (f"{word.capitalize()}.", *proof.judgement.reasons, told))


def _convention_sections(proof: ProofRecord) -> tuple[Section, ...]:
    """What most masks share that the figures cannot judge; no section without it."""
    rows = tuple(
        cells(
            one.code, one.text, f"{one.statement[0].upper()}{one.statement[1:]}.", "yes" if one.accepted else "no"
        )
        for one in proof.conventions
    )  # fmt: skip
    if not rows:
        return ()
    told = (
        "The masks of most patients differ from the base's results, or from their images, in the same way. The figures "
        "below compare both models with these masks: they cannot distinguish a readers' convention from an error. The "
        "model is proposed only once the statement is accepted.",
    )
    table = Table("Differences", ("Code", "Found", "Statement", "Accepted"), rows, numbers_from=4)
    return (Section("conventions", "Is this your readers' convention?", told, (table,)),)


def _comparison_section(proof: ProofRecord) -> Section:
    rows = tuple(
        cells(
            FIGURES[one.key][0],
            str(one.patients),
            _number(one.base),
            _number(one.adapted),
            _number(one.gain),
            _interval(one),
            f"{one.p:.3f}",
            f"{one.improved} of {one.patients}",
        )
        for one in proof.comparisons
    )
    columns = ("Figure", "Patients", "Base", "Adapted", "Gain", "95 % interval", "p", "Improved")
    table = Table("Base and adapted model on left-out patients", columns, rows)
    figure = _picture(proof)
    return Section(
        "comparison",
        "Base against adapted",
        (
            "Each case was segmented by a model adapted without any case of its patient. Means over patients; gains "
            "are positive where the adapted model is better; intervals are BCa bootstrap over patients, p of a "
            "one-sided sign-flip test.",
        ),
        (table,),
        (figure,) if figure is not None else (),
    )


def _harm_section(proof: ProofRecord) -> Section:
    rows = tuple(
        cells(one.what, _number(one.base), _number(one.adapted), "lost" if one.harmed else "kept")
        for one in proof.harms
    )
    table = Table("Forgetting", ("Images", "Base", "Adapted", ""), rows)
    return Section(
        "no-harm",
        "Check for forgetting",
        (
            f"On images unrelated to the site, at most {LARGEST_LOSS} may be lost. The phantom is a "
            "digital head, the slices are synthetic; neither was used for training.",
        ),
        (table,),
    )


def _case_section(proof: ProofRecord) -> Section:
    keys = [key for key in FIGURES if any(isfinite(one.base.get(key, nan)) for one in proof.cases)]
    rows = tuple(
        cells(
            str(one.case),
            str(one.fold),
            *(f"{_number(one.base.get(key, nan))} / {_number(one.adapted.get(key, nan))}" for key in keys),
        )
        for one in proof.cases
    )
    columns = ("Case", "Fold", *(FIGURES[key][0] for key in keys))
    return Section("cases", "Each case", ("Base / adapted. Cases are numbered in the order of their names.",),
                   (Table("Results of each case", columns, rows, folded=len(rows) > 12),))  # fmt: skip


def _data_section(proof: ProofRecord, counts: CaseCounts) -> Section:
    reviewed = ", ".join(f"{name} in {count}" for name, count in counts.reviewed.items())
    told = (
        f"{counted(counts.corrected, 'case')} corrected or drawn by hand, {counts.accepted_unedited} accepted as "
        f"they were (these weigh half); {counts.with_rejected_version} with an earlier version that was rejected.",
        f"Classes reviewed: {reviewed}. Lesions drawn: {counts.lesion_ml} ml in all.",
    )
    rows = tuple(cells(str(one.number), one.code, one.reason) for one in proof.left_out)
    tables = (Table("Cases left out", ("Case", "Code", "Why"), rows, numbers_from=3),) if rows else ()
    return Section("data", "Training cases", told, tables)


def _training_section(proof: ProofRecord, card: ModelCard) -> Section:
    made = card.raw["adaptation"]
    names = [*(f"Fold {n}" for n in range(1, len(proof.trainings))), "All cases"]
    rows = tuple(
        cells(name, str(one.steps), str(one.best_step), one.stopped, f"{one.seconds:.0f}", one.device)
        for name, one in zip(names, proof.trainings, strict=True)
    )
    table = Table("Trainings", ("Training", "Steps", "Kept at", "Stopped by", "Seconds", "Device"), rows)
    return Section(
        "training",
        "How it was made",
        (
            "Norms, biases and the last layer first, then all weights at a low rate; synthetic slices in every batch; "
            "the running average of the weights at the last check that was not worse than the base. Kept at 0: the "
            f"base itself. Seed {made['seed']}.",
            f"Minimum mean probability of a lesion. {Limit(**made['lesion_limit']).text(made['parent']['id'])}",
        ),
        (table,),
    )


def _picture(proof: ProofRecord) -> Figure | None:
    """A line a case from base to adapted, lesion Dice."""
    pairs = [(one.base.get("lesion_dice", nan), one.adapted.get("lesion_dice", nan)) for one in proof.cases]
    pairs = [(a, b) for a, b in pairs if isfinite(a) and isfinite(b)]
    if not pairs:
        return None
    with style():
        drawn = canvas(2.6, 3.6)
        axes = drawn.subplots()
        for a, b in pairs:
            axes.plot([0, 1], [a, b], "-o", color="#0b5c93" if b >= a else "#a04000", markersize=3, linewidth=1)
        axes.set_xticks([0, 1], ["base", "adapted"])
        axes.set_xlim(-0.3, 1.3)
        axes.set_ylabel("Lesion Dice")
        return finished(
            drawn,
            "cases",
            "Lesion Dice of each case; orange where the adapted model is worse.",
            "Lesion Dice, base and adapted",
        )


def _number(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}"


def _interval(one: Comparison) -> str:
    if one.low != one.low or one.high != one.high:
        return "no interval"
    return f"{_number(one.low)} to {_number(one.high)}"
