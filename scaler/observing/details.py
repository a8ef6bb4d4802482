"""
What is good to know of the world and nothing rests on: ended machines, ended runs, images.

What cannot be read of it is left out, makes nothing unseen, and is looked for again by the next tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from scaler.model import ApiError, Cloud, Denied, GitHub, Image, Instance, Job, Memory, RunEnd, Scope
from scaler.settings.config import Config


class Details:
    """Reads them for one fleet. Images are kept: each is looked at once by a process."""

    def __init__(self, config: Config, github: GitHub, cloud: Cloud, prefix: str) -> None:
        """`prefix` begins the names of the fleet's runners."""
        self._config = config
        self._github = github
        self._cloud = cloud
        self._prefix = prefix
        self._images: dict[str, Image] = {}

    def gone(self, instances: Sequence[Instance], jobs: Iterable[Job]) -> tuple[Instance, ...]:
        """The ended machines of running jobs."""
        there = {self._prefix + instance.id for instance in instances}
        named = {job.runner_name for job in jobs if job.is_running and job.runner_name}
        missing = sorted(n.removeprefix(self._prefix) for n in named - there if n.startswith(self._prefix + "i-"))
        if missing:
            with suppress(ApiError):
                return tuple(each for each in self._cloud.look(tuple(missing)).values() if not each.state.alive)
        return ()

    def ended(self, memory: Memory, jobs: Iterable[Job]) -> tuple[RunEnd, ...]:
        """How the runs stand whose lost jobs GitHub has given up, and which are to run again."""
        unfinished = {f"{job.repository}#{job.id}" for job in jobs}
        runs = {
            (job.partition("#")[0], loss.run_id)
            for job, loss in memory.lost.items()
            if job not in unfinished and (pool := self._config.pool(loss.pool)) is not None and pool.rerun_lost
        }
        ends = []
        for repository, run in sorted(runs):
            with suppress(ApiError):
                ends.append(self._github.run_end(repository, run))
        return tuple(ends)

    def images(self, instances: Iterable[Instance], scope: Scope | None) -> tuple[Image, ...]:
        """The images of the living instances. In a scope of the fleet's GitHub is asked for their dates."""
        ids = tuple(sorted({instance.image for instance in instances if instance.image}))
        missing = tuple(each for each in ids if each not in self._images)
        try:
            for image in self._cloud.images(missing) if missing else ():
                self._images[image.id] = self._dated(image, scope)
        except Denied as error:
            self._images |= {each: Image(each, why=str(error)) for each in missing}
        except ApiError:
            pass
        return tuple(self._images[each] for each in ids if each in self._images)

    def _dated(self, image: Image, scope: Scope | None) -> Image:
        """The image with what GitHub says of its runner program, if it says anything."""
        if image.version and scope is not None:
            with suppress(ApiError):
                return replace(image, told=True, until=self._github.runner_deadline(scope, image.version))
        return image
