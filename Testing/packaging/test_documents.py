"""Documents and package metadata agree with the code: commands, pictures, versions, dependencies, error texts."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import flairseg
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
#: Import name -> name on the package index, where they differ.
#: Import name -> distribution; MarkupSafe comes with Jinja2.
DISTRIBUTIONS = {"skimage": "scikit-image", "PIL": "pillow", "markupsafe": "jinja2", "dask_jobqueue": "dask-jobqueue"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git working tree")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listing.split("\0") if name and (ROOT / name).exists()]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_commands_in_documents_exist(document):
    commands = set(re.findall(r"(?:^|`)make ([a-z-]+)", text(document), flags=re.MULTILINE))
    assert commands, f"{document} names no make command"
    assert commands <= make_targets()


def test_readme_names_the_two_commands_and_ci_runs_the_second():
    readme = text("README.md")
    assert "make demo" in readme
    assert "make test" in readme
    assert re.search(r"^make test\b", text(".ci/run"), flags=re.MULTILINE)


@pytest.mark.parametrize("script", [".ci/run", "tools/setup_environment.sh", "tools/system_libraries.sh"])
def test_shell_scripts_parse(script):
    shell = "bash" if text(script).startswith("#!/usr/bin/env bash") else "sh"
    subprocess.run([shell, "-n", str(ROOT / script)], check=True, capture_output=True)
    assert (ROOT / script).stat().st_mode & 0o111, f"{script} is not executable"


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=" ".join)
def test_style(arguments):
    command = [sys.executable, "-m", "ruff", *arguments, "--quiet", str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_and_pictures_in_documents_exist():
    missing = []
    for document in [name for name in tracked() if name.endswith(".md")]:
        body = re.sub(r"```.*?```", "", text(document), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", body) + re.findall(r'(?:src|href)="([^"]+)"', body)
        for target in targets:
            if re.match(r"[a-z]+:", target):
                continue
            file, _, place = target.partition("#")
            path = (ROOT / document).parent / file if file else ROOT / document
            if not path.exists() or (place and path.suffix == ".md" and place not in places(path)):
                missing.append(f"{document}: {target}")
    assert not missing


def places(page: Path) -> set[str]:
    """Places of a page that a link can name: its headings, as GitHub and MyST spell them, and its own targets."""
    body = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = (re.sub(r"[`*]", "", heading) for heading in re.findall(r"^#+ (.+)$", body, flags=re.MULTILINE))
    spelled = {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
    return spelled | set(re.findall(r"^\(([\w-]+)\)=$", body, flags=re.MULTILINE))


def test_version_is_the_same_everywhere():
    assert f"## [{flairseg.__version__}]" in text("CHANGELOG.md")
    assert re.search(rf"^version: {re.escape(flairseg.__version__)}$", text("CITATION.cff"), flags=re.MULTILINE)
    assert metadata.version("flairseg") == flairseg.__version__


def training_datasets() -> set[str]:
    """Names of the datasets behind the weights that ship, as the models' cards state them, without parts and counts."""
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "models").glob("*/card.json")]
    return {re.split(r"[,:(]", data["name"])[0].strip() for card in cards for data in card["training_data"]}


@pytest.mark.parametrize("document", ["README.md", "CITATION.cff"])
def test_every_dataset_of_the_shipped_models_is_credited(document):
    section = text(document).split("## Licence, data, citation")[-1]
    words = " ".join(section.lower().replace("training label maps", "").split())
    datasets = training_datasets()

    assert len(datasets) > 5
    assert [name for name in datasets if name.lower().replace("training label maps", "").strip() not in words] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_extras_in_documents_exist(document):
    named = {
        extra.strip()
        for group in re.findall(r"(?:flairseg|\.)\[([a-z, ]+)\]", text(document))
        for extra in group.split(",")
    }
    assert named <= set(metadata.metadata("flairseg").get_all("Provides-Extra"))


def third_party_imports() -> dict[str, set[Path]]:
    """Top-level name of every third-party import in flairseg -> the files that import it, from flairseg on."""
    found = {}
    for path in sorted((ROOT / "FlairSegExtension" / "flairseg").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top != "flairseg":
                    found.setdefault(top, set()).add(path.relative_to(ROOT / "FlairSegExtension" / "flairseg"))
    return found


def distributions(extra: str | None = None) -> set[str]:
    """What an extra asks for; without a name what everybody gets."""
    chosen = []
    for requirement in metadata.requires("flairseg"):
        named = re.search(r"extra == ['\"]([a-z]+)['\"]", requirement)
        if (named.group(1) if named else None) == extra:
            chosen.append(re.split(r"[<>=!~; \[]", requirement)[0].lower())
    return set(chosen)


def test_the_core_imports_what_is_declared_and_nothing_else():
    declared = distributions()
    imported = {DISTRIBUTIONS.get(name, name).lower(): where for name, where in third_party_imports().items()}
    undeclared = {name: where for name, where in imported.items() if name not in declared}
    # What an extra brings is imported in its own rooms alone, so that everything else works without it.
    rooms = {
        "adapt": (("adapt",),),
        "cohort": (("cohort",),),
        "dicom": (("dicom",), ("privacy",), ("io", "dicom_segmentations.py"), ("segmentation", "dicom_results.py")),
        "report": (("report",), ("reporting",)),
        "review": (("review",),),
        "study": (("study", "analysis"), ("evaluation",), ("reporting",), ("statistics",)),
    }
    for extra, allowed in rooms.items():
        for name in distributions(extra) & set(undeclared):
            undeclared[name] = {
                path for path in undeclared[name] if not any(path.parts[: len(room)] == room for room in allowed)
            }
    assert not {name: where for name, where in undeclared.items() if where}, "imported, not declared in pyproject.toml"
    assert not declared - set(imported), "declared in pyproject.toml, not imported by flairseg"


def test_every_dependency_has_its_reason_in_contributing():
    reasons = text("CONTRIBUTING.md").split("## Libraries", 1)[1].split("\n## ", 1)[0].lower()
    requirements = {re.split(r"[<>=!~; \[]", r)[0].lower() for r in metadata.requires("flairseg")}
    tools = {"pytest", "pytest-cov", "pre-commit", "ruff", "flairseg"}
    names = {"torch": "pytorch"}
    assert not [name for name in requirements - tools if names.get(name, name) not in reasons]


def test_no_image_and_no_path_of_a_developer_is_tracked():
    images = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm", ".mgz")
    assert not [name for name in tracked() if name.lower().endswith(images)]
    homes = re.compile(r"/(?:home|Users|root)/[a-z]")
    offenders = []
    for name in tracked():
        if name.endswith(
            (".py", ".md", ".toml", ".json", ".sh", ".cff", ".yaml", ".yml", ".cmake", ".txt", "Makefile")
        ):
            offenders += [name] if homes.search(text(name)) else []
    assert not offenders


def test_the_command_reference_has_every_option():
    from flairseg.cli import app
    from typer.main import get_command

    reference = text("docs/commands.md")
    assert not re.search(r"\[/?(?:bold|cyan|green|red|dim|italic)\]", reference), "marks of the terminal"
    options = set()
    commands = [get_command(app)]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            options |= {name for name in parameter.opts if name.startswith("--")}
    assert {"--output", "--model", "--device", "--probabilities", "--overwrite", "--study"} <= options
    options -= {"--install-completion", "--show-completion"}  # left out by the generator
    missing = sorted(option for option in options if not re.search(rf"{option}\b", reference))
    assert not missing, "run `make readme SECTIONS=commands`"


def test_the_readme_stays_short():
    assert len(text("README.md").splitlines()) <= 200


def test_readme_shows_the_results_that_the_cards_hold():
    from tools.update_readme import results_section

    shown = text("README.md").split("<!-- results:start -->\n")[1].split("\n<!-- results:end -->")[0]
    assert shown == results_section(), "run `make readme SECTIONS=results`"


def test_the_benchmark_s_table_has_the_case_also_where_the_gui_was_measured(monkeypatch, tmp_path):
    from tools import update_readme

    run = {"warm_seconds": 2.0, "cpu_seconds": 1.5, "peak_mb": 300.0}
    cases = {
        "20 slices, no views": {"overlay_seconds": 0.4, "ratio": 0.25, "longest_block_ms": 41, "cancel_seconds": 0.02}
    }
    report = {
        "cpu": {"batch": {}, "stage_seconds": {"read": 0.1}, "growth": {"20 x 256 x 256": run}},
        "gpu": {"tested": False, "note": "no GPU"},
        "machine": {"threads": 2, "processor": "CPU", "python": "3.11", "load_before": 0.1},
        "gui": {"cases": cases},
    }
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "benchmark.json").write_text(json.dumps(report), encoding="utf-8")
    monkeypatch.setattr(update_readme, "ROOT", tmp_path)
    tables = types.SimpleNamespace(
        batch_rows=lambda batch: [], case_rows=lambda cpu: [["this version", "2 s", "1.5 s", "", ""]]
    )
    monkeypatch.setitem(sys.modules, "tables", tables)
    shown = update_readme.bench_section().splitlines()
    assert shown[0].startswith("|  | clock |")
    assert shown[2] == "| this version | 2 s | 1.5 s |  |  |"
    assert shown[-1].startswith("| Slicer module, 20 slices, no views | overlay after 0.40 s")


def test_troubleshooting_quotes_errors_that_the_code_raises():
    section = text("docs/troubleshooting.md")
    section += (
        text("docs/slicer.md").split("<!-- slicer-messages:start -->", 1)[1].split("<!-- slicer-messages:end -->")[0]
    )
    quoted = re.findall(r"^\| `([^`]+)`", section, flags=re.MULTILINE)
    assert len(quoted) >= 30
    sources = [*(ROOT / "FlairSegExtension").rglob("*.py"), *(ROOT / "tools").glob("*.sh")]
    # Adjacent string literals are one message: join them as Python does.
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text(encoding="utf-8") for path in sources))
    unknown = [
        part for quote in quoted for part in quote.split("…") if len(part.strip()) > 5 and part.strip() not in code
    ]
    assert not unknown, "the docs quote errors that no code raises"


def test_cards_show_the_figures_of_their_models():
    """``card.md`` is read by people, ``card.json`` by programs: both give the same figures."""
    classes = {
        "ventricles": "Ventricles",
        "normal_wmh": "Normal WMH",
        "lesion": "Lesions",
        "all_wmh": "All WMH (2 + 3)",
    }
    checked = 0
    for path in sorted((ROOT / "models").glob("*/card.json")):
        shown = path.with_suffix(".md").read_text(encoding="utf-8")
        card = json.loads(path.read_text(encoding="utf-8"))
        for entry in card["results"]:
            section = shown.split(f"### {entry['data']}\n")[1].split("\n### ")[0].split("\n## ")[0]
            rows = {line.split(" | ")[0].strip("| "): line for line in section.splitlines() if line.startswith("| ")}
            for key, title in classes.items():
                value = entry.get("figures", {}).get(f"{key}_dice")
                if isinstance(value, dict):
                    assert f"| {value['mean']:.3f} ± {value['sd']:.3f} |" in rows[title], (path.parent.name, title)
                    checked += 1
            f1 = entry.get("figures", {}).get("lesion_f1")
            if isinstance(f1, dict):
                assert f"F1 {f1['mean']:.3f} ± {f1['sd']:.3f}" in section, path.parent.name
                checked += 1
    assert checked >= 15
