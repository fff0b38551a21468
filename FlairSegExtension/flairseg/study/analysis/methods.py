"""The methods paragraph for a paper, filled from protocol and data."""

from __future__ import annotations

from ...statistics.intervals import RESAMPLES
from .agreement import AC1, AC2
from .lesions import SAME_PLACE_MM
from .results import Results
from .tidy import BINARY
from .timing import CORRELATION, MIXED_MODEL, PAIRED_TEST
from .wording import counted

_TIMING_METHODS = {
    PAIRED_TEST: "Wilcoxon's signed-rank test on case means",
    MIXED_MODEL: "a linear mixed model of log time (arm, rater and order fixed, case random)",
    CORRELATION: "Spearman's correlation with the place in the order",
}
#: Numbers that begin a sentence.
_NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
#: References of the paragraph and the report.
REFERENCES = (
    "Wilson EB. J Am Stat Assoc 1927;22:209-212 (interval of a proportion).",
    "Cohen J. Educ Psychol Meas 1960;20:37-46; Psychol Bull 1968;70:213-220 (kappa, weighted kappa).",
    "Fleiss JL. Psychol Bull 1971;76:378-382 (kappa of many raters).",
    "Gwet KL. Br J Math Stat Psychol 2008;61:29-48; Handbook of Inter-Rater Reliability, 4th ed., 2014 (AC1, AC2).",
    "Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-428; McGraw KO, Wong SP. Psychol Methods 1996;1:30-46 (ICC).",
    "Bland JM, Altman DG. Lancet 1986;327:307-310; Stat Methods Med Res 1999;8:135-160 (limits of agreement).",
    "McNemar Q. Psychometrika 1947;12:153-157; Holm S. Scand J Stat 1979;6:65-70 (paired proportions, adjustment).",
    "Efron B. J Am Stat Assoc 1987;82:171-185; Field CA, Welsh AH. J R Stat Soc B 2007;69:369-390 (bootstrap).",
    "Kottner J et al. J Clin Epidemiol 2011;64:96-106 (GRRAS).",
    "Tejani AS et al. Radiol Artif Intell 2024;6:e240300 (CLAIM 2024).",
    "Vasey B et al. BMJ 2022;377:e070904 (DECIDE-AI).",
)


def methods_paragraph(results: Results) -> str:
    """Plain text in the past tense; only what is known is claimed."""
    return " ".join([*_design(results), *_statistics(results), _software(results)])


def _design(results: Results) -> list[str]:
    table, study = results.table, results.study
    number = len(table.raters)
    raters = (
        f"{_NUMBERS[number]} {'rater' if number == 1 else 'raters'}" if number < len(_NUMBERS) else f"{number} raters"
    )
    cases = counted(len(table.cases), "case")
    showings = counted(len(table.showings), "showing")
    said = [f"{raters} rated {cases} ({showings} in total)."]
    if len(table.arms) > 1:
        said.append(f"Every case had segmentations of {len(table.arms)} arms ({_listed(table.arms)}).")
    if len(table.repeats) > 1:
        mirrored = ", every other time mirrored left to right" if study.mirrored else ""
        said.append(f"Each was shown {len(table.repeats)} times to each rater{mirrored}.")
    said += [f"{text}." for text in (study.blinding, study.washout, study.layout) if text]
    if study.order_seed:
        said.append(f"Each rater's order was random and can be repeated from its seed ({study.order_seed}).")
    if table.training:
        said.append(f"{counted(table.training, 'showing')} of training cases came first and do not count.")
    if study.protocol_sha256:
        verified = {
            True: ", which was verified before the analysis",
            False: "; a check of the records found changes",
            None: "",
        }
        said.append(
            f"The protocol was locked before the first rating (SHA-256 {study.protocol_sha256}) and answers were "
            f"stored append-only with a hash chain{verified[study.chain_verified]}."
        )
    if study.source:
        said.append(f"The ratings were {study.source}.")
    if table.showings["proposed"].notna().any():
        said.append(_rule(study.threshold))
    return said


def _rule(threshold: float | None) -> str:
    """S5's rule as a sentence; without its threshold, that there was one."""
    marked = "Raters marked false-positive and false-negative lesions; "
    decided = ", and raters confirmed or overruled the rule."
    if threshold is None:
        return f"{marked}a rule on these counts proposed whether a mask was acceptable{decided}"
    share = f"more than {100 * threshold:g} %"
    return (
        f"{marked}a mask counted as acceptable by rule if {share} of delineated lesions were true and {share} of true "
        f"lesions were delineated{decided}"
    )


def _statistics(results: Results) -> list[str]:
    table = results.table
    said = [
        "The case was the unit of analysis: unless stated otherwise, 95 % intervals are bias-corrected and accelerated "
        f"bootstrap intervals over cases ({RESAMPLES} resamples, seed {results.seed})."
    ]
    if table.of_kind(BINARY):
        said.append("Rates are given with Wilson score intervals.")
    if results.comparisons:
        said.append(
            "Arms were compared on the same cases with McNemar's exact test, p values adjusted by Holm's method."
        )
    given = {row.coefficient for row in results.agreement if row.estimate.defined}
    if AC1 in given:
        said.append("Agreement on categories is given as per cent, Cohen's and Fleiss' kappa and Gwet's AC1.")
    if AC2 in given:
        said.append("For ordered scales, quadratically weighted kappa and Gwet's AC2 were added.")
    if any(row.limits.bias.defined for row in results.limits):
        said.append(
            "Numbers were analysed with intraclass correlations ICC(2,1) and ICC(3,1) after Shrout and Fleiss, "
            "Bland-Altman limits of agreement with t intervals, and the repeatability coefficient."
        )
    done = {test.method for test in results.timing_tests if test.p is not None}
    tests = [text for method, text in _TIMING_METHODS.items() if method in done]
    if tests:
        said.append(f"Active time was analysed with {_listed(tests)}.")
    if results.mark_agreement:
        said.append(f"Two marks within {SAME_PLACE_MM:g} mm counted as one place.")
    missing = sum(table.missing_answers(question) for question in table.questions)
    said.append(
        f"Missing answers ({missing}) and showings that did not take place ({len(table.absent)}) were left out of the "
        "figures that need them; nothing was imputed."
    )
    return said


def _software(results: Results) -> str:
    versions = _listed([f"{name} {number}" for name, number in results.versions.items()])
    collected = f" The ratings were collected with {results.study.software}." if results.study.software else ""
    return f"The analysis was done with {versions}.{collected}"


def _listed(items: list[str] | tuple[str, ...]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
