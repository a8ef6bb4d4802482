"""AWS's part of the preflight: who we are, what the scaler's role may do, and what each pool would launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from scaler.checking.checks import Check, ok, unseen, unwise, wrong
from scaler.exits import Exit
from scaler.model import ApiError
from scaler.settings.config import Config, Pool

IMAGE_OLD: Final = timedelta(days=25)
"""GitHub gives no jobs to a runner that is 30 days behind a release (docs: runner software updates)."""
ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "arm64"}
POLICY: Final = "aws/stack.yaml of runner-scaler's repository has it"
LOOK: Final = "run doctor with the role that aws/stack.yaml makes for it, runner-scaler-doctor (role-to-assume)"


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that the scaler's role has to be allowed, on a resource, as the scaler asks for it."""

    action: str
    resource: str
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """An AMI."""

    architecture: str
    made_at: datetime | None


class CloudLook(Protocol):
    """What the preflight asks of AWS. Every call raises `Unavailable` or `Denied`."""

    def template(self, pool: Pool) -> Mapping[str, Any] | None:
        """The launch template's data, as EC2 has it; None if the region has no such template or version."""

    def image(self, image_id: str) -> Image | None:
        """An AMI; None if the region has none of that id."""

    def architectures(self, types: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """What each instance type can run, in EC2's words; those that the region has not are missing."""

    def missing_subnets(self, subnets: Sequence[str]) -> list[str]:
        """Those of the subnets that the region has not."""

    def trust(self, role: str) -> Mapping[str, Any]:
        """Who may assume a role: its trust policy."""

    def denied(self, role: str, permission: Permission) -> bool:
        """Whether IAM, asked to simulate it, denies a role something."""


def look_at_aws(config: Config, cloud: CloudLook, now: datetime | None) -> Iterator[Check]:
    """What each pool would launch."""
    for pool in config.pools:
        yield from _pool(pool, cloud, now, config.region)


def permissions(config: Config, account: str) -> list[Permission]:
    """
    What a tick asks of AWS, held to `aws/stack.yaml` by a test.

    Not all of a launch: what its image, network and volume may be, and iam:PassRole, shows when it launches.
    """
    ec2, tag = f"arn:aws:ec2:{config.region}:{account}", "runner-scaler:fleet"
    path = f"arn:aws:ssm:{config.region}:{account}:parameter/runner-scaler/{config.fleet}"
    ours, made = {f"aws:ResourceTag/{tag}": config.fleet}, {f"aws:RequestTag/{tag}": config.fleet}
    instance = "i-0123456789abcdef0"
    secret = {"aws:RequestTag/InstanceId": instance}
    return [
        Permission("ec2:DescribeInstances", "*"),
        Permission("ec2:DescribeImages", "*"),
        Permission("ssm:DescribeParameters", "*"),
        Permission("ec2:CreateFleet", f"{ec2}:instance/*", made),
        Permission("ec2:RunInstances", f"{ec2}:launch-template/*", ours),
        Permission("ec2:CreateTags", f"{ec2}:instance/*", {**made, "ec2:CreateAction": "CreateFleet"}),
        Permission("ec2:CreateTags", f"{ec2}:instance/*", {**ours, "aws:TagKeys": ("runner-scaler:scope",)}),
        Permission("ec2:DeleteTags", f"{ec2}:instance/*", {**ours, "aws:TagKeys": ("runner-scaler:idle-since",)}),
        Permission("ec2:TerminateInstances", f"{ec2}:instance/*", ours),
        Permission("ssm:PutParameter", f"{path}/{instance}", secret),
        Permission("ssm:AddTagsToResource", f"{path}/{instance}", secret),
        Permission("ssm:DeleteParameters", f"{path}/{instance}"),
        Permission("ssm:GetParameter", f"{path}/state"),
        Permission("ssm:PutParameter", f"{path}/state"),
    ]


def look_at_role(config: Config, role: str, cloud: CloudLook) -> Iterator[Check]:
    """What the scaler's role may do, as IAM simulates it."""
    what = f"role {role.rpartition('/')[2]}"
    wanted = permissions(config, role.split(":")[4])
    try:
        denied = [each for each in wanted if cloud.denied(role, each)]
    except ApiError as error:
        yield unseen(f"permissions of {what}", error, LOOK)
        return
    for each in denied:
        yield wrong(what, f"may not {each.action} on {each.resource}", f"allow it: {POLICY}", Exit.CREDENTIALS)
    if not denied:
        yield ok(what, f"all {len(wanted)} permissions that can be simulated are there")


def look_at_trust(role: str, claims: Mapping[str, Any], cloud: CloudLook) -> Iterator[Check]:
    """Whether the role trusts this workflow's token in both forms of the subject, with ids and without."""
    what = f"trust of role {role.rpartition('/')[2]}"
    try:
        policy = cloud.trust(role)
    except ApiError as error:
        yield unseen(what, error, LOOK)
        return
    subject = str(claims.get("sub", ""))
    for form in subjects(claims):
        if trusted(policy, form):
            yield ok(what, f"trusts {form}")
        elif form == subject:
            yield wrong(what, f"does not trust {form}", "add it to :sub in the trust policy", Exit.CREDENTIALS)
        else:
            told = f"does not trust {form}, which GitHub gives to the same workflow in its other form"
            yield unwise(what, told, "add it to :sub, for the day the repository is renamed or opted in")


def subjects(claims: Mapping[str, Any]) -> list[str]:
    """
    The token's subject and the same one in its other form (docs.github.com: OpenID Connect reference).

    Repositories made, renamed or moved since July 2026 have ids in it: `repo:acme@1/api@2:…`.
    """
    subject = str(claims.get("sub", ""))
    owner, _, name = str(claims.get("repository", "")).partition("/")
    classic = f"repo:{owner}/{name}:"
    with_ids = f"repo:{owner}@{claims.get('repository_owner_id')}/{name}@{claims.get('repository_id')}:"
    for one, other in ((classic, with_ids), (with_ids, classic)):
        if subject.startswith(one):
            return [subject, other + subject.removeprefix(one)]
    return [subject]  # a customised one


def trusted(policy: Mapping[str, Any], subject: str) -> bool:
    """Whether some statement allows a subject, by equality or by a pattern with * and ?."""
    for statement in _list(policy.get("Statement")):
        for operator, keys in statement.get("Condition", {}).items():
            for key, wanted in keys.items():
                if key.endswith(":sub") and any(_holds(operator, str(each), subject) for each in _list(wanted)):
                    return bool(statement.get("Effect") == "Allow")
    return False


def _holds(operator: str, wanted: str, subject: str) -> bool:
    if operator.endswith("StringLike"):
        return fnmatchcase(subject, wanted.replace("[", "[[]"))
    return operator.endswith("StringEquals") and wanted == subject


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- what a pool would launch --------------------------------------------------------------------


def _pool(pool: Pool, cloud: CloudLook, now: datetime | None, region: str) -> Iterator[Check]:
    named = pool.launch_template.id or pool.launch_template.name
    what = f"template {named} of pool {pool.name}"
    try:
        data = cloud.template(pool)
    except ApiError as error:
        yield unseen(what, error, LOOK)
        return
    if data is None:
        told = f"version {pool.launch_template.version} is not in {region}"
        yield wrong(what, told, f"check pools.{pool.name}.launch_template and aws.region")
        return
    faults = list(_template(data))
    yield from (wrong(what, told, mend) for told, mend in faults)
    if not faults:
        yield ok(what, "terminate, IMDSv2, tags in the metadata, an instance profile")
    try:
        yield from _types(pool, data, cloud)
        yield from _image(pool, data, cloud, now)
        if missing := cloud.missing_subnets(pool.subnets):
            yield wrong(f"subnets of pool {pool.name}", f"{', '.join(missing)}: not in {region}", "correct them")
    except ApiError as error:
        yield unseen(f"types and image of pool {pool.name}", error, LOOK)


def _template(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a template lacks of what the promises rest on."""
    behaviour = data.get("InstanceInitiatedShutdownBehavior", "stop")
    if behaviour != "terminate":
        yield f"InstanceInitiatedShutdownBehavior is {behaviour}", "set terminate: a machine could not end itself"
    options = data.get("MetadataOptions", {})
    if options.get("HttpTokens") != "required":
        yield (
            f"HttpTokens is {options.get('HttpTokens', 'optional')}",
            "set required: IMDSv2 alone keeps credentials in",
        )
    if options.get("InstanceMetadataTags") != "enabled":
        yield "InstanceMetadataTags is disabled", "set enabled: a machine could not tell its fleet"
    if not data.get("IamInstanceProfile"):
        yield "there is no IamInstanceProfile", "set one: a machine could not read its secret"


def _types(pool: Pool, data: Mapping[str, Any], cloud: CloudLook) -> Iterator[Check]:
    what = f"instance types of pool {pool.name}"
    types = pool.instance_types or tuple(filter(None, [data.get("InstanceType")]))
    found, needed = cloud.architectures(types), ARCHITECTURES[pool.arch]
    for each in types:
        if each not in found:
            yield wrong(what, f"{each} is not in this region", "name another")
        elif needed not in found[each]:
            told = f"{each} is {', '.join(sorted(found[each]))}, and the pool is {pool.arch}"
            yield wrong(what, told, "correct arch, the template or instance_types")
    if types and all(needed in found.get(each, ()) for each in types):
        yield ok(what, f"{', '.join(types)}: {pool.arch}")


def _image(pool: Pool, data: Mapping[str, Any], cloud: CloudLook, now: datetime | None) -> Iterator[Check]:
    image_id = str(data.get("ImageId", ""))
    what = f"image of pool {pool.name}"
    if not image_id.startswith("ami-"):
        yield unwise(what, f"{image_id or 'none'} is resolved at launch: its age is not seen", "look at it yourself")
        return
    image = cloud.image(image_id)
    if image is None:
        yield wrong(what, f"{image_id} is not in this region, or was deregistered", "build it anew (packer/)")
    elif image.architecture != ARCHITECTURES[pool.arch]:
        yield wrong(what, f"{image_id} is {image.architecture}, and the pool is {pool.arch}", "correct one of them")
    else:
        age = now - image.made_at if now is not None and image.made_at is not None else timedelta()
        told = f"{image_id}, {image.architecture}, {age.days} days old"
        if age > IMAGE_OLD:
            yield unwise(what, f"{told}; a runner 30 days behind a release gets no job", "build it anew (packer/)")
        else:
            yield ok(what, told)
