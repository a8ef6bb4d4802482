"""
How long GitHub gives jobs to the runner programs of the images in use. Pure.

GitHub stops giving jobs to a runner 30 days after a newer version was published, and tells the date by version
(docs.github.com: REST API, self-hosted runners, "Get runner version end-of-life schedule"; github.blog changelog of
2026-09-03). Where it does not tell (GHES, say), an image is sure of 30 days from its build.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from scaler.model import Image, Reason, Snapshot, Subject, Verdict

LIFE = timedelta(days=30)
NOTICE = timedelta(days=10)
"""People are told so long before: time to build an image and to have it reviewed."""


def review_images(snapshot: Snapshot) -> tuple[Verdict, ...]:
    """A verdict for each image that ages, or that could not be seen."""
    found = []
    for image in snapshot.images:
        pools = ", ".join(sorted({i.pool for i in snapshot.instances if i.image == image.id}))
        said = (
            (Reason.UNDATED, f"how old it is cannot be seen: {image.why}") if image.why else _age(image, snapshot.now)
        )
        if said is not None:
            found.append(Verdict(Subject.IMAGE, image.id, image.id, "", pools, *said, since=image.built_at))
    return tuple(found)


def _age(image: Image, now: datetime) -> tuple[Reason, str] | None:
    runner = f"runner {image.version}" if image.version else "a runner whose version its tags do not tell"
    if image.told:
        until, surely = image.until, True
    else:
        until, surely = image.built_at and image.built_at + LIFE, False
    if until is None or until - now > NOTICE:
        return None
    days = (until - now) // timedelta(days=1)
    if surely and until <= now:
        what = f"GitHub has given no jobs to {runner} since {until:%Y-%m-%d}"
    elif surely:
        what = f"GitHub stops giving jobs to {runner} in {_days(days)}, on {until:%Y-%m-%d}"
    elif until <= now:
        what = (
            f"it has {runner} and is {_days((now - until + LIFE) // timedelta(days=1))} old: GitHub may give it no jobs"
        )
    else:
        what = f"it has {runner}: GitHub may give it no jobs in {_days(days)}, 30 days after it was built"
    return Reason.AGING, f"{what}; build a new image and raise the launch template's version"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
