"""Evaluation of files, with one case in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from .._optional import package_versions, require
from ..errors import Cancelled, CaseWarning, FlairSegError
from ..files.visits import patient_of
from ..image.geometry import triple
from ..image.volume import Volume
from ..labels import LESION, VENTRICLES
from ..progress import CancelToken, ProgressCallback, Reporter
from . import statistics
from .conventions import choose_conventions
from .coverage import grown
from .errors import NothingToEvaluateError
from .foreign import OWN, REFERENCE, LabelMapping
from .inputs import EvaluationCase
from .masks import read_image, read_prediction, read_probabilities, read_reference
from .measures import CaseMeasures, measure, without_small_lesions
from .results import CaseArrays, CaseInfo, Conventions, EvaluationResult, MethodInfo, Refusal
from .statistics import Measured
from .terms import ALL_WMH, CLASS_TITLES, EVALUATED, LESION_ID, NORMAL_WMH_ID

#: Prefix of warnings about a reference.
_REFERENCE_WORD = "Reference"
#: Presets of references in which normal and abnormal WMH are one class.
_UNDIVIDED = ("wmh-challenge",)
#: Warnings about masks without the value 3, see :func:`~flairseg.io.label_maps.read_label_map`.
_DOUBTS = ("labels-in-doubt", "binary-mask-in-doubt")
#: Progress after the cases.
_MEASURED = 0.8
#: Packages whose versions are recorded.
_PACKAGES = ("numpy", "scipy", "SimpleITK", "scikit-image", "statsmodels")


def evaluate(
    cases: Iterable[EvaluationCase],
    conventions: Conventions | None = None,
    mappings: Mapping[str, LabelMapping] | None = None,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    refused: Callable[[Refusal], None] | None = None,
) -> EvaluationResult:
    """Compare segmentations with references.

    Parameters
    ----------
    cases : iterable of EvaluationCase
        From :func:`~.inputs.read_manifest` or :func:`~.inputs.match_folders`.
    conventions : Conventions, optional
        Default: those of :func:`~.conventions.choose_conventions`.
    mappings : mapping of str to LabelMapping, optional
        Meaning of a method's label values; ``reference`` for those of the references.
    progress : callable, optional
        ``progress(fraction, stage)``; stages ``case <name>`` and ``statistics``.
    cancel : CancelToken or callable, optional
    refused : callable, optional
        Called immediately with every case that cannot be evaluated.

    Returns
    -------
    EvaluationResult

    Raises
    ------
    NothingToEvaluateError
        If no case could be evaluated, or masks and references have no class in common.
    MissingDependencyError
        If statsmodels is not installed.
    Cancelled
        When the user cancelled.
    """
    require(("statsmodels",), "An evaluation", "study")
    cases = list(cases)
    run = _Run(conventions or choose_conventions(), dict(mappings or {}), Reporter(progress, cancel), refused)
    with run.reporter.stage("cases", 0.0, _MEASURED):
        run.measure(cases)
    run.settle_classes()
    with run.reporter.stage("statistics", _MEASURED, 1.0):
        return run.result()


class _Run:
    """State of a running evaluation."""

    def __init__(
        self,
        conventions: Conventions,
        mappings: dict[str, LabelMapping],
        reporter: Reporter,
        refused: Callable[[Refusal], None] | None,
    ) -> None:
        self.conventions, self.mappings, self.reporter, self.refused = conventions, mappings, reporter, refused
        self.methods: dict[str, Measured] = {}
        self.infos: dict[str, CaseInfo] = {}
        self.files: dict[tuple[str, str], EvaluationCase] = {}
        self.refusals: list[Refusal] = []
        self.reference_classes: frozenset[int] = frozenset()

    # --- one case after the other

    def measure(self, cases: Sequence[EvaluationCase]) -> None:
        order = list(dict.fromkeys(case.method for case in cases))
        self.methods = {name: Measured(name) for name in order}
        by_case: dict[str, list[EvaluationCase]] = {}
        for case in cases:
            by_case.setdefault(case.case, []).append(case)
        done = 0
        for name, members in by_case.items():
            try:
                reference = self._reference(members[0], members)
            except FlairSegError as error:
                for member in members:
                    self._refuse(member, error)
                done += len(members)
                continue
            for member in members:
                self.reporter.update(done / len(cases))
                self._member(member, reference)
                done += 1
                self.reporter.update(done / len(cases))
            if all((name, member.method) not in self.files for member in members):
                self.infos.pop(name, None)
        self.methods = {name: method for name, method in self.methods.items() if method.cases}
        if not self.methods:
            raise NothingToEvaluateError(
                f"None of the {len(cases)} cases could be evaluated.", "See the messages above."
            )

    def _reference(self, case: EvaluationCase, members: Sequence[EvaluationCase]) -> Volume:
        reference = read_reference(case.reference, self.mappings.get(REFERENCE))
        masks = [(member.prediction, self.mappings.get(member.method), member.method) for member in members]
        reference = grown(reference, case.reference, masks)
        reference = without_small_lesions(reference, self.conventions.minimum_lesion_mm3)
        self.infos[case.case] = CaseInfo(
            case.case,
            case.site,
            case.disease,
            triple(int(n) for n in reference.array.shape),
            triple(round(s, 6) for s in reference.spacing),
            tuple(_about(_REFERENCE_WORD, text) for text in reference.warnings),
        )
        return reference

    def _member(self, case: EvaluationCase, reference: Volume) -> None:
        try:
            measures, warnings = self._measured(case, reference)
        except Cancelled:
            raise
        except MemoryError:
            self._refuse(case, FlairSegError("There is not enough memory for it.", "Close other programs."))
        except FlairSegError as error:
            self._refuse(case, error)
        else:
            self.methods[case.method].add(case.case, measures)
            self.files[case.case, case.method] = case
            info = self.infos[case.case]
            told = tuple(_about(case.method, text) for text in warnings)
            self.infos[case.case] = replace(info, warnings=(*info.warnings, *told))

    def _measured(self, case: EvaluationCase, reference: Volume) -> tuple[CaseMeasures, list[CaseWarning]]:
        mapping = self.mappings.get(case.method)
        placed = read_prediction(case.prediction, mapping, case.method, reference)
        prediction = without_small_lesions(reference.with_array(placed.array), self.conventions.minimum_lesion_mm3)
        warnings = [CaseWarning.of(text) for text in placed.warnings]
        probabilities: dict[int, np.ndarray] = {}
        source = case.probabilities
        if source is None and placed.scores is not None and mapping is not None and mapping.nonzero is not None:
            probabilities = {mapping.nonzero: placed.scores}
        elif source is not None:
            probabilities, told = read_probabilities(source, mapping, reference)
            warnings += told
        return measure(prediction.array, reference, self.conventions, probabilities), warnings

    def _refuse(self, case: EvaluationCase, error: FlairSegError) -> None:
        refusal = Refusal(case.case, case.method, error.message, error.advice, error)
        self.refusals.append(refusal)
        if self.refused is not None:
            self.refused(refusal)

    # --- which classes are known

    def settle_classes(self) -> None:
        """Determine the classes of the references and of each method from all cases."""
        targets = self.mappings.get(REFERENCE, OWN).targets
        seen = (m.referenced for method in self.methods.values() for m in method.cases.values())
        self.reference_classes = targets or frozenset().union(*seen)
        for name, method in self.methods.items():
            known = self._known(name)
            method.classes = tuple(
                class_id
                for class_id, values in EVALUATED.items()
                if known & set(values) and self._references_know(values)
            )
        if not any(method.classes for method in self.methods.values()):
            raise self._nothing_in_common()

        self._settle_doubts()

    def _references_know(self, values: tuple[int, ...]) -> bool:
        """Whether the references contain these classes, separately or (if so declared) as one class."""
        undivided = self.mappings.get(REFERENCE, OWN).name in _UNDIVIDED
        return self.reference_classes >= set(values) or (undivided and bool(self.reference_classes & set(values)))

    def _settle_doubts(self) -> None:
        """Remove doubts about label values of a mask without lesions if other masks of its origin contain lesions."""
        certain = {name for name, m in self.methods.items() if any(LESION in c.predicted for c in m.cases.values())}
        if any(LESION in c.referenced for m in self.methods.values() for c in m.cases.values()):
            certain.add(_REFERENCE_WORD)
        for case, info in self.infos.items():
            kept = tuple(
                w for w in info.warnings
                if w.code not in _DOUBTS or not any(w.startswith(f"{name}: ") for name in certain)
            )  # fmt: skip
            self.infos[case] = replace(info, warnings=kept)

    def _nothing_in_common(self) -> NothingToEvaluateError:
        """Error for masks and references without a common class: every table would be empty."""
        theirs = [i for i, v in EVALUATED.items() if self._references_know(v)]
        ours = [i for i, v in EVALUATED.items() if any(self._known(name) >= set(v) for name in self.methods)]
        if not ours or not theirs:
            who = "masks" if theirs else "references"
            return NothingToEvaluateError(
                f"Nothing can be compared: the {who} are empty in every case.",
                "Check that they are the right files. If no lesion was found, state that they are binary masks.",
                code="nothing-marked",
                who="METHOD" if theirs else "reference",
            )
        message = f"Nothing can be compared: the references hold {_titles(theirs)}, the masks {_titles(ours)}."
        if self.reference_classes == {VENTRICLES} and REFERENCE not in self.mappings:
            return NothingToEvaluateError(
                message,
                "If value 1 marks lesions in the references, state reference:binary.",
                code="binary-references",
            )
        return NothingToEvaluateError(
            message,
            "State what the label values of the references and of each method mean.",
            code="no-class-in-common",
            references=sorted(self.reference_classes),
        )

    def _known(self, name: str) -> frozenset[int]:
        targets = self.mappings.get(name, OWN).targets
        return targets or frozenset().union(*(m.predicted for m in self.methods[name].cases.values()))

    # --- the result

    def result(self) -> EvaluationResult:
        seed, methods = self.conventions.seed, list(self.methods.values())
        infos = [self.infos[case] for case in sorted(self.infos)]
        groups = statistics.groups_of(infos)
        parts: dict[str, list[Any]] = {name: [] for name in _COLLECTED}
        for n, method in enumerate(methods):
            self.reporter.update(n / (len(methods) + 1))
            rows = statistics.case_rows(method, self.infos)
            lesion_rows = statistics.lesion_case_rows(method, self.infos)
            curves = statistics.curves(method, seed)
            slice_levels, slice_curves = statistics.slice_rows(method, self.conventions)
            volume_groups, group_tests = statistics.group_rows(method, seed)
            self.reporter.check()
            found: dict[str, Sequence[Any]] = {
                "rows": rows,
                "lesion_rows": lesion_rows,
                "summary": statistics.summary(method, rows, lesion_rows, groups, seed),
                "pooled": statistics.pooled_rows(method, lesion_rows, curves, groups, seed),
                "confusions": statistics.confusion_matrices(method),
                "normal_abnormal": statistics.normal_abnormal(method, seed),
                "curves": curves,
                "slice_levels": slice_levels,
                "slice_curves": slice_curves,
                "volume_groups": volume_groups,
                "group_tests": group_tests,
                "loads": statistics.loads(rows, method, seed),
                "empty": statistics.empty_cases(method),
            }
            for name, column in found.items():
                parts[name] += column
        self.reporter.update(len(methods) / (len(methods) + 1))
        paired = statistics.paired(parts["rows"], parts["lesion_rows"], list(self.methods), seed)
        return EvaluationResult(
            self.conventions,
            tuple(infos),
            tuple(self._method_info(method) for method in methods),
            **{name: tuple(column) for name, column in parts.items()},
            paired=tuple(paired),
            refusals=tuple(self.refusals),
            notes=tuple(self._notes(parts["empty"])),
            versions=package_versions(_PACKAGES),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            arrays=_Arrays(dict(self.files), dict(self.mappings), self.conventions.minimum_lesion_mm3),
        )

    def _method_info(self, method: Measured) -> MethodInfo:
        with_scores = {case for by_case in method.levels.values() for case in by_case}
        return MethodInfo(
            method.name,
            method.classes,
            tuple(class_id for class_id in EVALUATED if class_id not in method.classes),
            str(self.mappings.get(method.name, OWN)),
            len(method.cases),
            len(with_scores),
        )

    def _notes(self, empty: Sequence[Any]) -> list[CaseWarning]:
        notes: list[CaseWarning] = []

        def note(text: str, code: str) -> None:
            notes.append(CaseWarning(text, code))

        absent = [i for i, v in EVALUATED.items() if not self._references_know(v)]
        if absent:
            note(
                f"The references have no {_titles(absent)}, so there are no such results.",
                "class-not-in-references",
            )
        if LESION_ID not in absent and NORMAL_WMH_ID in absent:
            undivided = ALL_WMH not in absent
            note(
                "The references do not distinguish normal from abnormal WMH: "
                + (
                    "“all WMH” compares both of a method together with theirs."
                    if undivided
                    else "what a method calls normal WMH is compared with nothing, and “all WMH” is left out. If they "
                    "mark all of it, state reference:wmh-challenge."
                ),
                "references-undivided",
            )
        for method in self.methods.values():
            lacking = [i for i in EVALUATED if i not in method.classes and i not in absent]
            if lacking:
                note(f"{method.name} knows no {_titles(lacking)}: it has no results for that.", "class-not-in-method")
        for row in empty:
            for cases, which in (
                (row.both, "both masks are empty, every figure but the volumes is undefined and left out"),
                (row.reference_only, "the reference is empty and the prediction is not"),
                (row.prediction_only, "the prediction is empty and the reference is not"),
            ):
                if cases:
                    title = CLASS_TITLES[row.class_id]
                    many = f"{len(cases)} case{'s' * (len(cases) > 1)}"
                    note(f"{row.method}, {title}: in {many} {which}.", "empty-masks")
        sessions = Counter(map(patient_of, self.infos))
        repeated = [count for count in sessions.values() if count > 1]
        if repeated:
            many = f"{len(repeated)} patient{'s' * (len(repeated) > 1)}"
            note(
                f"{sum(repeated)} cases are sessions of {many}: intervals and tests treat each case as a "
                "separate patient, so intervals are too narrow and p values too small.",
                "patients-repeated",
            )
        moved = sum(text.code == "mask-resampled" for info in self.infos.values() for text in info.warnings)
        if moved:
            note(
                f"{moved} case{'s' * (moved > 1)} with files on another grid: see the cases' warnings.",
                "mask-resampled",
            )
        if self.refusals:
            many = f"{len(self.refusals)} case{'s' * (len(self.refusals) > 1)}"
            note(f"{many} could not be evaluated.", "cases-not-evaluated")
        return notes


#: Fields of the result that are collected method by method.
_COLLECTED = ("rows", "lesion_rows", "summary", "pooled", "confusions", "normal_abnormal", "curves", "slice_levels",
              "slice_curves", "volume_groups", "group_tests", "loads", "empty")  # fmt: skip


@dataclass(frozen=True)
class _Arrays:
    """Read the files of a case and method again, for an overlay."""

    files: Mapping[tuple[str, str], EvaluationCase]
    mappings: Mapping[str, LabelMapping]
    minimum_lesion_mm3: float

    def __call__(self, case: str, method: str) -> CaseArrays:
        files = self.files[case, method]
        reference = read_reference(files.reference, self.mappings.get(REFERENCE))
        reference = grown(reference, files.reference, [(files.prediction, self.mappings.get(method), method)])
        placed = read_prediction(files.prediction, self.mappings.get(method), method, reference)
        image = None if files.image is None else read_image(files.image, reference)
        ours, theirs = (
            without_small_lesions(reference.with_array(labels), self.minimum_lesion_mm3).array
            for labels in (placed.array, reference.array)
        )
        return CaseArrays(theirs, ours, image, reference.ijk_to_ras)


def _about(who: str, warning: str) -> CaseWarning:
    return CaseWarning(f"{who}: {warning}", CaseWarning.of(warning).code)


def _titles(class_ids: Sequence[str]) -> str:
    from ..reporting.wording import listed

    return listed([CLASS_TITLES[class_id] for class_id in class_ids]) if class_ids else "none of the classes"
