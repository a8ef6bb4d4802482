"""The parts of a scenario that are values: jobs, settings of the embedded GitHub, faults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.settings import Settings
from scaler.sandbox.github.state import Conclusion, JobSpec
from scaler.sandbox.yaml_reader import Place


def jobs(place: Place) -> tuple[JobSpec, ...]:
    """The jobs of a workflow; none make a zombie run. `needs` name jobs above, so that there is no circle."""
    specs: list[JobSpec] = []
    for item in place.items():
        spec = _job(item)
        known = [earlier.name for earlier in specs]
        if spec.name in known:
            raise item.error(f"there are two jobs named {spec.name!r}")
        for need in spec.needs:
            if need not in known:
                raise item.error(f"needs {need!r}, which is no job above")
        specs.append(spec)
    return tuple(specs)


def _job(place: Place) -> JobSpec:
    parts = place.mapping(
        required=("name", "labels"),
        optional=(
            "duration",
            "conclusion",
            "matrix",
            "count",
            "max_parallel",
            "needs",
            "environment",
            "concurrency",
            "group",
        ),
    )
    labels = parts["labels"].texts()
    if not labels:
        raise parts["labels"].error("a job has at least one label")
    words = {key: parts[key].text() for key in ("environment", "concurrency", "group") if key in parts}
    return JobSpec(
        name=parts["name"].text(),
        labels=labels,
        duration=parts["duration"].duration() if "duration" in parts else 60.0,
        conclusions=_conclusions(parts["conclusion"]) if "conclusion" in parts else ("success",),
        matrix=_matrix(parts),
        max_parallel=parts["max_parallel"].integer(1) if "max_parallel" in parts else None,
        needs=parts["needs"].texts() if "needs" in parts else (),
        **words,
    )


def _conclusions(place: Place) -> tuple[Conclusion, ...]:
    """One for all attempts, or one for each."""
    choices: tuple[Conclusion, ...] = get_args(Conclusion)
    items = place.items() if place.is_list else [place]
    if not items:
        raise place.error("expected at least one conclusion")
    return tuple(item.one_of(choices) for item in items)


def _matrix(parts: dict[str, Place]) -> tuple[str, ...]:
    if "matrix" in parts and "count" in parts:
        raise parts["count"].error('expected "matrix" or "count", not both')
    if "count" in parts:
        return tuple(str(number) for number in range(1, parts["count"].integer(1) + 1))
    return parts["matrix"].texts() if "matrix" in parts else ()


def settings(place: Place) -> dict[str, Any]:
    """Some of the settings of the embedded GitHub, each as its type wants it."""
    kinds = {field.name: str(field.type) for field in fields(Settings)}
    return {key: _setting(kinds[key], part) for key, part in place.mapping(optional=kinds).items()}


def _setting(kind: str, place: Place) -> Any:
    if kind.endswith("| None") and place.is_null:
        return None
    if kind.startswith("Literal"):
        return place.one_of(re.findall(r"\w+", kind.partition("[")[2]))
    readers: dict[str, Callable[[], Any]] = {
        "float": place.duration,
        "int": place.integer,
        "bool": place.flag,
        "str": place.text,
        "set[str]": lambda: set(place.texts()),
        "tuple[str, ...]": place.texts,
    }
    return readers[kind.removesuffix(" | None")]()


def fault(place: Place) -> Fault:
    """A fault of the REST API."""
    parts = place.mapping(required=("kind",), optional=("path", "method", "times", "skip", "value"))
    pattern = parts["path"].text() if "path" in parts else ""
    try:
        re.compile(pattern)
    except re.error as error:
        raise parts["path"].error(f"is no regular expression: {error}") from None
    methods = ("GET", "POST", "DELETE")
    return Fault(
        kind=FaultKind(parts["kind"].one_of([kind.value for kind in FaultKind if kind is not FaultKind.ODD])),
        path=pattern,
        method=parts["method"].one_of(methods) if "method" in parts else "",
        times=_times(parts["times"]) if "times" in parts else 1,
        skip=parts["skip"].integer() if "skip" in parts else 0,
        value=parts["value"].duration() if "value" in parts else None,
    )


def _times(place: Place) -> int | None:
    """A number of requests, or null for all until faults are cleared."""
    return None if place.is_null else place.integer(1)
