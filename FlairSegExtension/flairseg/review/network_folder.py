"""Whether a folder is on another computer: there, locks and write-ahead logs of SQLite are not reliable.

Linux and Windows report it; elsewhere SQLite is tested, which refuses a write-ahead log where it cannot keep one.
"""

from __future__ import annotations

import sys
from pathlib import Path

#: File systems that other computers write to as well.
_NETWORK_FILE_SYSTEMS = frozenset(
    [
        *("9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "prl_fs"),
        *("smb2", "smb3", "smbfs", "vboxsf", "vmhgfs", "webdav"),
        *("fuse.glusterfs", "fuse.rclone", "fuse.sshfs", "fuse.vmhgfs-fuse"),
    ]
)


def is_network_folder(folder: Path) -> bool:
    """Whether a folder is on another computer, as far as the operating system reports."""
    folder = next((p for p in (folder, *folder.parents) if p.exists()), folder)
    if sys.platform == "win32":
        return _is_windows_network(folder)
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return mount_type(mounts, folder.resolve()) in _NETWORK_FILE_SYSTEMS


def mount_type(mountinfo: str, folder: Path) -> str:
    """Type of the file system that holds a folder, from Linux's ``/proc/self/mountinfo`` (proc(5))."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        # Later mounts hide earlier ones.
        if (folder == point or point in folder.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _is_windows_network(folder: Path) -> bool:
    if sys.platform != "win32":
        return False
    import ctypes

    drive = folder.resolve().drive
    remote = 4
    return drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == remote
