"""What the user sets once and Slicer remembers: where cases are kept, who reads, on which device."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import slicer

#: Devices by name, as :func:`flairseg.segment` knows them.
AUTOMATIC, CPU, GPU = "auto", "cpu", "cuda"
DEVICES = (AUTOMATIC, CPU, GPU)
#: Finished runs remembered for each model and device: few, so that a new computer or driver is soon believed.
REMEMBERED_RUNS = 8
#: Minutes that an adaptation may take unless the user says otherwise.
ADAPT_MINUTES = 20
_GROUP = "FlairSeg"


class FlairSegSettings:
    """Slicer's settings under ``FlairSeg/``; every property reads and writes through.

    Parameters
    ----------
    store : QSettings, optional
        Default: the user's settings of the application.
    """

    def __init__(self, store=None) -> None:
        self._store = store

    @property
    def casesFolder(self) -> str:
        """Folder of the accepted and rejected cases; empty until the user chose one."""
        return self._text("casesFolder")

    @casesFolder.setter
    def casesFolder(self, value: str) -> None:
        self._set("casesFolder", str(value).strip())

    @property
    def reviewStoreUrl(self) -> str:
        """Address of the review store (a file, or a database's URL); empty: a file in the cases folder."""
        return self._text("reviewStoreUrl")

    @reviewStoreUrl.setter
    def reviewStoreUrl(self, value: str) -> None:
        self._set("reviewStoreUrl", value.strip())

    @property
    def readerName(self) -> str:
        """Name or code of the reader, as it is written into verdicts."""
        return self._text("readerName")

    @readerName.setter
    def readerName(self, value: str) -> None:
        self._set("readerName", value.strip())

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

    @property
    def modelId(self) -> str:
        """Model that was chosen in the list in place of the model in use; empty: the model in use."""
        return self._text("modelId")

    @modelId.setter
    def modelId(self, value: str) -> None:
        self._set("modelId", value)

    @property
    def modelInUse(self) -> str:
        """Which model was in use when :attr:`modelId` was chosen: the choice holds until another one is put in use."""
        return self._text("modelInUse")

    @modelInUse.setter
    def modelInUse(self, value: str) -> None:
        self._set("modelInUse", value)

    @property
    def adaptMinutes(self) -> int:
        """Minutes that an adaptation may take, stated last."""
        text = self._text("adaptMinutes")
        return int(text) if text.isdecimal() and int(text) else ADAPT_MINUTES

    @adaptMinutes.setter
    def adaptMinutes(self, value: int) -> None:
        self._set("adaptMinutes", str(int(value)))

    @property
    def declinedModel(self) -> str:
        """sha256 of the adapted model that the user did not want to use; it is not proposed again."""
        return self._text("declinedModel")

    @declinedModel.setter
    def declinedModel(self, value: str) -> None:
        self._set("declinedModel", value)

    @property
    def pythonExecutable(self) -> str:
        """Python that runs the worker; empty: Slicer's own."""
        return self._text("pythonExecutable")

    @pythonExecutable.setter
    def pythonExecutable(self, value: str) -> None:
        self._set("pythonExecutable", str(value).strip())

    @property
    def lastModelFolder(self) -> str:
        """Folder from which a model was installed last."""
        return self._text("lastModelFolder")

    @lastModelFolder.setter
    def lastModelFolder(self, value: str | Path) -> None:
        self._set("lastModelFolder", str(value))

    @property
    def regionsAfterRun(self) -> bool:
        """Whether the regions of the brain are looked for after each run, without being asked for."""
        return self._text("regionsAfterRun") != "no"

    @regionsAfterRun.setter
    def regionsAfterRun(self, value: bool) -> None:
        self._set("regionsAfterRun", "yes" if value else "no")

    @property
    def exportFolder(self) -> str:
        """Folder into which reports and DICOM objects were written last."""
        return self._text("exportFolder")

    @exportFolder.setter
    def exportFolder(self, value: str | Path) -> None:
        self._set("exportFolder", str(value))

    @property
    def pseudonymKey(self) -> str:
        """File of the secret that makes pseudonyms; empty: a random one each time."""
        return self._text("pseudonymKey")

    @pseudonymKey.setter
    def pseudonymKey(self, value: str | Path) -> None:
        self._set("pseudonymKey", str(value))

    @property
    def queueSource(self) -> str:
        """Folder or list of cases that was worked through last."""
        return self._text("queueSource")

    @queueSource.setter
    def queueSource(self, value: str | Path) -> None:
        self._set("queueSource", str(value))

    @property
    def referenceFolder(self) -> str:
        """Folder of the reference session that was opened last."""
        return self._text("referenceFolder")

    @referenceFolder.setter
    def referenceFolder(self, value: str | Path) -> None:
        self._set("referenceFolder", str(value))

    @property
    def readingRoom(self) -> str:
        """A rater's room, chosen last."""
        return self._text("readingRoom")

    @readingRoom.setter
    def readingRoom(self, value: str | Path) -> None:
        self._set("readingRoom", str(value))

    @property
    def studyFolder(self) -> str:
        """A coordinator's study, used last."""
        return self._text("studyFolder")

    @studyFolder.setter
    def studyFolder(self, value: str | Path) -> None:
        self._set("studyFolder", str(value))

    @property
    def studyProtocol(self) -> str:
        """A coordinator's protocol file, used last."""
        return self._text("studyProtocol")

    @studyProtocol.setter
    def studyProtocol(self, value: str | Path) -> None:
        self._set("studyProtocol", str(value))

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
            # Somebody edited the settings file; it will be learnt again.
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
