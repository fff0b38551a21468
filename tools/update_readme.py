"""Update generated sections of README and docs, between their markers: `make readme`.

``commands`` reference of all commands and options (docs/commands.md)
``demo``     output of ``make demo`` (runs it)
``results``  results in the model cards
``keys``     keyboard shortcuts of the Slicer panel
``warnings`` codes of all warnings (docs/messages.md)
``bench``    results in ``bench/benchmark.json``, if ``make bench`` has written it
Figures are never entered by hand.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
#: Key of a metric in the results of a card -> heading of its column.
COLUMNS = {
    "ventricles_dice": "ventricles Dice",
    "normal_wmh_dice": "normal Dice",
    "lesion_dice": "lesion Dice",
    "lesion_f1": "lesion F1",
    "all_wmh_dice": "all WMH Dice",
}


def printed(*command: str) -> str:
    """Output of a command on a terminal of :data:`WIDTH` columns, without colours."""
    environment = {**os.environ, "COLUMNS": str(WIDTH), "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": str(WIDTH)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def code(body: str) -> str:
    """Fenced code block."""
    return f"```text\n{body}\n```"


def commands_section() -> str:
    """Reference of all commands by Typer's generator, with the markup of help texts as Markdown."""
    text = printed(sys.executable, "-m", "typer", "flairseg.cli", "utils", "docs", "--name", "flairseg")
    text = html.unescape(re.sub(r"</?span[^>]*>", "", text).replace("&lt;", "\\<"))
    for tag, mark in (("bold", "**"), ("cyan", "`")):
        text = re.sub(rf"\[/?{tag}\]", mark, text)
    return text.replace("# `flairseg`", "# Command reference", 1)


def demo_section() -> str:
    """Output of the demo."""
    return code(f"$ make demo\n{printed(sys.executable, 'tools/demo.py', '--output', 'demo')}")


def figure(value: object) -> str:
    """``mean ± SD`` or a number, as in the card."""
    if isinstance(value, dict):
        spread = f" ± {value['sd']:.3f}" if value.get("sd") is not None else ""
        return f"{value['mean']:.3f}{spread}"
    return "" if value is None else f"{value:.3f}"


def results_section() -> str:
    """Table with a row per model and data set."""
    rows = []
    for card_path in sorted((ROOT / "models").glob("*/card.json")):
        card = json.loads(card_path.read_text(encoding="utf-8"))
        for entry in card["results"]:
            figures = entry.get("figures", {})
            cells = [f"[{card['id']}](models/{card['id']}/card.md)", entry["data"], str(entry.get("cases", ""))]
            rows.append([*cells, *(figure(figures.get(key)) for key in COLUMNS)])
    shown = [i for i in range(3 + len(COLUMNS)) if i < 3 or any(row[i] for row in rows)]
    headings = ["model", "measured on", "cases", *COLUMNS.values()]
    return "\n".join(table([headings[i] for i in shown], [[row[i] for i in shown] for row in rows]))


def bench_section() -> str | None:
    """Results of the benchmark; None if it was not run."""
    path = ROOT / "bench" / "benchmark.json"
    if not path.exists():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if "cpu" not in report:
        return None  # only some steps were measured
    sys.path.insert(0, str(ROOT / "Testing" / "benchmarks"))
    from tables import batch_rows, case_rows

    cpu, gpu, machine = report["cpu"], report["gpu"], report["machine"]
    heads = ["", "clock", "processor", "of the generator's processor time", "peak memory"]
    case = table(heads, case_rows(cpu))
    before = cpu.get("before")
    if before is not None:
        share = (
            f"This version takes {before['cpu_ratio']:.2f} of the processor time of the one before; labels differ in "
        )
        case += ["", f"{share}{before['voxels_differing']} of {before['foreground_voxels']} voxels."]
    rows = [[f"batch: {row[0]}", ", ".join(row[1:])] for row in batch_rows(cpu["batch"])]
    rows += [[f"stage: {stage}", f"{seconds:.3f} s"] for stage, seconds in cpu["stage_seconds"].items()]
    rows += [
        [f"growth: {name}", f"{row['warm_seconds']:.2f} s, {row['cpu_seconds']:.2f} s, {row['peak_mb']:.0f} MB"]
        for name, row in cpu["growth"].items()
    ]
    rows.append(
        ["GPU", f"{gpu['warm_seconds']:.2f} s, {gpu['voxels_differing_from_cpu']} voxels differ from the CPU's"]
        if gpu["tested"]
        else ["GPU", gpu["note"]]
    )
    rows += [row for step in report.get("steps", {}).values() for row in _step_rows(step)]
    for name, row in report.get("gui", {}).get("cases", {}).items():
        rows.append(
            [
                f"Slicer module, {name}",
                f"overlay after {row['overlay_seconds']:.2f} s ({row['ratio']:.2f} x command line), longest block "
                f"{row['longest_block_ms']:.0f} ms, Cancel {row['cancel_seconds']:.2f} s"
                + (f", regions {row['regions_seconds']:.2f} s later" if "regions_seconds" in row else ""),
            ]
        )
    where = f"{machine['threads']} threads of {machine['processor']}, Python {machine['python']}"
    load = f"Load before: {machine['load_before']:.1f}. Of a batch and of growth: clock, processor, peak memory."
    return "\n".join([*case, "", load, "", *table(["", where], rows)])


def _step_rows(step: dict) -> list[list[str]]:
    """Rows of a step after the segmentation: total and parts."""
    title = f"{step['title']} ({step['given']})"
    parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in step["part_seconds"].items())
    each = f"; {step['each']['seconds']:.2f} s per {step['each']['what']}" if "each" in step else ""
    rows = [[title, f"{step['warm_seconds']:.2f} s ({parts}{each}), {step['peak_mb']:.0f} MB"]]
    if "process_start_seconds" in step:
        figures = f"{step['process_start_seconds']:.2f} s, {step['process_peak_mb']:.0f} MB"
        rows.append([f"{step['title']}, from process start", figures])
    return rows


def keys_section() -> str:
    """Table of keyboard shortcuts."""
    sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]
    from Testing.harness.application import start

    start()
    from FlairSegLib import keys

    return "\n".join(table(["key", "action"], [[f"`{key}`", text] for key, text in keys.descriptions().items()]))


def warnings_section() -> str:
    """Table of warning codes."""
    from flairseg.segmentation.warning_codes import table as codes

    return codes()


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in [headings, ["---"] * len(headings), *rows]]


#: Section -> its document, and the function that makes it.
SECTIONS: dict[str, tuple[str, Callable[[], str | None]]] = {
    "commands": ("docs/commands.md", commands_section),
    "demo": ("README.md", demo_section),
    "results": ("README.md", results_section),
    "keys": ("docs/slicer.md", keys_section),
    "warnings": ("docs/messages.md", warnings_section),
    "bench": ("docs/benchmark.md", bench_section),
}


def replace(document: str, name: str, body: str) -> str:
    """Replace the body between the markers of a section.

    Raises
    ------
    SystemExit
        If the document has no such markers.
    """
    pattern = re.compile(rf"(<!-- {name}:start -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    if not pattern.search(document):
        raise SystemExit(f"The document has no section {name}")
    return pattern.sub(lambda match: f"{match[1]}{body}\n{match[2]}", document)


def main() -> None:
    """Update the given sections, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", help=f"any of: {', '.join(SECTIONS)}; default all")
    options = parser.parse_args()
    unknown = sorted(set(options.sections) - set(SECTIONS))
    if unknown:
        parser.error(f"there is no section {unknown[0]}")
    for name in options.sections or SECTIONS:
        document, make = SECTIONS[name]
        body = make()
        if body is None:
            print(f"{name}: no data, not changed")
            continue
        path = ROOT / document
        path.write_text(replace(path.read_text(encoding="utf-8"), name, body), encoding="utf-8")
        print(f"{name}: updated")


if __name__ == "__main__":
    main()
