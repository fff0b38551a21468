"""Picture for the documentation: the segmented phantom in Slicer's slice views. Needs ``flairseg[slicer]``.

    python tools/render_slicer_views.py                       with the default model
    python tools/render_slicer_views.py --model PATH_OR_ID    with another
    python tools/render_slicer_views.py --truth               the phantom's ground truth instead of a model

Writes ``docs/pictures/slicer_views.png``. The views are rendered with Slicer's libraries (``Testing/harness``) and are
not a screenshot of the application, as the caption states.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "FlairSegExtension")]

import flairseg  # noqa: E402
from flairseg.labels import CLASSES  # noqa: E402
from flairseg.phantom import Phantom, make_phantom  # noqa: E402

from Testing.harness.application import start  # noqa: E402

VIEW_WIDTH, VIEW_HEIGHT, GAP, FOOT = 380, 400, 6, 66
ZOOM = 1.2  # most of the field of view is air
#: View, RAS axis normal to it, side of the head at its left (radiological convention).
PLANES = (("Axial", 2, "R"), ("Sagittal", 0, "A"), ("Coronal", 1, "R"))
INK, PAPER = (225, 225, 230), (18, 18, 22)


def main() -> None:
    """Render the three views side by side with legend and caption."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures" / "slicer_views.png")
    parser.add_argument("--model", help="model id or path; default: the embedded model")
    parser.add_argument("--truth", action="store_true", help="show the phantom's ground truth, no model")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    phantom = make_phantom(seed=arguments.seed)
    if arguments.truth:
        segmentation, made_by = ground_truth(phantom), "its ground truth"
    else:
        segmentation = flairseg.segment(phantom.volume, model=arguments.model, device="cpu")
        made_by = f"segmented by model {segmentation.card.id}"
    views = render_views(segmentation)

    picture = Image.new("RGB", (3 * VIEW_WIDTH + 4 * GAP, VIEW_HEIGHT + 2 * GAP + FOOT), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=14)
    for n, (view, (orientation, _, left)) in enumerate(zip(views, PLANES, strict=True)):
        x = GAP + n * (VIEW_WIDTH + GAP)
        picture.paste(Image.fromarray(view), (x, GAP))
        draw.text((x + 8, GAP + 6), orientation, font=font, fill=INK)
        draw.text((x + 8, GAP + VIEW_HEIGHT // 2 - 8), left, font=font, fill=INK)
    write_foot(
        picture,
        f"Digital phantom (seed {arguments.seed}), {made_by}. Rendered with 3D Slicer's own slice views "
        f"(slicer-core {version('slicer-core')}),",
        "not a screenshot of the Slicer application. Research use only - not a medical device.",
    )
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(arguments.output, optimize=True)
    print(f"wrote {arguments.output}")


def render_views(segmentation: flairseg.Segmentation) -> list[np.ndarray]:
    """Axial, sagittal and coronal view of a segmentation over its image: arrays of shape (height, width, 3)."""
    start()
    import slicer
    from FlairSegLib.scene_bridge import segmentation_to_node

    from Testing.harness.slice_view import SliceView

    volume = segmentation.volume
    volume_node = slicer.util.addVolumeFromArray(volume.array, ijkToRAS=volume.ijk_to_ras, name=volume.name)
    display = volume_node.GetDisplayNode()
    display.AutoWindowLevelOff()
    low, high = np.percentile(volume.array, (50, 99.7))
    display.SetWindowLevelMinMax(float(low) * 0.5, float(high))
    segmentation_to_node(segmentation, volume_node)
    pictures = []
    for orientation, ras_axis, _ in PLANES:
        view = SliceView(orientation, VIEW_WIDTH, VIEW_HEIGHT)
        view.show(volume_node, richest_plane(segmentation, ras_axis), ZOOM)
        pictures.append(view.render())
        view.close()
    return pictures


def richest_plane(segmentation: flairseg.Segmentation, ras_axis: int) -> tuple[float, float, float]:
    """Point (RAS mm) in the plane normal to a RAS axis with the largest product of class areas."""
    affine, labels = segmentation.volume.ijk_to_ras, segmentation.labels
    voxel_axis = int(np.argmax(np.abs(affine[ras_axis, :3])))
    others = tuple(axis for axis in range(3) if axis != 2 - voxel_axis)
    counts = [1 + (labels == label_class.value).sum(axis=others) for label_class in CLASSES]
    ijk = (np.array(labels.shape[::-1]) - 1) / 2
    ijk[voxel_axis] = np.argmax(np.prod([count.astype(float) for count in counts], axis=0))
    return tuple((affine @ [*ijk, 1])[:3])


def ground_truth(phantom: Phantom) -> flairseg.Segmentation:
    """Ground truth of the phantom as a segmentation result."""
    probabilities = np.stack([phantom.labels == value for value in range(len(CLASSES) + 1)]).astype(np.float16)
    card = SimpleNamespace(id="ground-truth", sha256="")
    return flairseg.Segmentation(phantom.volume, phantom.labels, probabilities, card, "cpu", "cpu", "", "phantom")


def write_foot(picture: Image.Image, *lines: str) -> None:
    """Legend in the class colours, then the caption."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=14)
    x, y = GAP + 4, VIEW_HEIGHT + 2 * GAP
    for label_class in CLASSES:
        draw.rectangle((x, y + 3, x + 11, y + 14), fill=label_class.rgb)
        draw.text((x + 18, y), label_class.name, font=font, fill=INK)
        x += 18 + int(draw.textlength(label_class.name, font=font)) + 24
    for n, line in enumerate(lines, start=1):
        draw.text((GAP + 4, y + 3 + 19 * n), line, font=font, fill=INK)


if __name__ == "__main__":
    main()
