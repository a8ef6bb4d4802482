"""
GitHub's published description of its REST API, cut down to the operations in use.

The npm package @octokit/openapi (MIT) carries github/rest-api-description. It is fetched by npm, compared with
the pinned hash, and one of its files is unpacked and trimmed (13 MB to about 240 KB). Nothing of it is committed.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.fetched import client, kept, verify

PACKAGE = "@octokit/openapi"
VERSION = "23.0.2"
INTEGRITY = "sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg=="
MEMBER = "package/generated/api.github.com.json"

_REPOSITORY = "/repos/{owner}/{repo}"
_RUN = _REPOSITORY + "/actions/runs/{run_id}"
_GROUPS = "/orgs/{org}/actions/runner-groups"

OPERATIONS: dict[str, str] = {
    _REPOSITORY: "get",
    _REPOSITORY + "/actions/runs": "get",
    _RUN: "get",
    _RUN + "/jobs": "get",
    _RUN + "/attempts/{attempt_number}": "get",
    _RUN + "/attempts/{attempt_number}/jobs": "get",
    _RUN + "/cancel": "post",
    _RUN + "/force-cancel": "post",
    _RUN + "/rerun": "post",
    _RUN + "/rerun-failed-jobs": "post",
    _REPOSITORY + "/actions/jobs/{job_id}": "get",
    _REPOSITORY + "/actions/jobs/{job_id}/rerun": "post",
    _REPOSITORY + "/actions/workflows": "get",
    _REPOSITORY + "/actions/workflows/{workflow_id}": "get",
    _REPOSITORY + "/actions/workflows/{workflow_id}/runs": "get",
    _REPOSITORY + "/actions/workflows/{workflow_id}/enable": "put",
    _REPOSITORY + "/actions/workflows/{workflow_id}/dispatches": "post",
    **{
        scope + path: methods
        for scope in (_REPOSITORY, "/orgs/{org}")
        for path, methods in {
            "/actions/runners": "get",
            "/actions/runners/downloads": "get",
            "/actions/runners/generate-jitconfig": "post",
            "/actions/runners/registration-token": "post",
            "/actions/runners/remove-token": "post",
            "/actions/runners/{runner_id}": "get delete",
        }.items()
    },
    "/orgs/{org}": "get",
    "/orgs/{org}/repos": "get",
    _GROUPS: "get",
    _GROUPS + "/{runner_group_id}": "get",
    _GROUPS + "/{runner_group_id}/repositories": "get",
    "/app/installations/{installation_id}/access_tokens": "post",
    "/orgs/{org}/installation": "get",
    "/users/{username}/installation": "get",
    "/installation/repositories": "get",
    "/user/repos": "get",
    _REPOSITORY + "/installation": "get",
    _REPOSITORY + "/contents/{path}": "get",
    "/rate_limit": "get",
}
"""Path templates and methods that are kept. Whoever uses one more adds it here; the cache then renews itself."""

ADDED: dict[str, Any] = {
    f"{scope}/actions/runners/deprecations/{{version}}": {
        "get": {
            "operationId": f"actions/get-runner-version-deprecation-for-{where}",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in (*names, "version")
            ],
            "responses": {
                "200": {
                    "description": "When the version is given no more jobs, and registers no more.",
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "required": ["runner_version"],
                                "properties": {
                                    "runner_version": {"type": "string"},
                                    **{
                                        f"{what}_deprecates_at": {
                                            "type": "string",
                                            "nullable": True,
                                            "format": "date-time",
                                        }
                                        for what in ("registration", "runtime")
                                    },
                                },
                            }
                        }
                    },
                }
            },
        }
    }
    for scope, where, names in ((_REPOSITORY, "repo", ("owner", "repo")), ("/orgs/{org}", "org", ("org",)))
}
"""
What the newest package does not describe yet: the schedule by version of September 2026.

By docs.github.com/rest/actions/self-hosted-runners, "Get runner version end-of-life schedule for a repository", and the
answers that people have published since. To be struck when the package has it.
"""


def fetch() -> Path:
    """Return the trimmed description; fetches and trims what is missing. Raises `Unreachable`, `Tampered`."""
    cut = hashlib.sha256(json.dumps([OPERATIONS, ADDED], sort_keys=True).encode()).hexdigest()[:12]
    return kept(f"openapi/{VERSION}/trimmed-{cut}.json", _write_trimmed)


def whole() -> Path:
    """Return the untrimmed file, as GitHub publishes it. In a folder of its own: each folder has one lock."""
    return kept(f"openapi/{VERSION}/whole/{Path(MEMBER).name}", _write_whole)


def _write_whole(path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--pack-destination", scratch, "--ignore-scripts", "--fetch-retries=1"]
        client("npm", "pack", f"{PACKAGE}@{VERSION}", *options)
        (package,) = Path(scratch).glob("*.tgz")
        verify(package, INTEGRITY)
        with tarfile.open(package, "r:gz") as archive:
            member = archive.extractfile(MEMBER)
            assert member is not None, f"{PACKAGE} {VERSION} has no {MEMBER}"
            path.write_bytes(member.read())


def _write_trimmed(path: Path) -> None:
    trimmed = trim(json.loads(whole().read_text()), OPERATIONS)
    trimmed["paths"] |= ADDED
    path.write_text(json.dumps(trimmed))


def trim(description: dict[str, Any], operations: dict[str, str]) -> dict[str, Any]:
    """Keep these operations and everything that they refer to, however far."""
    paths = {path: {m: description["paths"][path][m] for m in methods.split()} for path, methods in operations.items()}
    components: dict[str, dict[str, Any]] = {}
    open_ends: list[Any] = [paths]
    while open_ends:
        node = open_ends.pop()
        if isinstance(node, list):
            open_ends.extend(node)
        elif isinstance(node, dict):
            open_ends.extend(node.values())
            if isinstance(reference := node.get("$ref"), str):
                _, _, kind, name = reference.split("/")
                if name not in components.setdefault(kind, {}):
                    components[kind][name] = description["components"][kind][name]
                    open_ends.append(components[kind][name])
    return {key: description[key] for key in ("openapi", "info", "servers")} | {
        "paths": paths,
        "components": components,
    }
