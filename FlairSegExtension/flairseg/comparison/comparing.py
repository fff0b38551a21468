"""Several models on one case, side by side: their label maps, volumes, lesion counts and agreement.

Agreement is Dice's coefficient of each class, model against model. A class that a model does not segment is left blank:
a model of lesions only has not excluded ventricles.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._version import __version__
from ..errors import Cancelled, CaseWarning, FlairSegError, ModelNotFoundError, typed
from ..files.same_input import fingerprint
from ..files.summary_paths import absolute_source
from ..image.checks import check_volume
from ..image.volume import Volume
from ..io.images import read_image
from ..labels import CLASSES, LESION, NORMAL_WMH
from ..models.card import ModelCard
from ..models.store import DEFAULT_MODEL, find_model, list_models, verify_model
from ..progress import CancelToken, ProgressCallback
from ..segmentation.pipeline import segment
from ..segmentation.pseudonymised import pseudonymised
from ..segmentation.result import Segmentation, read_entries
from .figures import Failure, ModelFigures

if TYPE_CHECKING:
    from ..privacy.pseudonyms import Pseudonymiser

#: Compared classes: key -> their label values. "All WMH" is normal WMH and lesions together.
COMPARED: dict[str, tuple[int, ...]] = {c.id: (c.value,) for c in CLASSES} | {"all_wmh": (NORMAL_WMH, LESION)}
_NOTICE = "Research use only - not a medical device."


@dataclass(frozen=True)
class Compared:
    """One model's part in a comparison.

    Attributes
    ----------
    card : ModelCard
    segmentation : Segmentation, optional
        Its result; probabilities are kept only as ``compact``. None if it failed.
    error : FlairSegError, optional
        Its error.
    """

    card: ModelCard
    segmentation: Segmentation | None = None
    error: FlairSegError | None = None

    @property
    def figures(self) -> ModelFigures:
        """The model's figures, rounded as they are written."""
        card, error, result = self.card, self.error, self.segmentation
        failure = None if error is None else Failure(type(error).__name__, error.code, error.message, error.advice)
        if result is None:
            return ModelFigures(card.id, card.title, card.version, card.sha256, failure=failure)
        volumes = result.known_volumes_ml()
        return ModelFigures(
            card.id,
            card.title,
            card.version,
            card.sha256,
            {c.id: None if (ml := volumes[c.value]) is None else round(ml, 4) for c in CLASSES},
            result.lesion_count if LESION in card.classes else None,
            round(result.seconds.get("total", 0.0), 3),
            result.device_used,
            tuple(map(CaseWarning.of, result.warnings)),
            failure,
        )


@dataclass(frozen=True)
class Comparison:
    """Several models' results on one volume.

    Attributes
    ----------
    volume : Volume
        The FLAIR (float32, K, J, I).
    source : str
        The input as named by the caller.
    models : tuple of Compared
        In the order of the request.
    seconds : float
        All of it.
    input_sha256 : str
        :func:`flairseg.files.same_input.fingerprint` of the volume, keyed where names are pseudonyms; computed when the
        files are written.
    """

    volume: Volume
    source: str
    models: tuple[Compared, ...]
    seconds: float = 0.0
    input_sha256: str = ""

    def dice(self) -> dict[str, np.ndarray]:
        """Dice of each class, model against model.

        Returns
        -------
        dict of str to ndarray of float, shape (models, models)
            By :data:`COMPARED`. NaN where one of the two does not know the class, or failed; 1 where both know it and
            neither has a voxel of it.
        """
        return {key: self._matrix(values) for key, values in COMPARED.items()}

    def pseudonymised(self, pseudonymiser: Pseudonymiser, stem: str) -> Comparison:
        """The same under the pseudonym of the case: its name, its source, warnings and messages."""
        pseudonym = pseudonymiser.learn_path(self.source, stem)
        models = []
        for one in self.models:
            result = None if one.segmentation is None else pseudonymised(one.segmentation, pseudonymiser, stem)
            error = one.error
            if error is not None:
                error = error.reworded(pseudonymiser.text)
            models.append(replace(one, segmentation=result, error=error))
        digest = pseudonymiser.content_digest(self.input_sha256 or fingerprint(self.volume))
        volume = replace(self.volume, name=pseudonym, information=pseudonymiser.warnings(self.volume.information))
        return replace(self, volume=volume, source=pseudonym, models=tuple(models), input_sha256=digest)

    def _matrix(self, values: tuple[int, ...]) -> np.ndarray:
        out = np.full((len(self.models), len(self.models)), np.nan)
        masks = [
            np.isin(one.segmentation.labels, values)
            if one.segmentation is not None and set(values) <= set(one.card.classes)
            else None
            for one in self.models
        ]
        sizes = [0 if mask is None else int(np.count_nonzero(mask)) for mask in masks]
        for a, first in enumerate(masks):
            for b, second in enumerate(masks[: a + 1]):
                if first is not None and second is not None:
                    both, total = int(np.count_nonzero(first & second)), sizes[a] + sizes[b]
                    out[a, b] = out[b, a] = 2 * both / total if total else 1.0
        return out

    def rounded_dice(self) -> dict[str, list[list[float | None]]]:
        """:meth:`dice` as it is written: None in place of NaN."""
        return {
            key: [[None if np.isnan(value) else round(float(value), 4) for value in row] for row in matrix]
            for key, matrix in self.dice().items()
        }

    def summary(self) -> dict[str, Any]:
        """Everything but the voxels, ready for JSON; matrices of ``dice`` are in the order of ``models``."""
        return {
            "case": self.volume.name,
            "input": self.source,
            "grid": {
                "shape_kji": list(self.volume.array.shape),
                "spacing_mm": [round(s, 6) for s in self.volume.spacing],
                "ijk_to_ras": self.volume.ijk_to_ras.tolist(),
            },
            **read_entries(self.volume),
            "models": [one.figures.to_json() for one in self.models],
            "dice": self.rounded_dice(),
            "seconds": round(self.seconds, 3),
            "software": {"flairseg": __version__, "python": platform.python_version()},
            "notice": _NOTICE,
        }


def choose_models(models: Sequence[str | Path | ModelCard] | None = None) -> list[ModelCard]:
    """Cards of the models to compare, each once, in the order given.

    Parameters
    ----------
    models : sequence of str, Path or ModelCard, optional
        Ids or paths; default all that are installed, the default model first.

    Returns
    -------
    list of ModelCard
        Their weights are not verified yet.

    Raises
    ------
    ModelNotFoundError
        Naming the first that is not there, and those that are.
    InvalidModelError
        If its card is not valid.
    """
    installed = list_models()
    if models is None:
        cards = sorted(installed, key=lambda card: (card.id != DEFAULT_MODEL, card.id))
    else:
        cards = []
        for model in models:
            try:
                cards.append(model if isinstance(model, ModelCard) else find_model(model, verify=False))
            except ModelNotFoundError as error:
                known = ", ".join(card.id for card in installed) or "none"
                raise ModelNotFoundError(error.message, f"Installed models: {known}.") from error
    if not cards:
        raise ModelNotFoundError("There is no model to compare.", "Install one, or name one by its path.")
    return list({(card.id, card.sha256): card for card in cards}.values())


def compare(
    volume: Volume | str | Path,
    models: Sequence[str | Path | ModelCard] | None = None,
    device: str = "auto",
    progress: ProgressCallback | None = None,
    cancel: CancelToken | Callable[[], bool] | None = None,
) -> Comparison:
    """Segment one FLAIR with several models. A model that fails does not stop the others.

    Parameters
    ----------
    volume : Volume or path
        As for :func:`flairseg.segment`.
    models : sequence of str, Path or ModelCard, optional
        Ids or paths; default all that are installed.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : callable, optional
        Called as ``progress(fraction, "<model id>:<stage>")``.
    cancel : CancelToken or callable, optional
        Checked between steps and batches.

    Returns
    -------
    Comparison
        Also where every model failed: each then has its reason.

    Raises
    ------
    ModelNotFoundError, InvalidModelError
        As :func:`choose_models`, before anything is read.
    FlairSegError
        If the volume cannot be read or used; ``Cancelled`` on cancel.
    """
    began = time.perf_counter()
    cards = choose_models(models)
    source = volume.name if isinstance(volume, Volume) else absolute_source(volume)
    checked = check_volume(volume) if isinstance(volume, Volume) else read_image(volume)
    results = []
    for number, card in enumerate(cards):

        def told(fraction: float, stage: str, number: int = number, card: ModelCard = card) -> None:
            if progress is not None:
                progress((number + fraction) / len(cards), f"{card.id}:{stage}")

        try:
            verify_model(card)
            result = segment(checked, card, device, told, cancel)
            # A compact result: those of several models on a large volume then fit into memory.
            compact = result.compact_answer()
            result = replace(result, source=source, compact=compact, probabilities=None, disagreement=None)
            results.append(Compared(card, result))
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - one model's defect must not cost the others' results
            lack = "There is not enough memory for this model on this image."
            shown = typed(error, lack, "Close other programs, or compare fewer models.")
            results.append(Compared(card, error=shown))
    return Comparison(replace(checked, warnings=()), source, tuple(results), time.perf_counter() - began)
