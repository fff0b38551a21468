"""GRRAS, CLAIM 2024 and DECIDE-AI, pre-filled by the software; the rest is for the authors.

Items have short titles of our own under their official numbers; the official wording is in the cited papers:
GRRAS (Kottner 2011, 10.1016/j.jclinepi.2010.03.002), CLAIM 2024 (Tejani 2024, 10.1148/ryai.240300), DECIDE-AI (Vasey
2022, 10.1136/bmj-2022-070904). Answers are derived from data and protocol only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .results import INTER, INTRA, Results
from .tables import TABLES
from .wording import counted, percent_with_interval

TO_COMPLETE = "to be completed by the authors"
#: Reason why items about training a model are not answered from a reader study.
_MODEL = "See the model card of each arm; " + TO_COMPLETE
_STATISTICS = "Section “Methods”"
#: Scope of DECIDE-AI, so that it is not claimed for ratings of stored images.
_LIVE = (
    "DECIDE-AI is for the early evaluation of a system in live care. A rating study of stored images prepares one: "
    "items on patients' care do not apply to it, and it should not be called one."
)


@dataclass(frozen=True)
class Item:
    """One line of a checklist; ``known`` where the software filled it."""

    number: str
    section: str
    topic: str
    answer: str
    known: bool


@dataclass(frozen=True)
class Checklist:
    """A reporting guideline with its items, and a note on its scope."""

    name: str
    citation: str
    items: tuple[Item, ...]
    note: str = ""

    @property
    def filled(self) -> int:
        """Items that the software filled."""
        return sum(item.known for item in self.items)


_GRRAS = (
    ("Title and abstract", "1", "Agreement or reliability named in title or abstract"),
    ("Introduction", "2", "The measurement: what is rated, and how"),
    ("Introduction", "3", "Population of subjects"),
    ("Introduction", "4", "Population of raters"),
    ("Introduction", "5", "What is known already, and the rationale"),
    ("Methods", "6", "Sample size: raters, subjects, repeats, and why"),
    ("Methods", "7", "Sampling method"),
    ("Methods", "8", "Rating process: interval, information, blinding"),
    ("Methods", "9", "Independence of ratings"),
    ("Methods", "10", "Statistical analysis"),
    ("Results", "11", "Raters, subjects and repeats actually included"),
    ("Results", "12", "Characteristics of raters and subjects"),
    ("Results", "13", "Estimates of reliability and agreement with uncertainty"),
    ("Discussion", "14", "Practical relevance"),
    ("Auxiliary material", "15", "Detailed results"),
)

_CLAIM = (
    ("Title and abstract", "1", "AI methodology and kind of technology named"),
    ("Title and abstract", "2", "Summary of design, methods, results, conclusions"),
    ("Introduction", "3", "Background, intended use and role of the AI"),
    ("Introduction", "4", "Aims, objectives, hypotheses"),
    ("Methods: design", "5", "Prospective or retrospective"),
    ("Methods: design", "6", "Goal of the study"),
    ("Methods: data", "7", "Data sources"),
    ("Methods: data", "8", "Inclusion and exclusion criteria"),
    ("Methods: data", "9", "Preprocessing"),
    ("Methods: data", "10", "Selection of data subsets"),
    ("Methods: data", "11", "De-identification"),
    ("Methods: data", "12", "Missing data"),
    ("Methods: data", "13", "Image acquisition protocol"),
    ("Methods: reference standard", "14", "How the reference standard was obtained"),
    ("Methods: reference standard", "15", "Rationale for it"),
    ("Methods: reference standard", "16", "Source of its annotations"),
    ("Methods: reference standard", "17", "Annotation of the test set"),
    ("Methods: reference standard", "18", "Inter- and intra-rater variability"),
    ("Methods: partitions", "19", "Assignment of data to partitions"),
    ("Methods: partitions", "20", "Level at which partitions are disjoint"),
    ("Methods: testing data", "21", "Intended sample size"),
    ("Methods: model", "22", "Description of the model"),
    ("Methods: model", "23", "Software libraries and versions"),
    ("Methods: model", "24", "Initialisation of parameters"),
    ("Methods: training", "25", "Training approach"),
    ("Methods: training", "26", "Selection of the final model"),
    ("Methods: training", "27", "Ensembling"),
    ("Methods: evaluation", "28", "Measures of performance"),
    ("Methods: evaluation", "29", "Significance and uncertainty"),
    ("Methods: evaluation", "30", "Robustness or sensitivity analysis"),
    ("Methods: evaluation", "31", "Explainability"),
    ("Methods: evaluation", "32", "Evaluation on internal data"),
    ("Methods: evaluation", "33", "Testing on external data"),
    ("Methods: evaluation", "34", "Clinical trial registration"),
    ("Results: data", "35", "Cases included and excluded"),
    ("Results: data", "36", "Demographic and clinical characteristics by partition"),
    ("Results: performance", "37", "Performance with uncertainty"),
    ("Results: performance", "38", "Diagnostic performance and precision"),
    ("Results: performance", "39", "Failure analysis"),
    ("Discussion", "40", "Limitations"),
    ("Discussion", "41", "Implications for practice"),
    ("Other information", "42", "Full protocol or technical details"),
    ("Other information", "43", "Availability of software, model, data"),
    ("Other information", "44", "Funding and other support; role of funders"),
)

_DECIDE = (
    ("Title and abstract", "1", "Early clinical evaluation of an AI system named, with the problem"),
    ("Title and abstract", "I", "Structured summary"),
    ("Introduction", "2", "Intended use: condition, patients, users, place in care, expected impact"),
    ("Introduction", "II", "Objectives"),
    ("Methods", "III", "Protocol, registration, ethics approval"),
    ("Methods", "3", "Participants: patients, users, familiarisation"),
    ("Methods", "4", "AI system: version, inputs, outputs"),
    ("Methods", "5", "Implementation: setting, workflow, who decided"),
    ("Methods", "IV", "Outcomes"),
    ("Methods", "6", "Safety and errors: how they were defined, found and minimised"),
    ("Methods", "7", "Human factors: tools, use cases, users"),
    ("Methods", "V", "Statistical analysis"),
    ("Methods", "8", "Ethics: algorithmic fairness and the like"),
    ("Methods", "VI", "Patient involvement"),
    ("Results", "9", "Participants: patients, missing input data, users"),
    ("Results", "10", "Implementation: exposure, adherence, changes of workflow"),
    ("Results", "VII", "Main results"),
    ("Results", "VIII", "Subgroup analyses"),
    ("Results", "11", "Changes to the system during the study"),
    ("Results", "12", "Human-computer agreement, and why users differed"),
    ("Results", "13", "Safety: significant errors, risks, harm"),
    ("Results", "14", "Human factors: usability, learning curves"),
    ("Discussion", "15", "Support for the intended use"),
    ("Discussion", "16", "Safety and errors"),
    ("Discussion", "IX", "Strengths and limitations"),
    ("Statements", "17", "Availability of data and code"),
    ("Statements", "X", "Conflicts of interest, funding"),
)


def checklists(results: Results) -> tuple[Checklist, Checklist, Checklist]:
    """The three checklists, pre-filled."""
    facts = _Facts(results)
    return (
        Checklist("GRRAS", "Kottner et al. 2011", _items(_GRRAS, _grras(facts))),
        Checklist("CLAIM 2024", "Tejani et al. 2024", _items(_CLAIM, _claim(facts))),
        Checklist("DECIDE-AI", "Vasey et al. 2022", _items(_DECIDE, _decide(facts)), _LIVE),
    )


def _items(table: tuple[tuple[str, str, str], ...], answers: Mapping[str, str]) -> tuple[Item, ...]:
    known = {number: answer for number, answer in answers.items() if answer}
    items = []
    for section, number, topic in table:
        answer = known.get(number, TO_COMPLETE)
        items.append(Item(number, section, topic, answer, TO_COMPLETE not in answer))
    return tuple(items)


class _Facts:
    """Sentences used by several checklists; empty if unknown."""

    def __init__(self, results: Results) -> None:
        table, study = results.table, results.study
        self.results = results
        self.included = (
            f"{counted(len(table.raters), 'rater')}, {counted(len(table.cases), 'case')}, "
            f"{counted(len(table.arms), 'arm')}, {counted(len(table.repeats), 'showing')} of each to each rater; "
            f"{len(table.showings)} showings analysed, {len(table.absent)} missing (section “Data”)."
        )
        self.process = " ".join(f"{text}." for text in (study.blinding, study.washout, study.layout) if text)
        self.protocol = f"Protocol SHA-256 {study.protocol_sha256}." if study.protocol_sha256 else ""
        planned = f"planned {counted(study.repeats, 'showing')} of each to each rater" if study.repeats else ""
        self.planned = f"By the protocol: {planned}; the reasons are {TO_COMPLETE}." if planned else ""
        self.raters = "; ".join(f"{code}: {text}" for code, text in study.raters.items() if text)
        self.models = "; ".join(f"{arm}: {text}" for arm, text in study.models.items() if text)
        self.software = ", ".join(f"{name} {number}" for name, number in results.versions.items()) + " (analysis)."
        excluded = "; ".join(f"{e.case}: {e.reason}" for e in results.exclusions[:20])
        more = " and more" if len(results.exclusions) > 20 else ""
        self.excluded = (
            f"{counted(len(table.cases), 'case')} included; {len(results.exclusions)} excluded"
            f"{f' ({excluded}{more})' if excluded else ''}."
        )
        missing = sum(table.missing_answers(question) for question in table.questions)
        self.missing = (
            f"{missing} missing answers and {len(table.absent)} missing showings were left out of the figures that "
            "need them; nothing was imputed."
        )
        scopes = {row.scope for row in results.agreement if row.estimate.defined}
        parts = [name for name, scope in (("intra-rater", INTRA), ("inter-rater", INTER)) if scope in scopes]
        self.agreement = f"Section “Agreement”: {' and '.join(parts)}, with 95 % intervals." if parts else ""
        primary = table.primary
        rates = [r for r in results.rates if primary is not None and r.question == primary.id and r.unit == "showing"]
        last = {r.arm: r for r in rates}
        self.main = "; ".join(f"{arm or 'all'}: {percent_with_interval(r.wilson)}" for arm, r in last.items())
        self.main = f"{str(primary.categories[1]).capitalize()}: {self.main} (Wilson)." if primary and last else ""
        self.errors = "Sections “Lesions” and “Error map”." if results.lesions else ""
        self.learning = "Section “Time”." if results.timing_tests else ""


def _grras(facts: _Facts) -> dict[str, str]:
    questions = "; ".join(f"{q.name} ({q.response_type})" for q in facts.results.table.questions[:12])
    return {
        "2": f"Questions: {questions}.",
        "4": f"{facts.raters}; further {TO_COMPLETE}." if facts.raters else "",
        "6": facts.planned,
        "8": facts.process,
        "9": "Each rater answered in a session of their own and could not see the answers of others."
        if facts.results.study.protocol_sha256
        else "",
        "10": f"{_STATISTICS}.",
        "11": facts.included,
        "12": f"Raters: {facts.raters}; subjects {TO_COMPLETE}." if facts.raters else "",
        "13": facts.agreement,
        "15": f"{', '.join(TABLES)}, beside this report.",
    }


def _claim(facts: _Facts) -> dict[str, str]:
    return {
        "11": "Raters saw pseudonymous case codes; de-identification of the images is " + TO_COMPLETE + "."
        if facts.results.study.protocol_sha256
        else "",
        "12": facts.missing,
        "18": facts.agreement,
        "22": f"{facts.models}. {_MODEL}." if facts.models else "",
        "23": facts.software,
        "24": _MODEL,
        "25": _MODEL,
        "26": _MODEL,
        "27": _MODEL,
        "28": "Acceptance by raters, lesion-level precision and sensitivity after the raters' marks, time per case.",
        "29": f"{_STATISTICS}.",
        "35": facts.excluded,
        "37": facts.main,
        "39": facts.errors,
        "42": facts.protocol,
    }


def _decide(facts: _Facts) -> dict[str, str]:
    return {
        "III": f"{facts.protocol} Registration and ethics approval are {TO_COMPLETE}." if facts.protocol else "",
        "4": f"{facts.models}; inputs and outputs are {TO_COMPLETE}." if facts.models else "",
        "V": f"{_STATISTICS}.",
        "9": f"Users: {facts.raters}; patients {TO_COMPLETE}." if facts.raters else "",
        "10": f"{facts.included} Adherence and changes of workflow are {TO_COMPLETE}.",
        "VII": facts.main,
        "11": "None: the masks were made before the study was locked, and their hashes are in the sealed key."
        if facts.results.study.protocol_sha256
        else "",
        "13": f"{facts.errors} Harm is {TO_COMPLETE}." if facts.errors else "",
        "14": f"Learning: {facts.learning} Usability is {TO_COMPLETE}." if facts.learning else "",
    }
