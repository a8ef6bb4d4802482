"""Work side by side, or by one worker: at once, in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def workers(count: int) -> Executor:
    """So many. With one, what is done is a function of what is answered; what goes wrong is raised where it is submitted."""
    return _Alone() if count == 1 else ThreadPoolExecutor(count)


class _Alone(Executor):
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
