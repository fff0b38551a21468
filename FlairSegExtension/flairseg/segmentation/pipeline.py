"""One case from a volume to its segmentation: the order of the stages, and what is known about the result.

Source of the order: S1 (preprocess, frame, generate, decode, inverse frame, clean up).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import UnusableIntensitiesError
from ..files.summary_paths import absolute_source
from ..image.checks import check_volume
from ..image.footing import footed
from ..image.packed_mask import PackedMask, PlaneMask
from ..image.pages import let_go, untouched_zeros
from ..image.slice_stack import SliceStack
from ..image.volume import Volume
from ..io.images import read_image
from ..labels import BACKGROUND
from ..models.card import ModelCard, PipelineConfig
from ..models.in_use import Model, resolved
from ..models.store import networks
from ..preprocessing import Prepared, preprocess
from ..preprocessing.brain_mask import shared_brain_mask
from ..progress import STAGES, CancelToken, ProgressCallback, Reporter
from . import quality
from .cropping import Crop, batches, crops
from .decoding import classify, decode
from .ensemble import Vote, Voted
from .inference import Generator, onnxruntime_version, reserve_sessions
from .memory import release_memory
from .postprocessing import BRAIN_STEP, clean_labels
from .result import Segmentation
from .suitability import model_for

#: Probabilities below this are kept as zero.
SMALLEST_PROBABILITY = np.float32(1e-4)
#: After so many slices the probabilities of a large volume leave the memory.
LET_GO_SLICES = 16


def segment(
    volume: Volume | str | Path,
    model: Model = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
    regions: bool = False,
    on_segmented: Callable[[Segmentation], None] | None = None,
) -> Segmentation:
    """Segment one FLAIR.

    Parameters
    ----------
    volume : Volume or path
        A volume (any real type, RAS affine in mm), or what :func:`flairseg.read_volume` reads.
    model : str, Path, ModelCard or InUse, optional
        Model id or path; default the model in use. Where that was adapted to a site and the scan is unlike those of the
        site, its parent is used, and a warning (``unlike-adaptation``) says so; a model that is named segments any
        scan.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : callable, optional
        Called as ``progress(fraction, stage)`` in the caller's thread.
    cancel : CancelToken or callable, optional
        Checked between steps and batches.
    regions : bool
        Also find the regions of the lesions (about a second more), see :meth:`Segmentation.with_regions`.
    on_segmented : callable, optional
        Called with the result before the regions are computed.

    Returns
    -------
    Segmentation
        On the volume's own grid. ``volume`` is the input with its intensities on the common footing
        (:mod:`flairseg.image.footing`).

    Raises
    ------
    FlairSegError
        Every error of reading, models and inference is a subclass of it, with advice; ``Cancelled`` on cancel.
    """
    began = time.perf_counter()
    reporter = Reporter(progress, cancel)
    with reporter.stage("read", 0.0, STAGES["read"]):
        chosen, in_use = resolved(model)
        source = volume.name if isinstance(volume, Volume) else absolute_source(volume)
        checked = footed(check_volume(volume) if isinstance(volume, Volume) else read_image(volume))
    reading = model_for(checked, in_use or chosen, reporter)
    card = reading.card
    if card.members:
        answer = _run_members(checked, card, device, reporter)
    else:
        answer = _run_network(checked, card, device, reporter, reading.prepared)
    warnings = list(dict.fromkeys([*checked.warnings, *reading.warnings, *answer.warnings]))
    seconds = {**reporter.seconds, **answer.seconds, "total": time.perf_counter() - began}
    result = Segmentation(
        replace(checked, warnings=()), answer.labels, answer.probabilities, card, device, answer.used, answer.provider,
        source, seconds, warnings, runtime=onnxruntime_version(), disagreement=answer.disagreement,
        adaptation=None if reading.suitability is None else reading.suitability.noted(), brain=answer.brain,
    )  # fmt: skip
    if on_segmented is not None:
        on_segmented(result)
    return result.with_regions(progress, cancel, is_footed=True, mask=answer.mask) if regions else result


@dataclass(frozen=True)
class _Answer:
    """A model's result for a volume, on its own grid: labels are cleaned. ``seconds`` are those of the members.

    ``brain`` is the coarse mask of :class:`Segmentation`, ``mask`` the whole one, where it is of the image itself.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    used: str
    provider: str
    warnings: list[str]
    disagreement: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    brain: np.ndarray | None = None
    mask: PlaneMask | None = None


def _run_network(
    volume: Volume,
    card: ModelCard,
    device: str,
    reporter: Reporter,
    known: list[tuple[SliceStack, Prepared]],
) -> _Answer:
    config = card.pipeline
    if known:
        stack, prepared = known.pop()
    else:
        with reporter.stage("preprocess", STAGES["read"], STAGES["preprocess"]):
            stack = SliceStack.from_volume(volume, config.plane)
            prepared = preprocess(stack, config, reporter.update)
    with reporter.stage("inference", STAGES["preprocess"], STAGES["inference"]):
        generator = Generator(card, device)
        parts = crops(prepared, config, stack.spacing[0]) if generator.any_size else None
        # Not used until the network has run: an eighth of its size suffices.
        packed = PackedMask(prepared.mask)
        prepared = replace(prepared, mask=np.zeros((0, *packed.shape[1:]), bool))
        labels, probabilities = predict(prepared, generator, stack.plane, reporter.update, parts)
        del prepared
        # The network's working memory is free now; the largest stage is still to come.
        generator.release()
        release_memory()
    with reporter.stage("postprocess", STAGES["inference"], STAGES["postprocess"]):
        let_go(probabilities)
        labels = clean_labels(labels, probabilities, stack.spacing, config, packed, in_place=True)
        let_go(probabilities)
        _refuse_nothing(packed, labels)
        reporter.update(0.5)
        mask = packed[:]
        level = quality.unlabelled_level(stack, mask, labels)
        doubts = quality.assess(stack, mask, labels, card.classes, level)
        labels = np.ascontiguousarray(stack.restore(labels))
        probabilities = stack.restore(probabilities)
    warnings = [*doubts, *generator.warnings]
    return _Answer(
        labels, probabilities, generator.used, generator.provider, warnings, brain=_coarse(mask),
        mask=PlaneMask(stack.plane, packed, level) if config.denoise == "none" else None,
    )  # fmt: skip


def _run_members(volume: Volume, card: ModelCard, device: str, reporter: Reporter) -> _Answer:
    """An ensemble: its members one after another, each with its own preprocessing; one answer at a time is kept."""
    cards = networks(card)
    reserve_sessions(len(cards))
    vote = Vote(volume.array.shape)
    masks: dict[tuple[str, str], np.ndarray] = {}
    ran: list[Generator] = []
    seconds: dict[str, float] = {}
    share = (STAGES["inference"] - STAGES["read"]) / len(cards)
    prepared_by = (STAGES["preprocess"] - STAGES["read"]) / (STAGES["inference"] - STAGES["read"])
    for n, (member, network) in enumerate(zip(card.members, cards, strict=True)):
        began, start = time.perf_counter(), STAGES["read"] + n * share
        with reporter.stage("preprocess", start, start + prepared_by * share):
            stack = SliceStack.from_volume(volume, network.pipeline.plane)
            prepared = preprocess(stack, network.pipeline, reporter.update, masks)
        with reporter.stage("inference", start + prepared_by * share, start + share):
            ran.append(Generator(network, device))
            parts = crops(prepared, network.pipeline, stack.spacing[0]) if ran[-1].any_size else None
            _, probabilities = predict(prepared, ran[-1], stack.plane, lambda done: reporter.update(0.95 * done), parts)
            del prepared
            ran[-1].release()
            vote.add(stack.restore(probabilities), member.weights, lambda done: reporter.update(0.95 + 0.05 * done))
            del probabilities
        seconds[member.id] = time.perf_counter() - began
    with reporter.stage("postprocess", STAGES["inference"], STAGES["postprocess"]):
        voted = vote.result(card.pipeline.thresholds)
        del vote
        reporter.update(0.3)
        stack = SliceStack.from_volume(volume, card.pipeline.plane)
        brain = masks.get((stack.plane, "none"))
        if brain is None:
            brain = shared_brain_mask(stack.array, stack.spacing)
        labels = clean_vote(voted, stack, card.pipeline, brain)
        _refuse_nothing(brain, labels)
        reporter.update(0.7)
        level = quality.unlabelled_level(stack, brain, labels)
        doubts = quality.assess(stack, brain, labels, card.classes, level)
        labels = np.ascontiguousarray(stack.restore(labels))
    # "auto" may fall back to the CPU for one member only: then the CPU is what the result rests on.
    slowest = next((generator for generator in ran if generator.used == "cpu"), ran[0])
    warnings = [*doubts, *(warning for generator in ran for warning in generator.warnings)]
    return _Answer(
        labels, voted.probabilities, slowest.used, slowest.provider, warnings, voted.disagreement, seconds,
        _coarse(brain), PlaneMask(stack.plane, PackedMask(brain), level),
    )  # fmt: skip


def _coarse(brain: np.ndarray) -> np.ndarray:
    return brain[:, ::BRAIN_STEP, ::BRAIN_STEP].copy()


def _refuse_nothing(brain: np.ndarray | PackedMask, labels: np.ndarray) -> None:
    """Refuse an image without a brain in which nothing was found: 0 ml would be a statement."""
    if not brain.any() and not labels.any():
        raise UnusableIntensitiesError(
            "Neither a brain nor anything else was found in the image: is it a FLAIR of the head?",
            "Check it in a viewer; give the original image from the scanner.",
            code="no-brain-found",
        )


def clean_vote(voted: Voted, stack: SliceStack, config: PipelineConfig, brain: np.ndarray | None) -> np.ndarray:
    """Clean an ensemble's labels as its card asks for.

    Parameters
    ----------
    voted : Voted
        On the volume's grid.
    stack : SliceStack
        Slices of the same volume, in the plane of the ensemble's card.
    config : PipelineConfig
        Of the ensemble.
    brain : ndarray of bool, shape (slices, rows, columns), optional
        Rough brain mask.

    Returns
    -------
    ndarray of uint8, shape (slices, rows, columns)
        In the stack's order.
    """
    labels, probabilities = stack.arrange(voted.labels), stack.arrange(voted.probabilities)
    return clean_labels(labels, probabilities, stack.spacing, config, brain)


def predict(
    prepared: Prepared,
    generator: Generator,
    plane: str,
    step: Callable[[float], None] | None = None,
    parts: list[Crop | None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Run the network over a prepared stack and bring its answer back to the stack's grid, batch by batch.

    Batches run side by side in ``generator.workers`` threads: small networks use several cores better so than by
    splitting each layer. Only the batches in work exist in float32 on the full grid; what is kept is float16.

    Parameters
    ----------
    prepared : Prepared
        From :func:`flairseg.preprocessing.preprocess`.
    generator : Generator
    plane : str
        Plane of the stack: it defines the left-right mirror image.
    step : callable, optional
        Called in this thread with the fraction done after each batch; may raise to cancel.
    parts : list of (Crop or None), optional
        From :func:`flairseg.segmentation.cropping.crops`: what of each slice's frame the network is shown, background
        elsewhere.

    Returns
    -------
    labels : ndarray of uint8, shape (slices, rows, columns)
        By the card's thresholds, not yet cleaned.
    probabilities : ndarray of float16, shape (4, slices, rows, columns)
    """
    config = generator.card.pipeline
    labels = np.zeros((len(prepared.slices), *prepared.frame.grid), dtype=np.uint8)
    probabilities = untouched_zeros((4, *labels.shape), np.float16)
    for index in [] if parts is None else [n for n, part in enumerate(parts) if part is None]:
        probabilities[BACKGROUND, index] = 1

    def run(indices: list[int]) -> int:
        start, stop = indices[0], indices[-1] + 1
        if parts is None:
            answer = _answers(prepared.batch(start, stop), generator, plane)
            answer[answer < SMALLEST_PROBABILITY] = 0
            keep((slice(start, stop),), prepared.restore(answer, start))
            return len(indices)
        boxes = [part.box for part in (parts[k] for k in indices) if part is not None]
        batch = np.stack([prepared.channels(k)[(slice(None), *box)] for k, box in zip(indices, boxes, strict=True)])
        for k, box, part in zip(indices, boxes, _answers(batch, generator, plane), strict=True):
            answer = np.zeros((1, len(part), *prepared.frame.size), np.float32)
            answer[0, BACKGROUND] = 1
            part[part < SMALLEST_PROBABILITY] = 0
            answer[(0, slice(None), *box)] = part
            region = prepared.frame.footprint(box, k)
            probabilities[BACKGROUND, k] = 1
            keep((slice(k, k + 1), *region), prepared.restore(answer, k, region))
        return len(indices)

    def keep(at: tuple[slice, ...], restored: np.ndarray) -> None:
        labels[at] = classify(restored, config.thresholds)
        # float16 knows nothing between 0 and 6e-8, and converts what is below 6e-5 thirty times slower.
        restored[restored < SMALLEST_PROBABILITY] = 0
        background, *others = probabilities[(slice(None), *at)]
        background[:] = restored[BACKGROUND]
        for part, kept in zip(restored[1:], others, strict=True):
            _copy_rows(part, kept)

    size = generator.batch_size
    if parts is None:
        work = [list(range(start, min(start + size, len(labels)))) for start in range(0, len(labels), size)]
    else:
        work = batches(parts, size)
    total = sum(len(indices) for indices in work)
    done = written = 0
    with ThreadPoolExecutor(generator.workers, "flairseg") as pool:
        try:
            pending = [pool.submit(run, indices) for indices in work]
            for future in as_completed(pending):
                done += future.result()
                written += future.result()
                if written >= LET_GO_SLICES:
                    let_go(probabilities)
                    written = 0
                if step is not None:
                    step(done / total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return labels, probabilities


def _copy_rows(part: np.ndarray, kept: np.ndarray) -> None:
    """Copy slices (n, rows, columns) into zeros: of each the box that has anything."""
    for source, target in zip(part, kept, strict=True):
        rows = np.flatnonzero(source.any(axis=1))
        if rows.size:
            some = slice(rows[0], rows[-1] + 1)
            columns = np.flatnonzero(source[some].any(axis=0))
            box = some, slice(columns[0], columns[-1] + 1)
            target[box] = source[box]


def _answers(batch: np.ndarray, generator: Generator, plane: str) -> np.ndarray:
    """Class probabilities of a batch, averaged with those of its mirror image where the card asks for it."""
    config = generator.card.pipeline
    answer = decode(generator.run(batch), config)
    mirrored = _mirror(batch, plane) if config.flip_average else None
    if mirrored is None:
        return answer
    other = decode(generator.run(np.ascontiguousarray(mirrored)), config)
    averaged: np.ndarray = (answer + (other if plane == "sagittal" else other[..., ::-1])) / np.float32(2)
    return averaged


def _mirror(batch: np.ndarray, plane: str) -> np.ndarray | None:
    """The batch as the left-right mirrored head would show it; None where nothing would change.

    Columns of axial and coronal slices run right to left. Mirrored sagittal slices look the same, but their neighbours
    swap.
    """
    if plane != "sagittal":
        return batch[..., ::-1]
    return batch[:, ::-1] if batch.shape[1] > 1 else None
