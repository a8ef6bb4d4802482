"""
The runner program's stand-in behaves as the real one: docs.github.com, "Self-hosted runners", and github.com/actions/runner:
`src/Misc/layoutroot/` (`run.sh`, `run-helper.sh.template`), `src/Runner.Common/Constants.cs` (`ReturnCode`) and
`src/Runner.Listener/` (`Program.cs`, `Runner.cs`, `MessageListener.cs`, `CommandSettings.cs`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.clock import Clock
from scaler.sandbox.github.server import GitHubServer
from scaler.sandbox.github.state import JobSpec, Runner
from scaler.sandbox.github.world import GitHubWorld
from scaler.sandbox.journal import Journal
from scaler.sandbox.machines.disk import RUNNER_PROGRAM

LABELS = ("self-hosted", "acme")


@dataclass(slots=True)
class Site:
    """A runner program's directory, and the GitHub it knows."""

    clock: Clock
    journal: Journal
    github: GitHubWorld
    server: GitHubServer
    home: Path
    environment: dict[str, str]

    def mint(self, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """POST below the repository's runners."""
        request = urllib.request.Request(
            f"{self.server.url}/repos/acme/api/actions/runners/{what}",
            data=json.dumps(body or {}).encode(),
            headers={"Authorization": "Bearer pat", "User-Agent": "tests"},
        )
        with urllib.request.urlopen(request) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def configure(self, *arguments: str, token: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run config.sh for the runner `one`, with a fresh token."""
        given = ["--unattended", "--url", f"{self.server.url}/acme/api", "--name", "one", "--labels", ",".join(LABELS)]
        held = token or self.mint("registration-token")["token"]
        return subprocess.run(
            [self.home / "config.sh", *given, *arguments],
            check=False,
            env={**self.environment, "ACTIONS_RUNNER_INPUT_TOKEN": held, **environment},
            capture_output=True,
            text=True,
            timeout=30,
        )

    def jit(self) -> dict[str, str]:
        """The environment that carries a JIT configuration for the runner `one`."""
        body = {"name": "one", "runner_group_id": 1, "labels": list(LABELS)}
        return {"ACTIONS_RUNNER_INPUT_JITCONFIG": self.mint("generate-jitconfig", body)["encoded_jit_config"]}

    def run(self, program: str = "run.sh", **environment: str) -> subprocess.Popen[str]:
        """Start run.sh, or the listener alone, in a process group of its own."""
        argv = [str(self.home / program)] + (["run"] if program.startswith("bin/") else [])
        return subprocess.Popen(
            argv,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def queue(self, **spec: Any) -> None:
        """Queue one job."""
        self.github.push("acme/api", [JobSpec(name="build", labels=LABELS, **spec)])

    def until(self, what: str) -> None:
        """Wait until the journal has this."""
        assert self.clock.wait_for(lambda: bool(self.journal.of(what)), 30), f"never: {what}"

    def runner(self) -> Runner | None:
        """The runner that is registered."""
        found = self.github.registered()
        return found[0] if found else None


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A fresh copy of the program, whose waits of its own are over at once."""
    clock = Clock()
    journal = Journal(clock)
    github = GitHubWorld(clock, journal)
    github.add_repository("acme/api")
    github.add_token("pat")
    server = GitHubServer(github)
    home = tmp_path / "actions-runner"
    shutil.copytree(RUNNER_PROGRAM, home)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    (programs / "sleep").write_text(f'#!/bin/bash\necho "$1" >>{tmp_path}/slept\n')
    (programs / "sleep").chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "RUNNER_ALLOW_RUNASROOT": "1", "LANG": "C.UTF-8"}
    clock.start()
    server.start()
    yield Site(clock, journal, github, server, home, environment)
    server.stop()
    clock.stop()


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a program's end; what it said."""
    said, _ = process.communicate(timeout=30)
    return said


# --- config.sh -----------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
@pytest.mark.parametrize("program", ["config.sh", "run.sh"])
def test_root_is_refused_unless_allowed(site: Site, program: str) -> None:
    """RUNNER_ALLOW_RUNASROOT allows it."""
    del site.environment["RUNNER_ALLOW_RUNASROOT"]
    said = finish(site.run(program))
    assert "Must not run" in said


def test_a_registered_runner_has_its_labels_and_files(site: Site) -> None:
    """Without --no-default-labels the default ones are added."""
    assert site.configure("--ephemeral").returncode == 0
    runner = site.runner()
    assert runner is not None
    assert list(runner.labels) == ["self-hosted", "Linux", "X64", "self-hosted", "acme"]
    assert runner.ephemeral
    assert json.loads((site.home / ".runner").read_text())["agentName"] == "one"
    assert (site.home / ".credentials").stat().st_mode & 0o777 == 0o600


def test_no_default_labels_means_none(site: Site) -> None:
    """`--no-default-labels` takes just what `--labels` has."""
    site.configure("--no-default-labels")
    runner = site.runner()
    assert runner is not None
    assert tuple(runner.labels) == LABELS


def test_an_unattended_registration_does_not_replace_a_runner_of_that_name(site: Site) -> None:
    """TaskAgentExistsException, unless --replace."""
    site.configure()
    refused = site.configure()
    assert refused.returncode == 1
    assert "A runner exists with the same name one" in refused.stdout
    assert site.configure("--replace").returncode == 0


def test_a_wrong_token_is_refused(site: Site) -> None:
    """Tokens are for one scope, for an hour."""
    refused = site.configure(token="AWRONG")
    assert refused.returncode == 1
    assert site.runner() is None


# --- jobs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["jit", "token"])
def test_an_ephemeral_runner_does_one_job_and_is_de_registered(site: Site, how: str) -> None:
    """The service removes it after one job; the program removes its files and ends with 0."""
    environment = site.jit() if how == "jit" else {}
    if how == "token":
        site.configure("--ephemeral")
    site.queue(duration=0.0)
    site.queue(duration=0.0)
    process = site.run("bin/Runner.Listener", **environment)
    said = finish(process)
    assert process.returncode == 0
    lines = [line.partition("Z: ")[2] or line for line in said.splitlines() if line]
    assert lines[:5] == [
        "√ Connected to GitHub",
        "Current runner version: '2.337.0'",
        "Listening for Jobs",
        "Running job: build",
        "Job build completed with result: Succeeded",
    ]
    assert site.runner() is None
    assert not (site.home / ".runner").exists()
    assert len(site.journal.of("job.finished")) == 1


def test_hooks_run_before_and_after_a_job_and_see_no_secret(site: Site, tmp_path: Path) -> None:
    """ACTIONS_RUNNER_INPUT_* is read and removed; `.env` beside the program is added (Program.cs)."""
    for when in ("STARTED", "COMPLETED"):
        hook = tmp_path / f"{when}.sh"
        hook.write_text(f"env >>{tmp_path}/seen\necho {when} >>{tmp_path}/order\n")
        with (site.home / ".env").open("a") as file:
            file.write(f"ACTIONS_RUNNER_HOOK_JOB_{when}={hook}\n")
    site.queue(duration=0.0)
    finish(site.run(**site.jit()))
    assert (tmp_path / "order").read_text().split() == ["STARTED", "COMPLETED"]
    assert "ACTIONS_RUNNER_INPUT" not in (tmp_path / "seen").read_text()


def test_a_failing_hook_fails_the_job(site: Site, tmp_path: Path) -> None:
    """docs.github.com, "Running scripts before or after a job": a non-zero exit code fails the job."""
    hook = tmp_path / "hook.sh"
    hook.write_text("exit 1\n")
    site.queue(duration=0.0)
    finish(site.run(ACTIONS_RUNNER_HOOK_JOB_STARTED=str(hook), **site.jit()))
    assert [entry.facts["conclusion"] for entry in site.journal.of("job.finished")] == ["failure"]


def test_a_job_cancelled_at_github_ends(site: Site) -> None:
    """The runner learns of it by a message and reports the job as cancelled."""
    site.queue(duration=1000.0)
    process = site.run(**site.jit())
    site.until("job.started")
    site.github.cancel_job(site.github.unfinished_jobs()[0].id)
    said = finish(process)
    assert "Job build completed with result: Canceled" in said


# --- signals -------------------------------------------------------------------------------------


def test_sigint_ends_an_idle_runner_and_closes_its_session(site: Site) -> None:
    """To the process group, as from a terminal; the exit code is 0."""
    process = site.run(**site.jit())
    site.until("runner.online")
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process)
    assert "Exiting..." in said
    assert process.returncode == 0
    runner = site.runner()
    assert runner is not None
    assert not runner.online


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_job_cancels_the_job(site: Site, number: int) -> None:
    """Runner.cs: ShutdownReason.UserCancelled."""
    site.queue(duration=1000.0)
    process = site.run("bin/Runner.Listener", **site.jit())
    site.until("job.started")
    process.send_signal(number)
    finish(process)
    assert [entry.facts["conclusion"] for entry in site.journal.of("job.finished")] == ["cancelled"]


def test_a_listener_started_with_sigint_ignored_does_not_hear_it(site: Site) -> None:
    """.NET respects ignored signals (dotnet/corefx#25749); bash without job control starts `&` processes so."""
    command = f"{site.home}/bin/Runner.Listener run & echo $! && wait"
    process = subprocess.Popen(
        ["bash", "-c", command], env={**site.environment, **site.jit()}, stdout=subprocess.PIPE, text=True
    )
    site.until("runner.online")
    assert process.stdout is not None
    listener = int(process.stdout.readline())
    os.kill(listener, signal.SIGINT)
    site.clock.wait_for(lambda: bool(site.journal.of("runner.offline")), 0.5)
    runner = site.runner()
    assert runner is not None
    assert runner.online
    os.kill(listener, signal.SIGTERM)
    finish(process)


# --- exit codes ----------------------------------------------------------------------------------
# The listener's own: src/Runner.Common/Constants.cs, ReturnCode (Success 0, TerminatedError 1, RetryableError 2,
# RunnerUpdating 3, RunOnceRunnerUpdating 4, SessionConflict 5, RunnerConfigurationRefreshed 6), and 7,
# RunnerVersionDeprecated, since https://github.com/actions/runner/pull/4285 (2.333.0).


@pytest.mark.parametrize(
    ("listener", "environment", "wrapper"),
    [
        pytest.param(0, {}, 0, id="done is 0"),
        pytest.param(1, {}, 0, id="terminated becomes 0"),
        pytest.param(5, {}, 0, id="session conflict becomes 0"),
        pytest.param(6, {}, 0, id="configuration refreshed becomes 0"),
        pytest.param(7, {}, 0, id="deprecated becomes 0"),
        pytest.param(9, {}, 0, id="unknown becomes 0"),
        pytest.param(7, {"ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE": "1"}, 7, id="deprecated if asked for"),
        pytest.param(2, {}, 2, id="retryable is started again"),
        pytest.param(3, {}, 2, id="updating is started again"),
        pytest.param(4, {}, 2, id="updating in its one run is started again"),
    ],
)
def test_the_helper_turns_nearly_every_exit_code_into_0(
    site: Site, listener: int, environment: dict[str, str], wrapper: int
) -> None:
    """
    So an exit code says nothing about whether a job ran.

    src/Misc/layoutroot/run-helper.sh.template: 2, 3 and 4 become 2, 7 stays with the variable of
    https://github.com/actions/runner/pull/4285, all else becomes 0 (as complained of in
    https://github.com/actions/runner/issues/3266, "fails to start silently").
    """
    (site.home / "bin/Runner.Listener").write_text(f"#!/bin/bash\nexit {listener}\n")
    (site.home / "update.finished").touch()
    process = site.run("run-helper.sh.template", **environment)
    finish(process)
    assert process.returncode == wrapper


def test_run_sh_starts_a_retryable_listener_again(site: Site) -> None:
    """Exit code 2, then a job: src/Misc/layoutroot/run.sh, `run`; Program.cs answers 2 to what it does not know."""
    listener = site.home / "bin/Runner.Listener"
    listener.rename(site.home / "bin/real")
    listener.write_text(f'#!/bin/bash\n[ -e {site.home}/once ] && exec {site.home}/bin/real "$@"\n'
                        f"touch {site.home}/once; exit 2\n")  # fmt: skip
    listener.chmod(0o755)
    site.queue(duration=0.0)
    said = finish(site.run(**site.jit()))
    assert "Restarting runner..." in said
    assert "Succeeded" in said


@pytest.mark.parametrize("minimum", ["2.338.0"])
def test_a_deprecated_version_ends_with_7(site: Site, minimum: str) -> None:
    """
    GitHub gives no jobs to a version that is 30 days behind (docs: runner software updates).

    The words: https://github.com/actions/runner/issues/3266; the code: https://github.com/actions/runner/pull/4285.
    """
    environment = site.jit()
    site.github.set(minimum_version=minimum)
    process = site.run("bin/Runner.Listener", **environment)
    said = finish(process)
    assert process.returncode == 7
    assert "Runner version v2.337.0 is deprecated and cannot receive messages." in said


def test_a_session_conflict_ends_with_5_after_four_minutes(site: Site, tmp_path: Path) -> None:
    """
    The same credential in two places; the first stays.

    MessageListener.cs, IsSessionCreationExceptionRetriable: every 30 s, until the conflicts times 30 s are 240 s.
    Runner.cs, RunAsync: CreateSessionResult.SessionConflict is ReturnCode.SessionConflict.
    """
    environment = site.jit()
    first = site.run("bin/Runner.Listener", **environment)
    site.until("runner.online")
    second = site.run("bin/Runner.Listener", **environment)
    said = finish(second)
    assert said.count("A session for this runner already exists.") == 8
    assert (tmp_path / "slept").read_text().split() == ["30"] * 7
    assert "Retrying until reconnected" in said
    assert "Stop retry on SessionConflictException after retried for 240 seconds." in said
    assert second.returncode == 5
    first.send_signal(signal.SIGINT)
    finish(first)


def test_a_runner_removed_before_it_connects_ends_with_1(site: Site) -> None:
    """
    MessageListener.cs, CreateSessionAsync: the token exchange answers invalid_client, and there is no session.

    Runner.cs, RunAsync: CreateSessionResult.Failure is ReturnCode.TerminatedError.
    """
    environment = site.jit()
    runner = site.runner()
    assert runner is not None
    site.github.remove_runner(runner.id)
    process = site.run("bin/Runner.Listener", **environment)
    assert "The runner registration has been deleted from the server" in finish(process)
    assert process.returncode == 1


def test_a_runner_removed_while_it_listens_cleans_up_and_ends_with_0(site: Site) -> None:
    """
    The exit code does not tell that there was no job: the log of https://github.com/actions/runner/issues/4726.

    Runner.cs, RunAsync, of 2.337.0: TaskAgentNotFoundException ends the loop, and what is left returns Success.
    """
    process = site.run("bin/Runner.Listener", **site.jit())
    site.until("runner.online")
    runner = site.runner()
    assert runner is not None
    site.github.remove_runner(runner.id)
    said = finish(process)
    assert "The runner no longer exists on the server. Cleaning up local configuration." in said
    assert process.returncode == 0
    assert not (site.home / ".runner").exists()
