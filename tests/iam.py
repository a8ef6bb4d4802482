"""
What IAM answers, decided by a policy simulator: npm's @cloud-copilot/iam-simulate, a tool of the tests alone.

It knows all operators of conditions and, from the service authorization reference, which resources an action takes
and which condition keys go with them; what AWS could not be asked so is an error here, not a refusal.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaler.sandbox.aws.iam_checks import Check
from tests.fetched import Unreachable

Policy = Mapping[str, Any]
ROOT = Path(__file__).parents[1]
SIMULATOR = ROOT / "node_modules/@cloud-copilot/iam-simulate/package.json"
KEPT = ("runner-scaler:fleet", "InstanceId")
"""Tags whose values policies look at. Others' are left out of what is asked, so that few questions are new."""

_answered: dict[str, str] = {}


def installed() -> Path:
    """Where the simulator is. Raises `Unreachable` without it, for `tests.fetched.needed`."""
    if not SIMULATOR.exists():
        raise Unreachable(f"{SIMULATOR.parent.name} is not installed (it comes with npm)")
    return SIMULATOR


def answers(policies: Sequence[Policy], checks: Iterable[Check]) -> list[str]:
    """`Allowed`, `ImplicitlyDenied` or `ExplicitlyDenied` for each. Raises for what AWS could not be asked so."""
    requests = [
        {
            "policies": policies,
            "action": check.action,
            # What is to be made has no id yet: AWS asks about instance/*, and no policy names a single one of them.
            "resource": check.resource.replace("/*", "/new"),
            "context": dict(check.context),
        }
        for check in checks
    ]
    keys = [json.dumps(request, sort_keys=True) for request in requests]
    new = {key: request for key, request in zip(keys, requests, strict=True) if key not in _answered}
    if new:
        _answered.update(zip(new, _simulated(list(new.values())), strict=True))
    wrong = [_answered[key] for key in keys if not _answered[key].endswith(("Allowed", "Denied"))]
    assert not wrong, wrong
    return [_answered[key] for key in keys]


def _simulated(requests: list[dict[str, Any]]) -> list[str]:
    done = subprocess.run(
        ["node", ROOT / "tests/iam_simulate.mjs"],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout)
    return found


def refused(policies: Sequence[Policy], checks: Iterable[Check]) -> list[Check]:
    """Those that the policies together do not allow."""
    asked = list(checks)
    return [check for check, answer in zip(asked, answers(policies, asked), strict=True) if answer != "Allowed"]


def plain(check: Check) -> Check:
    """The same check with its ids numbered and its times left out: what differs in that alone is one to IAM."""
    ids: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return ids.setdefault(match[0], f"i-{len(ids):017x}")

    def shown(key: str, value: str | list[str]) -> str | list[str]:
        if "Tag/" in key and not key.endswith(KEPT):
            return "any"
        return re.sub(r"\bi-[0-9a-f]{8,17}\b", number, value) if isinstance(value, str) else value

    resource = re.sub(r"\bi-[0-9a-f]{8,17}\b", number, check.resource)
    return Check(check.action, resource, {key: shown(key, value) for key, value in sorted(check.context.items())})
