"""The result of a case in a process that did not make it: light to import, small to keep, the same wherever it went."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from flairseg.image.packed import CompactAnswer
from flairseg.progress import STAGES
from flairseg.segmentation.result import MeasuredLesions, Segmentation
from flairseg.worker import protocol as wire
from flairseg.worker.codec import decode_value, encode_value
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

SHAPES = npst.array_shapes(min_dims=3, max_dims=3, max_side=6)


def test_it_is_light_to_import():
    code = "import sys, flairseg.worker.protocol, json; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not loaded & {"scipy", "skimage", "SimpleITK", "onnxruntime", "PIL", "flairseg.segmentation.pipeline"}


def test_the_old_name_is_the_same_class():
    import flairseg
    from flairseg.segmentation import pipeline

    assert pipeline.Segmentation is Segmentation is flairseg.Segmentation


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_labels_and_probabilities_survive_packing(data):
    shape = data.draw(SHAPES)
    labels = data.draw(npst.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 3])))
    weights = data.draw(npst.arrays(np.float32, (4, *shape), elements=st.sampled_from([0, 0, 0, 0.25, 0.5, 1])))
    weights[0] += 1e-3
    probabilities = (weights / weights.sum(axis=0)).astype(np.float16)
    answer = CompactAnswer.pack(labels, probabilities)
    np.testing.assert_array_equal(answer.full_labels(), labels)
    kept = answer.full_probabilities()
    assert kept.dtype == np.float16
    np.testing.assert_allclose(kept[1:].astype(float), probabilities[1:], atol=0.5 / 255 + 1e-3)
    np.testing.assert_allclose(kept.astype(np.float32).sum(axis=0), 1, atol=0.008)
    again = CompactAnswer.from_labels_text(answer.labels_text)
    np.testing.assert_array_equal(again.full_labels(), labels)
    assert "\n" not in answer.labels_text


def test_only_the_box_with_something_in_it_is_kept():
    labels = np.zeros((20, 30, 40), np.uint8)
    labels[5:8, 10:12, 20:29] = 2
    probabilities = np.zeros((4, *labels.shape), np.float16)
    probabilities[0] = 1
    probabilities[3, 4, 9, 33] = 0.02
    answer = CompactAnswer.pack(labels, probabilities)
    assert (answer.start, answer.labels.shape) == ((4, 9, 20), (4, 3, 14))
    assert CompactAnswer.pack(np.zeros_like(labels)).labels.shape == (1, 1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        ";;;",
        "1,1,1;0,0,0;1,1,1;!",
        "1,1,1;0,0,0;1,1,1;AAAA",
        "9,9,9;0,0,0;99999,99999,99999;eJw=",
        "1;2;3;eJw=",
    ],
)
def test_a_damaged_text_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        CompactAnswer.from_labels_text(text)


def test_a_text_that_inflates_to_more_than_it_says_is_refused():
    huge = CompactAnswer.pack(np.ones((40, 100, 100), np.uint8)).labels_text.split(";")
    with pytest.raises(ValueError, match="cut short"):
        CompactAnswer.from_labels_text(f"2,2,2;0,0,0;2,2,2;{huge[-1]}")


def test_parts_that_do_not_fit_are_refused():
    labels = np.ones((2, 3, 4), np.uint8)
    for arguments in (
        ((2, 3, 4), (0, 0, 1), labels),
        ((2, 3, 4), (0, 0, 0), labels.astype(np.int16)),
        ((2, 3, 4), (0, 0, 0), labels, np.zeros((2, 3, 4, 5), np.uint8)),
    ):
        with pytest.raises(ValueError, match=r"fit|grid"):
            CompactAnswer(*arguments)
    with pytest.raises(ValueError, match="one grid"):
        CompactAnswer.pack(labels, np.zeros((4, 2, 4, 3), np.float16))


def test_a_result_is_the_same_on_the_other_side(segmentation, head):
    stream = io.BytesIO()
    wire.write_message(stream, {"kind": "done"}, encode_value(segmentation))
    stream.seek(0)
    _header, blocks = wire.read_message(stream)
    again = decode_value(blocks, head)
    np.testing.assert_array_equal(again.labels, segmentation.labels)
    assert again.card == segmentation.card
    assert again.card.raw == segmentation.card.raw
    there, here = again.summary(), segmentation.summary()
    assert {**there, "grid": None, "lesions": None} == {**here, "grid": None, "lesions": None}
    # Probabilities cross in steps of 1/255; nothing else may differ.
    assert len(there["lesions"]) == len(here["lesions"]) > 0
    for one, other in zip(there["lesions"], here["lesions"], strict=True):
        for key in ("confidence", "peak_probability"):
            assert one[key] == pytest.approx(other[key], abs=0.006)
            one[key] = other[key] = None
        assert one == other
    np.testing.assert_allclose(
        again.compact_answer().full_probabilities().astype(float), segmentation.probabilities, atol=0.006
    )


def test_a_calibrated_card_tells_the_share_of_such_lesions_that_readers_drew(segmentation):
    plain = segmentation.summary()
    assert "lesion_confidence" not in plain["model"]
    assert not any("mean_probability" in row for row in plain["lesions"])
    entry = {"intercept": -3.0, "logit_probability": 1.1, "ln_volume": 0.5}
    card = replace(segmentation.card, raw={**segmentation.card.raw, "lesion_confidence": {**entry, "fitted_on": "x"}})
    told = replace(segmentation, card=card, measured=MeasuredLesions()).summary()
    assert told["model"] == {**plain["model"], "lesion_confidence": entry}
    assert len(told["lesions"]) == len(plain["lesions"]) > 0
    for row, before in zip(told["lesions"], plain["lesions"], strict=True):
        share = card.lesion_confidence.drawn_share(before["confidence"], before["volume_mm3"])
        assert row["confidence"] == pytest.approx(share, abs=0.003)
        assert row["mean_probability"] == before["confidence"]
        assert {**row, "confidence": None} == {
            **before,
            "confidence": None,
            "mean_probability": row["mean_probability"],
        }


def test_regions_come_on_request_and_say_so(segmentation):
    without = segmentation.summary()
    assert not {"regions", "dissemination"} & set(without)
    assert {row["region"] for row in without["lesions"]} == {"unknown"}
    seen = []
    found = segmentation.with_regions(lambda fraction, stage: seen.append((fraction, stage)))
    assert {stage for _, stage in seen} == {"regions"}
    assert STAGES["postprocess"] <= min(seen)[0] < max(seen)[0] <= STAGES["regions"]
    summary = found.summary()
    assert summary["seconds"]["regions"] > 0
    assert summary["seconds"]["total"] > without["seconds"]["total"]
    assert sum(load["count"] for load in summary["regions"].values()) == summary["lesion_count"] > 0
    assert sum(load["volume_ml"] for load in summary["regions"].values()) == pytest.approx(
        summary["volumes_ml"]["lesion"], abs=0.002
    )
    assert summary["dissemination"]["not_assessed"] == ["spinal cord", "optic nerve"]
    assert set(found.regions.warnings) <= {entry["message"] for entry in summary["warnings"]}
    assert segmentation.regions is None


def test_a_report_of_labels_whose_model_is_not_here(segmentation, tmp_path):
    """A card that is an id alone: the export of a case that was segmented on another computer."""
    from flairseg.worker.export import HTML, write_export
    from flairseg.worker.tasks import ExportRequest

    labels, regions = segmentation.labels, np.zeros(segmentation.labels.shape, np.uint8)
    write_export(
        ExportRequest(
            segmentation.volume, labels, str(tmp_path), "case", [HTML], "gone-v9.9", "ab" * 32, regions=regions
        )
    )
    assert "gone-v9.9" in (tmp_path / "case_report.html").read_text(encoding="utf-8")


def test_an_export_of_redrawn_lesions_has_the_card_with_their_thresholds(segmentation, monkeypatch):
    """As a run with a threshold: no calibrated confidence, no minimum mean probability; undone, the card's own."""
    from flairseg.models import store
    from flairseg.worker import export
    from flairseg.worker.tasks import ExportRequest

    pipeline = replace(segmentation.card.pipeline, min_lesion_probability=0.8)
    calibration = {"intercept": -3.8, "logit_probability": 1.1, "ln_volume": 0.55}
    card = replace(
        segmentation.card, pipeline=pipeline, raw={**segmentation.card.raw, "lesion_confidence": calibration}
    )
    monkeypatch.setattr(store, "find_model", lambda *unused, **unused_too: card)
    redrawn = segmentation.labels.copy()
    redrawn[tuple(np.argwhere(redrawn == 3)[0])] = 0
    request = ExportRequest(
        segmentation.volume, redrawn, "", "case", [], card.id, card.sha256, answer=segmentation.compact_answer()
    )
    assert export._card(request).lesion_confidence is not None, "edits by hand keep the card"
    with_thresholds = export._card(replace(request, thresholds=[0.3, 0.2]))
    assert with_thresholds.lesion_confidence is None
    used = with_thresholds.pipeline
    assert (used.thresholds[3], used.lesion_growth, used.min_lesion_probability) == (0.3, 0.2, 0.0)
    assert export._card(replace(request, thresholds=[0.3, 0.4])).pipeline.lesion_growth == 0.0
    assert export._card(replace(request, labels=segmentation.labels, thresholds=[0.3, 0.2])) is card


def test_a_result_for_another_grid_is_refused(segmentation, head):
    blocks = encode_value(segmentation)
    content = json.loads(blocks[0].tobytes())
    assert decode_value(blocks, head).card == segmentation.card
    for altered in ({**content, "card": None}, {**content, "card": {"$type": "Volume"}}, {"$type": "Segmentation"}):
        with pytest.raises(wire.ProtocolError):
            decode_value([np.frombuffer(json.dumps(altered).encode(), np.uint8), *blocks[1:]], head)
    for volume, sent in ((replace(head, array=head.array[1:]), blocks), (None, blocks), (head, []), (head, blocks[:1])):
        with pytest.raises(wire.ProtocolError):
            decode_value(sent, volume)
