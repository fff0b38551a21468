"""The page of a cohort, the order of looking, and the comparison of groups: from rows, without images."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from flairseg.cohort import groups, page, priority, running
from flairseg.cohort.groups import along_age, compare_groups, first_usable
from flairseg.cohort.layout import Layout
from flairseg.cohort.page_tables import MOST_SESSIONS
from flairseg.cohort.same_images import same_images
from flairseg.errors import CaseWarning, MissingDependencyError
from flairseg.statistics import effects
from flairseg.statistics.intervals import RESAMPLES
from scipy import stats

from Testing.core.cohort_rows import RUN, change, failed, many, row
from Testing.core.html_page import Page

EVIL = '"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(2)>'


def written(root: Path, rows, changes=(), run=RUN) -> Page:
    return Page(page.write_page(Layout(root), rows, list(changes), run).read_text())


def assert_self_contained(found: Page) -> None:
    forbidden = {"script", "iframe", "object", "embed", "link", "form", "base", "video", "audio"}
    assert not forbidden & {tag for tag, _ in found.elements}
    for tag, attributes in found.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        if "src" in attributes:
            assert attributes["src"].startswith(("data:image/jpeg;base64,", "data:image/svg+xml;base64,"))
        if "href" in attributes:
            assert re.match(r"(#|cases/)", attributes["href"])
        assert not {"srcset", "background", "poster", "style"} & set(attributes)


# --- the page


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Page, list, float]:
    """A page of 2,000 sessions at 12 sites, and the processor's seconds that it took."""
    root = tmp_path_factory.mktemp("large")
    rows = many(2000, 12, Layout(root), pictures=200)
    began = time.process_time()
    found = written(root, rows, [change(str(n)) for n in range(400)])
    return found, rows, time.process_time() - began


def test_two_thousand_sessions_are_one_small_file_in_seconds(large):
    found, rows, seconds = large
    assert seconds < 20  # with the import of matplotlib; about 5 on an idle core
    assert_self_contained(found)
    pictures = [image for image in found.of("img") if image["src"].startswith("data:image/jpeg")]
    done = [row for row in rows if row.status == "done"]
    assert 0 < len(pictures) < page.MOST_PICTURES  # of the first 150 some have no key slice here
    assert f"The first {page.MOST_PICTURES} of {len(done)} sessions that have a result are shown" in found.text
    assert all(image["alt"] for image in found.of("img"))
    assert "Research use only" in found.text
    assert "and 100 more." in found.text  # of 400 changes 300 are listed
    first = priority.in_order(rows)[0]
    assert f"1. {first.row.case}" in found.text


def test_the_summary_counts(large):
    found, rows, _ = large
    done = [row for row in rows if row.status == "done"]
    doubted = sum(not row.trusted for row in done)
    assert f"with a result {len(done)} {100 * len(done) / len(rows):.1f} % of all sessions" in found.text
    assert f"not to be trusted {doubted} {100 * doubted / len(done):.1f} %" in found.text
    warned = sum(any(w.code == "intensities-shifted" for w in row.warnings) for row in done)
    assert re.search(rf"intensities-shifted [^%]*? {warned} {100 * warned / len(done):.1f} %", found.text)
    below = sum("noise" in row.below_bar for row in done)
    assert re.search(rf"Noise {len(done)} [^%]*? {below} {100 * below / len(done):.1f} %", found.text)


def test_text_from_outside_is_text(tmp_path):
    rows = [row(str(n), site=EVIL, group="a" if n % 2 else EVIL, age=30.0 + n, lesion_ml=1.0 + n) for n in range(8)]
    rows[0] = replace(
        rows[0], warnings=(CaseWarning(EVIL, EVIL),), below_bar=(EVIL,), quality={EVIL: 1.0}, verdict=EVIL
    )
    rows.append(failed("9", EVIL, EVIL, EVIL))
    changes = [change(), change("2", status="failed", code=EVIL, message=EVIL, advice=EVIL)]
    found = written(tmp_path, rows, changes, replace(RUN, source=EVIL, software={**RUN.software, EVIL: EVIL}))
    assert_self_contained(found)
    assert found.text.count(EVIL) > 10


def test_a_failure_is_told_with_what_helps_and_a_change_with_its_counts(tmp_path):
    found = written(tmp_path, [row("1"), failed("2", "not-an-image", "It is a letter.", "Export it.")], [change()])
    assert "sub-2 not-an-image It is a letter. Export it." in found.text
    assert re.search(r"sub-1_ses-1 sub-1_ses-2 365 2 7 1.25 3.4 yes", found.text)


def test_one_image_in_several_sessions_is_told(tmp_path):
    """A file copied to another subject, or named twice in a table, would count twice without a word."""
    rows = [
        row("1", "a", input_sha256="x" * 64), row("2", input_sha256="y" * 64), row("3", "b", input_sha256="x" * 64),
        row("4", input_sha256=""), row("5", input_sha256=""), replace(failed("6"), input_sha256="y" * 64),
    ]  # fmt: skip
    assert same_images(rows) == [("sub-1_ses-a", "sub-3_ses-b")]
    told = "2 sessions hold the same image as another one: sub-1_ses-a = sub-3_ses-b."
    assert told in written(tmp_path / "two", rows).text
    assert "hold the same image" not in written(tmp_path / "one", rows[1:]).text


@pytest.mark.parametrize("rows", [[], [failed("1")], [row("1", lesion_ml=None, expected_correction_ml=None)]])
def test_cohorts_of_nothing_have_a_page(tmp_path, rows):
    found = written(tmp_path, rows)
    assert "Research use only" in found.text
    assert not re.search(r"\bnan\b", found.text)


def test_only_key_slices_of_the_output_folder_are_embedded(tmp_path):
    secret, root = tmp_path / "secret.jpg", tmp_path / "out"
    secret.write_bytes(b"\xff\xd8\xff secret")
    (root / "cases").mkdir(parents=True)
    (root / "cases" / "text.jpg").write_text("no picture")
    (root / "cases" / "a b.jpg").write_bytes(b"\xff\xd8\xff mine")
    names = ["../secret.jpg", str(secret), "cases/text.jpg", "cases/none.jpg", "cases\0", "cases/a b.jpg"]
    rows = [row(str(n), files={"key_slice": name, "overview": name}) for n, name in enumerate(names)]
    found = written(root, rows)
    pictures = [image["src"] for image in found.of("img") if "jpeg" in image["src"]]
    assert [base64.b64decode(src.partition(",")[2]) for src in pictures] == [b"\xff\xd8\xff mine"]
    assert [a["href"] for a in found.of("a") if not a["href"].startswith("#")] == ["cases/text.jpg", "cases/a%20b.jpg"]


def test_pseudonyms_leave_out_the_day(tmp_path):
    shown = page.render(Layout(tmp_path), [row("1")], [], replace(RUN, pseudonyms=True, finished=""))
    assert not re.search(r"\d{4}-\d\d-\d\d", Page(shown).text)
    assert re.search(r"on \d{4}-\d\d-\d\d", Page(page.render(Layout(tmp_path), [row("1")], [], RUN)).text)


def test_image_quality_is_explained(tmp_path):
    """What a measure is, in which unit, and where its bar lies."""
    found = written(tmp_path, [row("1", quality={"top_cut_cm2": 75.0}, below_bar=("top_cut_cm2",)), row("2")])
    for text in ("Top cut (cm²)", "Cross-section of the brain in the uppermost layer.", "below bar: top cut"):
        assert text in found.text, text


def test_methods_name_versions(tmp_path):
    found = written(tmp_path, [row("1")])
    for word in ("FlairSeg 9.8.7", "version 1.2.3", "SimpleITK 2.5.0", "Holm"):
        assert word in found.text


def test_a_run_asks_for_what_draws_the_page_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "REPORT", ("a_package_that_nobody_has",))
    with pytest.raises(MissingDependencyError, match="page"):
        running.prepare_run(tmp_path, tmp_path / "out", running.RunOptions())


# --- the order


def test_the_order_and_its_reasons():
    usual = [row(str(n), lesion_ml=5 + 0.1 * n, expected_correction_ml=0.5 + 0.01 * n) for n in range(20)]
    rows = [
        *usual,
        row("t1", warnings=(CaseWarning("T1?", "looks-like-t1"),), trusted=False),
        row("bar", below_bar=("noise",)),
        row("far", lesion_ml=300.0),
        row("seen", warnings=(CaseWarning("T1?", "looks-like-t1"),), trusted=False, verdict="accepted"),
        failed("none"),
    ]
    ordered = priority.in_order(rows)
    assert len(ordered) == 24
    assert [one.row.session.subject for one in ordered[:3]] == ["t1", "far", "bar"]
    assert ordered[-1].row.session.subject == "seen"
    assert "result cannot be trusted (looks-like-t1)" in ordered[0].reasons
    assert any(reason.startswith("outlier: lesions") and "300.00 ml" in reason for reason in ordered[1].reasons)
    assert "image quality below bar: noise" in ordered[2].reasons
    # Of the usual ones, the largest expected correction is first.
    assert ordered[3].row.session.subject == "19"
    # 23 of 23 others are below it.
    assert ordered[3].points == priority.CORRECTION
    assert "expected correction 0.69 ml (above 100 % of the others)" in ordered[3].reasons


def test_robust_scores():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 100, math.nan])
    scores = priority.robust_z(values)
    known = values[:-1]
    assert np.allclose(scores[:-1], (known - 5) / (1.4826 * stats.median_abs_deviation(known)))
    assert math.isnan(scores[-1])
    assert np.isnan(priority.robust_z(np.ones(20))).all()
    assert np.isnan(priority.robust_z(known[:7])).all()
    # Most are alike: the mean deviation tells, and the one that is not alike is found.
    assert priority.robust_z(np.r_[np.zeros(20), 9.0])[-1] > priority.OUTLIER_Z


# --- effect sizes


def brute_delta(first, second) -> tuple[float, float, float]:
    """Cliff's delta with Feng and Cliff's interval, by the whole matrix."""
    d = np.array([[np.sign(b - a) for b in second] for a in first])
    n, m, delta = len(first), len(second), d.mean()
    rows, columns = ((d.mean(axis=1) - delta) ** 2).sum(), ((d.mean(axis=0) - delta) ** 2).sum()
    s2 = (m**2 * rows + n**2 * columns - ((d - delta) ** 2).sum()) / (n * m * (n - 1) * (m - 1))
    s2, z = max(s2, (1 - delta**2) / (n * m - 1)), 1.959963984540054
    half = z * math.sqrt(s2) * math.sqrt((1 - delta**2) ** 2 + z**2 * s2)
    return delta, *((delta - delta**3 + sign * half) / (1 - delta**2 + z**2 * s2) for sign in (-1, 1))


@pytest.mark.parametrize(("seed", "sizes", "shift"), [(0, (7, 9), 0), (1, (30, 12), 2), (2, (12, 25), -3)])
def test_cliffs_delta_with_ties(seed, sizes, shift):
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(0, 8, n).astype(float) for n in sizes)
    second += shift
    found = effects.cliffs_delta(first, second)
    assert np.allclose((found.value, found.low, found.high), brute_delta(first, second))
    u = stats.mannwhitneyu(second, first).statistic
    assert found.value == pytest.approx(2 * u / (len(first) * len(second)) - 1)
    swapped = effects.cliffs_delta(second, first)
    assert np.allclose((swapped.value, swapped.low, swapped.high), (-found.value, -found.high, -found.low))


def test_cliffs_delta_at_its_ends():
    apart = effects.cliffs_delta(np.arange(10.0), np.arange(20.0, 40.0))
    assert (apart.value, apart.high) == (1.0, 1.0)
    assert apart.low == pytest.approx((10 - 1.96**2) / (10 + 1.96**2), abs=1e-3)
    turned = effects.cliffs_delta(np.arange(20.0, 40.0), np.arange(10.0))
    assert (turned.value, turned.low, turned.high) == (-1.0, -1.0, pytest.approx(-apart.low))
    few = effects.cliffs_delta(np.arange(3.0), np.arange(20.0, 23.0))
    assert few.low == pytest.approx((3 - 1.96**2) / (3 + 1.96**2), abs=1e-3)
    assert few.low < 0
    alike = effects.cliffs_delta(np.ones(5), np.ones(6))
    assert (alike.value, alike.low) == (0.0, None)


@pytest.mark.parametrize("n", [3, 4, 11, 40])
def test_medians_of_resamples_are_those_of_drawing(n):
    values = np.random.default_rng(n).lognormal(size=n)
    quick = effects.resampled_medians(values, "a", 0)
    rng = np.random.default_rng(1)
    slow = np.median(values[rng.integers(n, size=(20_000, n))], axis=1)
    assert quick.shape == (RESAMPLES,)
    assert stats.ks_2samp(quick, slow).statistic < 1.95 * math.sqrt(1 / RESAMPLES + 1 / 20_000)


def test_difference_of_medians():
    rng = np.random.default_rng(3)
    first, second = rng.normal(0, 1, 400), rng.normal(1, 1, 400)
    medians = [effects.resampled_medians(v, name, 0) for v, name in ((first, "a"), (second, "b"))]
    found = effects.median_difference(first, second, *medians)
    assert found.value == pytest.approx(np.median(second) - np.median(first))
    # Standard error of a normal sample's median: 1.2533 sd / sqrt(n).
    assert found.high - found.low == pytest.approx(2 * 1.96 * 1.2533 * math.sqrt(2 / 400), rel=0.25)
    assert found.n == 800


def test_eta_squared_of_ranks():
    rng = np.random.default_rng(4)
    samples = [rng.normal(shift, 1, n) for shift, n in ((0, 30), (0.5, 40), (1.5, 25))]
    found, p = effects.rank_eta_squared(samples)
    h, expected_p = stats.kruskal(*samples)
    assert p == pytest.approx(expected_p)
    assert found.value == pytest.approx((h - 2) / (95 - 3))
    # The interval's limits are where F of the ranks is the 97.5 % and the 2.5 % quantile.
    ranks = np.split(stats.rankdata(np.concatenate(samples)), [30, 70])
    f = stats.f_oneway(*ranks).statistic
    for limit, level in ((found.low, 0.975), (found.high, 0.025)):
        assert stats.ncf.cdf(f, 2, 92, limit / (1 - limit) * 95) == pytest.approx(level, abs=1e-4)
    nothing, _ = effects.rank_eta_squared([np.arange(10.0), np.arange(10.0), np.arange(10.0)])
    assert (nothing.value, nothing.low) == (0.0, None)
    assert not effects.rank_eta_squared([np.ones(4), np.ones(4), np.ones(4)])[0].defined


def test_spearman():
    rng = np.random.default_rng(5)
    x = rng.normal(size=60)
    y = x + rng.normal(size=60)
    found, p = effects.spearman(x, y)
    ranks = np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]
    assert found.value == pytest.approx(ranks)
    assert p == pytest.approx(stats.spearmanr(x, y).pvalue)
    half = 1.96 * math.sqrt((1 + ranks**2 / 2) / 57)
    assert (found.low, found.high) == pytest.approx(
        [math.tanh(math.atanh(ranks) + s * half) for s in (-1, 1)], abs=1e-4
    )
    assert not effects.spearman(x[:4], y[:4])[0].defined
    assert not effects.spearman(x, np.ones(60))[0].defined
    assert effects.spearman(x, -np.exp(x))[0].value == -1


def test_holm():
    from statsmodels.stats.multitest import multipletests

    p = [0.01, 0.04, math.nan, 0.03, 0.005, 0.9]
    expected = multipletests([0.01, 0.04, 0.03, 0.005, 0.9], method="holm")[1]
    found = effects.holm(p)
    assert math.isnan(found[2])
    assert np.allclose([*found[:2], *found[3:]], expected)
    assert effects.holm([]) == []


# --- groups


def site_rows(*sizes: int, start: float = 1.0) -> list:
    return [
        row(f"{site}x{n}", lesion_ml=start + site + 0.1 * n, site=f"S{site}", age=20.0 + n)
        for site, size in enumerate(sizes)
        for n in range(size)
    ]


def test_a_subject_counts_once_with_its_first_usable_session():
    rows = [
        row("1", "10", 3.0), row("1", "9", 2.0), row("1", "1", 1.0, trusted=False),
        row("2", "1", 3.0, date="2021-01-01"), row("2", "2", 4.0, date="2020-01-01"), row("3", verdict="rejected"),
        row("4", below_bar=("noise",)), failed("5"),
    ]  # fmt: skip
    found = {one.session.subject: one.session.session for one in first_usable(rows)}
    assert found == {"1": "9", "2": "2", "4": ""}
    # Where one session has no date, dates do not tell which was the first.
    (first,) = first_usable([row("1", "2", date="2020-01-01"), row("1", "1")])
    assert first.session.session == "1"


def test_two_groups():
    found = compare_groups(site_rows(20, 25), "site")
    contrast = next(c for c in found.contrasts if c.measure.id == "lesion_ml")
    assert (contrast.first, contrast.second, contrast.n_first, contrast.n_second) == ("S1", "S0", 25, 20)
    one, two = 2 + 0.1 * np.arange(25), 1 + 0.1 * np.arange(20)
    assert contrast.difference.value == pytest.approx(np.median(two) - np.median(one))
    assert contrast.difference.low < contrast.difference.value < contrast.difference.high < 0
    assert contrast.delta.value == pytest.approx(np.mean([np.sign(b - a) for a, b in product(one, two)]), abs=0.01)
    assert contrast.p == pytest.approx(stats.mannwhitneyu(one, two).pvalue)
    assert contrast.p_holm >= contrast.p
    assert not found.omnibus


def test_three_groups_and_many():
    three = compare_groups(site_rows(10, 9, 8), "site")
    pairs = [(c.first, c.second) for c in three.contrasts if c.measure.id == "lesion_ml"]
    assert pairs == [("S0", "S1"), ("S0", "S2"), ("S1", "S2")]
    assert three.omnibus[0].groups == 3
    many_sites = compare_groups(site_rows(*[5] * (groups.MOST_GROUPS + 2)), "site")
    against = [c for c in many_sites.contrasts if c.measure.id == "lesion_ml"]
    assert len(against) == groups.MOST_GROUPS
    assert {(c.first, c.n_first, c.n_second) for c in against} == {("all others", 5 * (groups.MOST_GROUPS + 1), 5)}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (site_rows(2, 2), "Of 2 sites, none has 3 or more"),
        (site_rows(9, 2), "Of 2 sites, 1 has 3 or more"),
        (site_rows(9), "All subjects are of one site"),
        ([row(str(n)) for n in range(9)], "No subject has a site"),
    ],
)
def test_groups_that_are_too_small_are_refused_in_words(tmp_path, rows, words):
    found = compare_groups(rows, "site")
    assert words in found.refused
    assert not found.contrasts
    assert words in written(tmp_path, rows).text


def test_small_groups_beside_others_are_named(tmp_path):
    text = written(tmp_path, site_rows(9, 8, 2)).text
    assert "Not compared, with fewer than three subjects: S2 (2)." in text
    assert "S0 S1 9, 8" in text


def test_every_p_value_has_an_effect_with_its_interval_and_n(tmp_path):
    found = compare_groups(site_rows(12, 11, 10), "site")
    for one in found.contrasts:
        assert one.n_first >= 3
        assert math.isnan(one.p) or (one.delta.defined and one.delta.low is not None)
    associations, refused = along_age(site_rows(12, 11, 10))
    assert not refused
    assert all(math.isnan(one.p) or one.rho.low is not None for one in associations)
    assert "needed" in along_age(site_rows(4))[1]


def test_sessions_beyond_the_longest_table_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("flairseg.cohort.page_tables.MOST_SESSIONS", 5)
    assert MOST_SESSIONS > 5
    assert "and 3 more." in written(tmp_path, [row(str(n)) for n in range(8)]).text


def test_rows_as_they_are_kept_make_the_same_page(tmp_path):
    rows = many(40)
    kept = [type(one).from_dict(json.loads(json.dumps(one.to_dict()))) for one in rows]
    made = replace(RUN, pseudonyms=True)
    layout = Layout(tmp_path)
    assert page.render(layout, rows, [], made) == page.render(layout, kept, [], made)
