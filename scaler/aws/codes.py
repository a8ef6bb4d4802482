"""
EC2's error codes as a table: what each means for a launch, and whence that is known. Pure.

`[docs]` is AWS's page "Error codes for the Amazon EC2 API" (docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html).
"""

from __future__ import annotations

from enum import Enum
from itertools import takewhile
from typing import NamedTuple

from scaler.model import Market


class Meaning(Enum):
    """What an error code asks of a launch."""

    THROTTLED = "EC2 asks for patience: the same link again in the next tick"
    RETRY = "EC2 broke down: the same link in the next tick will tell"
    NEXT_OVERRIDE = "another type or zone may do"
    NEXT_MARKET = "another market may do"
    STOP = "nothing of this launch will do until a person mends it"
    DENIED = "a permission is missing"
    CREDENTIALS = "the credentials are not valid"
    MISMATCH = "the client token was used with other parameters"
    DEAD = "the client token's instance has ended"


class Row(NamedTuple):
    """One code: what it means, how to mend it (what people are told, if EC2's own words do not say it), its source."""

    meaning: Meaning
    mend: str
    source: str


DOCS = "[docs]"
KARPENTER = "aws/karpenter-provider-aws pkg/errors/errors.go: unfulfillable capacity"
PARALLELCLUSTER = "aws/aws-parallelcluster-node#673: fast fail-over"
BOTOCORE = "botocore retries/standard.py: throttling and transient error codes"
STORAGE = "raise the quota of EBS storage for this volume type (Service Quotas, Amazon EBS)"
CLOCK = "this machine's clock is off, and AWS refuses what is dated minutes away: set the clock (NTP)"
EXPIRED = "the credentials have expired: sign in to AWS again"
UNKNOWN_KEY = "AWS knows no such access key: it was deleted, or its session token is missing"
ACCOUNT = "AWS must settle this for the account: open a support case"
SPOT_ROLE = "create the role for spot once: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"

_T, _R = Meaning.THROTTLED, Meaning.RETRY
_O, _M, _S = Meaning.NEXT_OVERRIDE, Meaning.NEXT_MARKET, Meaning.STOP
_D, _C = Meaning.DENIED, Meaning.CREDENTIALS

CODES: dict[str, Row] = {
    # no capacity: the fleet has tried every override by itself; what it named is not asked for at once again
    "InsufficientInstanceCapacity": Row(_O, "", DOCS),
    "InsufficientFreeAddressesInSubnet": Row(_O, "the subnet has no free address left: give the pool more subnets", DOCS),
    "InsufficientHostCapacity": Row(_O, "", DOCS),
    "InsufficientReservedInstanceCapacity": Row(_O, "", DOCS),
    "InsufficientCapacity": Row(_O, "", PARALLELCLUSTER),
    "InsufficientAddressCapacity": Row(_O, "", DOCS),
    "ReservationCapacityExceeded": Row(_O, "", KARPENTER),
    "UnfulfillableCapacity": Row(_O, "", PARALLELCLUSTER),
    "Unsupported": Row(_O, "", DOCS),
    "UnsupportedHostConfiguration": Row(_O, "", DOCS),
    "UnsupportedHibernationConfiguration": Row(_O, "", DOCS),
    # the market is shut: by price, by quota, or for want of its role
    "SpotMaxPriceTooLow": Row(_M, "the launch template's spot price is below the market's: take it out", DOCS),
    "MaxSpotInstanceCountExceeded": Row(_M, "raise the quota of {spot} (Service Quotas, EC2)", DOCS),
    "VcpuLimitExceeded": Row(_M, "raise the quota of {on_demand} (Service Quotas, EC2)", DOCS),
    "InstanceLimitExceeded": Row(_M, "raise the quota of {on_demand} (Service Quotas, EC2)", DOCS),
    "MaxFleetCountExceeded": Row(_M, "raise the quota of EC2 Fleets per Region (Service Quotas, EC2 Fleet)", KARPENTER),
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Row(_M, SPOT_ROLE, "aws/karpenter-provider-aws pkg/errors/errors.go: SpotSLRCreationFailed"),
    # no market will do
    "VolumeLimitExceeded": Row(_S, STORAGE, DOCS),
    "MaxIOPSLimitExceeded": Row(_S, "raise the quota of IOPS for this volume type (Service Quotas, Amazon EBS)", DOCS),
    "NetworkInterfaceLimitExceeded": Row(_S, "raise the quota of network interfaces per Region (Service Quotas, VPC)", DOCS),
    "SecurityGroupsPerInstanceLimitExceeded": Row(_S, "the launch template names more security groups than may be", DOCS),
    "SecurityGroupsPerInterfaceLimitExceeded": Row(_S, "the launch template names more security groups than may be", DOCS),
    "Blocked": Row(_S, ACCOUNT, DOCS),
    "OptInRequired": Row(_S, "the account has not opted in to this Region, or to this image on the Marketplace", DOCS),
    "PendingVerification": Row(_S, "AWS still verifies the account for this Region: minutes, at most four hours", DOCS),
    "AccountDisabled": Row(_S, ACCOUNT, DOCS),
    "OperationNotPermitted": Row(_S, "", DOCS),
    "MissingParameter": Row(_S, "the launch template lacks it", DOCS),
    "MissingInput": Row(_S, "", DOCS),
    "MalformedQueryString": Row(_S, "", DOCS),
    "MissingAction": Row(_S, "", DOCS),
    "UnknownParameter": Row(_S, "", DOCS),
    "ValidationError": Row(_S, "", DOCS),
    "UnsupportedOperation": Row(_S, "", DOCS),
    "UnsupportedProtocol": Row(_S, "", DOCS),
    "VPCIdNotSpecified": Row(_S, "the account has no default VPC: name subnets in the pool or in its launch template", DOCS),
    "DryRunOperation": Row(_S, "", DOCS),
    # tokens
    "IdempotentParameterMismatch": Row(Meaning.MISMATCH, "", "[docs]; EC2 developer guide: ensuring idempotency"),
    "IdempotentInstanceTerminated": Row(Meaning.DEAD, "", "boto/boto3#4406"),
    # EC2 is busy or broken
    "RequestLimitExceeded": Row(_T, "", DOCS),
    "Throttling": Row(_T, "", BOTOCORE),
    "ThrottlingException": Row(_T, "", BOTOCORE),
    "ThrottledException": Row(_T, "", BOTOCORE),
    "RequestThrottled": Row(_T, "", BOTOCORE),
    "RequestThrottledException": Row(_T, "", BOTOCORE),
    "EC2ThrottledException": Row(_T, "", BOTOCORE),
    "TooManyRequestsException": Row(_T, "", BOTOCORE),
    "BandwidthLimitExceeded": Row(_T, "", BOTOCORE),
    "LimitExceededException": Row(_T, "", BOTOCORE),
    "PriorRequestNotComplete": Row(_T, "", BOTOCORE),
    "SlowDown": Row(_T, "", BOTOCORE),
    "TooManyUpdates": Row(_T, "", "AWS Systems Manager API reference: PutParameter"),
    "ResourceCountExceeded": Row(_T, "", DOCS),
    "ConcurrentTagAccess": Row(_T, "", DOCS),
    "InternalError": Row(_R, "", DOCS),
    "InternalFailure": Row(_R, "", DOCS),
    "InternalServiceError": Row(_R, "", "AWS Systems Manager API reference: common errors"),
    "InternalServerError": Row(_R, "", "AWS Systems Manager API reference: common errors"),
    "ServerInternal": Row(_R, "", DOCS),
    "ServiceUnavailable": Row(_R, "", DOCS),
    "Unavailable": Row(_R, "", DOCS),
    "RequestTimeout": Row(_R, "", BOTOCORE),
    "RequestTimeoutException": Row(_R, "", BOTOCORE),
    # permissions and credentials
    "UnauthorizedOperation": Row(_D, "", DOCS),
    "AccessDenied": Row(_D, "", "AWS STS API reference: common errors"),
    "AccessDeniedException": Row(_D, "", "AWS Systems Manager API reference: common errors"),
    "AuthFailure": Row(_C, "", DOCS),
    "ExpiredToken": Row(_C, EXPIRED, "AWS STS API reference: common errors"),
    "ExpiredTokenException": Row(_C, EXPIRED, "AWS Systems Manager API reference: common errors"),
    "RequestExpired": Row(_C, f"{EXPIRED}; or {CLOCK}", DOCS),
    "InvalidClientTokenId": Row(_C, UNKNOWN_KEY, DOCS),
    "UnrecognizedClientException": Row(_C, UNKNOWN_KEY, "AWS Systems Manager API reference: common errors"),
    "SignatureDoesNotMatch": Row(_C, "", "[docs]; AWS STS API reference: common errors"),
    "InvalidSignatureException": Row(_C, "", "AWS Systems Manager API reference: common errors"),
    "IncompleteSignature": Row(_C, "", DOCS),
    "IncompleteSignatureException": Row(_C, "", "AWS Systems Manager API reference: common errors"),
    "MissingAuthenticationToken": Row(_C, "", DOCS),
}  # fmt: skip

LIKE = (
    ("Invalid", Row(_S, "", DOCS)),
    ("Insufficient", Row(_O, "", DOCS)),
)
"""By how a code begins that the table does not have: a page full of Invalid…NotFound, …Malformed, …InUse."""
LIMITS = ("LimitExceeded", "QuotaExceeded")
"""So ends a code of a quota."""
A_LIMIT = Row(_S, "raise this quota (Service Quotas)", DOCS)
UNKNOWN = Row(_S, "", "not in the table: told in EC2's words, and asked for again by the next tick, once")

_FAMILIES = {
    **dict.fromkeys("acdhimrtz", "Standard (A, C, D, H, I, M, R, T, Z)"),
    "g": "G and VT",
    "vt": "G and VT",
    **{family: family.upper() for family in ("f", "p", "x")},
    **{family: family.capitalize() for family in ("inf", "trn")},
    "dl": "DL",
    "hpc": "HPC",
}
"""The quota that counts a type's vCPUs, by the letters that the type begins with (EC2 user guide: on-demand and spot quotas)."""


def row_of(code: str) -> Row:
    """What is known of a code; by its beginning or its end if it is not in the table, else nothing."""
    if (known := CODES.get(code)) is not None:
        return known
    for beginning, row in LIKE:
        if code.startswith(beginning):
            return row
    return A_LIMIT if code.endswith(LIMITS) else UNKNOWN


def is_known(code: str) -> bool:
    """Whether the table says something of a code."""
    return row_of(code) is not UNKNOWN


def mend_of(code: str, instance_type: str = "") -> str:
    """How to mend it, for people; a quota by the name that Service Quotas gives it, where the type tells which."""
    family = _FAMILIES.get("".join(takewhile(str.isalpha, instance_type)))
    return row_of(code).mend.format(
        spot=_quota(family, Market.SPOT, "Spot Instance Requests for this instance family"),
        on_demand=_quota(family, Market.ON_DEMAND, "vCPUs for this instance family"),
    )


def _quota(family: str | None, market: Market, otherwise: str) -> str:
    if family is None:
        return otherwise
    return (
        f'"All {family} Spot Instance Requests"' if market is Market.SPOT else f'"Running On-Demand {family} instances"'
    )
