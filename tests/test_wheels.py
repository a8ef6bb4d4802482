"""
The install step's fast way: what the lock file names is installed, by its hash, from whatever index; nothing else is.

The index is one on loopback that speaks as PyPI does (packaging.python.org: simple repository API, JSON).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.loopback import HttpAnswer, HttpRequest, LoopbackServer
from scripts import wheels

ROOT = Path(__file__).resolve().parents[1]
NO_SETTINGS = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def wheel(files: Mapping[str, str]) -> bytes:
    """Make a wheel, as far as an installer looks at it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


class LoopbackIndex:
    """Packages by file name; `lies` gives other bytes than the index says."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.lies: dict[str, bytes] = {}
        self.speaks = "application/vnd.pypi.simple.v1+json"
        self.asked: list[str] = []
        self.server = LoopbackServer(self._respond, "index")

    def add(self, filename: str, files: Mapping[str, str]) -> str:
        """Offer a wheel; its line in a lock file."""
        self.files[filename] = wheel(files)
        name, version = filename.split("-")[:2]
        return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(self.files[filename]).hexdigest()}\n"

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        self.asked.append(request.target)
        if request.target.startswith("/files/"):
            name = request.target.removeprefix("/files/")
            return HttpAnswer(200, self.lies.get(name, self.files[name]))
        package = request.target.removeprefix("/simple/").strip("/")
        rows: list[Any] = [
            {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": hashlib.sha256(made).hexdigest()}}
            for name, made in self.files.items()
            if name.startswith(f"{package}-")
        ]
        body = json.dumps({"files": rows}) if "json" in self.speaks else "<html></html>"
        return HttpAnswer(200 if rows else 404, body.encode(), {"Content-Type": self.speaks})


@pytest.fixture
def index() -> Iterator[LoopbackIndex]:
    index = LoopbackIndex()
    index.server.start()
    yield index
    index.server.stop()


def install(
    folder: Path, index: LoopbackIndex, lock: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it as the install step does."""
    (folder / "lock.txt").write_text(lock)
    (folder / "program").mkdir(exist_ok=True)
    (folder / "program" / "decide.py").write_text("done = True")
    return subprocess.run(
        [sys.executable, "-I", ROOT / "scripts/wheels.py", folder / "lock.txt", folder / "env", folder / "program"],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_INDEX_URL": f"{index.server.url}/simple/"}
        | NO_SETTINGS
        | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_locked_is_there_with_its_bytecode(tmp_path: Path, index: LoopbackIndex) -> None:
    lock = "# written by uv\n" + index.add("one-1.0-py3-none-any.whl", {"one/__init__.py": "word = 'first'"})
    lock += index.add("two-2.0-py2.py3-none-any.whl", {"two.py": "word = 'second'"}) + "    # via one\n"
    done = install(tmp_path, index, lock)
    assert (done.returncode, done.stderr) == (0, "")
    look = "import one, two, pip; print(one.word, two.word)".replace(", pip", "")
    seen = subprocess.run(
        [tmp_path / "env/bin/python", "-I", "-c", look], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert seen.stdout == "first second\n"
    assert len(list(tmp_path.rglob("env/**/__pycache__/*.pyc"))) == 2
    assert len(list(tmp_path.rglob("program/__pycache__/decide.*.pyc"))) == 1


def test_of_the_locked_wheels_the_one_that_fits_best_is_taken(tmp_path: Path, index: LoopbackIndex) -> None:
    """Best first, as `packaging.tags.sys_tags` has it; what fits no Python of this machine is never asked for."""
    lock = index.add("one-1.0-py3-none-any.whl", {"one.py": "kind = 'any'"})
    python = f"cp3{sys.version_info.minor}"
    machine = "aarch64" if os.uname().machine == "aarch64" else "x86_64"
    for tag in (
        f"{python}-abi3-manylinux_2_5_{machine}",
        "cp35-cp35m-win_amd64",
        f"{python}-{python}-macosx_11_0_arm64",
    ):
        more = index.add(f"one-1.0-{tag}.whl", {"one.py": f"kind = {tag!r}"})
        lock = lock.rstrip("\n") + " \\\n" + more.split("\\\n")[1]
    assert install(tmp_path, index, lock).returncode == 0
    assert "abi3-manylinux" in next(tmp_path.rglob("env/**/one.py")).read_text()
    assert len([target for target in index.asked if target.startswith("/files/")]) == 1


def test_bytes_of_another_hash_are_refused_before_they_are_looked_at(tmp_path: Path, index: LoopbackIndex) -> None:
    lock = index.add("one-1.0-py3-none-any.whl", {"one.py": "kind = 'good'"})
    index.lies["one-1.0-py3-none-any.whl"] = wheel({"one.py": "kind = 'evil'"})
    done = install(tmp_path, index, lock)
    assert (done.returncode, done.stderr) == (1, "what the index gave for one has none of its locked hashes\n")
    assert list(tmp_path.rglob("one.py")) == []


def step(
    folder: Path, index: LoopbackIndex, lock: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the whole install step, of an action that needs these packages."""
    action, temp = folder / "action", folder / "temp"
    (action / "scripts").mkdir(parents=True, exist_ok=True)
    (action / "scaler").mkdir(exist_ok=True)
    temp.mkdir(exist_ok=True)
    for script in ("install-action.sh", "python.sh", "wheels.py"):
        (action / "scripts" / script).write_text((ROOT / "scripts" / script).read_text())
    (action / "requirements.txt").write_text(lock)
    given = {"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_INDEX_URL": f"{index.server.url}/simple/"}
    given |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "RUNNER_TEMP": str(temp), "GITHUB_OUTPUT": str(folder / "output")}
    command = ["bash", str(action / "scripts/install-action.sh")]
    return subprocess.run(
        command, cwd=cwd or folder, env=given | dict(env or {}), capture_output=True, text=True, check=False
    )


def test_the_step_refuses_it_too(tmp_path: Path, index: LoopbackIndex) -> None:
    """Where the fast way gives up pip takes over, and holds the same hashes."""
    lock = index.add("one-1.0-py3-none-any.whl", {"one.py": "kind = 'good'"})
    index.lies["one-1.0-py3-none-any.whl"] = wheel({"one.py": "kind = 'evil'"})
    done = step(tmp_path, index, lock, NO_SETTINGS)
    assert done.returncode == 1
    assert "pip installs the packages one after the other: what the index gave for one has none" in done.stdout
    assert "::error title=runner-scaler::The packages of requirements.txt could not be installed" in done.stdout
    assert not (tmp_path / "output").exists()
    assert list((tmp_path / "temp").rglob("one.py")) == []


# --- and of what is around it nothing is run or followed -----------------------------------------

ONE = {
    "one.py": "kind = 'good'",
    "one-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n",
    "one-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "one-1.0.dist-info/RECORD": "one.py,,\none-1.0.dist-info/METADATA,,\none-1.0.dist-info/WHEEL,,\n"
    "one-1.0.dist-info/RECORD,,\n",
}
"""A wheel that pip takes too."""
WITHOUT_PIP = """\
#!/bin/bash
case $* in
*sys.executable*) echo "$0" ;;
*"-m pip "*) exit 1 ;;
*) exec {python} "$@" ;;
esac
"""
"""A Python as Debian has it, without pip beside it."""


def hostile(folder: Path) -> tuple[Path, Path]:
    """A directory and a home full of modules that say in a file that they were run; both, and that file."""
    cwd, pwned = folder / "checkout", folder / "pwned"
    mark = f"open({str(pwned)!r}, 'a').write(__file__ + '\\n')\n"
    minors = range(11, 16)
    sites = [folder / f".local/lib/python3.{minor}/site-packages" for minor in minors]
    sites += [cwd / f"lib/python3.{minor}/site-packages" for minor in minors]
    for place in (cwd, *sites):
        place.mkdir(parents=True)
        for name in ("pip", "venv", "ensurepip", "sitecustomize", "usercustomize", "json", "runpy"):
            (place / f"{name}.py").write_text(mark)
    settings = folder / ".config/pip/pip.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text("[install]\nuser = true\n")
    return cwd, pwned


@pytest.mark.parametrize("way", ["all at once", "pip", "ensurepip's pip"])
def test_nothing_of_the_directory_or_the_home_is_run_and_no_setting_of_the_image_is_followed(
    tmp_path: Path, index: LoopbackIndex, way: str
) -> None:
    cwd, pwned = hostile(tmp_path)
    if way != "all at once":  # what the settings say of the index is pip's to follow: this says nothing new
        with (tmp_path / ".config/pip/pip.conf").open("a") as settings:
            settings.write("[global]\nno-index = false\n")
    env = {
        "PYTHONPATH": str(cwd),
        "PYTHONHOME": "/nowhere",
        "PYTHONUSERBASE": str(cwd),
        "PIP_USER": "1",
        "PIP_TARGET": str(cwd / "target"),
        "PIP_PYTHON": "/nowhere",
        "PIP_NO_BINARY": ":all:",
    }
    if way == "ensurepip's pip":
        programs = tmp_path / "programs"
        programs.mkdir()
        (programs / "python3").write_text(WITHOUT_PIP.format(python=sys.executable))
        (programs / "python3").chmod(0o755)
        env["PATH"] = f"{programs}:{os.environ['PATH']}"
    done = step(tmp_path, index, index.add("one-1.0-py3-none-any.whl", ONE), env, cwd)
    assert not pwned.exists(), pwned.read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("pip installs the packages" in done.stdout) is (way != "all at once")
    (one,) = tmp_path.rglob("one.py")
    python = (tmp_path / "output").read_text().strip().removeprefix("python=")
    assert one.is_relative_to(Path(python).parents[1])


def test_the_machines_word_on_its_index_stays(tmp_path: Path, index: LoopbackIndex) -> None:
    """Whoever serves the packages, their hashes are checked; without this word nothing would come from there."""
    assert step(tmp_path, index, index.add("one-1.0-py3-none-any.whl", ONE), NO_SETTINGS).returncode == 0
    assert index.asked == ["/simple/one/", "/files/one-1.0-py3-none-any.whl"]


def test_nothing_is_built_from_source(tmp_path: Path, index: LoopbackIndex) -> None:
    """To build is to run what the package says, before anybody has looked at what came of it."""
    backend = f"open({str(tmp_path / 'pwned')!r}, 'w').close()\nraise SystemExit('built')\n"
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as source:
        for name, text in {"pyproject.toml": project, "backend.py": backend, "PKG-INFO": "Name: one\n"}.items():
            entry = tarfile.TarInfo(f"one-1.0/{name}")
            entry.size = len(text)
            source.addfile(entry, io.BytesIO(text.encode()))
    index.files["one-1.0.tar.gz"] = archive.getvalue()
    lock = f"one==1.0 --hash=sha256:{hashlib.sha256(archive.getvalue()).hexdigest()}\n"
    done = step(tmp_path, index, lock, NO_SETTINGS)
    assert done.returncode == 1
    assert not (tmp_path / "pwned").exists()


def test_an_environment_is_whole_or_made_anew_and_one_pythons_and_leaves_no_other_file(
    tmp_path: Path, index: LoopbackIndex
) -> None:
    """A job may be cancelled while it is made, and another step may have another Python first in its PATH."""
    lock = index.add("one-1.0-py3-none-any.whl", ONE)
    assert step(tmp_path, index, lock, NO_SETTINGS).returncode == 0
    (made,) = (tmp_path / "temp").iterdir()
    (made / "complete").unlink()
    (one,) = made.rglob("one.py")
    one.unlink()
    assert step(tmp_path, index, lock, NO_SETTINGS).returncode == 0
    assert one.exists()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(sys.executable)
    again = step(tmp_path, index, lock, {**NO_SETTINGS, "PATH": f"{programs}:{os.environ['PATH']}"})
    assert again.returncode == 0
    assert len(list((tmp_path / "temp").iterdir())) == 2


def test_no_file_of_a_wheel_leaves_its_folder(tmp_path: Path, index: LoopbackIndex) -> None:
    done = install(tmp_path, index, index.add("one-1.0-py3-none-any.whl", {"../../../../../evil.py": "evil = True"}))
    assert (done.returncode, "outside of itself" in done.stderr) == (1, True)
    assert list(tmp_path.rglob("evil.py")) == []


def test_models_of_services_that_nobody_asks_stay_in_their_wheel(tmp_path: Path, index: LoopbackIndex) -> None:
    models = [f"botocore/data/{name}" for name in ("ec2/2016-11-15/a.json", "s3/2006-03-01/a.json", "endpoints.json")]
    lock = index.add("botocore-1.0-py3-none-any.whl", dict.fromkeys(models, "{}"))
    assert install(tmp_path, index, lock).returncode == 0
    kept = {path.name if path.name == "endpoints.json" else path.parts[-3] for path in tmp_path.rglob("data/**/*.json")}
    assert kept == {"ec2", "endpoints.json"}


def test_every_service_that_the_program_asks_has_its_model() -> None:
    text = "\n".join(Path(file).read_text() for file in wheels.modules(ROOT / "scaler"))
    asked = set(re.findall(r"""[._]client\(\s*"([\w-]+)""", text))
    assert asked == {"ec2", "iam", "ssm", "sts"}
    assert asked <= wheels.SERVICES


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        pytest.param("one @ https://example.invalid/one.whl\n", "not of the form", id="a line of another form"),
        pytest.param("one==1.0\n", "not of the form", id="a line without a hash"),
        pytest.param("one==1.0 --hash=sha256:" + "0" * 64 + "\n", "no wheel of one that is locked", id="a wrong hash"),
    ],
)
def test_what_is_not_plain_is_said_in_a_line(tmp_path: Path, index: LoopbackIndex, lock: str, why: str) -> None:
    index.add("one-1.0-py3-none-any.whl", {"one.py": ""})
    done = install(tmp_path, index, lock)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert why in done.stderr


def test_packages_for_other_machines_are_left_out() -> None:
    hashed = f"--hash=sha256:{'0' * 64}"
    lock = f"one==1.0 ; sys_platform == 'win32' \\\n    {hashed} \\\n    {hashed}\ntwo==2.0 ; python_version > '3' {hashed}\n"
    assert [package.name for package in wheels.locked(lock)] == ["two"]


def test_every_line_of_the_lock_file_is_understood() -> None:
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert [package.name for package in wheels.locked((ROOT / "requirements.txt").read_text())] == names


def test_an_index_without_json_is_pips(tmp_path: Path, index: LoopbackIndex) -> None:
    lock = index.add("one-1.0-py3-none-any.whl", {"one.py": ""})
    index.speaks = "text/html"
    assert install(tmp_path, index, lock).stderr == "the index does not speak JSON\n"


def test_settings_of_pips_own_are_pips_to_follow(tmp_path: Path, index: LoopbackIndex) -> None:
    lock = index.add("one-1.0-py3-none-any.whl", {"one.py": ""})
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://mirror.invalid/simple\n")
    done = install(tmp_path, index, lock, {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/pip.conf has index-url\n")
    assert index.asked == []
