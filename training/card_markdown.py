"""Write ``card.md`` from ``card.json``: ``python -m training.card_markdown models/<id>``.

``card.md`` is generated and not edited by hand.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .evaluate import CLASS_NAMES, COLUMNS
from .lesion_confidence import FIELD, diagram_name


def _figure(figures: dict, key: str, decimals: int) -> str:
    value = figures.get(key)
    if value is None:
        return ""
    if isinstance(value, dict):
        spread = f" ± {value['sd']:.{decimals}f}" if value.get("sd") is not None else ""
        return f"{value['mean']:.{decimals}f}{spread}"
    return f"{value:.{decimals}f}"


def _results(entry: dict) -> list[str]:
    """Lines of the results on one data set."""
    figures = entry.get("figures", {})
    lines = [f"### {entry['data']}", ""]
    if entry.get("note"):
        lines += [entry["note"], ""]
    headings = [heading for _, heading, _ in COLUMNS]
    lines += ["| class | " + " | ".join(headings) + " |", "|---" * (len(headings) + 1) + "|"]
    for name, title in CLASS_NAMES.items():
        cells = [_figure(figures, f"{name}_{key}", decimals) for key, _, decimals in COLUMNS]
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    if "lesion_f1" in figures:
        lesion = {
            key: _figure(figures, f"lesion_{key}", 3) for key in ("f1", "recall_by_lesion", "precision_by_lesion")
        }
        lines += [
            "",
            f"Lesion level (26-connected, found if one voxel overlaps): F1 {lesion['f1']}, "
            f"recall {lesion['recall_by_lesion']}, precision {lesion['precision_by_lesion']}.",
        ]
    lines += ["", f"Cases: {entry['cases']}. Command: `{entry['command']}`", ""]
    return lines


def _weights(card: dict) -> list[str]:
    """Line on the weights of a single model."""
    weights = card["weights"]
    return [
        f"Licence of the weights: {card['licence']}. Parameters: {weights['parameters']:,}. "
        f"File: {weights['bytes'] / 1e6:.1f} MB, sha256 `{weights['sha256']}`."
    ]


def _members(card: dict) -> list[str]:
    """Members of an ensemble and the weights of their votes."""
    ensemble, names = card["ensemble"], [name for name in CLASS_NAMES if name != "all_wmh"]
    lines = [
        f"An ensemble: it has no weights of its own. Licence: {card['licence']}. Digest of the members: "
        f"`{ensemble['sha256']}`. A dash: no vote.",
        "",
        "| member | " + " | ".join(f"vote: {CLASS_NAMES[name]}" for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for member in ensemble["members"]:
        votes = [f"{member['weights'][name]:g}" if name in member["weights"] else "–" for name in names]
        lines.append(f"| [{member['id']}](../{member['id']}/card.md) | " + " | ".join(votes) + " |")
    return lines


def _lesion_confidence(card: dict) -> list[str]:
    """Section on lesion confidence: regression, reliability and diagram."""
    field = card.get(FIELD)
    if field is None:
        return []
    lines = [
        "## Confidence of a lesion",
        "",
        "The confidence that lists and reports show of a lesion is the share of such lesions that readers drew: "
        f"logit(share) = {field['intercept']:.3f} + {field['logit_probability']:.3f} logit(mean probability) "
        f"{field['ln_volume']:+.3f} ln(volume / mm³). Fitted on {field['fitted_on']}.",
        "",
    ]
    titles = {"confidence": "confidence", "mean_probability": "mean probability"}
    tables = field.get("reliability", {})
    for name in (one for one in titles if one in tables):
        lines += [
            f"| {titles[name]} | lesions | mean | readers drew |", "|---|---|---|---|",
            *(f"| {row['from']:g} to {row['to']:g} | {row['lesions']} | {row['confidence']:.2f} | {row['drawn']:.2f} |"
              for row in tables[name]),
            "", f"Calibration error {field['calibration_error'][name]:.3f}.", "",
        ]  # fmt: skip
    if tables:
        lines += [f"![Reliability diagram](../curves/{diagram_name(card['id'])})", ""]
    return lines


def render(card: dict) -> str:
    """The Markdown of a card."""
    pipeline = card["pipeline"]
    lines = [f"# {card['title']} (`{card['id']}`)", "", card["summary"], "", f"**{card['intended_use']}**", ""]
    lines += [*(_members(card) if "ensemble" in card else _weights(card)), "", "## Measured", ""]
    for entry in card["results"]:
        lines += _results(entry)
    lines += [
        *_lesion_confidence(card),
        "## Limits",
        "",
        *(f"- {limit}" for limit in card.get("limitations", [])),
        "",
        "## Training data",
        "",
    ]
    lines += ["| data | used for | source | licence |", "|---|---|---|---|"]
    lines += [
        f"| {row['name']} | {row.get('used_for', '')} | {row.get('source', '')} | {row['licence']} |"
        for row in card["training_data"]
    ]
    lines += ["", "## Training", "", *(f"- {key}: {value}" for key, value in card.get("training", {}).items())]
    lines += ["", "## Pipeline", "", "| stage | variant |", "|---|---|"]
    lines += [f"| {key} | {json.dumps(value)} |" for key, value in pipeline.items()]
    lines += ["", "## References", "", *(f"- {reference}" for reference in card.get("references", [])), ""]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    (folder / "card.md").write_text(render(card), encoding="utf-8")


if __name__ == "__main__":
    main()
