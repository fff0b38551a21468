"""A whole adaptation: cases checked, folds trained and tested, the model trained on all, proof, card.

Every completed part is kept (:mod:`.work`); the output is written at the end, completely or not at all.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._version import __version__
from ..errors import FlairSegError
from ..files.atomic import all_or_none, check_folder, results_exist
from ..labels import CLASS_BY_VALUE, LESION
from ..models.card import CARD_NAME, ModelCard
from ..models.scope import learnt_scope
from ..models.store import find_model, load_card
from ..progress import CancelToken, ProgressCallback, Reporter
from ..reporting.wording import counted
from ..segmentation.inference import available_cores
from ..segmentation.pipeline import segment
from .base import published_base
from .cards import AdaptationRecord, CaseCounts, check_free, free_id, write_adapted
from .cases import ReviewedCase, fingerprint, load, read_cases
from .checks import Examined, against_base, apart, examine, normalised
from .conventions import (
    Convention,
    differences,
    displaced_alike,
    of_other_tissue,
    shared_by_most,
)
from .lesion_limit import Judged, at_limits, keeping_all, lesions_in, limits_of
from .options import ModelTarget, TrainingOptions
from .outcomes import PAGE, PROOF
from .page import write_page
from .parts import BaseCase, FoldCase, Harms, Plan, RunKey
from .proof import case_figures, compare, folds_of, verdict
from .record import (
    Comparison,
    Harm,
    LeftOut,
    Limit,
    ProofRecord,
    ProvenCase,
    Training,
    by_code,
    told,
)
from .reference import case_features, reference_of
from .terms import FEWEST_PATIENTS, MOST_CASES
from .work import MODEL, OVERHEAD, Work

if TYPE_CHECKING:
    from .trainer import Trainer

#: Optimiser steps that one training needs at least.
FEWEST_STEPS = 60
#: Share of the time that is planned.
_PLANNED = 0.9
#: Layout of the parts that are kept: those of another one are discarded.
_PARTS = 3
#: Twenty minutes, settings as measured.
DEFAULT_TRAINING = TrainingOptions()


class TooFewCasesError(FlairSegError):
    """Too few cases, or patients, are left for training."""


class TimeTooShortError(FlairSegError):
    """The given time does not suffice for folds and final training."""


@dataclass(frozen=True)
class Adapted:
    """Result of an adaptation.

    Attributes
    ----------
    card : ModelCard
        Of the adapted model.
    verdict : str
        ``better``, ``no difference shown`` or ``worse``.
    reasons : list of str
    comparisons : list of Comparison
    harms : list of Harm
    conventions : list of Convention
        What most patients' masks share that the figures cannot judge.
    left_out : list of LeftOut
    cases, patients : int
        Cases used for training.
    minutes : float
    unstated : int
        Cases used that the table of patients does not name, if there is one; their patients are taken from names.
    """

    card: ModelCard
    verdict: str
    reasons: list[str]
    comparisons: list[Comparison]
    harms: list[Harm]
    conventions: list[Convention]
    left_out: list[LeftOut]
    cases: int
    patients: int
    minutes: float
    unstated: int = 0


def adapt(
    folder: str | Path,
    target: ModelTarget,
    base: str | Path | None = None,
    patients: Mapping[str, str] | None = None,
    training: TrainingOptions = DEFAULT_TRAINING,
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Adapted:
    """Adapt a model to the reviewed cases of a site, and validate the result.

    Parameters
    ----------
    folder : str or Path
        Reviewed cases, see :mod:`.cases`.
    target : ModelTarget
    base : str or Path, optional
        Model id or path; default the model in use, or what it was adapted from.
    patients : mapping of str to str, optional
        Case -> patient, for names that do not identify them; default the table ``patients.csv`` in the folder, if any.
    training : TrainingOptions
    progress, cancel
        As for :func:`flairseg.segment`.

    Returns
    -------
    Adapted

    Raises
    ------
    TooFewCasesError
        If fewer than three patients are left after the checks.
    InvalidModelError
        If the id is none, or taken; or the base is damaged.
    TimeTooShortError
        If the time does not suffice.
    MissingDependencyError
        If PyTorch is not installed.
    RunInProgressError
        If another adaptation writes into the folder.
    FlairSegError
        For the errors of models, images and output folders.
    """
    from .requirements import require_torch

    require_torch()
    from .device import choose_device
    from .trainer import Trainer
    from .tuning import Settings as TuningSettings
    from .weights import trainable_network

    output = Path(target.folder)
    if (output / CARD_NAME).exists() and not target.overwrite:
        raise results_exist("A model", output / CARD_NAME)
    check_folder(output)
    if target.model_id is not None:
        check_free(target.model_id)
    card = published_base(find_model(base), stated=base is not None)
    found, left_out = read_cases(folder, patients)
    if len(found) > MOST_CASES:
        found = sorted(found, key=lambda c: (c.decided_at, c.number))
        reason = f"Only the {MOST_CASES} cases that were judged last are used."
        left_out += [LeftOut(one.number, "surplus", reason) for one in found[:-MOST_CASES]]
        found = found[-MOST_CASES:]
    settings = training.settings or TuningSettings()
    key = RunKey(fingerprint(found), card.sha256, training.seed, training.minutes, repr(settings), __version__, _PARTS)
    # Before anything is written: not every model can be trained.
    network = trainable_network(card).eval()
    device = choose_device(training.device)
    if device.warning is not None:
        training.tell(device.warning)
    with Work(output, key) as work:
        reporter = Reporter(progress, cancel)
        run = _Run(card, work, training, Trainer(card, network, settings, reporter, device))
        try:
            run.start(found, left_out)
            for one in run.conventions:
                training.tell(one.to_warning())
            return run.finish(target.model_id or free_id(card))
        except (TooFewCasesError, TimeTooShortError):
            # Other cases or another time start again.
            work.remove()
            with suppress(OSError):
                output.rmdir()
            raise


class _Run:
    """State of one adaptation."""

    def __init__(
        self,
        card: ModelCard,
        work: Work,
        training: TrainingOptions,
        trainer: Trainer,
    ) -> None:
        self.card, self.output, self.work, self.trainer = card, work.output, work, trainer
        self.minutes, self.seed = training.minutes, training.seed
        self.accepted, self.wanted = training.accepted, training.device
        self.settings, self.reporter = trainer.settings, trainer.reporter
        self.began = time.monotonic()
        self.examined: list[Examined] = []
        self.left_out: list[LeftOut] = []
        self.base_figures: list[Mapping[str, float]] = []
        self.conventions: list[Convention] = []
        self.features_at: list[dict[float, Mapping[str, float]]] = []
        self.features: list[Mapping[str, float]] = []

    # --- cases

    def start(self, found: list[ReviewedCase], left_out: list[LeftOut]) -> None:
        """Check the cases, and segment those that are kept with the base."""
        with self.reporter.stage("check", 0.0, 0.12):
            looked_at: list[Examined] = []
            for n, case in enumerate(found):
                one = examine(case, self.card.pipeline)
                looked_at.append(one) if isinstance(one, Examined) else left_out.append(one)
                self.reporter.update((n + 1) / len(found))
            kept, repeated = apart(looked_at)
            left_out += repeated
        with self.reporter.stage("base", 0.12, 0.25):
            self.case_seconds, differing = [], []
            for n, one in enumerate(kept):
                began = time.monotonic()
                answer = self.work.once(f"base-{one.case.number}", BaseCase, partial(self._with_base, one))
                self.case_seconds.append(time.monotonic() - began)
                if answer.code:
                    left_out.append(LeftOut(one.case.number, answer.code, answer.reason))
                else:
                    self.examined.append(one)
                    self.base_figures.append(answer.figures)
                    differing.append(answer.differs)
                self.reporter.update((n + 1) / max(1, len(kept)))
        self.left_out = sorted(left_out, key=lambda one: one.number)
        self.patients = [one.case.patient for one in self.examined]
        if len(set(self.patients)) < FEWEST_PATIENTS:
            raise TooFewCasesError(
                f"Only {counted(len(set(self.patients)), 'patient')} left for training ({told(self.left_out)}); "
                f"{FEWEST_PATIENTS} are needed, 5 to show a difference.",
                "Review and correct more cases first.",
                code="too-few-reviewed-cases",
                patients=len(set(self.patients)),
            )
        shifts = [one.evidence.shift_px if one.evidence.how == "shifted" else (0, 0, 0) for one in self.examined]
        self.conventions = shared_by_most(differing, self.patients, self.accepted)
        self.conventions += displaced_alike(shifts, self.patients, self.accepted)

    def _with_base(self, one: Examined) -> BaseCase:
        loaded = load(one.case)
        result = segment(loaded.volume, self.card, self.wanted, cancel=self._cancelled)
        voxel_ml = loaded.volume.geometry.voxel_volume_ml
        doubt = against_base(one, result.labels, loaded.labels, voxel_ml)
        if doubt is not None:
            return BaseCase(code=doubt.code, reason=doubt.reason)
        figures = case_figures(result.labels, loaded.labels, one.case.reviewed, voxel_ml)
        differs = differences(result.labels, loaded.labels, one.case.reviewed)
        return BaseCase(figures, differs | of_other_tissue(normalised(one), one.labels, one.case.reviewed))

    def _cancelled(self) -> bool:
        """Cancel token for other parts: they stop when this run is cancelled."""
        self.reporter.check()
        return False

    # --- training

    def finish(self, model_id: str) -> Adapted:
        """Train, prove and write."""
        import torch

        threads = torch.get_num_threads()
        # As many as the user or a queue allows: waiting threads of OpenMP cost what others could use.
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or available_cores()))
        try:
            plan = self.work.once("plan", Plan, self._plan)
            folds = folds_of(self.patients, self.seed, plan.folds)
            judged, trainings = self._folds(folds, plan)
            with self.reporter.stage("train", 0.8, 0.92):
                last = self._trained("all", [], plan)
            trainings.append(last)
        finally:
            torch.set_num_threads(threads)
        parent = self.card.pipeline.min_lesion_probability
        limit, adapted = judged.limit(parent), judged.proof(parent, folds)
        cases = [
            ProvenCase(
                one.case.number, next(n for n, away in enumerate(folds, 1) if one.case.patient in away), base, ours
            )
            for one, base, ours in zip(self.examined, self.base_figures, adapted, strict=True)
        ]
        # The baseline of drift is the adapted model's result on cases that it has not seen, not the base's.
        self.features = [one[limit.value] for one in self.features_at]
        comparisons = compare(self.base_figures, adapted, self.patients, self.seed)
        with self.reporter.stage("no-harm", 0.92, 0.98):
            harms = self.work.once("harm", Harms, partial(self._harms, limit)).found
            proof = ProofRecord(
                verdict(comparisons, harms, last), tuple(self.conventions), tuple(comparisons), harms,
                tuple(cases), tuple(self.left_out), tuple(trainings), limit,
            )  # fmt: skip
        with self.reporter.stage("write", 0.98, 1.0):
            return self._write(model_id, proof, limit)

    def _plan(self) -> Plan:
        """Steps and folds that fit the time, from the speed of a few steps on these cases."""
        step = self.trainer.step_seconds(self.examined)
        spent = time.monotonic() - self.began
        per_case = float(np.mean(self.case_seconds)) if self.case_seconds else 1.0
        left = self.minutes * 60 * _PLANNED - spent - per_case * (len(self.examined) + 4)
        for folds in (5, 3):
            trainings = len(folds_of(self.patients, self.seed, folds)) + 1
            steps = int(left / trainings / (step * OVERHEAD))
            if steps >= FEWEST_STEPS:
                break
        wanted = min(self.settings.steps, steps)
        if wanted < min(FEWEST_STEPS, self.settings.steps):
            need = (spent + per_case * (len(self.examined) + 4) + trainings * FEWEST_STEPS * step * OVERHEAD) / 60
            given = f"{self.minutes:.0f} minutes" if self.minutes >= 1 else f"{60 * self.minutes:.0f} seconds"
            raise TimeTooShortError(
                f"{given} are too short on this computer; about {need / _PLANNED + 1:.0f} minutes are needed.",
                "Give more time, or fewer cases.",
                code="adaptation-time-too-short",
                minutes=round(need / _PLANNED + 1),
            )
        return Plan(wanted, folds, step, self.trainer.device.name)

    def _folds(self, folds: list[list[str]], plan: Plan) -> tuple[Judged, list[Training]]:
        """Results of each case by the model that never saw its patient, and the trainings."""
        kept: dict[int, FoldCase] = {}
        trainings = []
        for n, away in enumerate(folds):
            start, stop = (0.25 + 0.55 * (n + share) / len(folds) for share in (0, 1))
            with self.reporter.stage("prove", start, stop):
                name = f"fold-{n + 1}"
                trainings.append(self._trained(name, away, plan))
                for m, one in enumerate(self.examined):
                    if one.case.patient in away:
                        part = f"{name}-case-{one.case.number}"
                        kept[m] = self.work.once(part, FoldCase, partial(self._tested, one, name))
                        self.reporter.update(1.0)
        limits = limits_of(self.card)
        own = [kept[m] for m in range(len(self.examined))]
        figures = [dict(zip(limits, one.figures, strict=True)) for one in own]
        self.features_at = [dict(zip(limits, one.features, strict=True)) for one in own]
        return Judged(limits, figures, [one.lesions for one in own], self.patients), trainings

    def _tested(self, one: Examined, name: str) -> FoldCase:
        """A case by the model of a fold: figures and features at each limit, and the lesions that no limit dropped."""
        loaded = load(one.case)
        card = keeping_all(load_card(self.work.folder / name))
        result = segment(loaded.volume, card, self.wanted, cancel=self._cancelled)
        voxel_ml = loaded.volume.geometry.voxel_volume_ml
        figures, features = [], []
        for at in at_limits(result, limits_of(self.card)):
            figures.append(case_figures(at.labels, loaded.labels, one.case.reviewed, voxel_ml))
            features.append(case_features(at, one.images, one.masks))
        return FoldCase(figures, features, lesions_in(result.labels))

    def _trained(self, name: str, away: list[str], plan: Plan) -> Training:
        """Train without some patients; the model's folder is ``name`` in the work folder."""
        chosen = [one for one in self.examined if one.case.patient not in away]
        folder = self.work.folder / name
        return self.work.once(name, Training, lambda: self.trainer.train(chosen, folder, plan))

    # --- proof

    def _harms(self, limit: Limit) -> Harms:
        from .harm import harms

        adapted = keeping_all(load_card(self.work.folder / "all"), limit.value)
        return Harms(tuple(harms(self.card, adapted, self.reporter)))

    def _write(self, model_id: str, proof: ProofRecord, limit: Limit) -> Adapted:
        # Of a run that was stopped: the parts that it completed, and what the rest took.
        minutes = (time.monotonic() - self.began + self.work.seconds) / 60
        with all_or_none(self.output, [CARD_NAME, MODEL, PAGE, PROOF], [CARD_NAME, MODEL, PAGE, PROOF]) as temporary:
            # Copied: if page or card cannot be written, the next run resumes from here.
            shutil.copyfile(self.work.folder / "all" / MODEL, temporary / MODEL)
            scope = learnt_scope((one.plane for one in self.examined), [one.figures for one in self.examined])
            record = AdaptationRecord(
                proof, self._counts(), self.seed, minutes, reference_of(self.features), scope, limit
            )
            write_adapted(self.card, model_id, temporary / MODEL, record)
            write_page(temporary / PAGE, load_card(temporary), proof)
            proof.write(temporary / PROOF)
        self.work.remove()
        card = load_card(self.output)
        stated, judged = [one.case.stated for one in self.examined], proof.judgement
        return Adapted(
            card, judged.verdict, list(judged.reasons), list(proof.comparisons), list(proof.harms), self.conventions,
            self.left_out, len(self.examined), len(set(self.patients)), minutes,
            stated.count(False) if any(stated) else 0,
        )  # fmt: skip

    def _counts(self) -> CaseCounts:
        cases = [one.case for one in self.examined]
        reviewed = {CLASS_BY_VALUE[v].id: sum(v in c.reviewed for c in cases) for v in CLASS_BY_VALUE}
        return CaseCounts(
            len(cases),
            len(set(self.patients)),
            accepted_unedited=sum(c.weight < 1 for c in cases),
            corrected=sum(c.weight >= 1 for c in cases),
            with_rejected_version=sum(c.rejected is not None for c in cases),
            reviewed=reviewed,
            lesion_ml=round(float(sum(one.volume_ml[LESION] for one in self.examined)), 1),
            left_out=by_code(self.left_out),
        )
