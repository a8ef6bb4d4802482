"""
Machines that boot in the image: a chroot on an overlay, with a network namespace of its own.

Nothing of the boot script's surroundings is as in the sandbox but the clock. Its curl is Debian's, its user `runner`
is real; the metadata service is at 169.254.169.254, SSM at the address that AWS gives it, with a certificate that the
image trusts. What is left of the seams is the power-off, which would turn off this computer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scaler.sandbox.machines.machines import Machines, _Machine
from tests.certificates import Authority
from tests.debian_root import RUNNER_HOME, Image

PROGRAMS = "usr/local/sbin"
"""Where programs stand first in everybody's PATH."""

CLONE_NEWNET = 0x4000_0000

# The namespaces go with their last process, so there is nothing to be cleaned up, however the tests end. Where a machine
# has processes in sessions of their own (systemd), a namespace of processes ends them with its first. Descriptor 3 says that the network is up, 4 that somebody listens on it. Without CAP_SYS_BOOT no mistake can turn off the computer.
MACHINE = """
set -euo pipefail
ip link set lo up
ip address add 169.254.169.254/32 dev lo
echo "$5" >/proc/sys/kernel/hostname
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
bash -euc "$6" damage "$4"
echo up >&3
read -r _ <&4
exec 3>&- 4<&-
"""

CHROOT = """
mount -t proc proc "$4/proc"
exec env --default-signal=INT setpriv --bounding-set=-sys_boot chroot "$4" /opt/runner-scaler/init-runner.sh
"""

# systemd as process 1. What nspawn keeps of a container in /run goes with it.
NSPAWN = """
mount -t tmpfs tmpfs /run/systemd
exec systemd-nspawn --quiet --register=no --keep-unit --link-journal=no --resolv-conf=off --timezone=off \
  --console=read-only --machine="$5" --directory="$4" --boot systemd.show_status=0 systemd.log_color=0
"""


class ImageMachines(Machines):
    """
    Machines as the sandbox has them, each in the image.

    `damage` is what else is wrong with a machine: a text for bash, run within its namespaces before it boots, whose $1
    is the machine's root.
    """

    start_with = CHROOT
    namespaces: tuple[str, ...] = ("--mount", "--net", "--uts", "--ipc")

    def __init__(self, image: Image, authority: Authority, *arguments: Any, damage: str = "", **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._image = image
        self._authority = authority
        self._damage = damage
        self._reached: list[int] = []
        self._doors: dict[int, list[_Door]] = {}

    def reach(self, *urls: str) -> None:
        """Servers of the sandbox that machines are to reach at the same address."""
        self._reached += [_port(url) for url in urls]

    def home(self, instance_id: str) -> Path:
        """The runner program's directory, as far as it differs from the image's."""
        return self._machines[instance_id].home / "upper" / RUNNER_HOME

    def _programs(self, instance_id: str) -> dict[str, str]:
        """What stands first in a machine's PATH."""
        return self._door.programs(instance_id)

    def _build(self, machine: _Machine, fault: str) -> None:
        for name in ("work", "merged", f"upper/{PROGRAMS}"):
            (machine.home / name).mkdir(parents=True)
        machine.home.parent.chmod(0o755)
        upper = machine.home / "upper"
        for name, text in self._programs(machine.instance.id).items():
            (upper / PROGRAMS / name).write_text(text)
            (upper / PROGRAMS / name).chmod(0o755)
        installed = self._image.find(RUNNER_HOME)
        home = upper / RUNNER_HOME
        shutil.copytree(installed, home)
        if fault:
            (home / "bin/.fault").write_text(fault)
        self.customize(home)
        for path in (home, *home.rglob("*")):
            owner = installed.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        trusted = upper / "etc/ssl/certs/ca-certificates.crt"
        trusted.parent.mkdir(parents=True)
        trusted.write_text(self._authority.certificate)
        (upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.0.1 {_ssm_of(machine)}\n")

    def _spawn(self, machine: _Machine) -> subprocess.Popen[bytes]:
        up, went_up = os.pipe()
        listened, listening = os.pipe()
        arguments = [self._image.lowerdir, *(str(machine.home / name) for name in ("upper", "work", "merged"))]
        process = subprocess.Popen(
            [
                *("unshare", *self.namespaces),
                *("bash", "-c", f"exec 3>&{went_up} 4<&{listened}\n{MACHINE}{self.start_with}"),
                *("machine", *arguments, machine.instance.id, self._damage),
            ],
            cwd="/",
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "POWEROFF_COMMAND": f"/{PROGRAMS}/poweroff",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(went_up, listened),
        )
        os.close(went_up)
        os.close(listened)
        with os.fdopen(up) as network, os.fdopen(listening, "w") as ready:
            if network.readline() == "up\n":
                self._doors[process.pid] = self._listen(process.pid, machine)
                ready.write("\n")
        return process

    def _listen(self, pid: int, machine: _Machine) -> list[_Door]:
        same = [*self._reached, self._door.server_address[1]]
        wanted: list[tuple[tuple[str, int], int, ssl.SSLContext | None]] = [
            (("169.254.169.254", 80), _port(machine.metadata.url), None),
            (("127.0.0.1", 443), _port(self._aws_url), self._authority.server(_ssm_of(machine))),
            *((("127.0.0.1", port), port, None) for port in same),
        ]
        sockets = within(pid, lambda: [socket.create_server(address) for address, _, _ in wanted])
        return [_Door(found, port, tls) for found, (_, port, tls) in zip(sockets, wanted, strict=True)]

    def _release(self, machine: _Machine) -> None:
        super()._release(machine)
        for door in self._doors.pop(machine.process.pid, []) if machine.process else []:
            door.close()


# What a machine asks for the world's time by where it may have no network: bash can ask by TCP alone.
ASK = """\
#!/usr/bin/env -S python3 -I -S
import socket, sys
with socket.socket(socket.AF_UNIX) as door:
    door.connect("/srv/door")
    door.sendall(f"{verb} {instance} {{sys.argv[1] if sys.argv[1:] else 'now'}}\\n".encode())
    sys.exit(door.makefile().readline() != "done\\n")
"""


class LinkedMachines(ImageMachines):
    """Machines whose link can be taken down, and everything with it: GitHub, SSM and the metadata service."""

    def __init__(self, image: Image, authority: Authority, *arguments: Any, **more: Any) -> None:
        super().__init__(image, authority, *arguments, damage='mount --bind "$1/../door" "$1/srv"', **more)

    def cut(self, instance_id: str, *, silent: bool) -> None:
        """
        Take the link down: what is under way is never answered.

        What begins is not either (`silent`), or the machine itself says that there is no way to it.
        """
        process = self._machines[instance_id].process
        assert process is not None
        network = ("nsenter", f"--net=/proc/{process.pid}/ns/net", "ip")
        subprocess.run([*network, "link", "set", "lo", "down"], check=True)
        if not silent:
            subprocess.run([*network, "address", "flush", "dev", "lo"], check=True)

    def reaches(self, instance_id: str, host: str, port: int) -> bool:
        """Whether a connection can be begun in the machine."""
        process = self._machines[instance_id].process
        assert process is not None
        try:
            (made,) = within(process.pid, lambda: [socket.create_connection((host, port), timeout=1)])
        except OSError:
            return False
        made.close()
        return True

    def _programs(self, instance_id: str) -> dict[str, str]:
        asking = {verb: ASK.format(verb=verb, instance=instance_id) for verb in ("sleep", "poweroff")}
        return super()._programs(instance_id) | asking

    def _build(self, machine: _Machine, fault: str) -> None:
        super()._build(machine, fault)
        (machine.home / "door").mkdir()

    def _listen(self, pid: int, machine: _Machine) -> list[_Door]:
        folder = machine.home / "door"
        listening = socket.socket(socket.AF_UNIX)
        with contextlib.ExitStack() as stack:  # by a short path: a socket's has 107 characters
            short = os.open(folder, os.O_PATH)
            stack.callback(os.close, short)
            listening.bind(f"/proc/self/fd/{short}/door")
        listening.listen()
        (folder / "door").chmod(0o777)
        return [*super()._listen(pid, machine), _Door(listening, self._door.server_address[1], None)]


class BootedMachines(ImageMachines):
    """
    Machines that systemd boots, by the units of the image; they power off by systemd, which ends their container.

    What is left of the sandbox is `sleep`, which keeps the world's time.
    """

    start_with = NSPAWN
    namespaces = (*ImageMachines.namespaces, "--pid", "--fork", "--mount-proc")

    def _programs(self, instance_id: str) -> dict[str, str]:
        return {"sleep": self._door.programs(instance_id)["sleep"]}

    def inside(self, instance_id: str, words: str) -> int:
        """The process of a machine whose command line has these words, as this computer numbers it."""
        machine = self._machines[instance_id]
        assert machine.process is not None
        network = Path(f"/proc/{machine.process.pid}/ns/net").readlink()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (
                    words in command
                    and (entry / "ns/net").readlink() == network
                    and int(entry.name) != machine.process.pid
                ):
                    return int(entry.name)
        return 0


def _ssm_of(machine: _Machine) -> str:
    return f"ssm.{machine.instance.subnet.zone[:-1]}.amazonaws.com"


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def within(pid: int, action: Callable[[], list[socket.socket]]) -> list[socket.socket]:
    """Make sockets in the network namespace of a process. A socket stays where it was made."""
    found: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:  # a thread of its own: a namespace is a thread's, and it never comes back
        try:
            with open(f"/proc/{pid}/ns/net", "rb") as namespace:  # noqa: PTH123
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            found.extend(action())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found


class _Door:
    """Where a machine's connections leave its namespace: each is carried to a port of this computer's loopback."""

    def __init__(self, listening: socket.socket, port: int, tls: ssl.SSLContext | None) -> None:
        self._listening = listening
        self._port = port
        self._tls = tls
        threading.Thread(target=self._accept, name="machine-network", daemon=True).start()

    def close(self) -> None:
        """Carry nothing more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(connection,), name="machine-network", daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                _exchange(connection, server)
        except OSError:  # nobody answers there: neither does the door
            with contextlib.suppress(OSError):  # a handshake that was broken off has closed it already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            connection.close()


def _exchange(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both sides have said all, or one has gone."""
    open_ways = {one: other, other: one}
    while open_ways:
        waiting = [side for side in open_ways if isinstance(side, ssl.SSLSocket) and side.pending()]
        readable = waiting or select.select(list(open_ways), [], [])[0]
        for side in readable:
            data = side.recv(1 << 16)
            if data:
                open_ways[side].sendall(data)
            else:
                to = open_ways.pop(side)
                to.shutdown(socket.SHUT_WR)
