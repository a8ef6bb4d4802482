"""
The embedded AWS: one account and region, its truth and its rules, without the wire.

`AwsServer` puts it on HTTP; machines boot and power off through it; a scenario configures it. Everything
happens under the clock's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from scaler.sandbox.aws.ec2_calls import LaunchCalls
from scaler.sandbox.aws.ec2_launch import Launcher
from scaler.sandbox.aws.ec2_templates import Templates
from scaler.sandbox.aws.ec2_views import InstanceCalls
from scaler.sandbox.aws.ec2_world import Ec2World, Instance, Machines, NoMachines
from scaler.sandbox.aws.faults import Fault, Throttle, faults_from
from scaler.sandbox.aws.iam_calls import IamCalls
from scaler.sandbox.aws.iam_checks import Checks
from scaler.sandbox.aws.iam_world import Credentials, IamWorld, Principal, refused
from scaler.sandbox.aws.oidc import Issuer, real_now
from scaler.sandbox.aws.seed import PRICES, THINGS, plant, plant_roles, replant
from scaler.sandbox.aws.settings import CapacityRule, Settings, capacity_from, known, settings_from
from scaler.sandbox.aws.ssm_world import SsmWorld
from scaler.sandbox.clock import Clock
from scaler.sandbox.journal import Journal

Params = Mapping[str, Any]
Operation = Callable[[Params, Principal], dict[str, Any]]
SETTINGS = {"region", "account", "seed", "boot", "consistency", "tokens", "parameters", "quotas", "throttle"}


class AwsWorld:
    """One account in one region."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        machines: Machines | None = None,
        *,
        settings: Settings | None = None,
        issuer: Issuer | None = None,
        now: Callable[[], datetime] = real_now,
    ) -> None:
        """`now` is the real clock that signatures and credentials are checked by."""
        self.clock = clock
        self.journal = journal
        self.settings = settings or Settings()
        self.issuer = issuer or Issuer(now=now)
        self.faults: list[Fault] = []
        self.iam = IamWorld(self.settings.account, self.settings.region, now)
        self.ec2 = Ec2World(clock, journal, machines or NoMachines(), lambda: self.settings)
        self.ssm = SsmWorld(clock, journal, self.iam, lambda: self.settings)
        self.templates = Templates(clock, self.ec2.ids)
        self.launches = LaunchCalls(self.ec2, Launcher(self.ec2, self.templates, self._ami_parameter), self.iam)
        self.launches.prices.update(PRICES)
        self.checks = Checks(self.ec2, self.templates, self.ssm)
        self.iam.issuers[self.issuer.url] = self.issuer
        self.throttle = Throttle(clock)
        self._operations: dict[str, dict[str, Operation]] = {
            "ec2": {
                **self.templates.operations(),
                **self.launches.operations(),
                **InstanceCalls(self.ec2).operations(),
            },
            "ssm": self.ssm.operations(),
            "iam": IamCalls(self.iam).operations(),
            "sts": {"AssumeRoleWithWebIdentity": self._assume, "GetCallerIdentity": self._identity},
        }
        self.ambient = self.iam.user("ambient")
        plant(self.ec2, self.templates, self.iam)

    # --- set-up ------------------------------------------------------------------------------

    def configure(self, mapping: Mapping[str, Any]) -> None:
        """
        Take a scenario's `aws:` mapping; whatever it does not name stays. Raises `BadSetting`.

        Capacity rules count from now. `machines` is for whoever boots them and only tolerated here.
        """
        given = known(mapping, "aws", SETTINGS | THINGS | {"capacity", "faults", "machines"})
        with self.clock.lock:
            before, self.settings = self.settings, settings_from(self.settings, given)
            if before.seed != self.settings.seed:  # else the next instance would get the id of the first
                self.ec2.ids.reseed(self.settings.seed)
            if (before.account, before.region) != (self.settings.account, self.settings.region):
                self._move()
            replant(given, self.ec2, self.templates, self.iam)
            self.ec2.capacity += capacity_from(given.get("capacity"), self.clock.now())
            self.faults += faults_from(given.get("faults"))

    def _move(self) -> None:
        """Be another account or region: with keys and roles of its own."""
        self.iam.account, self.iam.region = self.settings.account, self.settings.region
        self.iam.roles.clear()
        plant_roles(self.iam)
        self.iam.revoke(self.ambient.access_key)
        self.ambient = self.iam.user("ambient")

    def use(self, machines: Machines) -> None:
        """Let instances boot as these machines from now on."""
        self.ec2.machines = machines

    # --- what tests and machines do to it ------------------------------------------------------

    def instance(self, instance_id: str) -> Instance | None:
        """An instance as it is now."""
        with self.clock.lock:
            return self.ec2.get(instance_id)

    def instances(self) -> list[Instance]:
        """Every instance there ever was, oldest first."""
        with self.clock.lock:
            return self.ec2.all()

    def alive(self) -> list[Instance]:
        """Those that are neither shutting down nor terminated."""
        with self.clock.lock:
            return self.ec2.alive()

    def parameter_names(self) -> list[str]:
        """The names of all parameters that there are."""
        with self.clock.lock:
            return sorted(self.ssm.parameters)

    def instance_seconds(self) -> dict[str, float]:
        """Seconds that EC2 bills, per instance."""
        with self.clock.lock:
            return self.ec2.billed_seconds()

    def powered_off(self, instance_id: str) -> None:
        """A machine powered itself off."""
        self.ec2.powered_off(instance_id)

    def interrupt(self, instance_id: str) -> None:
        """EC2 takes a spot instance back, after a notice of two minutes."""
        self.ec2.interrupt(instance_id)

    def console(self, instance_id: str, line: str) -> None:
        """A machine writes to its serial console."""
        self.ec2.console(instance_id, line)

    def refuse_capacity(self, **rule: Any) -> CapacityRule:
        """Add a capacity rule: `refuse_capacity(market="spot", count=2)`."""
        added = CapacityRule(**rule)
        self.ec2.capacity.append(added)
        return added

    def fail(self, action: str, **fault: Any) -> Fault:
        """Add a fault: `fail("ssm:PutParameter", kind="drop-after")`."""
        added = Fault(action, **fault)
        self.faults.append(added)
        return added

    def forget_tokens(self) -> None:
        """Forget every client token, as EC2 might after a day."""
        self.launches.tokens.forget()

    def instance_role(self, instance_id: str) -> str | None:
        """The name of an instance's role; None without an instance profile."""
        held = self.instance(instance_id)
        return self.ec2.profiles.get(held.profile) if held and held.profile else None

    def instance_credentials(self, instance_id: str) -> dict[str, str]:
        """The role credentials that the metadata service hands to an instance; empty if it has no role."""
        with self.clock.lock:
            role = self.instance_role(instance_id)
            if role is None:
                return {}
            held = self.iam.of_instance(instance_id, role)
        stamp = "%Y-%m-%dT%H:%M:%SZ"
        expires = held.expires or real_now()
        return {
            "Code": "Success",
            "LastUpdated": real_now().strftime(stamp),
            "Type": "AWS-HMAC",
            "AccessKeyId": held.access_key,
            "SecretAccessKey": held.secret,
            "Token": held.token or "",
            "Expiration": expires.strftime(stamp),
        }

    def env(self, credentials: Credentials | None = None) -> dict[str, str]:
        """The SDK's environment for credentials (default: the ambient key) and region, without the endpoint."""
        held = credentials or self.ambient
        token = {"AWS_SESSION_TOKEN": held.token} if held.token else {}
        return {
            "AWS_ACCESS_KEY_ID": held.access_key,
            "AWS_SECRET_ACCESS_KEY": held.secret,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            **token,
        }

    # --- calls -------------------------------------------------------------------------------

    def serves(self, service: str, action: str) -> bool:
        """Whether the sandbox has this operation."""
        return action in self._operations.get(service, {})

    def perform(self, service: str, action: str, params: Params, caller: Principal) -> dict[str, Any]:
        """One call that is authenticated. Raises `AwsError`. Hold the clock's lock."""
        self.throttle.check(service, action, self.settings.throttle)
        self._authorize(service, action, params, caller)
        return self._operations[service][action](params, caller)

    def _authorize(self, service: str, action: str, params: Params, caller: Principal) -> None:
        match service:
            case "ssm":
                self.ssm.authorize(caller, action, params)
            case "ec2":
                self.iam.authorize(caller, f"ec2:{action}", resource_ids(params))
                if caller.instance_id:
                    raise refused(caller, f"ec2:{action}", "*")
            case _ if action != "GetCallerIdentity":  # nobody can be denied to know who he is
                self.iam.authorize(caller, f"{service}:{action}", resource_ids(params))

    def _assume(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - the operations' one shape
        held, claims = self.iam.assume_with_web_identity(params)
        self.journal.write(
            "role.assumed",
            role=params["RoleArn"],
            name=params["RoleSessionName"],
            subject=claims.get("sub"),
            arn=held.principal.arn,
        )
        return {
            "Credentials": {
                "AccessKeyId": held.access_key,
                "SecretAccessKey": held.secret,
                "SessionToken": held.token,
                "Expiration": held.expires,
            },
            "SubjectFromWebIdentityToken": claims.get("sub"),
            "AssumedRoleUser": {"AssumedRoleId": held.principal.user_id, "Arn": held.principal.arn},
            "PackedPolicySize": 0,
            "Provider": f"arn:aws:iam::{self.iam.account}:oidc-provider/{claims['iss'].removeprefix('https://')}",
            "Audience": claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0],
        }

    def _identity(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        return {"UserId": caller.user_id, "Account": caller.account, "Arn": caller.arn}

    def _ami_parameter(self, name: str) -> str | None:
        held = self.ssm.parameters.get(name)
        return held.value if held else None


def resource_ids(params: Params) -> tuple[str, ...]:
    """The ids of what a call is about, as far as its parameters name them."""
    found: list[str] = []
    for key in ("Name", "Names", "ResourceId", "InstanceId", "InstanceIds", "Resources", "FleetId", "RoleArn", "Path"):
        value = params.get(key, ())
        found += [value] if isinstance(value, str) else value
    for config in (params, *params.get("LaunchTemplateConfigs", ())):
        given = config.get("LaunchTemplate") or config.get("LaunchTemplateSpecification") or config
        found += [given[key] for key in ("LaunchTemplateId", "LaunchTemplateName") if key in given]
    return tuple(found)
