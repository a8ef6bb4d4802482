"""What is on a machine's disk: the runner program's stand-in, the boot script, and programs in front of its PATH."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

BOOT_SCRIPT = Path(__file__).parents[3] / "packer" / "init-runner.sh"
RUNNER_PROGRAM = Path(__file__).parent / "runner"


def runner_home(disk: Path) -> Path:
    """The runner program's directory, `/opt/actions-runner` in the image."""
    return disk / "actions-runner"


def boot_script(disk: Path) -> Path:
    """What the image's systemd unit starts, `/opt/runner-scaler/init-runner.sh`."""
    return disk / "runner-scaler" / BOOT_SCRIPT.name


def programs(disk: Path) -> Path:
    """What stands first in the PATH."""
    return disk / "bin"


def build(disk: Path, scripts: Mapping[str, str], customize: Callable[[Path], None], fault: str = "") -> None:
    """Make a disk. `scripts` are the programs' texts by name, `fault` what the runner program is to do wrong."""
    home = runner_home(disk)
    shutil.copytree(RUNNER_PROGRAM, home)
    boot_script(disk).parent.mkdir()
    shutil.copy2(BOOT_SCRIPT, boot_script(disk))
    if fault:
        (home / "bin" / ".fault").write_text(fault)
    customize(home)
    programs(disk).mkdir()
    for name, text in scripts.items():
        (programs(disk) / name).write_text(text)
        (programs(disk) / name).chmod(0o755)
    # A venv's or pyenv's own python3 starts slowly, or finds itself by its path.
    (programs(disk) / "python3").symlink_to(Path(sys.executable).resolve())
    owner = _runner_user()
    if owner is not None:
        disk.parent.chmod(0o755)
        for path in (home, *home.rglob("*")):
            os.chown(path, owner, -1)


def _runner_user() -> int | None:
    """The user that the boot script changes to, if it will."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("runner").pw_uid
    except KeyError:
        return None
