"""How long GitHub gives jobs to the runner programs of the images in use, and that people hear of it in time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from scaler.decide import decide
from scaler.deciding.freshness import LIFE, NOTICE, review_images
from scaler.exits import Exit, exit_code
from scaler.model import Image, Memory, Reason, Tick
from scaler.reporting.page import markdown
from scaler.reporting.report import alerts
from scaler.reporting.status import status
from scaler.sandbox.aws.settings import Image as SeedImage
from scaler.sandbox.github.faults import Fault, FaultKind
from simulation.wire import Tap
from simulation.world import START, Simulation
from tests.worlds import NOW, config, idle, span, world

OLD, NEW = "2.336.0", "2.337.0"


def said(image: Image) -> list[tuple[Reason, str]]:
    """What is told of an image that one instance runs."""
    snapshot = world(idle(image=image.id), images=(image,))
    (verdict,) = review_images(snapshot) or (None,)
    return [(verdict.reason, verdict.sentence)] if verdict else []


def dated(**in_days: float) -> Image:
    """An image of the old version; `until` and `built` in days from now."""
    at = {name: NOW + timedelta(days=days) for name, days in in_days.items()}
    return Image("ami-1", OLD, at.get("built"), told="built" not in at, until=at.get("until"))


BUILD = "; build a new image and raise the launch template's version"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (dated(until=11), None),
        (dated(until=10), "GitHub stops giving jobs to runner 2.336.0 in 10 days, on 2026-12-03"),
        (dated(until=1.5), "GitHub stops giving jobs to runner 2.336.0 in 1 day, on 2026-11-24"),
        (dated(until=0), "GitHub has given no jobs to runner 2.336.0 since 2026-11-23"),
        (dated(until=-3), "GitHub has given no jobs to runner 2.336.0 since 2026-11-20"),
        (dated(), None),
        (dated(built=-19), None),
        (dated(built=-20), "it has runner 2.336.0: GitHub may give it no jobs in 10 days, 30 days after it was built"),
        (dated(built=-41), "it has runner 2.336.0 and is 41 days old: GitHub may give it no jobs"),
        (
            Image("ami-1", built_at=NOW - timedelta(days=31)),
            "it has a runner whose version its tags do not tell and is 31 days old: GitHub may give it no jobs",
        ),
        (Image("ami-1"), None),
    ],
)
def test_an_image_is_told_of_in_days_left_from_ten_days_before(image: Image, sentence: str | None) -> None:
    assert said(image) == ([] if sentence is None else [(Reason.AGING, sentence + BUILD)])


def test_the_notice_leaves_twenty_of_the_thirty_days() -> None:
    assert (timedelta(days=30), timedelta(days=10)) == (LIFE, NOTICE)


def test_an_image_that_may_not_be_looked_at_is_told_so() -> None:
    ((reason, sentence),) = said(Image("ami-1", why="denied"))
    assert (reason, sentence) == (Reason.UNDATED, "how old it is cannot be seen: denied")


def test_an_image_s_pools_are_named() -> None:
    image = dated(until=1)
    snapshot = world(idle("i-1", image="ami-1"), idle("i-2", slot=1, image="ami-1", pool="big"), images=(image,))
    assert [verdict.pool for verdict in review_images(snapshot)] == ["amd64, big"]


def test_summary_alerts_and_status_have_it_and_the_exit_code_stays() -> None:
    snapshot = world(idle(image="ami-1", since="1m"), images=(dated(until=3),))
    tick = Tick(snapshot, decide(config(), snapshot, Memory()))
    text = "GitHub stops giving jobs to runner 2.336.0 in 3 days, on 2026-11-26"
    ((level, alert),) = alerts(tick)
    assert (level, alert.startswith(f"image ami-1 of pool amd64: {text}")) == ("warning", True)
    assert "in 3 days, on 2026" in markdown(tick, config()).replace("\\", "")
    assert any(text in line for line in status(tick, config()))
    assert exit_code(tick) is Exit.OK


# --- what is asked for it ------------------------------------------------------------------------


def fleet(version: str = OLD, built: str = "2026-11-10T08:00:00Z", until: datetime | None = None) -> Simulation:
    """A simulated fleet whose image has these tags, with an instance that runs a job."""
    sim = Simulation()
    tags = {"runner-scaler:runner-version": version, "runner-scaler:built": built}
    sim.aws.ec2.images |= {
        each.id: SeedImage(each.id, each.architecture, each.name, tags) for each in sim.aws.ec2.images.values()
    }
    if until is not None:
        sim.github.settings.deprecations = (f"{version}={until:%Y-%m-%dT%H:%M:%SZ}",)
    sim.push(minutes=60)
    sim.ticks(3)
    return sim


def told(sim: Simulation) -> list[str]:
    """What the next tick says of images."""
    (tick,) = sim.ticks(1)
    assert not tick.snapshot.unseen
    return [verdict.sentence for verdict in tick.plan.verdicts if verdict.reason in (Reason.AGING, Reason.UNDATED)]


def test_github_is_asked_for_the_date_by_version() -> None:
    assert told(fleet(until=START + span("5d"))) == [
        f"GitHub stops giving jobs to runner {OLD} in 4 days, on 2026-11-29{BUILD}"
    ]


def test_the_newest_version_has_no_date_however_old_its_image_is() -> None:
    assert told(fleet(NEW, built="2026-01-01T00:00:00Z")) == []


@pytest.mark.parametrize("fault", [None, Fault(FaultKind.STATUS, path="/deprecations/", value=403, times=None)])
def test_where_github_does_not_tell_the_image_s_build_is_the_bound(fault: Fault | None) -> None:
    sim = fleet(built="2026-11-01T08:00:00Z")
    if fault is not None:
        sim.github.fault(fault)
    assert told(sim) == [
        f"it has runner {OLD}: GitHub may give it no jobs in 6 days, 30 days after it was built{BUILD}"
    ]


@pytest.mark.parametrize(
    ("code", "sentences"), [("InternalError", 0), ("UnauthorizedOperation", 1)], ids=["AWS fails", "not allowed"]
)
def test_an_image_that_cannot_be_seen_costs_no_tick_anything(code: str, sentences: int) -> None:
    sim = fleet(until=START)
    sim.aws.fail("ec2:DescribeImages", code=code, times=None)
    assert len(told(sim)) == sentences
    sim.push()
    (tick,) = sim.ticks(1)
    assert exit_code(tick) is Exit.OK
    assert len(sim.aws.alive()) == 2


def test_a_watch_asks_once_for_each_image() -> None:
    sim = fleet(until=START + span("5d"))
    reconciler = sim.reconciler(tap := Tap(sim.clock))
    reconciler.tick()
    first = tap.calls
    reconciler.tick()
    assert tap.calls - first == first - 2, "EC2 for the image, GitHub for its version"


def test_without_instances_no_image_is_looked_at() -> None:
    sim = Simulation()
    sim.aws.fail("ec2:DescribeImages", code="UnauthorizedOperation", times=None)
    assert told(sim) == []
