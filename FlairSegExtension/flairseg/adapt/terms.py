"""Terms and limits of adaptation shared with graphical front ends: this module imports nothing."""

from __future__ import annotations

#: Patients and cases that an adaptation takes.
FEWEST_PATIENTS, MOST_CASES = 3, 200
#: Fewer patients than this cannot give p <= 0.05 in a sign-flip test (1 / 2 ** 5).
FEWEST_FOR_PROOF = 5
#: Verdicts on an adapted model.
BETTER, NO_DIFFERENCE, WORSE = "better", "no difference shown", "worse"
WORDS = (BETTER, NO_DIFFERENCE, WORSE)

#: Figures of a case -> (title, whether more is better).
FIGURES: dict[str, tuple[str, bool]] = {
    "lesion_dice": ("Lesion Dice", True),
    "lesion_f1": ("Lesion F1", True),
    "lesion_volume_error_ml": ("Lesion volume error, ml", False),
    "ventricles_dice": ("Ventricle Dice", True),
    "normal_wmh_dice": ("Normal WMH Dice", True),
    "edit_voxels": ("Voxels to edit", False),
}
