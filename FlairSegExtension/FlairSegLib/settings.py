"""Settings that Slicer remembers: folder of cases, reader, device."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import slicer

#: Devices by name, as :func:`flairseg.segment` knows them.
AUTOMATIC, CPU, GPU = "auto", "cpu", "cuda"
DEVICES = (AUTOMATIC, CPU, GPU)
#: Finished runs remembered for each model and device: few, so that the estimate soon fits a new computer or driver.
REMEMBERED_RUNS = 8
#: Default time limit of an adaptation, minutes.
ADAPT_MINUTES = 20
_GROUP = "FlairSeg"


class _Text:
    """A text of the settings under the attribute's own name; empty until it was set."""

    def __init__(self, about: str) -> None:
        self.__doc__ = about

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = name

    def __get__(self, settings: FlairSegSettings | None, owner: type | None = None):
        return self if settings is None else settings._text(self._key)

    def __set__(self, settings: FlairSegSettings, value: str | Path) -> None:
        settings._set(self._key, str(value))


class _Stripped(_Text):
    """The same without white space at its ends."""

    def __set__(self, settings: FlairSegSettings, value: str | Path) -> None:
        super().__set__(settings, str(value).strip())


class FlairSegSettings:
    """Slicer's settings under ``FlairSeg/``; every property reads and writes through.

    Parameters
    ----------
    store : QSettings, optional
        Default: the user's settings of the application.
    """

    def __init__(self, store=None) -> None:
        self._store = store

    casesFolder = _Stripped("Folder of the accepted and rejected cases; empty until the user chose one.")
    reviewStoreUrl = _Stripped(
        "Address of the review store (a file, or a database's URL); empty: a file in the cases folder."
    )
    readerName = _Stripped("Name or code of the reader, as it is written into verdicts.")

    @property
    def device(self) -> str:
        """``auto``, ``cpu`` or ``cuda``."""
        device = self._text("device")
        return device if device in DEVICES else AUTOMATIC

    @device.setter
    def device(self, value: str) -> None:
        if value not in DEVICES:
            raise ValueError(f"device is {value!r}, not one of {', '.join(DEVICES)}")
        self._set("device", value)

    modelId = _Text("Model that was chosen in the list in place of the model in use; empty: the model in use.")
    modelInUse = _Text(
        "Model in use when :attr:`modelId` was chosen: the choice holds until another one is put in use."
    )

    @property
    def adaptMinutes(self) -> int:
        """Minutes that an adaptation may take, stated last."""
        text = self._text("adaptMinutes")
        return int(text) if text.isdecimal() and int(text) else ADAPT_MINUTES

    @adaptMinutes.setter
    def adaptMinutes(self, value: int) -> None:
        self._set("adaptMinutes", str(int(value)))

    declinedModel = _Text("sha256 of the adapted model that the user did not want to use; it is not proposed again.")
    pythonExecutable = _Stripped("Python that runs the worker; empty: Slicer's own.")
    lastModelFolder = _Text("Folder from which a model was installed last.")

    @property
    def regionsAfterRun(self) -> bool:
        """Whether the regions of the brain are computed automatically after each run."""
        return self._text("regionsAfterRun") != "no"

    @regionsAfterRun.setter
    def regionsAfterRun(self, value: bool) -> None:
        self._set("regionsAfterRun", "yes" if value else "no")

    exportFolder = _Text("Folder into which reports and DICOM objects were written last.")
    pseudonymKey = _Text("File of the secret that makes pseudonyms; empty: a random one each time.")
    queueSource = _Text("Folder or list of cases that was worked through last.")
    referenceFolder = _Text("Folder of the reference session that was opened last.")
    readingRoom = _Text("A rater's room, chosen last.")
    studyFolder = _Text("A coordinator's study, used last.")
    studyProtocol = _Text("A coordinator's protocol file, used last.")

    def rememberRun(self, modelId: str, device: str, slices: int, seconds: float) -> None:
        """Note how long a run took on this computer, see :meth:`expectedSeconds`."""
        if slices < 1 or not (math.isfinite(seconds) and seconds > 0):
            return
        runs = [*self._runs(modelId, device), [int(slices), round(float(seconds), 2)]]
        self._set(_runs_key(modelId, device), json.dumps(runs[-REMEMBERED_RUNS:]))

    def expectedSeconds(self, modelId: str, device: str, slices: int) -> float | None:
        """Seconds that a volume of so many slices will take, from past runs on this computer; None before the first.

        The median of the seconds per slice, so that one run on a busy computer does not count.
        """
        runs = self._runs(modelId, device)
        if not runs or slices < 1:
            return None
        return slices * statistics.median(seconds / count for count, seconds in runs)

    def _runs(self, model_id: str, device: str) -> list[list[float]]:
        try:
            runs = json.loads(self._text(_runs_key(model_id, device)) or "[]")
            return [[int(count), float(seconds)] for count, seconds in runs if count > 0 and seconds > 0]
        except (TypeError, ValueError):
            # The settings file was edited; the value will be measured again.
            return []

    def _settings(self):
        if self._store is not None:
            return self._store
        return slicer.app.userSettings()

    def _text(self, key: str) -> str:
        value = slicer.util.settingsValue(f"{_GROUP}/{key}", "", settings=self._settings())
        return "" if value is None else str(value)

    def _set(self, key: str, value: str) -> None:
        self._settings().setValue(f"{_GROUP}/{key}", value)


def _runs_key(model_id: str, device: str) -> str:
    return f"runs/{model_id}/{device}"
