"""What is called new or resolved, and where it stands: beyond the noise, in table, label map and picture alike."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from flairseg.image.volume import Volume
from flairseg.longitudinal import comparing
from flairseg.longitudinal.adding import Candidate, _called
from flairseg.longitudinal.comparing import _overall
from flairseg.longitudinal.joint import JointReading, Reading
from flairseg.longitudinal.judging import BETWEEN, TOO_SMALL, WITHIN_NOISE, Judgement, Pair, judge
from flairseg.longitudinal.matching import Presence, Track
from flairseg.longitudinal.noise import Evidence
from flairseg.longitudinal.picture import MOST_SLICES, _covering, _slices
from flairseg.longitudinal.result import FollowedLesion
from flairseg.longitudinal.states import STATE_BY_ID
from flairseg.longitudinal.studies import Study
from flairseg.segmentation.warning_codes import untrusted
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

#: Voxel of the studies and of the common grid, mm3: 0.9 x 0.9 x 3 mm.
VOXEL = 2.43
SHAPE = (9, 12, 40)
NOWHERE = Presence(0.0, 0, None, None, ())


class Seen:
    """A witness for whom everything stands out of the subtraction."""

    def __init__(self, contrast: float) -> None:
        self.contrast = contrast

    def ask(self, voxels: np.ndarray) -> Evidence:
        return Evidence(self.contrast, 10 * np.sign(self.contrast))


def pair(contrast: float = 0.5, called: bool = True) -> Pair:
    """Two studies whose images and probabilities support any change, jointly as well or not."""
    nothing = np.zeros(SHAPE)
    bright = np.full(SHAPE, 0.5)
    reliefs = (nothing, bright) if contrast > 0 else (bright, nothing)
    everywhere = np.ones(SHAPE, bool)
    reading = Reading(np.full(SHAPE, 5.0 if called else -5.0), np.full(SHAPE, called))
    joint = JointReading(reading, reading)
    return Pair(Seen(contrast), (nothing, nothing), reliefs, everywhere, (everywhere, everywhere), 0, 1, VOXEL, joint)


def drawn(voxels: int, studies: tuple[bool, ...]) -> Track:
    """A row of voxels in one slice that some studies have."""
    places = np.array([[4, 5, 2 + n] for n in range(voxels)])
    here = Presence(voxels * VOXEL, 1, (0.0, 0.0, 0.0), (4, 4), (1,), max(3.0, 0.9 * voxels))
    inside = np.repeat(np.array(studies)[:, None], voxels, axis=1)
    return Track(tuple(here if there else NOWHERE for there in studies), places, inside)


@pytest.mark.parametrize(
    ("contrast", "studies", "state"), [(0.5, (False, True), "new"), (-0.5, (True, False), "resolved")]
)
@pytest.mark.parametrize("voxels", range(1, 17))
@pytest.mark.parametrize("called", [True, False])
def test_new_and_resolved_are_beyond_the_noise_or_are_not_called(contrast, studies, state, voxels, called):
    """The noise of what one study does not have is not that of a volume: in 20 retests of unchanged heads no region of
    the size of the smallest lesion (10.7 mm3, 4.4 voxels) had the joint evidence, the images' and the guards' support.
    """
    verdict = judge(drawn(voxels, studies), 0, 1, pair(contrast, called))
    large = voxels * VOXEL >= 10.7
    assert verdict.noise_mm3 == pytest.approx(10.7)
    assert verdict.beyond_noise is (large and called)
    assert verdict.state == (state if verdict.beyond_noise else "stable")
    assert verdict.note == ("" if verdict.beyond_noise else WITHIN_NOISE if large else TOO_SMALL)
    if verdict.beyond_noise:
        assert abs(verdict.change_mm3) >= verdict.noise_mm3


@pytest.mark.parametrize("state", ["new", "resolved", "enlarging", "shrinking"])
def test_every_state_but_stable_is_beyond_the_noise(state):
    volumes = {"new": (0, 20), "resolved": (20, 0), "enlarging": (8, 60), "shrinking": (60, 8)}[state]
    places = np.array([[4, 5 + n // 30, 2 + n % 30] for n in range(max(volumes))])
    presences = tuple(Presence(n * VOXEL, 1, (0.0, 0.0, 0.0), (4, 4), (1,), 18.0) if n else NOWHERE for n in volumes)
    inside = np.stack([np.arange(max(volumes)) < n for n in volumes])
    contrast = 0.5 if volumes[1] > volumes[0] else -0.5
    verdict = judge(Track(presences, places, inside), 0, 1, pair(contrast))
    assert (verdict.state, verdict.beyond_noise) == (state, True)
    assert abs(verdict.change_mm3) >= verdict.noise_mm3


def judged(state: str | None) -> Judgement:
    return Judgement(state, 1.0, None, 0.5, state not in (None, "stable"), Evidence(0.5, 9.0))


def test_what_was_there_in_between_alone_is_resolved_only_if_that_was_called():
    absent = judged(None)
    gone = judged("resolved")
    assert _overall(absent, [judged("new"), gone]) is gone
    kept = _overall(absent, [judged("stable"), judged("stable")])
    assert (kept.state, kept.beyond_noise, kept.note) == ("stable", False, BETWEEN)
    new = judged("new")
    assert _overall(new, [absent, new]) is new


@pytest.mark.parametrize(("states", "kept"), [(["new"], True), (["stable"], False), (["enlarging", "stable"], False)])
def test_what_is_not_called_as_a_lesion_is_not_added(states, kept):
    """A candidate that has become part of several lesions is added only if each of them is called changed."""
    tracks = [drawn(2, (False, True)) for _ in states]
    tracks[-1].voxels[:, 1] += len(states) - 1
    candidate = Candidate(1, np.concatenate([t.voxels for t in tracks]))
    space = SimpleNamespace(grid=SimpleNamespace(array=np.zeros(SHAPE, np.uint8)))
    verdicts = {id(track): judged(state) for track, state in zip(tracks, states, strict=True)}
    found = _called([candidate], tracks, space, lambda track: verdicts[id(track)])
    assert found == ([candidate] if kept else [])


# --- the picture


def test_the_picture_holds_every_change_however_many_slices_that_takes():
    codes = np.zeros((60, 20, 20), np.uint8)
    new, gone = STATE_BY_ID["new"].code, STATE_BY_ID["resolved"].code
    for n in range(29):
        codes[2 * n, 2 + n % 9, 3 : 3 + 1 + n % 4] = new if n % 2 else gone
    shown = _slices(codes)
    assert len(shown) == 29 > MOST_SLICES
    assert set(shown) == {2 * n for n in range(29)}


def test_few_slices_show_many_lesions():
    components = np.zeros((12, 30, 30), int)
    for n in range(1, 9):
        components[2 + n % 3 : 5 + n % 3, 3 * n, 3 * n] = n
    chosen = _covering(components)
    assert len(chosen) <= 2
    assert {int(v) for k in chosen for v in np.unique(components[k])} == set(range(9))
    assert _covering(np.zeros((4, 5, 5), int)) == []


def test_a_change_is_shown_where_it_is_large():
    components = np.zeros((5, 20, 20), int)
    components[1, 4:6, 4:6] = 1
    components[2, 2:12, 2:12] = 1
    assert _covering(components) == [2]


def test_followed_lesions_have_the_slices_of_their_study_from_1(monkeypatch):
    from flairseg.longitudinal.result import FollowUp

    lesion = FollowedLesion(1, "new", ("new",), drawn(12, (False, True)), judged("new"))
    result = SimpleNamespace(centre_common=lambda _lesion: (0.0, 0.0, 0.0))
    entry = FollowUp.lesion_entry(result, lesion)
    assert (entry["slices"], entry["slices_index"]) == ([5, 5], [4, 4])
    assert entry["shown_in_study"] == 2
    assert replace(lesion, number=2).number == 2


@pytest.mark.parametrize(("turned", "codes"), [(False, ["same-image-twice"]), (True, [])])
def test_a_study_that_was_given_twice_is_told(turned, codes):
    """It had been followed without a word: "no new lesion"."""
    image = Volume(np.random.default_rng(3).random((4, 5, 6)).astype(np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "a")
    moved = replace(image, ijk_to_ras=np.diag([1.0, 1.0, 3.01, 1.0]), name="b")
    other = moved.with_array(moved.array[::-1].copy()) if turned else moved
    studies = [Study(v, np.zeros(v.array.shape, np.uint8), None, None, True, v.name) for v in (image, other)]
    found = comparing._warnings(studies, [], SimpleNamespace(plane="axial"))
    assert [w.code for w in found] == codes
    assert bool(untrusted(found)) == bool(codes)


@pytest.mark.parametrize("codes", ["LAS", "LPS", "PIR", "SAL"])
def test_a_study_that_was_given_again_in_another_storage_order_is_told(codes):
    """One converter's file and another's of the same scan: the same voxels, in another order."""
    image = Volume(np.random.default_rng(3).random((4, 5, 6)).astype(np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "a")
    turned = nib.Nifti1Image(image.array.T, image.ijk_to_ras)
    change = ornt_transform(io_orientation(turned.affine), axcodes2ornt(codes))
    turned = turned.as_reoriented(change)
    other = Volume(np.ascontiguousarray(np.asarray(turned.dataobj).T), turned.affine, "b")
    studies = [Study(v, np.zeros(v.array.shape, np.uint8), None, None, True, v.name) for v in (image, other)]
    assert [w.code for w in comparing._warnings(studies, [], SimpleNamespace(plane="axial"))] == ["same-image-twice"]
    brighter = replace(studies[1], volume=other.with_array(other.array + np.float32(0.01)))
    assert not comparing._warnings([studies[0], brighter], [], SimpleNamespace(plane="axial"))


@pytest.mark.parametrize(("drawn_in", "percent"), [((1, 1), 100.0), ((1, 0), None), ((0, 1), None), ((0, 0), None)])
def test_ventricles_that_were_not_drawn_have_not_shrunk(drawn_in, percent):
    """Of labels as Slicer gives them, which do not say which classes were looked for."""
    image = Volume(np.ones((4, 5, 6), np.float32), np.diag([1.0, 1.0, 3.0, 1.0]), "a")
    studies = []
    for n, ventricles in enumerate(drawn_in, start=1):
        labels = np.zeros(image.array.shape, np.uint8)
        labels[1, 1, : 2 * n] = ventricles
        studies.append(Study(image, labels, None, None, True, "a"))
    found = comparing._ventricles(studies)
    assert found.change_percent == percent
    assert (found.change_ml is None, found.beyond_noise) == (percent is None, percent is not None)
