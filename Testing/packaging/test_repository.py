"""Workflows, issue forms, citation and container file are what their readers accept; decision records are listed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import flairseg
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {
    "vendor.citation-file-format": ["CITATION.cff"],
    "vendor.github-workflows": sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob(".github/workflows/*.yml")),
    "vendor.dependabot": [".github/dependabot.yml"],
    "vendor.github-issue-forms": [".github/ISSUE_TEMPLATE/bug.yml", ".github/ISSUE_TEMPLATE/idea.yml"],
    "vendor.github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
}


def checked(schema: str, *paths: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_follow_their_published_schema(schema):
    assert SCHEMAS[schema]
    done = checked(schema, *SCHEMAS[schema])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_check_refuses_a_citation_without_a_title(tmp_path):
    wrong = tmp_path / "CITATION.cff"
    wrong.write_text(re.sub(r"^title:.*\n", "", (ROOT / "CITATION.cff").read_text("utf-8"), flags=re.MULTILINE))
    assert checked("vendor.citation-file-format", wrong).returncode != 0


def test_the_container_file_passes_its_linter():
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint has no build for this system")
    done = subprocess.run([linter, str(ROOT / "Containerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_release_compares_the_tag_with_a_version_that_it_can_read():
    """The workflow reads the version by a pattern: it has to match the line that is there."""
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    pattern = re.search(r"sed -n 's/(.+)/\\1/p' (\S+)\)", workflow)
    line = re.compile(pattern[1].replace(r"\(", "(").replace(r"\)", ")"), flags=re.MULTILINE)
    assert line.search((ROOT / pattern[2]).read_text(encoding="utf-8"))[1] == flairseg.__version__


def test_every_decision_record_is_listed_and_says_what_follows():
    folder = ROOT / "docs" / "decisions"
    records = sorted(path for path in folder.glob("*.md") if path.stem != "index")
    assert len(records) >= 5
    index = (folder / "index.md").read_text(encoding="utf-8")
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert re.search(rf"^{path.stem}$", index, flags=re.MULTILINE)
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), path.name


def test_mutation_testing_names_modules_and_tests_that_are_there():
    from tools import mutation_testing as tool

    assert len(tool.GROUPS) >= 7
    for modules, tests in tool.GROUPS.values():
        assert all((ROOT / tool.PACKAGE / module).is_file() for module in modules)
        for argument in tool.arguments(tests):
            file, _, function = argument.partition("::")
            if not file.startswith("--"):
                assert f"def {function}" in (ROOT / file).read_text(encoding="utf-8")
