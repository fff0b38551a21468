"""The texts of a report: every key is used, every used key exists; a language is one file; names are made harmless."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest
from flairseg.report import texts as module
from flairseg.report.rtl import visual
from flairseg.report.safe import file_stem, safe
from flairseg.report.texts import FAMILIES, UnknownLanguageError, load_texts
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCES = [p.read_text() for p in sorted(Path(module.__file__).parent.glob("*.py"))]
ENGLISH = json.loads((module.FOLDER / "en.json").read_text())


def used_keys() -> set[str]:
    """Keys that the package's source names, those of families and those put together of a prefix and given names."""
    source = "\n".join(SOURCES)
    found = set(re.findall(r"""texts\(\s*["']([\w.]+)["']""", source))
    found |= set(re.findall(r"""self\(["']([\w.]+)["']""", source))
    for conditional in re.findall(r"""texts\(\s*("[\w.]+" if [^)]+ else "[\w.]+")""", source):
        found |= set(re.findall(r'"([\w.]+)"', conditional)) & set(ENGLISH)
    for key in re.findall(r"""texts\.count\(\s*["']([\w.]+)["']""", source):
        found |= {f"{key}.one", f"{key}.other"}
    for family, members in FAMILIES.items():
        found |= {f"{family}.{member}" for member in members}
    # texts(f"prefix.{name}") and texts(f"prefix.{name}.long"): every name that the file has there.
    for prefix, suffix in re.findall(r"""texts\(f["']([\w.]+)\.\{[^}]+\}([\w.]*)["']""", source):
        pattern = re.compile(rf"{re.escape(prefix)}\.\w+{re.escape(suffix)}")
        found |= {key for key in ENGLISH if pattern.fullmatch(key)}
    return found


def test_every_key_that_is_used_exists_and_every_key_is_used():
    used = used_keys()
    assert used - set(ENGLISH) == set()
    assert set(ENGLISH) - used == set()


def test_no_sentence_stands_outside_of_the_texts():
    """Words with a space between them in the sources of what is said belong into the file of texts."""
    for name in ("content.py", "front_page.py", "lesion_tables.py", "provenance.py", "slices.py"):
        source = (Path(module.__file__).parent / name).read_text()
        code = re.sub(r'""".*?"""|#[^\n]*', "", source, flags=re.DOTALL)
        sentences = [s for s in re.findall(r'"([^"\n]*)"', code) if re.search(r"[a-z]{3,} [a-z]{3,}", s)]
        assert sentences == [], name


def test_no_text_claims_a_diagnosis():
    for key, text in ENGLISH.items():
        if not key.startswith("references."):
            assert not re.search(r"\b(patient has|diagnosed|fulfil|consistent with|suggests?|confirms)\b", text), key
    assert "not a diagnosis" in ENGLISH["dissemination.caveat"]
    assert ENGLISH["disclaimer"] == "Research use only - not a medical device"


def test_another_language_is_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    translated = {key: text.replace("Lesion", "Läsion") for key, text in ENGLISH.items()} | {"format.decimal": ","}
    (tmp_path / "en.json").write_text(json.dumps(ENGLISH))
    (tmp_path / "de.json").write_text(json.dumps(translated))
    load_texts.cache_clear()
    try:
        german = load_texts("de")
        assert german("lesions.title") == "Läsion table"
        assert german.number(-3.14159) == "−3,14"
        assert german.language == "de"
        del translated["title"]
        (tmp_path / "fr.json").write_text(json.dumps(translated))
        (tmp_path / "it.json").write_text(json.dumps(ENGLISH | {"page": "Pagina {page}"}))
        (tmp_path / "xx.json").write_text("[")
        for language, wrong in (("fr", "title"), ("it", "page"), ("xx", "cannot be read")):
            with pytest.raises(UnknownLanguageError, match=wrong):
                load_texts(language)
    finally:
        load_texts.cache_clear()
    for unknown in ("tlh", "../en", "en/../en", ""):
        with pytest.raises(UnknownLanguageError):
            load_texts(unknown)


def test_numbers_are_said_plainly():
    texts = load_texts()
    assert [texts.number(v) for v in (None, 0.0, -0.001, 2.345, -2.0)] == ["–", "0.00", "0.00", "2.35", "−2.00"]
    assert texts.number(1.0, 1, sign=True) == "+1.0"
    assert texts.number(-0.04, 1, sign=True) == "0.0"
    assert [texts.small(v) for v in (0, 12.34, 1.234, 0.0951, 0.0123)] == ["0.00", "12.3", "1.23", "0.10", "0.012"]
    assert texts.count("lesions.caption", 1).startswith("1 lesion.")
    assert texts.count("lesions.caption", 2).startswith("2 lesions")


# --- names


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(5, 90))
def test_a_safe_text_is_one_bounded_line_without_hidden_characters(text, limit):
    line = safe(text, limit)
    assert len(line) <= limit
    hidden = [
        c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp") and c not in "\u200c\u200d"
    ]
    assert hidden == []
    assert safe(line, limit) == line


def test_a_safe_text_keeps_names_and_stops_tricks():
    assert safe("  Şükrü\tÇağlar \n") == "Şükrü Çağlar"
    assert safe("علی‌رضا") == "علی‌رضا"
    assert safe("invoice\u202egpj.exe") == "invoice�gpj.exe"
    assert safe("\x00\x01\x02name") == "�name"
    assert len(safe("a" + "\u0301" * 500)) <= 4
    assert safe("x" * 10_000, 10) == "x" * 9 + "…"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_a_files_stem_has_no_path_in_it(name):
    stem = file_stem(name)
    assert stem not in ("", ".", "..")
    assert not set(stem) & set('/\\:*?"<>|\0\n')
    assert len(stem.encode()) <= 96
    assert not stem.startswith(".")


# --- right to left


def test_words_from_right_to_left_are_set_with_joined_letters():
    # lam, alef: one form; ain-initial lam-medial yeh-final, from right to left.
    assert visual("لا") == "\ufefb"
    assert visual("علي") == "\ufef2\ufee0\ufecb"
    # A non-joiner parts letters that would join; it is not shown.
    assert "\u200c" not in visual("علی\u200cرضا")
    assert visual("abc") == "abc"
    assert visual("abc \u05e9\u05dc\u05d5\u05dd 12") == "abc \u05dd\u05d5\u05dc\u05e9 12"
    # Numbers keep their order, brackets their sense.
    assert "12" in visual("\u05e9 12 \u05d0")
    assert visual("\u05d0 (\u05d1)") == "(\u05d1) \u05d0"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_turning_words_around_loses_no_letter(text):
    text = unicodedata.normalize("NFC", text)
    before = unicodedata.normalize("NFKD", text.replace("\u200c", "").replace("\u200d", ""))
    after = unicodedata.normalize("NFKD", visual(text))
    brackets = str.maketrans("()[]{}<>«»", "(([[{{<<««")
    assert sorted(after.translate(brackets)) == sorted(before.translate(brackets))
