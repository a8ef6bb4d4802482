"""One repository's queue through the real adapter."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scaler.model import ApiError, GitHub, Queue
from scaler.observing.queues import Queues


def queue(github: GitHub, repository: str, *, deep: bool) -> Queue:
    """A look by somebody who knows nothing yet; raises why it could not be seen."""
    found = Queues(github, ThreadPoolExecutor(1)).look({repository: deep})[repository]
    if isinstance(found, ApiError):
        raise found
    return found
