#!/usr/bin/env bash
# bids-validator-deno 3.0.2: no pattern of .bidsignore with a slash at its end, or after it, covers the folder itself.
#
# BIDS takes .gitignore's rules for .bidsignore, where "extra/" is the way to name a folder. With "extra/", "/extra/" or
# "extra/**" the files below are passed over, but the folder is reported as NOT_INCLUDED and the validator ends with
# status 16. "extra" without a slash is accepted, and covers files of that name as well.
# What to do: name folders in .bidsignore without a slash.
#
# Output seen:
#   bids-validator 3.0.2
#   (none)    status 16  ['/extra/', '/extra/deep/', '/extra/deep/x.txt', '/extra/notes.txt']
#   extra/    status 16  ['/extra/']
#   /extra/   status 16  ['/extra/']
#   extra/**  status 16  ['/extra/']
#   extra     status 0   []
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    bids-validator-deno==3.0.2 nibabel==5.3.2 numpy==2.2.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np

data = Path("data")
(data / "sub-01" / "anat").mkdir(parents=True)
(data / "extra" / "deep").mkdir(parents=True)
(data / "dataset_description.json").write_text(json.dumps({"Name": "Example", "BIDSVersion": "1.10.0"}))
(data / "README").write_text("A data set with a folder that is none of BIDS's. " * 5)
nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), data / "sub-01/anat/sub-01_FLAIR.nii.gz")
(data / "sub-01/anat/sub-01_FLAIR.json").write_text("{}")
(data / "extra" / "notes.txt").write_text("x")
(data / "extra" / "deep" / "x.txt").write_text("x")


def errors(pattern: str) -> tuple[int, list[str]]:
    ignore = data / ".bidsignore"
    ignore.unlink(missing_ok=True)
    if pattern:
        ignore.write_text(pattern + "\n")
    run = subprocess.run(["venv/bin/bids-validator-deno", str(data), "--json"], capture_output=True, text=True)
    issues = json.loads(run.stdout)["issues"]["issues"]
    found = sorted(issue["location"] for issue in issues if issue["code"] == "NOT_INCLUDED")
    print(f"{pattern or '(none)':9} status {run.returncode:<3} {found}")
    return run.returncode, found


print("bids-validator", version("bids-validator-deno"))
assert errors("") == (16, ["/extra/", "/extra/deep/", "/extra/deep/x.txt", "/extra/notes.txt"])
for pattern in ("extra/", "/extra/", "extra/**"):
    assert errors(pattern) == (16, ["/extra/"])
assert errors("extra") == (0, [])
PYTHON
