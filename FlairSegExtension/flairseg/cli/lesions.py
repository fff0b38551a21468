"""``flairseg lesions``: the lesion table of an existing label map, for instance a corrected one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..errors import UnsuitableMaskError, warnings_as_dicts
from .console import WRITTEN, command, show_warning, strict_code
from .label_options import meaning_of

#: Ending of each file, after the label map's name.
ENDINGS = {"table": "_lesions.csv", "summary": "_lesions.json"}


@dataclass(frozen=True)
class LesionOptions:
    """Options of ``flairseg lesions``, named as on the command line."""

    flair: Path
    output: Path
    regions: bool = True
    overwrite: bool = False
    labels: str | None = None
    name: str | None = None


@command()
def measure_lesions(
    messages: Console, results: Console, path: Path, options: LesionOptions, strict: bool = False
) -> int:
    """Measure the lesions of a label map and write the table; the exit code of the command."""
    with messages.status("measuring lesions"):
        written, text, warnings = _measure(path, options)
    for warning in warnings:
        show_warning(messages, warning)
    results.print(text, soft_wrap=True, markup=False)
    for path in written:
        results.print(Text(str(path), style="bold"), soft_wrap=True)
    results.print("Research use only - not a medical device.", style="dim")
    return strict_code(messages, WRITTEN, warnings, strict)


def _measure(labels_path: Path, options: LesionOptions) -> tuple[list[Path], str, tuple[str, ...]]:
    """Measure and write; return files, summary line and warnings."""
    from ..anatomy import find_regions
    from ..anatomy.lesion_table import lesion_table, split_count, summary_entries, table_csv
    from ..files.atomic import all_or_none, check_folder, results_exist
    from ..files.hashing import source_sha256
    from ..files.names import case_of_labels, mask_result_stem
    from ..files.safe_names import safe_name
    from ..files.same_input import FINGERPRINT, already_there, refuse_other_input
    from ..files.summary_paths import absolute_source, input_for_summary
    from ..io.images import read_image
    from ..io.label_maps import read_label_map
    from ..labels import LESION

    output, name = options.output, options.name
    mapping = meaning_of(options.labels)
    case = safe_name(name) if name and name.strip() else case_of_labels(labels_path)
    stem = case if name else mask_result_stem(case, labels_path, output)
    names = {key: f"{stem}{ending}" for key, ending in ENDINGS.items()}
    existing = already_there(output, names.values())
    if existing and not options.overwrite:
        raise results_exist(f"Results of the lesions of {stem}", output / existing[0])
    volume = read_image(options.flair)
    drawn = read_label_map(labels_path, volume.geometry, mapping)
    source, digest = absolute_source(labels_path), source_sha256(labels_path)
    if existing:
        refuse_other_input(output / names["summary"], stem, [(source, digest)])
    if LESION not in drawn.classes:
        raise UnsuitableMaskError(
            f"{labels_path.name} has no lesion class, so there is nothing to measure.",
            "Give a label map with the lesions, or state which of its values they are.",
            code="no-lesion-class",
        )
    labels = drawn.labels
    check_folder(output)
    found = find_regions(volume, labels) if options.regions else None
    rows = lesion_table(labels, volume.ijk_to_ras, regions=found)
    warnings = (*volume.warnings, *drawn.warnings, *(found.warnings if found is not None else ()))
    summary = {
        "case": case,
        "input": input_for_summary(source, output),
        FINGERPRINT: digest,
        **summary_entries(rows, found is not None),
        "warnings": warnings_as_dicts(warnings),
    }
    with all_or_none(output, names.values(), names.values()) as drafts:
        (drafts / names["table"]).write_text(table_csv(rows, case), encoding="utf-8")
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (drafts / names["summary"]).write_text(text + "\n", encoding="utf-8")
    total = sum(row.volume_ml for row in rows)
    count = f"{len(rows)} lesion{'' if len(rows) == 1 else 's'}"
    told = f"{case}: {count} ({split_count(rows)} when confluent ones are split), {total:.2f} ml."
    if found is not None:
        told += f" {summary['dissemination']['text']}"
    return [output / name for name in names.values()], told, warnings
