"""A reader who accepts a case, reopens it and accepts it again until he is killed; his panel is the module's own.

    python -m Testing.slicer.accepting_reader CASES_FOLDER

Prints ``clicked`` before each verdict is on its way, and ``saved v001`` once the panel says that it is on the disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

from Testing.harness.qt_application import start
from Testing.harness.small_case import make_head

CASE = "FLAIR 042"


def say(text: str) -> None:
    """Tell the parent now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(cases: str) -> None:
    """Accept and reopen for ever."""
    app = start()
    import flairseg
    import slicer
    from FlairSegLib.settings import FlairSegSettings

    from Testing.harness.interaction import click, wait_until
    from Testing.harness.main_window import MainWindow
    from Testing.slicer.result_driver import segmented

    module = app.moduleManager().load(Path(flairseg.__file__).parents[1] / "FlairSeg.py")
    settings = FlairSegSettings()
    settings.casesFolder, settings.readerName = cases, "R01"
    window = MainWindow("FlairSeg")
    panel = module.widgetRepresentation().self().result
    _, node = segmented(slicer, make_head(), CASE)
    panel.setSegmentation(node)
    wait_until(lambda: not panel.busy)
    while window.isVisible():
        say("clicked")
        click(panel.ui.acceptButton)
        wait_until(lambda: panel.verdict.verdict == "accepted")
        say(f"saved {panel.ui.verdictMessageLabel.text.split('Saved as ')[1].split()[1].split('/')[1]}")
        click(panel.ui.reopenButton)
        wait_until(lambda: panel.ui.acceptButton.enabled)


if __name__ == "__main__":
    main(sys.argv[1])
