"""Series descriptions reduced to the sequence, without names, numbers, dates."""

from __future__ import annotations

import re

_WORDS_TEXT = """
ax axial tra trans transversal transverse cor coronal sag sagittal obl oblique iso isotropic multiplanar mpr flair
t1 t2 t1w t2w t2star pd pdw stir swi swan dwi dti adc trace fa cbf cbv asl perf perfusion bold fmri tof mra mrv
angio venography flow pc csf mt mtr qsm mprage mp2rage mpr spgr bravo cube space vista fspgr flash tfe ffe ge gre se
tse fse frfse ssfse haste epi ir tir tirm irfse dark fluid blade propeller multivane radial grappa sense asset arc
caipi cs compressed fs fat sat fatsat spair spir wfs dixon water supp suppressed dir psir db bb black blood d mm cm
ms t w b te tr ti ch nex nsa fov high low res hi resolution standard fast quick long short thin thick slice slices
gap pre post gd gado contrast cm ce km mit ohne with without no plus iv c localizer localiser scout survey loc cal
calibration phase mag magnitude real imag derived reformat reformatted mip minip sub subtraction mean avg average
corrected norm nd dis2d dis3d filtered recon rec series brain head skull neuro cranial cerebral schaedel kopf hirn
spine cervical c thoracic lumbar ms protocol routine follow up baseline and of the in to
"""
_WORDS = frozenset(_WORDS_TEXT.split())
_TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)?|_+|[^\w\s]|\s+")
#: Longer numbers may be identifiers or dates.
_DIGITS = 2
_REMOVED = "removed"


def technical_words(description: str) -> str:
    """A description with the words and short numbers that describe a sequence alone; ``removed`` if none are left.

    Examples
    --------
    >>> technical_words("Ax T2 FLAIR Doe Jane 19800131")
    'Ax T2 FLAIR'
    """
    kept = [token for token in _TOKEN.findall(description) if _is_technical(token)]
    text = re.sub(r"\s+", " ", "".join(kept)).strip(" _-^,;:/()[]")
    return text if any(token.isalnum() for token in text) else _REMOVED


def _is_technical(token: str) -> bool:
    if token[0].isdigit():
        return sum(c.isdigit() for c in token) <= _DIGITS
    return not token.isalpha() or token.lower() in _WORDS
