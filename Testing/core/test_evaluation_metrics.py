"""Figures of two masks against independent implementations: SimpleITK, scikit-learn, MONAI, brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import SimpleITK as sitk
from flairseg.evaluation.components import (
    LesionMatch,
    OverlapRule,
    component_confusion,
    lesion_f1,
    match_lesions,
)
from flairseg.evaluation.curves import LEVELS, ScoreCounts, average_precision, pooled, resampled_areas
from flairseg.evaluation.overlap import Overlap, confusion
from flairseg.evaluation.surface import surface_distances
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from scipy.spatial.distance import cdist

EXACT = 1e-9


def blobs(seed: int, share: float, shape=(6, 20, 18)) -> np.ndarray:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0.7, 1.5, 1.5))
    return field > np.quantile(field, 1 - share)


def single_voxel(*where: int, shape=(6, 20, 18)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[where] = True
    return mask


NOTHING = np.zeros((6, 20, 18), bool)
#: Prediction, reference: two empty masks, one empty, one voxel, touching the edge of the image, the same, far apart.
DEGENERATE = {
    "both empty": (NOTHING, NOTHING),
    "reference empty": (blobs(1, 0.1), NOTHING),
    "prediction empty": (NOTHING, blobs(1, 0.1)),
    "single voxels": (single_voxel(2, 3, 4), single_voxel(2, 3, 7)),
    "one voxel, the same": (single_voxel(2, 3, 4), single_voxel(2, 3, 4)),
    "opposite corners": (single_voxel(0, 0, 0), single_voxel(5, 19, 17)),
    "one voxel in a mask": (single_voxel(3, 10, 9), blobs(4, 0.3)),
    "everything": (~NOTHING, ~NOTHING),
    "everything and something": (~NOTHING, blobs(2, 0.2)),
    "no overlap": (blobs(3, 0.2) & (np.arange(18) < 6), blobs(4, 0.2) & (np.arange(18) > 10)),
}
SPACINGS = [(1.0, 1.0, 1.0), (6.5, 0.9, 0.9), (0.43, 3.0, 8.1)]
masks = st.tuples(st.integers(0, 10**6), st.floats(0.01, 0.4)).map(lambda p: blobs(*p))
spacings = st.tuples(*[st.floats(0.4, 8)] * 3)


# --- overlap ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(masks, masks)
def test_overlap_is_simpleitks(ours, theirs):
    assume(ours.any() and theirs.any())
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(sitk.GetImageFromArray(x.astype(np.uint8)) for x in (ours, theirs)))
    found = Overlap.of(ours, theirs)
    assert found.dice == pytest.approx(measures.GetDiceCoefficient(), abs=EXACT)
    assert found.jaccard == pytest.approx(measures.GetJaccardCoefficient(), abs=EXACT)
    assert found.recall == pytest.approx(1 - measures.GetFalseNegativeError(), abs=EXACT)
    assert found.precision == pytest.approx(1 - measures.GetFalseDiscoveryRate(), abs=EXACT)
    # ITK's volume similarity is 2 (a - b) / (a + b) of source a and target b.
    difference = 2 * (found.fp - found.fn) / (2 * found.tp + found.fp + found.fn)
    assert difference == pytest.approx(measures.GetVolumeSimilarity(), abs=EXACT)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_masks_have_scikit_learns_figures_or_none(name):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    ours, theirs = DEGENERATE[name]
    found, (y, x) = Overlap.of(ours, theirs), (theirs.ravel(), ours.ravel())
    for figure, function in (
        ("dice", metrics.f1_score),
        ("jaccard", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        # scikit-learn says NaN too for 0/0, when asked to.
        expected = function(y, x, zero_division=np.nan) if figure != "jaccard" else _jaccard(metrics, y, x)
        assert getattr(found, figure) == pytest.approx(expected, abs=EXACT, nan_ok=True), figure
    assert found.specificity == pytest.approx(
        metrics.recall_score(~y, ~x, zero_division=np.nan), abs=EXACT, nan_ok=True
    )
    assert found.negative_predictive_value == pytest.approx(
        metrics.precision_score(~y, ~x, zero_division=np.nan), abs=EXACT, nan_ok=True
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(y, x), abs=EXACT)


def _jaccard(metrics, y, x) -> float:
    return metrics.jaccard_score(y, x) if (y | x).any() else float("nan")


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_confusion_is_scikit_learns_and_holds_every_overlap(seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    reference, prediction = np.random.default_rng(seed).integers(0, 4, (2, 3, 9, 8)).astype(np.uint8)
    found = confusion(reference, prediction)
    assert np.array_equal(found, metrics.confusion_matrix(reference.ravel(), prediction.ravel(), labels=range(4)))
    for values in ((1,), (3,), (2, 3)):
        assert Overlap.from_confusion(found, values) == Overlap.of(
            np.isin(prediction, values), np.isin(reference, values)
        )


def test_confusion_refuses_what_does_not_fit():
    one, other = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(ValueError, match="shapes"):
        confusion(one, other)
    with pytest.raises(ValueError, match="below 4"):
        confusion(one, one + 4)


# --- surfaces ---------------------------------------------------------------------------------------------------------


def surface_by_hand(mask: np.ndarray, spacing) -> np.ndarray:
    """Surface voxels in mm: those that lack one of six neighbours."""
    padded = np.pad(mask, 1)
    inner = np.ones_like(mask)
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return np.argwhere(mask & ~inner) * spacing


def distances_by_hand(ours, theirs, spacing) -> tuple[float, dict[float, float]]:
    """HD95 and NSD at three tolerances from the distances of all pairs of surface voxels."""
    pairs = cdist(surface_by_hand(ours, spacing), surface_by_hand(theirs, spacing))
    if not pairs.size:
        return float("nan"), dict.fromkeys((0.0, 1.0, 3.0), float("nan") if sum(pairs.shape) == 0 else 0.0)
    there, back = pairs.min(1), pairs.min(0)
    hd95 = max(np.percentile(there, 95), np.percentile(back, 95))
    return hd95, {t: (np.sum(there <= t) + np.sum(back <= t)) / (there.size + back.size) for t in (0.0, 1.0, 3.0)}


@settings(max_examples=20, deadline=None)
@given(masks, masks, spacings)
def test_surface_figures_are_those_of_all_pairs(ours, theirs, spacing):
    hd95, nsd = distances_by_hand(ours, theirs, spacing)
    found = surface_distances(ours, theirs, spacing)
    assert found.hd95 == pytest.approx(hd95, abs=EXACT)
    for tolerance, expected in nsd.items():
        # A distance that is the tolerance to rounding may fall on either side of it.
        assume(
            not np.isclose(np.concatenate([found.to_reference, found.to_prediction]), tolerance).any() or not tolerance
        )
        assert found.nsd(tolerance) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", DEGENERATE)
def test_surface_figures_of_degenerate_masks(name, spacing):
    ours, theirs = DEGENERATE[name]
    hd95, nsd = distances_by_hand(ours, theirs, spacing)
    found = surface_distances(ours, theirs, spacing)
    assert found.hd95 == pytest.approx(hd95, abs=EXACT, nan_ok=True)
    for tolerance, expected in nsd.items():
        assert found.nsd(tolerance) == pytest.approx(expected, abs=EXACT, nan_ok=True)


def test_surface_figures_are_monais():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monai = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
        from monai.metrics.utils import get_edge_surface_distance
    import torch

    pairs = [*DEGENERATE.values(), *((blobs(n, 0.03 + 0.03 * n), blobs(50 + n, 0.1)) for n in range(6))]
    for spacing in SPACINGS:
        for ours, theirs in pairs:
            a, b = (torch.from_numpy(x)[None, None] for x in (ours, theirs))
            options = {"include_background": True, "spacing": spacing}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hd95 = float(monai.compute_hausdorff_distance(a, b, percentile=95, **options))
                nsd = float(monai.compute_surface_dice(a, b, class_thresholds=[2.0], **options))
                _, distances, _ = get_edge_surface_distance(a[0, 0], b[0, 0], spacing=spacing, symmetric=True)
            found = surface_distances(ours, theirs, spacing)
            assert found.nsd(2.0) == pytest.approx(nsd, rel=1e-6, nan_ok=True)
            # Where a mask is empty MONAI says NaN or infinity. It interpolates percentiles in float32.
            expected = hd95 if np.isfinite(hd95) else float("nan")
            assert found.hd95 == pytest.approx(expected, rel=1e-5, nan_ok=True)
            if ours.any() and theirs.any():
                for own, other in zip((found.to_reference, found.to_prediction), distances, strict=True):
                    assert np.allclose(np.sort(own), np.sort(np.asarray(other, float)), rtol=1e-6, atol=0)


def test_a_single_slice_has_outlines_and_no_surfaces():
    ours, theirs = np.zeros((2, 1, 20, 20), bool)
    ours[0, 2:12, 2:12] = theirs[0, 2:12, 4:14] = True
    found = surface_distances(ours, theirs, (5.0, 1.0, 1.0))
    assert (found.prediction_voxels, found.hd95) == (36, 2.0)


# --- curves -----------------------------------------------------------------------------------------------------------


def scored(seed: int, kind: str, n: int = 4000, share: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) * 2 - 4 + 4 * truth)))
    if kind == "half":
        scores = scores.astype(np.float16)
    elif kind == "ties":
        scores = np.round(scores, 1)
    return scores.astype(np.float32), truth


@pytest.mark.parametrize("kind", ["half", "single", "ties"])
@pytest.mark.parametrize("seed", range(4))
def test_areas_are_scikit_learns(kind, seed):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, truth = scored(seed, kind)
    counts = ScoreCounts.of(scores, truth)
    assert counts.average_precision() == pytest.approx(metrics.average_precision_score(truth, scores), abs=EXACT)
    assert counts.roc_auc() == pytest.approx(metrics.roc_auc_score(truth, scores), abs=EXACT)
    assert average_precision(scores, truth) == counts.average_precision()
    # The rank sum says the same of the area under the ROC curve.
    u = stats.mannwhitneyu(scores[truth], scores[~truth]).statistic
    assert counts.roc_auc() == pytest.approx(u / (truth.sum() * (~truth).sum()), abs=EXACT)


def test_curves_pass_through_scikit_learns_points():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    scores, truth = scored(5, "single")
    counts = ScoreCounts.of(scores, truth)
    recall, precision, thresholds = counts.precision_recall_curve(points=60)
    p, r, t = metrics.precision_recall_curve(truth, scores)
    assert 40 <= len(recall) <= 60
    assert np.all(np.diff(recall) >= 0)
    places = np.searchsorted(t, thresholds.astype(np.float32))
    assert np.allclose(r[:-1][places], recall)
    assert np.allclose(p[:-1][places], precision)
    alarms, hits, thresholds = counts.roc_curve(points=60)
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    x, y, t = metrics.roc_curve(truth, scores, drop_intermediate=False)
    places = [int(np.flatnonzero(t == np.float32(v))[0]) if np.isfinite(v) else 0 for v in thresholds]
    assert np.allclose(x[places], alarms)
    assert np.allclose(y[places], hits)


@pytest.mark.parametrize("kinds", [("half", "half"), ("half", "single"), ("ties", "single")])
def test_pooling_counts_is_pooling_voxels(kinds):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    parts = [scored(n, kind, share=0.05 + 0.1 * n) for n, kind in enumerate(kinds)]
    together = pooled(ScoreCounts.of(*part) for part in parts)
    scores, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
    assert together.average_precision() == pytest.approx(metrics.average_precision_score(truth, scores), abs=EXACT)
    assert (together.total_positives, together.total_negatives) == (truth.sum(), (~truth).sum())


def test_too_many_scores_are_rounded_and_say_so(monkeypatch):
    from flairseg.evaluation import curves

    exact = pooled(ScoreCounts.of(*scored(n, "single")) for n in range(3))
    monkeypatch.setattr(curves, "MAXIMUM_SCORES", 3000)
    rounded = pooled(ScoreCounts.of(*scored(n, "single")) for n in range(3))
    assert (exact.rounded, rounded.rounded) == (False, True)
    assert len(rounded.scores) < len(exact.scores)
    assert rounded.average_precision() == pytest.approx(exact.average_precision(), abs=1e-3)
    with pytest.raises(ValueError, match="nothing"):
        pooled([])


def test_areas_without_positives_or_negatives_are_undefined():
    scores = np.linspace(0, 1, 11, dtype=np.float32)
    none, every = (ScoreCounts.of(scores, np.full(11, value)) for value in (False, True))
    assert np.isnan([none.average_precision(), none.roc_auc(), every.roc_auc()]).all()
    assert every.average_precision() == 1.0
    minus_zero = ScoreCounts.of(np.array([-0.0, 0.0, 1.0], np.float32), np.array([True, False, True]))
    assert minus_zero.scores.tolist() == [0.0, 1.0]


def test_resampled_areas_are_those_of_the_drawn_patients():
    parts = [ScoreCounts.of(*scored(n, "half", n=600)) for n in range(3)]
    levels = np.stack([part.on_levels() for part in parts])
    assert levels.shape == (3, 2, LEVELS)
    assert levels[1].sum() == 600
    areas = resampled_areas(levels, np.array([[1, 1, 1], [3, 0, 0], [0, 2, 1]]))
    for n, drawn in enumerate(([0, 1, 2], [0], [1, 1, 2])):
        exact = pooled(parts[k] for k in drawn)
        # Scores that share a level are one step, hence not the very same area.
        assert areas[0][n] == pytest.approx(exact.average_precision(), abs=5e-3)
        assert areas[1][n] == pytest.approx(exact.roc_auc(), abs=2e-3)


# --- lesions ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(masks, masks)
def test_lesions_are_counted_on_simpleitks_components(ours, theirs):
    def components(mask):
        return sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))

    def found(parts, mask):
        return sum(bool(mask[parts == n].any()) for n in range(1, parts.max() + 1))

    of_ours, of_theirs = components(ours), components(theirs)
    match = match_lesions(ours, theirs)
    assert (match.reference, match.prediction) == (of_theirs.max(), of_ours.max())
    assert (match.found, match.right) == (found(of_theirs, ours), found(of_ours, theirs))
    recall, precision = match.found / match.reference, match.right / match.prediction
    assert match.f1 == pytest.approx(2 / (1 / recall + 1 / precision) if recall and precision else 0.0)
    # Detection and outline error are all that the masks disagree on.
    assert match.detection_error_mm3 + match.outline_error_mm3 == np.count_nonzero(ours ^ theirs)


def test_diagonal_neighbours_are_one_lesion():
    predicted, reference = np.zeros((2, 3, 3, 3), bool)
    predicted[0, 0, 0] = predicted[1, 1, 1] = reference[0, 0, 0] = True
    assert match_lesions(predicted, reference).f1 == 1.0


def three_lesions() -> tuple[np.ndarray, np.ndarray]:
    """Prediction and reference: a half-covered, a hardly covered and a missed lesion of 10 voxels; an invented one."""
    prediction, reference = np.zeros((2, 1, 7, 30), bool)
    reference[0, 1, 0:10] = reference[0, 3, 0:10] = reference[0, 5, 0:10] = True
    prediction[0, 1, 0:5] = prediction[0, 3, 9:17] = prediction[0, 5, 20:24] = True
    return prediction, reference


@pytest.mark.parametrize(
    ("rule", "found", "right"),
    [
        (OverlapRule(), 2, 2),
        (OverlapRule("voxels", 2), 1, 1),
        (OverlapRule("fraction", 0.1), 2, 2),
        (OverlapRule("fraction", 0.5), 1, 1),
        (OverlapRule("fraction", 0.51), 0, 1),
        (OverlapRule("iou", 0.5), 1, 1),
        (OverlapRule("iou", 1 / 17), 2, 2),
        (OverlapRule("iou", 0.06), 1, 1),
    ],
)
def test_what_counts_as_found_is_the_rule(rule, found, right):
    match = match_lesions(*three_lesions(), rule=rule)
    assert (match.reference, match.prediction, match.found, match.right) == (3, 3, found, right)


def test_small_lesions_count_on_neither_side():
    prediction, reference = three_lesions()
    match = match_lesions(prediction, reference, voxel_mm3=2.0, minimum_mm3=10.0)
    assert (match.reference, match.prediction, match.found, match.right) == (3, 2, 2, 2)
    # The half-covered lesion's other half, and the hardly covered one's 9 + 7; the missed one is not outline.
    assert (match.detection_error_mm3, match.outline_error_mm3) == (20.0, 42.0)
    none = match_lesions(prediction, reference, voxel_mm3=2.0, minimum_mm3=100.0)
    assert none == LesionMatch(0, 0, 0, 0)
    assert np.isnan(none.f1)


def test_without_lesions_on_one_side_f1_is_0_and_on_both_undefined():
    prediction, reference = three_lesions()
    nothing = np.zeros_like(reference)
    missed, invented, neither = (
        match_lesions(*pair) for pair in ((nothing, reference), (prediction, nothing), (nothing, nothing))
    )
    assert (missed.recall, missed.f1, invented.precision, invented.f1) == (0.0, 0.0, 0.0, 0.0)
    assert np.isnan([missed.precision, invented.recall, neither.f1, neither.recall, neither.precision]).all()
    assert lesion_f1(3, 4, 3, 6) == pytest.approx(2 * 3 / (4 + 6))


@pytest.mark.parametrize("rule", [("voxels", 0.0), ("fraction", 0.0), ("fraction", 1.1), ("iou", -1), ("touch", 1.0)])
def test_rules_without_sense_are_refused(rule):
    with pytest.raises(ValueError, match="rule"):
        OverlapRule(*rule)


def test_components_go_to_the_class_that_marks_most_of_them():
    reference, prediction = np.zeros((2, 1, 12, 12), np.uint8)
    reference[0, 0, 0:4] = 3  # called normal by three of four voxels
    prediction[0, 0, 0:3], prediction[0, 0, 3] = 2, 3
    reference[0, 2, 0:4] = 3  # a tie is a lesion's
    prediction[0, 2, 0:2], prediction[0, 2, 2:4] = 2, 3
    reference[0, 4, 0:4] = 2  # missed
    prediction[0, 4, 0:4] = 1
    reference[0, 6, 0:4] = prediction[0, 6, 3] = 2  # found by one voxel
    prediction[0, 8, 0:2] = 3  # invented
    prediction[0, 10, 0:2] = prediction[0, 10, 4:6] = 2  # invented, twice
    assert component_confusion(prediction, reference).tolist() == [[0, 2, 1], [1, 1, 0], [0, 1, 1]]


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_lesion_of_just_the_least_volume_counts():
    """Three voxels of 0.7 mm3 are 2.1 mm3 on paper and 2.0999999999999996 in double precision."""
    mask = np.zeros((1, 5, 9), bool)
    mask[0, 0, 0:3] = mask[0, 2, 0:2] = mask[0, 4, 0:4] = True
    assert 3 * 0.7 < 2.1
    match = match_lesions(mask, mask, voxel_mm3=0.7, minimum_mm3=2.1)
    assert (match.reference, match.prediction, match.found, match.right) == (2, 2, 2, 2)
    # The dropped one in the middle moves no numbers: each lesion meets itself.
    assert match_lesions(mask, mask, 0.7, OverlapRule("iou", 1.0), 2.1).found == 2


def test_shares_and_minima_at_their_ends():
    assert [OverlapRule("fraction", 1.0).minimum, OverlapRule("iou", 1.0).minimum] == [1.0, 1.0]
    assert OverlapRule("voxels", 1.0) == OverlapRule()
    with pytest.raises(ValueError, match="rule"):
        OverlapRule("voxels", 0.9)
    three, same = np.zeros((2, 1, 1, 10), bool)
    three[0, 0, 2:5] = same[0, 0, 2:5] = True
    assert match_lesions(three, same, rule=OverlapRule("fraction", 1.0)).found == 1
    assert match_lesions(three, same, rule=OverlapRule("voxels", 3)).found == 1
    assert match_lesions(three, same, rule=OverlapRule("voxels", 4)).found == 0


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (OverlapRule(), "at least 1 voxel shared"),
        (OverlapRule("voxels", 3), "at least 3 voxels shared"),
        (OverlapRule("fraction", 0.25), "at least 25 % of it shared"),
        (OverlapRule("iou", 0.5), "intersection over union with one lesion of the other side at least 0.5"),
    ],
)
def test_a_rule_says_what_it_asks_for(rule, text):
    assert str(rule) == text


def test_iou_is_that_of_the_best_single_lesion():
    """A reference of 10 voxels that two predictions share: 6 of 6 and 3 of 3."""
    prediction, reference = np.zeros((2, 1, 1, 12), bool)
    reference[0, 0, 0:10] = prediction[0, 0, 0:6] = prediction[0, 0, 7:10] = True
    for minimum, found, right in ((0.3, 1, 2), (0.31, 1, 1), (0.6, 1, 1), (0.61, 0, 0)):
        match = match_lesions(prediction, reference, rule=OverlapRule("iou", minimum))
        assert (match.found, match.right) == (found, right)
    assert match_lesions(prediction, reference, rule=OverlapRule("fraction", 0.9)).found == 1


def test_a_distance_of_just_the_tolerance_agrees():
    ours, theirs = np.zeros((2, 3, 4, 4), bool)
    ours[0, 0, 0] = theirs[0, 0, 0] = theirs[0, 3, 3] = ours[2, 0, 0] = True
    found = surface_distances(ours, theirs, (6.0, 1.0, 1.0))
    # Ours: 0 and 12 mm; theirs: 0 and the diagonal of 3 mm and 3 mm.
    assert found.nsd(3 * 2**0.5) == pytest.approx(0.75)
    assert found.nsd(4.2) == pytest.approx(0.5)
    assert found.nsd(12.0) == 1.0
    assert found.hd95 == pytest.approx(0.95 * 12)


def test_curves_of_four_voxels_are_those_on_paper():
    counts = ScoreCounts.of(np.array([0.25, 0.5, 0.5, 0.75], np.float32), np.array([False, True, False, True]))
    recall, precision, thresholds = counts.precision_recall_curve()
    assert recall.tolist() == [0.5, 1, 1]
    assert precision.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert thresholds.tolist() == [0.75, 0.5, 0.25]
    alarms, hits, thresholds = counts.roc_curve()
    assert (alarms.tolist(), hits.tolist()) == ([0, 0, 0.5, 1], [0, 0.5, 1, 1])
    assert thresholds.tolist() == [np.inf, 0.75, 0.5, 0.25]
    assert counts.average_precision() == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert counts.roc_auc() == 3.5 / 4
    assert (counts.total_positives, counts.total_negatives) == (2, 2)


@pytest.mark.parametrize("points", [2, 5, 60])
def test_thinned_curves_keep_their_ends(points):
    counts = ScoreCounts.of(*scored(7, "single"))
    for thinned, whole in (
        (counts.precision_recall_curve(points), counts.precision_recall_curve(10**6)),
        (counts.roc_curve(points), counts.roc_curve(10**6)),
    ):
        assert len(thinned[0]) <= points
        for few, all_ in zip(thinned, whole, strict=True):
            assert (few[0], few[-1]) == (all_[0], all_[-1])
            assert len(few) == len(thinned[0])
    assert len(counts.roc_curve(10**6)[0]) == len(counts.scores) + 1
    # Without positives nothing orders the points: every n-th is kept.
    none = ScoreCounts.of(np.linspace(0, 1, 101, dtype=np.float32), np.zeros(101, bool))
    assert len(none.precision_recall_curve(50)[2]) == 34


def test_levels_hold_every_voxel_in_order():
    scores = np.array([0.0, 0.25, 0.25, 0.5, 1.0, 1.0], np.float32)
    truth = np.array([0, 1, 0, 1, 1, 1], bool)
    levels = ScoreCounts.of(scores, truth).on_levels()
    places = np.flatnonzero(levels.sum(axis=0))
    # Sixteen values of float16 share a level: 0.25, 0.5 and 1 are 0x3400, 0x3800 and 0x3C00.
    assert places.tolist() == [0, 0x340, 0x380, 0x3C0]
    assert LEVELS == 0x3C1
    assert levels[:, places].tolist() == [[0, 1, 1, 2], [1, 1, 0, 0]]


def test_scores_that_round_alike_are_pooled():
    """0.3 and its neighbour in single precision are one number in half precision, 0.300048828125."""
    near = np.nextafter(np.float32(0.3), np.float32(1))
    parts = [ScoreCounts.of(np.array([0.3, 0.6], np.float32), np.array([True, False])),
             ScoreCounts.of(np.array([near, near], np.float32), np.array([True, False]))]  # fmt: skip
    exact = pooled(parts)
    assert (len(exact.scores), exact.rounded) == (3, False)
    from dataclasses import replace

    rounded = pooled([parts[0], replace(parts[1], rounded=True)])
    assert rounded.scores[0] == np.float32(np.float16(0.3))
    assert (rounded.positives.tolist(), rounded.negatives.tolist(), rounded.rounded) == ([2, 0], [1, 1], True)


def test_votes_of_normal_wmh_are_counted_like_those_of_lesions():
    reference, prediction = np.zeros((2, 1, 12, 12), np.uint8)
    reference[0, 0, 0:4] = 2  # called a lesion by two of four voxels, normal by one
    prediction[0, 0, 0:2], prediction[0, 0, 2] = 3, 2
    reference[0, 2, 0:4] = 2  # called normal
    prediction[0, 2, 0:4] = 2
    reference[0, 4, 0:4] = 3  # missed
    reference[0, 6, 0:4] = 1  # ventricles are neither
    prediction[0, 6, 0:4] = 3
    assert component_confusion(prediction, reference).tolist() == [[0, 0, 1], [0, 1, 1], [1, 0, 0]]
