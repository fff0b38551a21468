"""``tools/setup_environment.sh`` where pip fails; the pip is a substitute that prints what the real one did."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: By pip 23 and 26, with a number sign in the password of HTTPS_PROXY.
PRINTED = """\
Looking in indexes: https://anna:SECRET@mirror.example.org/simple
ERROR: Could not install packages due to an OSError: Failed to parse: http://anna:SECRET#1@proxy:8080
ERROR: Could not install packages due to an OSError: Failed to parse: 'anna:SECRET' is not a valid host or port
"""


@pytest.mark.skipif(sys.platform == "win32" or shutil.which("sh") is None, reason="needs a POSIX shell")
def test_no_password_is_shown_or_left_in_the_log(tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (tmp_path / "printed").write_text(PRINTED)
    python = venv / "bin" / "python"
    calls = tmp_path / "calls"
    python.write_text(
        f'#!/bin/sh\nif [ "$1" = -m ]; then echo "$*" >> "{calls}"; cat "{tmp_path / "printed"}"; exit 1; fi\nexit 0\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "tools/setup_environment.sh"), "demo", str(venv)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "--no-input" in calls.read_text(), "pip would wait for a password that nobody sees it ask for"
    shown = done.stdout + done.stderr
    assert "Failed to parse: ****" in shown
    assert "HTTPS_PROXY" in shown
    for text in (shown, (venv / "setup.log").read_text()):
        assert "SECRET" not in text
    assert "https://****@mirror.example.org" in (venv / "setup.log").read_text()
