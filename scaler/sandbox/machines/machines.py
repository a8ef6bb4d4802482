"""
The machines behind the embedded EC2: each boots the real boot script, as a process tree of its own.

A machine has a disk with the runner program's stand-in and `packer/init-runner.sh`, a metadata service, and a
`bin` in front of its PATH whose `sleep` waits in the world's time. The script's three seams lead here. As the image's
systemd unit does, a machine powers off when the script has ended without doing so.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scaler.sandbox.aws.ec2_world import Instance
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal
from scaler.sandbox.machines import disk, warden
from scaler.sandbox.machines.door import Door
from scaler.sandbox.machines.faults import PROGRAM_FAULTS, FaultKind, MachineFault
from scaler.sandbox.machines.metadata import Account, MetadataService

POOL_TAG = "runner-scaler:pool"

SHUTDOWN_GRACE = 2.0
"""Real seconds that processes have to end in when their machine shuts down."""


class Aws(Account, Protocol):
    """What machines tell AWS, and ask of it."""

    def powered_off(self, instance_id: str) -> None:
        """An instance shut itself down."""

    def console(self, instance_id: str, line: str) -> None:
        """A line of the serial console."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sleep:
    """A `sleep` of a machine: how long, whom to tell, and the real time it began."""

    seconds: float
    over: Callable[[bool], None]
    began: float


@dataclass(slots=True)
class _Machine:
    """One boot of one instance."""

    instance: Instance
    home: Path
    faults: dict[FaultKind, MachineFault]
    metadata: MetadataService
    process: subprocess.Popen[bytes] | None = None
    console: threading.Thread | None = None
    ended: bool = False
    sleeps: list[_Sleep] = field(default_factory=list)


class Machines:
    """
    Boots and kills machines; `connect` comes before the first boot.

    `boot_delay` is the virtual seconds between running and the boot script's start; `customize` what the image's
    owner adds to the runner program's directory; `shortest_sleep` the real seconds that a machine's sleep takes at
    least, so that at high speed those that wait do not poll without a pause.
    """

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        workdir: Path,
        *,
        boot_delay: float = 15.0,
        faults: Iterable[MachineFault] = (),
        customize: Callable[[Path], None] = lambda _: None,
        shortest_sleep: float = 0.1,
    ) -> None:
        self.boot_delay = boot_delay
        self.faults = list(faults)
        self.customize = customize
        self.shortest_sleep = shortest_sleep
        self._clock = clock
        self._journal = journal
        self._workdir = workdir
        self._machines: dict[str, _Machine] = {}
        self._boots: dict[str, int] = {}
        self._aws: Aws | None = None
        self._aws_url = ""
        self._stopped = False
        self._door = Door(self)
        self._warden: subprocess.Popen[bytes] | None = None

    # --- life of the sandbox ---------------------------------------------------------------------

    def connect(self, aws: Aws, url: str) -> None:
        """The AWS whose instances these are, and where its API is."""
        self._aws, self._aws_url = aws, url

    @property
    def aws(self) -> Aws:
        """The AWS whose instances these are."""
        if self._aws is None:
            raise RuntimeError("connect() comes before the first boot")
        return self._aws

    def start(self) -> None:
        """Be ready to boot."""
        self._workdir.mkdir(parents=True, exist_ok=True)
        self._door.start()
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(warden.__file__))],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the sandbox; the warden follows
        )

    def stop(self) -> None:
        """Kill every machine; no process is left."""
        with self._clock.lock:
            self._stopped = True
            machines = list(self._machines.values())
        warden.end({m.process.pid for m in machines if m.process is not None and not m.ended})
        for machine in machines:
            self._release(machine)
        self._door.stop()
        if self._warden is not None and self._warden.stdin is not None:
            self._warden.stdin.close()
            self._warden.wait(timeout=10)

    # --- what EC2 asks ---------------------------------------------------------------------------

    def boot(self, instance: Instance) -> None:
        """An instance turned running: start its boot script when the kernel and systemd have had their time."""
        pool = instance.tags.get(POOL_TAG, "")
        for counter in ("", f"/{pool}"):
            self._boots[counter] = self._boots.get(counter, 0) + 1
        struck = [f for f in self.faults if f.strikes(pool, self._boots[f"/{pool}"], self._boots[""])]
        faults = {fault.kind: fault for fault in struck}
        machine = _Machine(instance, self._workdir / instance.id, faults, self._metadata(instance.id, self.aws, faults))
        self._machines[instance.id] = machine
        self._journal.write("machine.booting", id=instance.id, pool=pool, faults=sorted(faults))
        if FaultKind.HANG in faults:
            self.aws.console(instance.id, "kernel: watchdog: BUG: soft lockup - CPU#0 stuck for 22s!")
            return
        late = faults[FaultKind.LATE].seconds if FaultKind.LATE in faults else 0.0
        self._clock.after(self.boot_delay + late, lambda: self._in_thread(self._run, machine))

    def kill(self, instance_id: str) -> None:
        """An instance shuts down: its processes may end, and are ended. Returns at once."""
        machine = self._machines.get(instance_id)
        if machine is not None:
            self._in_thread(self._end, machine)

    # --- what tests ask --------------------------------------------------------------------------

    def pids(self, instance_id: str) -> list[int]:
        """The living processes of a machine."""
        machine = self._machines.get(instance_id)
        return list(warden.members({machine.process.pid})) if machine and machine.process else []

    def sleeping(self, instance_id: str) -> list[float]:
        """The lengths of the sleeps that a machine is in."""
        with self._clock.lock:
            machine = self._machines.get(instance_id)
            return [sleep.seconds for sleep in machine.sleeps] if machine else []

    def home(self, instance_id: str) -> Path:
        """The runner program's directory of a machine."""
        return disk.runner_home(self._machines[instance_id].home)

    def at_a_job(self, instance_id: str) -> bool:
        """Whether the hook that runs before a job has left its mark."""
        return (self.home(instance_id).parent / "runner-scaler/state/marks/job-started").exists()

    # --- booting ---------------------------------------------------------------------------------

    def _metadata(self, instance_id: str, aws: Aws, faults: Mapping[FaultKind, MachineFault]) -> MetadataService:
        def before() -> bool:
            if FaultKind.IMDS_SLOW in faults:
                self._clock.wait_for(lambda: self._stopped, faults[FaultKind.IMDS_SLOW].seconds)
            return FaultKind.IMDS_DOWN in faults

        return MetadataService(instance_id, aws, before if faults else None)

    def _run(self, machine: _Machine) -> None:
        """Build the machine's disk, if it has none, and start the boot script."""
        if not machine.home.exists():
            self._build(machine, next((PROGRAM_FAULTS[kind] for kind in machine.faults if kind in PROGRAM_FAULTS), ""))
        machine.metadata.start()
        process = self._spawn(machine)
        self._tell_warden(process.pid)
        machine.console = threading.Thread(target=self._carry_console, args=(machine.instance.id, process), daemon=True)
        machine.console.start()
        with self._clock.lock:
            machine.process = process
            gone = machine.ended or self._stopped
            if not gone:
                self._journal.write("machine.started", id=machine.instance.id)
        if gone:
            warden.end({process.pid})
            self._release(machine)
            return
        if FaultKind.CRASHES in machine.faults:
            self._clock.after(machine.faults[FaultKind.CRASHES].seconds, lambda: self._in_thread(self._crash, machine))
        process.wait()
        if not machine.ended:  # systemd: SuccessAction and FailureAction of the unit
            self.power_off(machine.instance.id, by="unit")

    def _build(self, machine: _Machine, fault: str) -> None:
        disk.build(machine.home, self._door.programs(machine.instance.id), self.customize, fault)

    def _spawn(self, machine: _Machine) -> subprocess.Popen[bytes]:
        programs = disk.programs(machine.home)
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "IMDS_ENDPOINT": machine.metadata.url,
            "AWS_ENDPOINT_URL": self._aws_url,
            "POWEROFF_COMMAND": str(programs / "poweroff"),
            "RUNNER_ALLOW_RUNASROOT": "1",
        }
        # As under systemd: who starts the sandbox in the background of a script has SIGINT ignored, and so have all after.
        return subprocess.Popen(
            ["env", "--default-signal=INT", str(disk.boot_script(machine.home))],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _carry_console(self, instance_id: str, process: subprocess.Popen[bytes]) -> None:
        """Until the last of the machine's processes has ended: its watchdogs speak too."""
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self.aws.console(instance_id, line.decode(errors="replace").rstrip("\n"))

    # --- ending ----------------------------------------------------------------------------------

    def power_off(self, instance_id: str, by: str = "script") -> None:
        """A machine shuts itself down; at most once."""
        machine = self._machines[instance_id]
        with self._clock.lock:
            if machine.ended or self._stopped:
                return
            self._journal.write("machine.powered_off", id=instance_id, by=by)
        self._in_thread(self._end, machine, lambda: self.aws.powered_off(instance_id))

    def _end(self, machine: _Machine, then: Callable[[], object] = lambda: None) -> None:
        with self._clock.lock:
            first, machine.ended = not machine.ended, True
        if first and machine.process is not None:
            warden.end({machine.process.pid}, SHUTDOWN_GRACE)
        if first:
            self._release(machine)
            self._journal.write("machine.ended", id=machine.instance.id)
        then()

    def _crash(self, machine: _Machine) -> None:
        with self._clock.lock:
            first, machine.ended = not machine.ended, True
        if first and machine.process is not None:
            self._journal.write("machine.crashed", id=machine.instance.id)
            warden.end({machine.process.pid})
            self._release(machine)

    def _release(self, machine: _Machine) -> None:
        with self._clock.lock:
            for sleep in list(machine.sleeps):
                self._wake(machine, sleep, well=False)
        machine.metadata.stop()
        if machine.process is not None:
            machine.process.wait()
            self._tell_warden(-machine.process.pid)
        if machine.console is not None:
            machine.console.join(timeout=5)

    # --- within ----------------------------------------------------------------------------------

    def sleep(self, instance_id: str, seconds: float, over: Callable[[bool], None]) -> Callable[[], None]:
        """Call `over` when that much of the world's time has passed; with False if the machine ends before."""
        sleep = _Sleep(seconds, over, time.monotonic())
        with self._clock.lock:
            machine = self._machines[instance_id]
            machine.sleeps.append(sleep)
            if seconds != math.inf:
                self._clock.after(seconds, lambda: self._wake(machine, sleep, well=True))
            self._clock.changed()
        return lambda: self._wake(machine, sleep, well=False)

    def _wake(self, machine: _Machine, sleep: _Sleep, *, well: bool) -> None:
        with self._clock.lock:
            if sleep not in machine.sleeps:
                return
            machine.sleeps.remove(sleep)
            self._clock.changed()
        early = sleep.began + self.shortest_sleep - time.monotonic()
        if well and early > 0:
            threading.Timer(early, sleep.over, (well,)).start()
        else:
            sleep.over(well)

    def _tell_warden(self, number: int) -> None:
        if self._warden is not None and self._warden.stdin is not None and not self._warden.stdin.closed:
            os.write(self._warden.stdin.fileno(), b"%d\n" % number)

    def _in_thread(self, what: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=what, args=arguments, name="machine", daemon=True).start()
