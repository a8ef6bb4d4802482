"""
The roles of the stack: who may do what, decided by a policy simulator over the policies as CloudFormation made them.

That every other test's calls are allowed too is held by tests/conftest.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from scaler.sandbox.aws.iam_checks import Check, Context
from scaler.sandbox.aws.iam_world import trusts
from scaler.sandbox.aws.seed import SECURITY_GROUP, SUBNETS
from scaler.sandbox.machines.faults import FaultKind, MachineFault
from tests import iam
from tests.boot_world import boot_world
from tests.conftest import World
from tests.fetched import needed
from tests.iam import Policy
from tests.stack import LACKING, deployed, policies
from tests.test_scale_down import idle_world

EC2 = "arn:aws:ec2:us-east-1:111122223333"
PARAMETERS = "arn:aws:ssm:us-east-1:111122223333:parameter/runner-scaler"
FLEET = "runner-scaler:fleet"
OURS, OTHERS = "main", "other"
OWN: Context = {f"aws:ResourceTag/{FLEET}": OURS, f"ec2:ResourceTag/{FLEET}": OURS}


@pytest.fixture(autouse=True)
def simulator() -> None:
    needed(iam.installed)


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as that one."""
    return value if isinstance(value, list) else [value]


def actions(role: list[Policy], effect: str = "Allow") -> set[str]:
    """All that a role's policies allow somewhere."""
    statements = (statement for policy in role for statement in policy["Statement"])
    return {action for each in statements if each["Effect"] == effect for action in listed(each["Action"])}


@dataclass(frozen=True)
class Mutant:
    """A role with something left out: what, and the actions that it is about."""

    told: str
    role: list[Policy]
    actions: list[str]

    def refuses(self, checks: Iterable[Check]) -> list[bool]:
        """Whether it refuses each of the checks that are about its actions."""
        about = [check for check in checks if check.action in self.actions]
        return [answer != "Allowed" for answer in iam.answers(self.role, about)]


def without_each_statement(role: list[Policy]) -> Iterator[Mutant]:
    """Yield the role less one of its statements."""
    for number, policy in enumerate(role):
        for statement in policy["Statement"]:
            rest = [each for each in policy["Statement"] if each is not statement]
            less = [*role[:number], {**policy, "Statement": rest}, *role[number + 1 :]]
            yield Mutant(statement["Sid"], less, listed(statement["Action"]))


def without_each_condition(role: list[Policy]) -> Iterator[Mutant]:
    """Yield the role with one key of one condition left out."""
    for number, policy in enumerate(role):
        for place, statement in enumerate(policy["Statement"]):
            for operator, keys in statement.get("Condition", {}).items():
                for key in keys:
                    less = deepcopy(list(role))
                    del less[number]["Statement"][place]["Condition"][operator][key]
                    yield Mutant(f"{statement['Sid']}: {operator} {key}", less, listed(statement["Action"]))


# --- an instance -------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["ssm:GetParameter", "ssm:DeleteParameter"])
@pytest.mark.parametrize(
    ("tag", "may"),
    [
        pytest.param("i-0a", True, id="its own"),
        pytest.param("i-0b", False, id="its neighbour's"),
        pytest.param("0a", False, id="one whose tag is the end of its id"),
        pytest.param(None, False, id="one without that tag"),
    ],
)
def test_an_instance_may_read_and_delete_its_own_secret_alone(action: str, tag: str | None, *, may: bool) -> None:
    """The original's instances could read every registration token of the account (RG-61)."""
    role = policies("runner-scaler-instance")
    context: dict[str, str | list[str]] = {
        "ec2:SourceInstanceARN": f"{EC2}:instance/i-0a",
        "ec2:RoleDelivery": "2.0",
        **({} if tag is None else {"aws:ResourceTag/InstanceId": tag}),
    }
    check = Check(action, f"{PARAMETERS}/main/i-0a", context)
    neighbours = {**context, "ec2:SourceInstanceARN": f"{EC2}:instance/i-0c"}
    may_not = [
        replace(check, resource=f"{PARAMETERS}/other/i-0a"),
        replace(check, resource=f"{PARAMETERS}/main/state"),
        replace(check, context=neighbours),
        replace(check, context={**context, "ec2:RoleDelivery": "1.0"}),
    ]
    assert iam.refused(role, [check, *may_not]) == ([] if may else [check]) + may_not


def test_a_machine_asks_for_all_that_its_role_may_and_no_more(tmp_path: Path) -> None:
    role = policies("runner-scaler-instance")
    with boot_world(tmp_path) as world:
        world.queue()
        instance_id = world.hand_over()
        world.gone(instance_id)
        calls = [call for call in world.aws_server.calls if call.principal.endswith(instance_id)]
    # It asks before its parameter is there, and again: what does not exist has no tag, and is refused.
    answered = [check for call in calls if not call.error for check in call.checks]
    assert iam.refused(role, map(iam.plain, answered)) == []
    assert {check.action for check in answered} == actions(role)


# --- the scaler --------------------------------------------------------------------------------


def a_day(world: World) -> list[Check]:
    """All that the scaler's role is asked about while a fleet is planned, launched, drained, ended, swept and pressed."""
    market = f"market: spot-then-on-demand\n    instance_types: [m7i.large, m6i.large]\n    subnets: [{SUBNETS[0].id}]"
    idle_world(world)
    world.amend("    max: 5\n", f"    max: 5\n    {market}\n")
    world.scaler("plan")
    world.tick()  # marks it idle
    world.push("again", duration=30)
    world.until(lambda: world.box.journal.of("job.started") != [])
    world.tick()  # takes the mark back
    world.box.clock.advance(30)
    world.box.machines.faults.append(MachineFault(FaultKind.HANG))
    world.box.aws.refuse_capacity(market="spot", count=1)
    run = world.push("one", "two", "three")
    world.tick()  # launches: spot, and on demand where that is refused
    world.box.github.cancel(run.id)
    for _ in range(4):
        world.advance(6)
        world.tick()  # ends what hangs, drains what is idle, sweeps what is left
    world.scaler("up", "-a", "arm64", "--repo", "acme/web")
    for instance in world.box.aws.alive():
        world.scaler("down", "-i", instance.id, "--force")
    world.scaler("status")
    calls = [call for call in world.box.aws_server.calls if ":assumed-role/runner-scaler/" in call.principal]
    distinct = {repr(iam.plain(check)): iam.plain(check) for call in calls for check in call.checks}
    return list(distinct.values())


def test_the_scalers_role_allows_what_a_day_asks_and_each_of_its_statements_is_needed(world: World) -> None:
    role, asked = policies(), a_day(world)
    assert iam.refused(role, asked) == []
    assert {check.action for check in asked} == actions(role)
    idle = [each.told for each in without_each_statement(role) if not any(each.refuses(asked))]
    assert idle == [], "no call needs these statements"


# --- what it may not ---------------------------------------------------------------------------

TEMPLATE = f"{EC2}:launch-template/lt-0a1b2c3d4e5f6a640"
FROM_TEMPLATE: Context = {
    "ec2:LaunchTemplate": TEMPLATE,
    "ec2:IsLaunchTemplateResource": "true",
    "ec2:Region": "us-east-1",
}
LAUNCHED: Context = {f"aws:RequestTag/{FLEET}": OURS, "aws:TagKeys": [FLEET], "ec2:InstanceType": "m7i.large"}
HANDED: Context = {"aws:RequestTag/InstanceId": "i-0a", "aws:TagKeys": ["InstanceId"]}
SUBNET = SUBNETS[0].id


MAY = {
    "run": Check(
        "ec2:RunInstances", f"{EC2}:instance/*", {**FROM_TEMPLATE, **LAUNCHED, "ec2:MetadataHttpTokens": "required"}
    ),
    "run from": Check("ec2:RunInstances", TEMPLATE, {**FROM_TEMPLATE, **OWN}),
    "run image": Check(
        "ec2:RunInstances",
        "arn:aws:ec2:us-east-1::image/ami-0a1b2c3d4e5f6a640",
        {**FROM_TEMPLATE, "ec2:Owner": "111122223333", "ec2:Public": "false"},
    ),
    "run on": Check("ec2:RunInstances", f"{EC2}:volume/*", {**FROM_TEMPLATE, "ec2:Encrypted": "true"}),
    "run in": Check("ec2:RunInstances", f"{EC2}:subnet/{SUBNET}", {**FROM_TEMPLATE, "ec2:SubnetID": SUBNET}),
    "run behind": Check("ec2:RunInstances", f"{EC2}:security-group/{SECURITY_GROUP}", FROM_TEMPLATE),
    "fleet": Check("ec2:CreateFleet", f"{EC2}:instance/*", LAUNCHED),
    "fleet from": Check("ec2:CreateFleet", TEMPLATE, OWN),
    "fleet in": Check("ec2:CreateFleet", f"{EC2}:subnet/{SUBNET}", {"ec2:SubnetID": SUBNET}),
    "tag at launch": Check(
        "ec2:CreateTags",
        f"{EC2}:instance/*",
        {f"aws:RequestTag/{FLEET}": OURS, "aws:TagKeys": [FLEET], "ec2:CreateAction": "CreateFleet"},
    ),
    "tag": Check(
        "ec2:CreateTags",
        f"{EC2}:instance/i-0a",
        {**OWN, "aws:TagKeys": ["runner-scaler:scope"], "aws:RequestTag/runner-scaler:scope": "acme/api"},
    ),
    "untag": Check("ec2:DeleteTags", f"{EC2}:instance/i-0a", {**OWN, "aws:TagKeys": ["runner-scaler:idle-since"]}),
    "end": Check("ec2:TerminateInstances", f"{EC2}:instance/i-0a", OWN),
    "pass": Check(
        "iam:PassRole",
        "arn:aws:iam::111122223333:role/runner-scaler-instance",
        {"iam:PassedToService": "ec2.amazonaws.com"},
    ),
    "put": Check("ssm:PutParameter", f"{PARAMETERS}/main/i-0a", {**HANDED, "ssm:Overwrite": "false"}),
    "tag parameter": Check("ssm:AddTagsToResource", f"{PARAMETERS}/main/i-0a", HANDED),
    "tag parameter, spelt otherwise": Check(
        "ssm:AddTagsToResource", f"{PARAMETERS.replace('/runner', '//runner')}/main/i-0a", HANDED
    ),
    "sweep": Check("ssm:DeleteParameters", f"{PARAMETERS}/main/i-0a", {"aws:ResourceTag/InstanceId": "i-0a"}),
    "remember": Check("ssm:PutParameter", f"{PARAMETERS}/main/state", {"ssm:Overwrite": "true"}),
    "recall": Check("ssm:GetParameter", f"{PARAMETERS}/main/state", {}),
    "remember as a shard": Check("ssm:PutParameter", f"{PARAMETERS}/main/state-2-of-8", {"ssm:Overwrite": "true"}),
    "recall as a shard": Check("ssm:GetParameter", f"{PARAMETERS}/main/state-2-of-8", {}),
}
"""What it may; each row of what it may not differs from one of these in one thing."""


def other(name: str, resource: str, context: Mapping[str, str | list[str] | None]) -> Check:
    """Like one that is allowed, but of another resource, or with other keys of its context; None is without it."""
    held = MAY[name]
    joined = {**held.context, **context}
    return Check(held.action, resource or held.resource, {key: v for key, v in joined.items() if v is not None})


ANOTHERS: dict[str, str | list[str] | None] = {f"aws:ResourceTag/{FLEET}": OTHERS, f"ec2:ResourceTag/{FLEET}": OTHERS}
NOBODYS: dict[str, str | list[str] | None] = dict.fromkeys(ANOTHERS)
UNTAGGED: dict[str, str | list[str] | None] = {f"aws:RequestTag/{FLEET}": None, "aws:TagKeys": None}
ANOTHER = "subnet-0cccccccccccccccc"

MAY_NOT = {
    # wider launches
    "launch without the fleet's tag": other("run", "", UNTAGGED),
    "launch with another fleet's tag": other("run", "", {f"aws:RequestTag/{FLEET}": OTHERS}),
    "launch a type that is not listed": other("run", "", {"ec2:InstanceType": "p5.48xlarge"}),
    "launch without a template": other("run", "", {"ec2:LaunchTemplate": None, "ec2:IsLaunchTemplateResource": None}),
    "launch with the old metadata service": other("run", "", {"ec2:MetadataHttpTokens": "optional"}),
    "launch from another fleet's template": other("run from", "", ANOTHERS),
    "launch from anybody's template": other("run from", "", NOBODYS),
    "launch a public image": other("run image", "", {"ec2:Owner": "amazon", "ec2:Public": "true"}),
    "launch another account's image": other("run image", "", {"ec2:Owner": "444455556666"}),
    "launch on a plain volume": other("run on", "", {"ec2:Encrypted": "false"}),
    "launch in another subnet": other("run in", f"{EC2}:subnet/{ANOTHER}", {"ec2:SubnetID": ANOTHER}),
    "launch behind another security group": other("run behind", f"{EC2}:security-group/sg-0dddddddddddddddd", {}),
    "launch with a key to log in with": Check("ec2:RunInstances", f"{EC2}:key-pair/mine", {}),
    "launch into a capacity reservation": Check("ec2:RunInstances", f"{EC2}:capacity-reservation/cr-0a", {}),
    "launch from a snapshot": Check("ec2:RunInstances", "arn:aws:ec2:us-east-1::snapshot/snap-0a", {}),
    "make a fleet of untagged instances": other("fleet", "", UNTAGGED),
    "make a fleet from another's template": other("fleet from", "", ANOTHERS),
    "make a fleet from anybody's template": other("fleet from", "", NOBODYS),
    "make a fleet in another subnet": other("fleet in", f"{EC2}:subnet/{ANOTHER}", {"ec2:SubnetID": ANOTHER}),
    "make a fleet of another image": Check("ec2:CreateFleet", "arn:aws:ec2:us-east-1::image/ami-0a", {}),
    "ask for spot in the old way": Check("ec2:RequestSpotInstances", f"{EC2}:subnet/{SUBNET}", {}),
    "change what a template launches": Check("ec2:CreateLaunchTemplateVersion", TEMPLATE, OWN),
    "make a template": Check("ec2:CreateLaunchTemplate", f"{EC2}:launch-template/*", {}),
    "give an instance another role": other("pass", "arn:aws:iam::111122223333:role/admin", {}),
    "give another service the role": other("pass", "", {"iam:PassedToService": "lambda.amazonaws.com"}),
    # others' instances, and the marks of its own
    "end another fleet's instance": other("end", "", ANOTHERS),
    "end an instance of no fleet": other("end", "", NOBODYS),
    "tag another fleet's instance": other("tag", "", ANOTHERS),
    "tag an instance of no fleet": other("tag", "", NOBODYS),
    "take an instance by its tag": other(
        "tag", "", {**NOBODYS, f"aws:RequestTag/{FLEET}": OURS, "aws:TagKeys": [FLEET]}
    ),
    "give an instance away by its tag": other("tag", "", {"aws:TagKeys": [FLEET]}),
    "hold an instance": other("tag", "", {"aws:TagKeys": ["runner-scaler:hold"]}),
    "take a mark together with the fleet's": other("untag", "", {"aws:TagKeys": [FLEET, "runner-scaler:scope"]}),
    "take all tags away at once": other("untag", "", {"aws:TagKeys": None}),
    "untag another fleet's instance": other("untag", "", ANOTHERS),
    "tag at another's launch": other("tag at launch", "", {f"aws:RequestTag/{FLEET}": OTHERS}),
    "tag as if at launch": other("tag at launch", "", {"ec2:CreateAction": None}),
    "tag what is made otherwise": other("tag at launch", "", {"ec2:CreateAction": "CreateVolume"}),
    "stop its own": Check("ec2:StopInstances", f"{EC2}:instance/i-0a", OWN),
    "change its own": Check("ec2:ModifyInstanceAttribute", f"{EC2}:instance/i-0a", OWN),
    "read the console of its own": Check("ec2:GetConsoleOutput", f"{EC2}:instance/i-0a", OWN),
    # secrets
    "read a secret back": Check("ssm:GetParameter", f"{PARAMETERS}/main/i-0a", {}),
    "read secrets by their names": Check("ssm:GetParameters", f"{PARAMETERS}/main/i-0a", {}),
    "read secrets by their path": Check("ssm:GetParametersByPath", f"{PARAMETERS}/main", {}),
    "read what a secret was": Check("ssm:GetParameterHistory", f"{PARAMETERS}/main/i-0a", {}),
    "decrypt by itself": Check("kms:Decrypt", "arn:aws:kms:us-east-1:111122223333:key/0a", {}),
    "put for another fleet": other("put", f"{PARAMETERS}/other/i-0a", {}),
    "put elsewhere": other("put", "arn:aws:ssm:us-east-1:111122223333:parameter/production/i-0a", {}),
    "put over a secret": other("put", "", {"ssm:Overwrite": "true"}),
    "put without a reader": other("put", "", {"aws:RequestTag/InstanceId": None, "aws:TagKeys": None}),
    "put for one instance under another's name": other("put", "", {"aws:RequestTag/InstanceId": "i-0b"}),
    "make the state somebody's to read": other(
        "tag parameter", f"{PARAMETERS}/main/state", {"aws:RequestTag/InstanceId": "state"}
    ),
    "give a secret another reader": other("tag parameter", "", {"aws:RequestTag/InstanceId": "i-0b"}),
    "tag a parameter without a reader": other("tag parameter", "", {"aws:RequestTag/InstanceId": None}),
    "give a secret another reader, spelt otherwise": other(
        "tag parameter, spelt otherwise", "", {"aws:RequestTag/InstanceId": "i-0b"}
    ),
    "sweep for another fleet": other("sweep", f"{PARAMETERS}/other/i-0a", {}),
    "sweep the state": other("sweep", f"{PARAMETERS}/main/state", {}),
    "remember for another fleet": other("remember", f"{PARAMETERS}/other/state", {}),
    "sweep a shard's state": other("sweep", f"{PARAMETERS}/main/state-2-of-8", {}),
    "recall what only begins like the state": other("recall", f"{PARAMETERS}/main/states", {}),
    "recall another fleet's": other("recall", f"{PARAMETERS}/other/state", {}),
}


@cache
def answers() -> Mapping[str, str]:
    """What the simulator says to each, asked for all at once."""
    asked = MAY | MAY_NOT
    assert len(asked) == len(MAY) + len(MAY_NOT)
    return dict(zip(asked, iam.answers(policies(), asked.values()), strict=True))


@pytest.mark.parametrize("name", MAY)
def test_the_scaler_may(name: str) -> None:
    """So that what is refused below is refused for the one thing in which it differs."""
    assert answers()[name] == "Allowed"


@pytest.mark.parametrize("name", MAY_NOT)
def test_the_scaler_may_not(name: str) -> None:
    """What a token that was stolen from a tick can do is bounded by this."""
    assert answers()[name] == "ImplicitlyDenied"


def test_each_condition_of_the_scalers_role_refuses_something() -> None:
    wider = list(without_each_condition(policies()))
    assert len(wider) > 15
    assert [each.told for each in wider if all(each.refuses(MAY_NOT.values()))] == []


# --- who builds images, and who only looks -----------------------------------------------------

ARCH, OF = "runner-scaler:arch", "runner-scaler:image-of"
MADE: Context = {f"aws:ResourceTag/{OF}": OURS, f"ec2:ResourceTag/{OF}": OURS}
BUILT: Context = {f"aws:ResourceTag/{ARCH}": "amd64", f"ec2:ResourceTag/{ARCH}": "amd64"}
BUILDING: Context = {f"aws:RequestTag/{ARCH}": "amd64", "aws:TagKeys": [ARCH, "Name"]}
STARTED: Context = {**BUILDING, f"aws:RequestTag/{OF}": OURS, "aws:TagKeys": [ARCH, OF, "Name"]}
IMAGE, SNAPSHOT = "arn:aws:ec2:us-east-1::image/ami-0a", "arn:aws:ec2:us-east-1::snapshot/snap-0a"
BUILD = {
    # packer's amazon-ebs builder, in its order (hashicorp/packer-plugin-amazon, builder/ebs/builder.go)
    "find the system's image": Check("ec2:DescribeImages", "*", {}),
    "make a key pair": Check("ec2:CreateKeyPair", f"{EC2}:key-pair/packer_0a", BUILDING),
    "make a security group": Check("ec2:CreateSecurityGroup", f"{EC2}:security-group/*", BUILDING),
    "make it in the VPC": Check("ec2:CreateSecurityGroup", f"{EC2}:vpc/{SUBNETS[0].vpc}", {}),
    "open it for ssh": Check("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/sg-0a", BUILT),
    "launch": Check("ec2:RunInstances", f"{EC2}:instance/*", {**BUILDING, "ec2:InstanceType": "m7i.large"}),
    "launch the system": Check("ec2:RunInstances", IMAGE, {"ec2:Owner": "099720109477"}),
    "launch in": Check("ec2:RunInstances", f"{EC2}:subnet/{SUBNET}", {"ec2:SubnetID": SUBNET}),
    "launch behind": Check("ec2:RunInstances", f"{EC2}:security-group/sg-0a", BUILT),
    "launch with a key": Check("ec2:RunInstances", f"{EC2}:key-pair/packer_0a", {"ec2:KeyPairName": "packer_0a"}),
    "launch on": Check("ec2:RunInstances", f"{EC2}:volume/*", BUILDING),
    "tag at launch": Check("ec2:CreateTags", f"{EC2}:instance/*", {**BUILDING, "ec2:CreateAction": "RunInstances"}),
    "stop": Check("ec2:StopInstances", f"{EC2}:instance/i-0a", BUILT),
    "make an image of it": Check("ec2:CreateImage", f"{EC2}:instance/i-0a", BUILT),
    "make an image": Check("ec2:CreateImage", IMAGE, {}),
    "make its snapshot": Check("ec2:CreateImage", SNAPSHOT, {}),
    "describe it": Check("ec2:ModifyImageAttribute", IMAGE, {"ec2:Owner": "111122223333"}),
    "tag the image as it is made": Check("ec2:CreateTags", IMAGE, {**STARTED, "ec2:CreateAction": "CreateImage"}),
    "tag the snapshot as it is made": Check("ec2:CreateTags", SNAPSHOT, {**STARTED, "ec2:CreateAction": "CreateImage"}),
    "tag the image": Check("ec2:CreateTags", IMAGE, BUILDING),
    "tag the snapshot": Check("ec2:CreateTags", SNAPSHOT, BUILDING),
    "tag it again": Check("ec2:CreateTags", IMAGE, {**BUILDING, "aws:ResourceTag/Name": "packer runner-scaler amd64"}),
    "end": Check("ec2:TerminateInstances", f"{EC2}:instance/i-0a", BUILT),
    "remove the volume": Check("ec2:DeleteVolume", f"{EC2}:volume/vol-0a", BUILT),
    "remove the security group": Check("ec2:DeleteSecurityGroup", f"{EC2}:security-group/sg-0a", BUILT),
    "remove the key pair": Check("ec2:DeleteKeyPair", f"{EC2}:key-pair/packer_0a", {}),
    # and where it fails between the image and the end (builder/ebs/step_create_ami.go, Cleanup)
    "remove the image that it made": Check("ec2:DeregisterImage", IMAGE, {**BUILT, **MADE}),
    "remove the snapshot that it made": Check("ec2:DeleteSnapshot", SNAPSHOT, {**BUILT, **MADE}),
    # the workflow after it
    "make a version": Check("ec2:CreateLaunchTemplateVersion", TEMPLATE, OWN),
    "remove an old image": Check("ec2:DeregisterImage", IMAGE, MADE),
    "remove its snapshot": Check("ec2:DeleteSnapshot", SNAPSHOT, MADE),
}
BUILD_NOT = {
    "launch with a role": Check(
        "ec2:RunInstances",
        f"{EC2}:instance/*",
        {
            **BUILDING,
            "ec2:InstanceType": "m7i.large",
            "ec2:InstanceProfile": "arn:aws:iam::111122223333:instance-profile/admin",
        },
    ),
    "launch untagged": Check("ec2:RunInstances", f"{EC2}:instance/*", {"ec2:InstanceType": "m7i.large"}),
    "launch a large type": Check(
        "ec2:RunInstances", f"{EC2}:instance/*", {**BUILDING, "ec2:InstanceType": "p5.48xlarge"}
    ),
    "launch elsewhere": Check("ec2:RunInstances", f"{EC2}:subnet/{ANOTHER}", {"ec2:SubnetID": ANOTHER}),
    "launch behind another group": Check("ec2:RunInstances", f"{EC2}:security-group/sg-0a", {}),
    "launch anybody's image": Check("ec2:RunInstances", IMAGE, {"ec2:Owner": "444455556666"}),
    "launch with another's key": Check("ec2:RunInstances", f"{EC2}:key-pair/admin", {"ec2:KeyPairName": "admin"}),
    "make another key": Check("ec2:CreateKeyPair", f"{EC2}:key-pair/admin", BUILDING),
    "make an untagged group": Check("ec2:CreateSecurityGroup", f"{EC2}:security-group/*", {}),
    "make a group in another VPC": Check("ec2:CreateSecurityGroup", f"{EC2}:vpc/vpc-0b", {}),
    "open the fleet's group": Check("ec2:AuthorizeSecurityGroupIngress", f"{EC2}:security-group/{SECURITY_GROUP}", {}),
    "copy a machine that is not its own": Check("ec2:CreateImage", f"{EC2}:instance/i-0a", OWN),
    "stop the fleet's machine": Check("ec2:StopInstances", f"{EC2}:instance/i-0a", OWN),
    "end the fleet's machine": Check("ec2:TerminateInstances", f"{EC2}:instance/i-0a", OWN),
    "remove another's image": Check("ec2:DeregisterImage", IMAGE, BUILT),
    "remove another fleet's image": Check("ec2:DeregisterImage", IMAGE, {f"aws:ResourceTag/{OF}": OTHERS}),
    "remove another's snapshot": Check("ec2:DeleteSnapshot", SNAPSHOT, {}),
    "remove another's volume": Check("ec2:DeleteVolume", f"{EC2}:volume/vol-0a", {}),
    "open another account's image": Check("ec2:ModifyImageAttribute", IMAGE, {"ec2:Owner": "444455556666"}),
    "tag a named snapshot": Check("ec2:CreateTags", SNAPSHOT, {**BUILDING, "aws:ResourceTag/Name": "backup"}),
    "tag without its mark": Check("ec2:CreateTags", SNAPSHOT, {"aws:RequestTag/x": "y", "aws:TagKeys": ["x"]}),
    "tag a machine as its own": Check("ec2:CreateTags", f"{EC2}:instance/i-0a", BUILDING),
    "tag as another action would": Check(
        "ec2:CreateTags", f"{EC2}:volume/*", {**BUILDING, "ec2:CreateAction": "CreateVolume"}
    ),
    "tag at launch without its mark": Check(
        "ec2:CreateTags", f"{EC2}:instance/*", {"aws:RequestTag/x": "y", "ec2:CreateAction": "RunInstances"}
    ),
    "change what boots by default": Check("ec2:ModifyLaunchTemplate", TEMPLATE, OWN),
    "change another fleet's template": Check("ec2:CreateLaunchTemplateVersion", TEMPLATE, {}),
    "give a role to a machine": Check(
        "iam:PassRole", "arn:aws:iam::111122223333:role/admin", {"iam:PassedToService": "ec2.amazonaws.com"}
    ),
    "read a secret": Check("ssm:GetParameter", f"{PARAMETERS}/main/i-0a", {}),
    "hand one over": MAY["put"],
}


def test_a_build_of_an_image_may_do_its_work_and_nothing_to_what_is_not_its_own() -> None:
    role = policies("runner-scaler-image")
    asked = [*BUILD.values(), *BUILD_NOT.values()]
    names = [*(f"may {name}" for name in BUILD), *(f"may not {name}" for name in BUILD_NOT)]
    found = dict(zip(names, iam.answers(role, asked), strict=True))
    assert [name for name, answer in found.items() if (answer == "Allowed") is name.startswith("may not")] == []
    described = {action for action in actions(role) if action.startswith("ec2:Describe")}
    assert actions(role) - described == {check.action for check in BUILD.values()} - described
    idle = [each.told for each in without_each_statement(role) if not any(each.refuses(BUILD.values()))]
    assert idle == []
    wider = [each.told for each in without_each_condition(role) if all(each.refuses(BUILD_NOT.values()))]
    assert wider == []


def test_who_only_looks_changes_nothing_and_reads_no_secret() -> None:
    role = policies("runner-scaler-doctor")
    verbs = {action.partition(":")[2] for action in actions(role)}
    assert [verb for verb in verbs if not verb.startswith(("Describe", "Get", "Simulate"))] == []
    console = Check("ec2:GetConsoleOutput", f"{EC2}:instance/i-0a", OWN)
    simulate = Check("iam:SimulatePrincipalPolicy", deployed()["roles"]["runner-scaler"]["arn"], {})
    may_not = [
        Check("ssm:GetParameter", f"{PARAMETERS}/main/i-0a", {}),
        Check("ssm:GetParameter", f"{PARAMETERS}/other/state", {}),
        replace(console, context={}),
        replace(simulate, resource="arn:aws:iam::111122223333:role/admin"),
        *(each for each in MAY.values() if each.action not in actions(role)),
    ]
    assert iam.refused(role, [console, simulate, MAY["recall"], *may_not]) == may_not


def test_the_clock_may_call_its_destination_alone() -> None:
    role = policies("runner-scaler-clock")
    own = Check("events:InvokeApiDestination", LACKING["AWS::Events::ApiDestination"]["Arn"], {})
    another = replace(own, resource="arn:aws:events:us-east-1:111122223333:api-destination/other/0a1b2c3d")
    assert iam.refused(role, [own, another]) == [another]
    assert actions(role) == {own.action}


# --- who may be the scaler ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "may"),
    [
        pytest.param({}, True, id="the environment"),
        pytest.param({"sub": "repo:acme@1001/runner-scaler@2002:environment:runner-scaler"}, True, id="with ids"),
        pytest.param({"sub": "repo:acme@1001/runner-scaler@2003:environment:runner-scaler"}, False, id="another's ids"),
        pytest.param({"sub": "repo:acme/runner-scaler:ref:refs/heads/main"}, False, id="no environment"),
        pytest.param({"sub": "repo:acme/runner-scaler:pull_request"}, False, id="a pull request"),
        pytest.param({"sub": "repo:acme/runner-scaler:environment:other"}, False, id="another environment"),
        pytest.param({"sub": "repo:acme/other:environment:runner-scaler"}, False, id="another repository"),
        pytest.param({"sub": "repo:evil/runner-scaler:environment:runner-scaler"}, False, id="another owner"),
        pytest.param({"sub": "repo:acme/runner-scaler:environment:runner-scaler:x"}, False, id="more behind it"),
        pytest.param({"aud": "https://github.com/acme"}, False, id="another audience"),
    ],
)
@pytest.mark.parametrize(
    ("role", "environment"), [("", "runner-scaler"), ("-doctor", "runner-scaler"), ("-image", "runner-scaler-image")]
)
def test_the_roles_trust_is_for_the_environments_jobs(
    role: str, environment: str, claims: dict[str, str], *, may: bool
) -> None:
    claims = {
        key: value.replace(":environment:runner-scaler", f":environment:{environment}") for key, value in claims.items()
    }
    trust = deployed()["roles"][f"runner-scaler{role}"]["trust"]
    provider = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
    whole = {"sub": f"repo:acme/runner-scaler:environment:{environment}", "aud": "sts.amazonaws.com", **claims}
    assert trusts(trust, provider, whole) is may
    assert not trusts(trust, provider.replace("githubusercontent", "example"), whole)
