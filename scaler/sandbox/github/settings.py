"""How the embedded GitHub behaves: each number and each open question in one place, with its public source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(slots=True)
class Settings:
    """
    How this GitHub behaves. Everything may be changed in mid-flight; times are virtual seconds.

    The first block holds documented numbers, the second answers what is undocumented or seen only at
    times, the third makes it lie. What lies is the report: ground truth is never touched by it.
    """

    # A job that is not picked up in 60 s is re-queued; queued for more than 24 h it fails
    # (docs.github.com: self-hosted runners reference, routing precedence).
    requeue_after: float = MINUTE
    queue_limit: float = DAY
    # Registration and removal tokens last 1 h (docs.github.com: REST, self-hosted runners).
    token_life: float = HOUR
    # Offline runners are removed after 1 day if ephemeral, else after 14 (docs: auto-removal).
    ephemeral_removal: float = DAY
    offline_removal: float = 14 * DAY
    # A cancelled job that does not stop is ended by the service after 5 min (docs: canceling a workflow run).
    cancel_limit: float = 5 * MINUTE

    # Secondary limits: 900 points a minute, 100 requests at once (docs.github.com: rate limits for the REST API).
    # None: not held, so that a leaping clock stops nobody.
    points_a_minute: int | None = None
    # Without: a GitHub Enterprise Server, whose rate limits are off unless somebody switches them on
    # (docs.github.com: configuring rate limits).
    names_limits: bool = True
    requests_at_once: int | None = None

    # Contact keeps a runner online for this long; a job whose runner stays away longer than `lost_after` is
    # lost ("The self-hosted runner lost communication with the server", actions/runner#4309).
    lease: float = MINUTE
    lost_after: float = 10 * MINUTE
    # With a very fast clock a lease may be shorter than a process's hiccup: seconds of real time that must pass too.
    patience: float = 0.0
    # A JIT configuration is good for about an hour (users' reports, actions/runner#4248).
    jit_life: float = HOUR
    # The service has been removing idle JIT runners after 2 to 6 minutes (actions/runner#4726); None: it does not.
    jit_idle_removal: float | None = None
    # A job dispatched to a runner that is then deleted came back late, after 10 to 15 min for some
    # (actions/runner#4461, #4708, #2582).
    requeue_after_removal: float = MINUTE
    # An ephemeral runner's record may stay, busy, for some seconds after its job.
    ephemeral_linger: float = 0.0
    # Versions below this are refused at registration and session (docs: runner software updates).
    minimum_version: str | None = None
    # When runner versions stop being given jobs, 30 days after a newer one (docs: runner software updates), as
    # `2.336.0=2026-11-05T08:04:55Z`; the newest has no date, versions that are not here never were.
    deprecations: tuple[str, ...] = ()
    # Which of its jobs' states a run shows: `queued` wins over `in_progress`.
    precedence: tuple[str, ...] = ("queued", "in_progress", "waiting", "pending")
    # A fresh run may list no jobs for a while (actions-runner-controller, autoscaling.go), in this status.
    jobs_delay: float = 0.0
    fresh_status: Literal["requested", "queued"] = "requested"
    # Between the end of its `needs` and a job's being queued.
    needs_delay: float = 0.0
    # A job that awaits approval may look queued at first (actions-runner-controller#2723: up to 20 s).
    approval_lag: float = 0.0
    # GitHub-hosted runners take their jobs after this long.
    hosted_delay: float = 5.0

    # `busy` stays false for so long after a job was acquired; and for these runners by name, in mid-job
    # (github-aws-runners/terraform-aws-github-runner#5085).
    busy_lag: float = 0.0
    idle_liars: set[str] = field(default_factory=set)
    # With the lie, DELETE answers 204 in mid-job (same issue); then the job ends or goes on.
    delete_believes: bool = True
    deleted_job: Literal["dies", "continues"] = "dies"
