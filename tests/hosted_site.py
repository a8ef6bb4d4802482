"""A site for the runner: the sandbox's world behind it, this repository's action in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.sandbox import TOKEN
from tests.conftest import ROOT, World
from tests.expressions import Expressions
from tests.hosted_runner import Event, Job, JobRan, Site, Workflow, load_yaml, read_yaml

OURS = "org/runner-scaler"
CHECKOUT = "actions/checkout"
TOOLS = ("PIP_", "SSL_")
"""What a machine says of its package index and certificates, as images of one's own do."""


def machine(folder: Path) -> dict[str, str]:
    """The environment that the runner itself has: as little as it may be, and the machine's word on its package index."""
    tools = {name: value for name, value in os.environ.items() if name.startswith(TOOLS)}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **tools}


def checked_out(job: Job, given: Mapping[str, str]) -> Mapping[str, str]:
    """This repository's files, and the environments that scripts/setup.sh has made of its lock files before."""
    folder = job.workspace / given.get("path", "")
    folder.mkdir(exist_ok=True)
    for name in (*tracked(), ".venv", ".cache"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return {}


class Hosted:
    """GitHub's side of a world: workflows run on a runner, in a repository that holds the world's config.yaml."""

    def __init__(self, world: World, expressions: Expressions, temp: Path, folder: Path) -> None:
        """`temp` is RUNNER_TEMP. It is emptied after each job by GitHub, and kept here, since to install takes long."""
        self.world, self.expressions = world, expressions
        env = dict(world.box.env(oidc=True))
        id_token = {name: env.pop(name) for name in list(env) if name.startswith("ACTIONS_ID_TOKEN_")}
        self.site = Site(
            checkout=world.folder,
            work=folder / "_work",
            temp=temp,
            image={
                **machine(folder),
                "AWS_ENDPOINT_URL": env["AWS_ENDPOINT_URL"],
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            actions={OURS: ROOT},
            stubs={CHECKOUT: self.check_out},
            secrets={"RUNNER_SCALER_TOKEN": TOKEN},
            id_token=id_token,
            api_url=world.box.github_server.url,
        )

    def check_out(self, job: Job, given: Mapping[str, str]) -> Mapping[str, str]:
        """The scaler's own repository, or a copy of it: its files, and config.yaml."""
        checked_out(job, given)
        for path in job.site.checkout.iterdir():
            to = job.workspace / path.name
            to.unlink(missing_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, to)
        return {}

    def workflow(self, file: str, event: Event | None = None, **site: Any) -> Workflow:
        """A workflow of this repository, as an event starts it."""
        return Workflow(load_yaml(ROOT / file), event or Event(), replace(self.site, **site), self.expressions)

    def written(self, text: str, **site: Any) -> Workflow:
        """A workflow that somebody wrote."""
        return Workflow(read_yaml(text), Event(), replace(self.site, **site), self.expressions)

    def button(self, **inputs: Any) -> JobRan:
        """The repository's own workflow, run by hand with these inputs."""
        return self.workflow(".github/workflows/autoscale.yml", Event(inputs=dashed(inputs))).job("scale").run()

    def use(self, env: Mapping[str, str] | None = None, **given: Any) -> JobRan:
        """`uses: ./` with these inputs, and the token unless it is given; `env` is of that step."""
        return self.using(env, **given).job("scale").run()

    def using(self, env: Mapping[str, str] | None = None, **given: Any) -> Workflow:
        """The workflow that `use` runs."""
        document = read_yaml(USE)
        step = document["jobs"]["scale"]["steps"][1]
        step["with"] |= dashed(given)
        step["env"] = dict(env or {})
        return Workflow(document, Event(name="schedule"), self.site, self.expressions)


USE = """
on: {schedule: [{cron: "7 * * * *"}]}
permissions: {}
jobs:
  scale:
    runs-on: ubuntu-24.04
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1
      - id: scale
        name: Scale
        uses: ./
        with: {github-token: "${{ secrets.RUNNER_SCALER_TOKEN }}"}
"""


def dashed(names: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs by their names in Python: `instance_id`, `for_`."""
    return {name.rstrip("_").replace("_", "-"): value for name, value in names.items()}


def tracked() -> list[str]:
    """The names at the top of this repository, but for the configs of others."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted({name.partition("/")[0] for name in files.splitlines()})


@pytest.fixture(scope="session")
def runner_temp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RUNNER_TEMP of all jobs of a session, in which the action's first step has been before: it takes a while."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist's workers have a folder each below the session's.
    temp = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "runner-temp"
    temp.mkdir(exist_ok=True)
    env = {**os.environ, "RUNNER_TEMP": str(temp), "GITHUB_OUTPUT": os.devnull, "GITHUB_ACTION_PATH": str(ROOT)}
    with (temp / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["bash", ROOT / "scripts/install-action.sh"], env=env, check=True)
    return temp


@pytest.fixture
def hosted(world: World, expressions: Expressions, runner_temp: Path, tmp_path: Path) -> Hosted:
    """The world, seen from a workflow."""
    return Hosted(world, expressions, runner_temp, tmp_path)
