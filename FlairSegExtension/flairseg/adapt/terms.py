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

#: Consistent differences between a site's masks and its images or the base's results (:mod:`.conventions`): code ->
#: (share of the median patient above which it is stated, share in the data that the default was made for, what is
#: stated, and the statement by which the user accepts it).
CONVENTIONS: dict[str, tuple[float, float, str, str]] = {
    "normal-drawn-as-lesions": (
        0.25,
        0.11,
        "{share:.0%} of what the base calls normal periventricular hyperintensity was drawn as lesions",
        "our readers count periventricular caps as lesions",
    ),
    "lesions-drawn-as-normal": (
        0.15,
        0.04,
        "{share:.0%} of the lesion volume that the base finds was drawn as normal hyperintensity",
        "our readers count these periventricular lesions as normal hyperintensity",
    ),
    "lesions-not-drawn": (
        0.4,
        0.13,
        "{share:.0%} of the lesion volume that the base finds was not drawn",
        "our readers drew all lesions; anything else the base finds is not a lesion",
    ),
    "lesions-drawn-wide": (
        0.12,
        0.01,
        "{share:.0%} of the drawn lesions is no brighter than normal brain",
        "our readers draw lesions with their surroundings",
    ),
    "ventricles-drawn-wide": (
        0.1,
        0.06,
        "{share:.0%} of the drawn ventricles is as bright as brain",
        "our readers draw ventricles with their surroundings",
    ),
    "masks-displaced-alike": (
        0.5,
        0.0,
        "The masks of {share:.0%} of the patients fit their images better at the same displacement",
        "the masks are where our readers drew them",
    ),
}
