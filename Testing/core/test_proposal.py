"""Which volume is the FLAIR: names and headers as scanners and people write them."""

from __future__ import annotations

import numpy as np
import pytest
from flairseg.image.flair_selection import COLOUR, DIFFUSION, LABEL_MAP, SERIES, Candidate, examine, propose
from flairseg.preprocessing.image_quality import look

BRAIN = {"shape": (24, 256, 256), "spacing": (6.0, 0.9, 0.9)}


def named(name: str, **more) -> Candidate:
    return Candidate(more.pop("key", name), name, **{**BRAIN, **more})


FLAIR_NAMES = [
    "FLAIR",
    "flair",
    "sub-01_FLAIR",
    "AX T2 FLAIR",
    "Sag CUBE T2 FLAIR",
    "3: t2_tirm_tra_dark-fluid",
    "t2_space_dark-fluid_sag_p2_iso",
    "3D Brain VIEW_FLAIR",
    "eT2W_FLAIR_SPIR",
    "FlairSegTabriz1",
    "FLAIR_reg_T1",
    "Flaïr tête",
    "107130_FLAIR",
]


@pytest.mark.parametrize("name", FLAIR_NAMES)
def test_flair_names_are_known(name):
    verdict = examine(named(name))
    assert verdict.score > 0
    assert not verdict.doubts


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("T1", "a T1"),
        ("sub-01_T1w", "a T1"),
        ("t1_mprage_sag", "a T1"),
        ("MPRAGE", "a T1"),
        ("MP2RAGE UNI", "a T1"),
        ("Ax T2 TSE", "a T2"),
        ("PD", "a proton density"),
        ("ADC (10^-6 mm^2/s)", "an ADC map"),
        ("ep2d_diff_b1000", "a diffusion"),
        ("SWI_Images", "a susceptibility"),
        ("TOF_3D", "an angiogram"),
        ("localizer", "a localiser"),
        ("CT head", "a CT"),
        ("STIR cor", "a STIR"),
        ("brain_mask", "a mask"),
    ],
)
def test_other_sequences_are_named(name, what):
    verdict = examine(named(name))
    assert verdict.score < 0
    assert what in str(verdict.doubts[0])
    assert verdict.doubts[0].advice


@pytest.mark.parametrize("name", ["patient1", "MRHead", "head", "Volume_3", "act2", "study", "image001", "13"])
def test_names_that_say_nothing_raise_no_doubt(name):
    assert examine(named(name)).score == 0
    assert not examine(named(name)).doubts


@pytest.mark.parametrize("name", ["FLAIR mask", "FLAIR_seg", "sub-01_FLAIR_labels", "flair lesion"])
def test_what_was_made_from_a_flair_is_not_proposed(name):
    assert propose([named(name), named("FLAIR")]).key == "FLAIR"
    assert "made from" in str(examine(named(name)).doubts[0])


def test_t1_flair_is_doubted_unless_the_inversion_time_says_flair():
    assert "T1 FLAIR" in str(examine(named("Ax T1 FLAIR")).doubts[0])
    assert examine(named("Ax T1 FLAIR", header={"InversionTime": "2500", "EchoTime": "120"})).score > 0
    assert examine(named("Ax T1 FLAIR", header={"InversionTime": "860", "EchoTime": "20"})).score < -5


@pytest.mark.parametrize(
    ("header", "sign"),
    [
        ({"InversionTime": "2500", "EchoTime": "119"}, 1),
        ({"InversionTime": "1800"}, 1),
        ({"InversionTime": "900", "EchoTime": "2.9"}, -1),
        ({"InversionTime": "150", "EchoTime": "70"}, -1),
        ({"InversionTime": "2500", "EchoTime": "3"}, 0),
        ({"InversionTime": "", "EchoTime": "90"}, 0),
        ({"InversionTime": "none"}, 0),
        ({"InversionTime": "2400\\350"}, 1),
    ],
)
def test_the_scanners_times(header, sign):
    assert np.sign(examine(named("series 7", header=header)).score) == sign


def test_the_header_outweighs_a_name_that_somebody_typed():
    typed = named("FLAIR", key="typed", header={"InversionTime": "900", "EchoTime": "3"})
    real = named("series 4", key="real", header={"InversionTime": "2500", "EchoTime": "110"})
    assert propose([real, typed]).key == "real"


def test_modality_and_voxels_of_a_ct():
    assert "a CT" in str(examine(named("head", header={"Modality": "CT"})).doubts[0])
    hounsfield = np.concatenate([np.full(400, -1000), np.random.default_rng(0).normal(40, 10, 600)])
    assert "Hounsfield" in str(examine(named("head", sample=hounsfield)).doubts[0])


def test_masks_constant_and_empty_volumes_are_seen():
    rng = np.random.default_rng(0)
    assert "mask" in str(examine(named("x", sample=rng.integers(0, 4, 5000))).doubts[0])
    assert "same value" in str(examine(named("x", sample=np.zeros(100))).doubts[0])
    assert "no finite values" in str(examine(named("x", sample=np.full(10, np.nan))).doubts[0])
    assert not examine(named("x", sample=rng.normal(1000, 200, 5000))).doubts


@pytest.mark.parametrize("kind", [LABEL_MAP, COLOUR, SERIES, DIFFUSION])
def test_what_cannot_be_segmented_is_refused_with_advice(kind):
    verdict = examine(named("FLAIR", kind=kind))
    assert not verdict.usable
    assert verdict.doubts[0].advice
    proposal = propose([named("FLAIR", kind=kind)])
    assert proposal.key is None
    assert proposal.reason


def test_slices_and_extent():
    assert "single slice" in str(examine(named("FLAIR", shape=(1, 256, 256))).doubts[0])
    assert "3 slices" in str(examine(named("FLAIR", shape=(3, 256, 256))).doubts[0])
    # Sagittal storage: few slices along I.
    assert "3 slices" in str(examine(named("FLAIR", shape=(256, 256, 3), spacing=(0.9, 0.9, 6.0))).doubts[0])
    small = examine(named("FLAIR", shape=(40, 40, 40), spacing=(1.0, 1.0, 1.0)))
    assert "less than a brain" in str(small.doubts[0])


def test_a_typical_study():
    study = [named(n) for n in ("localizer", "t1_mprage_sag", "t2_tse_tra", "t2_tirm_tra_dark-fluid", "ADC")]
    proposal = propose(study)
    assert proposal.key == "t2_tirm_tra_dark-fluid"
    assert proposal.reason == "Proposed because its name says FLAIR."
    assert set(proposal.verdicts) == {c.key for c in study}


def test_of_two_flairs_the_one_loaded_last_is_proposed_and_it_is_said():
    proposal = propose([named("FLAIR baseline"), named("FLAIR follow-up"), named("T1")])
    assert proposal.key == "FLAIR follow-up"
    assert "of 2 like it, it was loaded last" in proposal.reason


def test_series_description_is_told_as_the_reason():
    volume = named("4: series", header={"SeriesDescription": "AX T2 FLAIR FS", "Modality": "MR"})
    assert "series description says FLAIR" in propose([volume]).reason


def test_nothing_says_anything():
    assert propose([]).key is None
    assert propose([named("a")]).key == "a"
    assert "only volume" in propose([named("a")]).reason
    assert propose([named("a"), named("T1")]).key == "a"
    assert propose([named("a"), named("b")]).key is None
    assert propose([named("T1")]).key is None
    assert "does not look like" in propose([named("T1")]).reason


def test_a_closer_look_at_the_voxels():
    from flairseg.image.volume import Volume
    from flairseg.phantom import make_phantom

    scan = make_phantom(0, shape=(16, 96, 96), spacing_mm=(2.4, 2.4, 8.0)).volume
    assert look(scan) == []
    noise = np.random.default_rng(0).normal(500, 100, scan.array.shape)
    assert "noise" in look(Volume(noise, scan.ijk_to_ras, "noise"))[0]
