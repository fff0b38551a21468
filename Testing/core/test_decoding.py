"""Decoding against scipy.special, and the rule of thresholds."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest
import scipy.special
from flairseg.models.card import PipelineConfig
from flairseg.segmentation.decoding import (
    classify,
    decode,
    exclusive_probabilities,
    gray_probabilities,
    sigmoid,
    softmax,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays


@given(arrays.arrays(np.float32, (2, 4, 3, 3), elements=st.floats(-200, 200, width=32)))
@settings(max_examples=50, deadline=None)
def test_softmax_is_scipys(logits):
    np.testing.assert_allclose(softmax(logits), scipy.special.softmax(logits, axis=1), atol=1e-6)


def test_sigmoid_is_the_logistic_function_without_overflow():
    x = np.array([[[[-1e4, -2.0, 0.0, 2.0, 1e4]]]], dtype=np.float32)
    np.testing.assert_allclose(sigmoid(x).ravel(), [0, 1 / (1 + np.e**2), 0.5, 1 / (1 + np.e**-2), 1], atol=1e-6)


def test_gray_levels_decode_to_their_classes():
    levels = (0.0, 0.25, 0.75, 1.0)
    probabilities = gray_probabilities(np.array(levels, np.float32).reshape(1, 1, 4), levels)
    assert probabilities.argmax(axis=1).ravel().tolist() == [0, 1, 2, 3]
    assert np.diagonal(probabilities[0, :, 0]).min() > 0.91
    gray = np.linspace(-0.2, 1.2, 57, dtype=np.float32).reshape(1, 1, -1)
    distance = np.abs(gray[:, None] - np.array(levels).reshape(1, 4, 1, 1))
    np.testing.assert_allclose(
        gray_probabilities(gray, levels, 0.2), scipy.special.softmax(-distance / 0.2, axis=1), atol=1e-6
    )


def test_the_published_threshold_lies_where_the_docstring_says():
    gray = np.linspace(0.75, 1, 251, dtype=np.float32)
    lesion = gray_probabilities(gray.reshape(1, 1, -1), (0.0, 0.25, 0.75, 1.0))[0, 3, 0]
    assert gray[np.argmax(lesion >= 0.3)] == pytest.approx(0.83, abs=0.005)


@given(arrays.arrays(np.float32, (1, 3, 2, 2), elements=st.floats(0, 1, width=32)))
@settings(max_examples=50, deadline=None)
def test_exclusive_probabilities(independent):
    out = exclusive_probabilities(independent)
    np.testing.assert_allclose(out.sum(axis=1), 1, atol=1e-5)
    assert (out >= 0).all()
    # The odds among the classes are those of the network.
    np.testing.assert_allclose(out[:, 1] * independent[:, 1], out[:, 2] * independent[:, 0], atol=1e-5)
    one = exclusive_probabilities(independent[:, :1])
    np.testing.assert_allclose(one[:, 1], independent[:, 0], atol=1e-6)
    np.testing.assert_allclose(one[:, 0], 1 - independent[:, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        (PipelineConfig(), 4),
        (PipelineConfig(output_classes=(0, 3)), 2),
        (PipelineConfig(output_classes=(3, 0, 1)), 3),
        (PipelineConfig(output="gray"), 1),
        (PipelineConfig(output="gray", output_classes=(0, 3), class_values=(-1.0, 1.0)), 1),
        (PipelineConfig(output="sigmoid", output_classes=(3,)), 1),
        (PipelineConfig(output="sigmoid", output_classes=(1, 2, 3)), 3),
        (PipelineConfig(output="sigmoid", output_classes=(3,), logits=False), 1),
    ],
)
def test_every_output_becomes_four_classes_that_sum_to_one(config, channels):
    output = np.random.default_rng(1).uniform(0, 1, (2, channels, 5, 6)).astype(np.float32)
    probabilities = decode(output, config)
    assert probabilities.shape == (2, 4, 5, 6)
    assert probabilities.dtype == np.float32
    assert config.output_channels == channels
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    known = set(config.output_classes) | {0}
    assert all((probabilities[:, c] == 0).all() == (c not in known) for c in range(4))


def test_channels_go_to_the_classes_that_the_card_names():
    output = np.zeros((1, 3, 1, 3), np.float32)
    output[0, [0, 1, 2], 0, [0, 1, 2]] = 9
    probabilities = decode(output, PipelineConfig(output_classes=(3, 0, 1)))
    assert classify(probabilities[0]).tolist() == [[3, 0, 1]]


def test_probabilities_pass_unchanged_when_the_network_already_puts_them_out():
    output = scipy.special.softmax(np.random.default_rng(0).normal(size=(1, 4, 3, 3)), axis=1).astype(np.float32)
    np.testing.assert_array_equal(decode(output, PipelineConfig(logits=False)), output)


@given(arrays.arrays(np.float32, (4, 6, 5), elements=st.floats(0, 1, width=16)))
@settings(max_examples=60, deadline=None)
def test_without_thresholds_the_most_probable_class_wins(probabilities):
    np.testing.assert_array_equal(classify(probabilities), probabilities.argmax(axis=0))


@given(
    arrays.arrays(np.float32, (4, 6, 5), elements=st.floats(0, 1, width=16)),
    st.floats(0.1, 0.9),
    st.floats(0.1, 0.9),
)
@settings(max_examples=60, deadline=None)
def test_thresholds_decide_their_own_classes_and_leave_the_rest(probabilities, lesion, normal):
    labels = classify(probabilities, {3: lesion})
    taken = probabilities[3] >= lesion
    assert (labels[taken] == 3).all()
    np.testing.assert_array_equal(labels[~taken], probabilities[:3].argmax(axis=0)[~taken])
    both = classify(probabilities, {3: lesion, 2: normal})
    assert (both[taken] == 3).all()
    assert (both[~taken & (probabilities[2] >= normal)] == 2).all()


@pytest.mark.parametrize("threshold", [0.3, 0.35, 0.5, 0.7])
def test_a_probability_at_its_threshold_reaches_it(threshold):
    """At the threshold the class is taken, one float32 step below it is not; so for each class, alone or together."""
    at = np.float32(threshold)
    below = np.nextafter(at, np.float32(0), dtype=np.float32)
    for value in (1, 2, 3):
        probabilities = np.zeros((4, 2), np.float32)
        probabilities[value] = at, below
        probabilities[0] = 1 - probabilities[value]
        assert classify(probabilities, {value: threshold})[0] == value
        assert classify(probabilities, {value: threshold})[1] == 0
    both = np.zeros((4, 1), np.float32)
    both[2:] = at
    assert classify(both, {2: threshold, 3: threshold}).item() == 3


def test_equal_probabilities_go_to_the_lower_class_value():
    assert classify(np.full((4, 1), 0.25, np.float32)).item() == 0
    assert classify(np.array([0.1, 0.4, 0.4, 0.1], np.float32).reshape(4, 1)).item() == 1


def test_a_low_threshold_finds_lesions_that_argmax_hides():
    probabilities = np.array([0.6, 0.0, 0.05, 0.35], np.float32).reshape(4, 1)
    assert classify(probabilities).item() == 0
    assert classify(probabilities, MappingProxyType({3: 0.3})).item() == 3
