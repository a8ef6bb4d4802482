"""From the job's id-token to AWS credentials: the embedded endpoint of the runner, and the embedded STS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from scaler.sandbox.aws.iam_world import Credentials, Principal, trusts
from scaler.sandbox.aws.oidc import GITHUB_ISSUER, Issuer, Job, OidcServer
from scaler.sandbox.aws.seed import add_role, trust
from scaler.sandbox.aws.settings import BadSetting
from tests.embedded_aws import Aws, embedded_aws, refused

ROLE = "arn:aws:iam::111122223333:role/runner-scaler"
AUDIENCE = "sts.amazonaws.com"
CLASSIC = "repo:acme/runner-scaler:ref:refs/heads/main"
IMMUTABLE = "repo:acme@1001/runner-scaler@2002:ref:refs/heads/main"


@dataclass(slots=True)
class Rig:
    aws: Aws
    oidc: OidcServer

    def token(self, **overrides: Any) -> str:
        """A token as the endpoint gives it; overrides are claims."""
        if overrides:
            return self.aws.world.issuer.mint(self.oidc.job, overrides.pop("aud", AUDIENCE), **overrides)
        return fetch(self.oidc.env())

    def assume(self, token: str, role: str = ROLE, **changes: Any) -> dict[str, Any]:
        """The unsigned exchange, as boto3 makes it."""
        session: Any = boto3.Session()
        client = session.client(
            "sts",
            endpoint_url=self.aws.server.url,
            region_name="us-east-1",
            config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        answer: dict[str, Any] = client.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="tick", WebIdentityToken=token, **changes
        )
        return answer


@pytest.fixture
def rig() -> Iterator[Rig]:
    with embedded_aws() as aws:
        oidc = OidcServer(aws.world.issuer)
        oidc.start()
        yield Rig(aws, oidc)
        oidc.stop()


def fetch(env: dict[str, str], audience: str = f"&audience={AUDIENCE}", bearer: str | None = None) -> str:
    """What a step asks (docs.github.com: OpenID Connect reference)."""
    token = bearer if bearer is not None else f"bearer {env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"
    url = env["ACTIONS_ID_TOKEN_REQUEST_URL"] + audience
    with urlopen(Request(url, headers={"Authorization": token}), timeout=20) as answer:
        body = json.load(answer)
    assert body["count"] > 0
    return str(body["value"])


# --- the endpoint ----------------------------------------------------------------------------------


def test_endpoint_gives_a_token_for_the_audience_asked_for(rig: Rig) -> None:
    token = fetch(rig.oidc.env())
    key = jwt.PyJWK(json.load(urlopen(f"{rig.oidc.url}/.well-known/jwks"))["keys"][0])
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience=AUDIENCE, issuer=GITHUB_ISSUER)
    assert claims["sub"] == CLASSIC
    assert claims["repository"] == "acme/runner-scaler"
    assert claims["job_workflow_ref"] == "acme/runner-scaler/.github/workflows/autoscale.yml@refs/heads/main"
    assert jwt.get_unverified_header(token)["kid"] == key.key_id
    assert rig.oidc.requests == [AUDIENCE]


def test_audience_is_the_owners_url_unless_asked(rig: Rig) -> None:
    claims = jwt.decode(fetch(rig.oidc.env(), audience=""), options={"verify_signature": False})
    assert claims["aud"] == "https://github.com/acme"


@pytest.mark.parametrize("bearer", ["", "bearer wrong", "basic x"])
def test_wrong_bearer_is_unauthorized(rig: Rig, bearer: str) -> None:
    with pytest.raises(HTTPError) as caught:
        fetch(rig.oidc.env(), bearer=bearer)
    with caught.value:
        assert caught.value.code == 401
    assert rig.oidc.requests == []


def test_endpoint_fails_when_told(rig: Rig) -> None:
    rig.oidc.fail_next(503)
    with pytest.raises(HTTPError) as caught:
        fetch(rig.oidc.env())
    caught.value.close()
    assert fetch(rig.oidc.env())


@pytest.mark.parametrize(
    ("job", "subject"),
    [
        pytest.param(Job(), CLASSIC, id="branch"),
        pytest.param(Job(immutable_subject=True), IMMUTABLE, id="immutable, for repositories made after July 2026"),
        pytest.param(Job(environment="scaler"), "repo:acme/runner-scaler:environment:scaler", id="environment"),
        pytest.param(Job(subject="custom"), "custom", id="customised"),
    ],
)
def test_subject_has_githubs_forms(job: Job, subject: str) -> None:
    """docs.github.com: OpenID Connect reference, "Example subject claims"; changelog 2026-04-23 for the ids."""
    assert job.claims()["sub"] == subject


# --- the exchange ----------------------------------------------------------------------------------


def credentials(answer: dict[str, Any]) -> Credentials:
    given = answer["Credentials"]
    return Credentials(
        given["AccessKeyId"],
        given["SecretAccessKey"],
        given["SessionToken"],
        given["Expiration"],
        Principal("", "", ""),
    )


def test_token_is_exchanged_for_credentials_that_work_and_expire(rig: Rig) -> None:
    answer = rig.assume(rig.token(), DurationSeconds=900)
    assert answer["SubjectFromWebIdentityToken"] == CLASSIC
    assert answer["Audience"] == AUDIENCE
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111122223333:assumed-role/runner-scaler/tick"
    held = credentials(answer)
    identity = rig.aws.client("sts", held).get_caller_identity()
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"]
    rig.aws.client("ec2", held).describe_instances()
    rig.aws.ahead = timedelta(seconds=901)
    with refused("ExpiredTokenException"):
        rig.aws.client("ssm", held).describe_parameters()


def test_exchange_is_written_down_without_the_token(rig: Rig) -> None:
    token = rig.token()
    answer = rig.assume(token)
    (entry,) = rig.aws.journal.of("role.assumed")
    assert (entry.facts["role"], entry.facts["subject"]) == (ROLE, CLASSIC)
    (call,) = rig.aws.server.named("sts:AssumeRoleWithWebIdentity")
    assert call.params["WebIdentityToken"] == "***"
    assert answer["Credentials"]["SecretAccessKey"] not in entry.to_json() + repr(rig.aws.world.iam._keys)


@pytest.mark.parametrize(
    ("claims", "code", "says"),
    [
        pytest.param({"sub": "repo:acme/other:ref:refs/heads/main"}, "AccessDenied", "Not authorized", id="other repository"),
        pytest.param({"sub": "repo:acme/runner-scaler:ref:refs/heads/x"}, "AccessDenied", "Not authorized", id="other branch"),
        pytest.param({"sub": IMMUTABLE}, "AccessDenied", "Not authorized", id="other form of the same subject"),
        pytest.param({"aud": "https://github.com/acme"}, "InvalidIdentityToken", "Incorrect token audience", id="other audience"),
        pytest.param({"iss": "https://example.com"}, "InvalidIdentityToken", "No OpenIDConnect provider", id="other issuer"),
        pytest.param({"exp": 1_700_000_000}, "ExpiredTokenException", "expired", id="expired"),
        pytest.param({"nbf": 4_000_000_000}, "InvalidIdentityToken", "not valid yet", id="not valid yet"),
    ],
)  # fmt: skip
def test_token_that_does_not_fit_is_refused(rig: Rig, claims: dict[str, Any], code: str, says: str) -> None:
    with refused(code, says):
        rig.assume(rig.token(**claims))
    assert rig.aws.journal.of("role.assumed") == []


def test_token_outlives_its_minutes_not(rig: Rig) -> None:
    token = rig.token()
    rig.aws.ahead = timedelta(seconds=rig.aws.world.issuer.lifetime + 1)
    with refused("ExpiredTokenException"):
        rig.assume(token)


def test_token_signed_by_another_key_is_refused(rig: Rig) -> None:
    with refused("InvalidIdentityToken", "signature"):
        rig.assume(Issuer().mint(Job(), AUDIENCE))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token + "x", id="signature"),
        pytest.param(lambda token: token.rpartition(".")[0] + ".", id="signature gone"),
        pytest.param(lambda token: jwt.encode(jwt.decode(token, options={"verify_signature": False}), "", "none"), id="alg none"),
        pytest.param(lambda _: "gibberish", id="no token"),
    ],
)  # fmt: skip
def test_spoilt_token_is_refused(rig: Rig, spoil: Any) -> None:
    with refused("InvalidIdentityToken"):
        rig.assume(spoil(rig.token()))


def test_role_that_is_not_there_is_no_other_answer(rig: Rig) -> None:
    """STS does not tell a missing role from one that does not trust the caller."""
    with refused("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        rig.assume(rig.token(), role=ROLE + "-none")


@pytest.mark.parametrize(("seconds", "says"), [(899, "900"), (3601, "MaxSessionDuration"), (43201, "43200")])
def test_session_has_bounds(rig: Rig, seconds: int, says: str) -> None:
    with refused("ValidationError", says):
        rig.assume(rig.token(), DurationSeconds=seconds)


@pytest.mark.parametrize("subject", [CLASSIC, IMMUTABLE])
def test_role_may_trust_both_forms_of_a_subject(rig: Rig, subject: str) -> None:
    add_role(rig.aws.world.iam, ROLE, trust("111122223333", [CLASSIC, IMMUTABLE]))
    assert rig.assume(rig.token(sub=subject))["Credentials"]


# --- trust policies --------------------------------------------------------------------------------

PROVIDER = "arn:aws:iam::1:oidc-provider/token.actions.githubusercontent.com"
HOST = "token.actions.githubusercontent.com"


def policy(conditions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow", "Principal": {"Federated": PROVIDER}, "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": conditions, **changes,
    }  # fmt: skip
    return {"Statement": [statement]}


CLAIMS = {"sub": CLASSIC, "aud": AUDIENCE, "repository_id": "2002"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(policy({"StringEquals": {f"{HOST}:sub": CLASSIC}}), True, id="equals"),
        pytest.param(policy({"StringEquals": {f"{HOST}:sub": [IMMUTABLE, CLASSIC]}}), True, id="one of several"),
        pytest.param(policy({"StringEquals": {f"{HOST}:sub": "repo:acme/*"}}), False, id="equals knows no wildcard"),
        pytest.param(policy({"StringLike": {f"{HOST}:sub": "repo:acme/*"}}), True, id="like"),
        pytest.param(policy({"StringLike": {f"{HOST}:sub": "repo:acme/?"}}), False, id="like, one character"),
        pytest.param(policy({"StringLike": {f"{HOST}:sub": "repo:Acme/*"}}), False, id="case matters"),
        pytest.param(
            policy({"StringEquals": {f"{HOST}:aud": AUDIENCE, f"{HOST}:repository_id": "9"}}), False, id="all keys hold"
        ),
        pytest.param(policy({"StringEquals": {f"{HOST}:job_workflow_ref": "x"}}), False, id="a claim that is not there"),
        pytest.param(policy({"StringNotEquals": {f"{HOST}:sub": IMMUTABLE}}), True, id="not equals"),
        pytest.param(policy({"StringEqualsIgnoreCase": {f"{HOST}:sub": CLASSIC.upper()}}), True, id="ignoring case"),
        pytest.param(policy({}, Effect="Deny"), False, id="deny"),
        pytest.param(policy({}, Principal={"Federated": PROVIDER + "x"}), False, id="another provider"),
        pytest.param(policy({}, Action="sts:AssumeRole"), False, id="another action"),
        pytest.param({"Statement": [*policy({})["Statement"], *policy({}, Effect="Deny")["Statement"]]}, False, id="deny wins"),
    ],
)  # fmt: skip
def test_trust_policy_is_read_as_iam_reads_it(document: dict[str, Any], expected: bool) -> None:
    assert trusts(document, PROVIDER, CLAIMS) is expected


def test_operator_that_is_not_known_is_an_error_of_the_scenario() -> None:
    with pytest.raises(BadSetting, match="DateEquals"):
        trusts(policy({"DateEquals": {f"{HOST}:sub": "x"}}), PROVIDER, CLAIMS)
