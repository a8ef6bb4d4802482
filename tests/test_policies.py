"""
The IAM policies of the set-up: who may do what, told by an evaluation of our own.

No IAM can be asked here. Of its rules this needs few: a statement allows what its actions and resources match and all
of its conditions hold for (docs.aws.amazon.com, "Policy evaluation logic", "IAM JSON policy elements: Condition").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from tests.boot_world import boot_world

ROOT = Path(__file__).parents[1]
MACHINE, SCALER = (json.loads((ROOT / f"aws/{name}-policy.json").read_text()) for name in ("runner", "scaler"))
ON_BEHALF = {"ec2:RunInstances", "iam:PassRole", "ssm:AddTagsToResource"}
"""What CreateFleet and PutParameter do in the caller's name (AWS docs: EC2 Fleet prerequisites; PutParameter, Tags)."""
PARAMETERS = "arn:aws:ssm:us-east-1:111122223333:parameter/runner-scaler"
INSTANCES = "arn:aws:ec2:us-east-1:111122223333:instance"
FLEET = "ec2:ResourceTag/runner-scaler:fleet"

Context = Mapping[str, str | list[str]]
OPERATORS: Mapping[str, Callable[[str, str], bool]] = {"StringEquals": str.__eq__, "StringLike": fnmatchcase}


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as that one."""
    return value if isinstance(value, list) else [value]


def allows(policy: Mapping[str, Any], action: str, resource: str, context: Context) -> bool:
    """Whether a policy allows an action on a resource, in a context of condition keys."""
    return any(
        action in listed(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        and all(
            holds(operator, context.get(key), listed(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
        for statement in policy["Statement"]
    )


def holds(operator: str, found: str | list[str] | None, wanted: list[str], context: Context) -> bool:
    """One condition. A key that the context lacks meets none but `ForAllValues`; a variable without a value nothing."""
    match = OPERATORS[operator.removeprefix("ForAllValues:")]
    patterns = []
    for each in wanted:
        variable = re.search(r"\$\{(.*)\}", each)
        value = context.get(variable[1]) if variable else ""
        if value is not None:
            patterns.append(each.replace(variable[0], str(value)) if variable else each)
    if operator.startswith("ForAllValues:"):
        return all(any(match(each, pattern) for pattern in patterns) for each in found or ())
    return isinstance(found, str) and any(match(found, pattern) for pattern in patterns)


def actions(policy: Mapping[str, Any]) -> set[str]:
    """All that a policy allows somewhere."""
    return {action for statement in policy["Statement"] for action in listed(statement["Action"])}


@pytest.mark.parametrize("action", ["ssm:GetParameter", "ssm:DeleteParameter"])
@pytest.mark.parametrize(
    ("tag", "may"),
    [
        pytest.param("i-0a", True, id="its own"),
        pytest.param("i-0b", False, id="its neighbour's"),
        pytest.param("0a", False, id="one whose tag is the end of its id"),
        pytest.param(None, False, id="the fleet's state, which has no such tag"),
    ],
)
def test_an_instance_may_read_and_delete_its_own_secret_alone(action: str, tag: str | None, *, may: bool) -> None:
    """The original's instances could read every registration token of the account (RG-61)."""
    context: dict[str, str | list[str]] = {"ec2:SourceInstanceARN": f"{INSTANCES}/i-0a"}
    if tag is not None:
        context["aws:ResourceTag/InstanceId"] = tag
    assert allows(MACHINE, action, f"{PARAMETERS}/main/i-0a", context) is may
    assert not allows(MACHINE, action, f"{PARAMETERS}/other/i-0a", context)
    elsewhere = {**context, "ec2:SourceInstanceARN": f"{INSTANCES}/i-0c"}
    assert not allows(MACHINE, action, f"{PARAMETERS}/main/i-0a", elsewhere)


def test_a_machine_asks_for_all_that_its_role_may_and_no_more(tmp_path: Path) -> None:
    with boot_world(tmp_path) as world:
        world.queue()
        instance_id = world.hand_over()
        world.gone(instance_id)
        assert {call.name for call in world.aws_server.calls if call.principal.endswith(instance_id)} == actions(
            MACHINE
        )


def test_the_scaler_asks_for_all_that_its_role_may_and_no_more() -> None:
    asked = set(re.findall(r'"((?:ec2|ssm):[A-Z]\w+)"', (ROOT / "scaler/aws_api.py").read_text()))
    assert asked | ON_BEHALF == actions(SCALER)


OURS, OTHERS = {FLEET: "main"}, {FLEET: "other"}


@pytest.mark.parametrize(
    ("action", "resource", "context", "may"),
    [
        pytest.param("ssm:PutParameter", f"{PARAMETERS}/main/i-0a", {}, True, id="hands a secret over"),
        pytest.param("ssm:GetParameter", f"{PARAMETERS}/main/i-0a", {}, False, id="reads no secret back"),
        pytest.param("ssm:GetParameter", f"{PARAMETERS}/main/state", {}, True, id="reads its memory"),
        pytest.param("ssm:PutParameter", f"{PARAMETERS}/other/i-0a", {}, False, id="writes for no other fleet"),
        pytest.param("ssm:DeleteParameters", f"{PARAMETERS}/other/i-0a", {}, False, id="sweeps for no other fleet"),
        pytest.param("ec2:TerminateInstances", f"{INSTANCES}/i-0a", OURS, True, id="ends its own"),
        pytest.param("ec2:TerminateInstances", f"{INSTANCES}/i-0a", OTHERS, False, id="ends none of another fleet"),
        pytest.param("ec2:TerminateInstances", f"{INSTANCES}/i-0a", {}, False, id="ends none without a fleet"),
        pytest.param(
            "ec2:CreateTags",
            f"{INSTANCES}/i-0a",
            {**OURS, "aws:TagKeys": ["runner-scaler:idle-since"]},
            True,
            id="remembers by tags",
        ),
        pytest.param(
            "ec2:CreateTags",
            f"{INSTANCES}/i-0a",
            {**OURS, "aws:TagKeys": ["runner-scaler:fleet"]},
            False,
            id="gives no instance to another fleet",
        ),
        pytest.param(
            "ec2:CreateTags",
            f"{INSTANCES}/i-0a",
            {**OTHERS, "aws:TagKeys": ["runner-scaler:fleet"]},
            False,
            id="takes none from another",
        ),
        pytest.param(
            "ec2:CreateFleet",
            f"{INSTANCES}/*",
            {"aws:RequestTag/runner-scaler:fleet": "main"},
            True,
            id="launches with its fleet's tag",
        ),
        pytest.param("ec2:CreateFleet", f"{INSTANCES}/*", {}, False, id="launches nothing without"),
        pytest.param(
            "iam:PassRole",
            "arn:aws:iam::111122223333:role/admin",
            {"iam:PassedToService": "ec2.amazonaws.com"},
            False,
            id="gives instances no other role",
        ),
    ],
)
def test_the_scaler_may_do_its_work_on_its_own_fleet(
    action: str, resource: str, context: Context, *, may: bool
) -> None:
    """What a token that was stolen from a tick can do is bounded by this."""
    assert allows(SCALER, action, resource, context) is may
