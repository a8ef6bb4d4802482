"""How `doctor` and `lint` ask and tell: many repositories at once, within GitHub's limits; a page; a few annotations."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from scaler.__main__ import main
from scaler.checking.checks import Check, ok, unseen, unwise, wrong
from scaler.checking.page import alerts, markdown
from scaler.model import Denied, Unavailable
from scaler.sandbox.aws.seed import SUBJECT, add_role, trust
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.server import Exchange
from tests.conftest import ROLE, World, WorldClock
from tests.test_doctor import DOCTOR

MIB = 1024 * 1024


@pytest.fixture
def looked_at(world: World) -> World:
    """A world whose config names a role that may look."""
    add_role(world.box.aws.iam, DOCTOR, trust("111122223333", [SUBJECT]))
    world.amend(ROLE, DOCTOR)
    return world


def widen(world: World, count: int) -> list[str]:
    """So many repositories in the config and on GitHub."""
    names = [f"acme/r{number}" for number in range(count)]
    for name in names:
        world.box.github.add_repository(name)
    world.amend("[acme/api, acme/web]", f"[{', '.join(names)}]")
    return names


@pytest.mark.parametrize(
    ("command", "what", "told"),
    [("doctor", "/repos/acme/{}", "repository"), ("lint", "/repos/acme/{}/contents/.github/workflows", "workflows of")],
)
def test_repositories_are_asked_at_once_and_told_in_the_configs_order(
    looked_at: World, command: str, what: str, told: str
) -> None:
    """The first one's answer comes after the last one's, which nobody would wait for who asks one after another."""
    names = widen(looked_at, 12)
    last, in_time = threading.Event(), []

    def late(exchange: Exchange) -> None:
        if exchange.path == what.format("r11"):
            last.set()
        if exchange.path == what.format("r0"):
            in_time.append(last.wait(20))

    looked_at.box.github_server.observers.append(late)
    ran = looked_at.scaler(command)
    assert ran.code == 0, ran.said
    assert in_time == [True]
    found = [line.split()[-1] for line in ran.out.splitlines() for line in [line.partition(": ")[0]] if told in line]
    assert found == names


@pytest.fixture
def signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_more_repositories_than_a_minute_has_points_for_are_waited_for(
    looked_at: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = widen(looked_at, 260)  # three questions each
    for name, value in looked_at.env().items():  # the SDK reads the process's own
        monkeypatch.setenv(name, value)
    clock = WorldClock(looked_at.box.clock)
    monkeypatch.setattr("scaler.__main__.RealClock", lambda: clock)
    assert main(["doctor", "--config", str(looked_at.config)], looked_at.env()) == 0
    out = capsys.readouterr().out
    assert out.count("runs are seen (Actions: read)") == len(names)
    assert out.count("0 registered") == len(names)
    assert clock.monotonic() >= 60


def test_one_that_is_stopped_says_so_and_asks_no_more(looked_at: World) -> None:
    widen(looked_at, 100)
    asked = threading.Event()
    looked_at.box.github_server.observers.append(lambda each: asked.set() if "/repos/" in each.path else None)
    looked_at.box.github.fault(
        Fault(FaultKind.THROTTLE, path="/repos/", value=9, times=None)
    )  # each would wait so long
    process = looked_at.start("doctor")
    assert asked.wait(30)
    process.send_signal(signal.SIGINT)
    ran = looked_at.end(process)
    assert ran.code == 130, ran.said
    assert ran.err.splitlines()[-1] == "stopped by SIGINT: nothing was changed"
    assert "repository acme/" not in ran.out
    assert "Nothing was changed." not in ran.out


def test_in_actions_the_page_has_every_finding_and_an_annotation_tells_what_needs_a_person(looked_at: World) -> None:
    looked_at.in_actions = True
    looked_at.box.github.repository("acme/web").private = False
    ran = looked_at.scaler("doctor")
    assert ran.code == 2, ran.said
    told = "is public: anyone's pull request could run code on your machines"
    mend = "make it private, remove it, or set allow\\_public: true if that is meant"
    lines = ran.summary.splitlines()
    assert lines[0] == "### runner-scaler: doctor of fleet main"
    assert lines[2].startswith("**To mend**: ")
    assert f"| **wrong** | repository acme/web | {told} | {mend} |" in lines
    assert any(line.startswith("| repository acme/api | private, its 0 runs are seen") for line in lines)
    assert f"::error ::repository acme/web: {told}; make it private" in ran.out
    assert ran.out.count("\n::error") == 1


def test_lints_findings_are_on_the_page_too(world: World) -> None:
    world.in_actions = True
    world.box.github.repository("acme/api").files[".github/workflows/ci.yml"] = (
        "jobs: {a: {runs-on: [self-hosted, gpu]}}"
    )
    ran = world.scaler("lint")
    assert ran.code == 2, ran.said
    assert "### runner-scaler: lint of fleet main" in ran.summary
    assert "| **wrong** | acme/api .github/workflows/ci.yml job a | no pool carries all of" in ran.summary
    assert "::error ::acme/api .github/workflows/ci.yml job a: no pool carries all of" in ran.out


def test_a_configs_warning_is_annotated_once_at_its_line(world: World) -> None:
    world.in_actions = True
    world.amend("max_runners: 10", "max_runners: 9")
    ran = world.scaler("lint", "--offline")
    assert ran.code == 0
    assert ran.out.count("::warning") == 1
    assert "| **unwise** | config | " in ran.summary


def test_a_terminal_has_no_annotations(looked_at: World) -> None:
    looked_at.box.github.repository("acme/web").private = False
    ran = looked_at.scaler("doctor")
    assert ran.said.count("is public: anyone's pull request") == 1


# --- pure ----------------------------------------------------------------------------------------


def bad(count: int) -> list[Check]:
    """So many repositories that could not be seen."""
    return [unseen(f"repository acme/r{n}", Unavailable(f"GitHub: /repos/acme/r{n}: 502")) for n in range(count)]


def test_annotations_are_one_for_each_remedy_the_worst_first_and_a_handful() -> None:
    denied = Denied("GitHub: may not", "permissions:\n  actions: read")
    checks = [
        ok("token", "fine"),
        unwise("image", "old", "build it"),
        *bad(3),
        unseen("runners of acme/api", denied),
        wrong("template", "stop", "set terminate"),
    ]
    assert alerts(checks) == [
        ("error", "runners of acme/api: GitHub: may not; permissions"),
        ("error", "template: stop; set terminate"),
        ("warning", "repository acme/r0 and 2 more: GitHub: /repos/acme/r0: 502; look again"),
        ("warning", "image: old; build it"),
    ]
    assert len(alerts([wrong(f"pool {n}", "is wrong", f"mend {n}") for n in range(30)])) == 5
    assert alerts([ok("token", "fine")]) == []


def test_the_page_begins_with_what_is_to_be_mended() -> None:
    page = markdown("doctor of fleet main", [ok("token", "fine"), unwise("image", "old", "build it"), *bad(1)])
    assert (
        page
        == """\
### runner-scaler: doctor of fleet main

**To mend**: 1 ok, 1 unwise, 0 wrong, 1 not seen. Nothing was changed.

|  | What | Found | How to mend it |
| --- | --- | --- | --- |
| **not seen** | repository acme/r0 | GitHub: /repos/acme/r0: 502 | look again |
| **unwise** | image | old | build it |

<details><summary>1 ok</summary>

| What | Found |
| --- | --- |
| token | fine |

</details>
"""
    )
    assert "**All is well**: 1 ok" in markdown("lint of fleet main", [ok("token", "fine")])


def test_the_page_of_a_thousand_repositories_is_far_below_githubs_limit() -> None:
    long = "|" * 5000
    page = markdown("doctor of fleet main", [wrong(long, long, long)] * 1000 + [ok(long, long)] * 1000)
    assert len(page.encode()) < MIB / 2
    assert page.count("… and 900 more") == 2


def test_what_is_found_marks_nothing_up() -> None:
    hostile = "![x](https://evil.test) <b>|\n::error::"
    page = markdown("doctor of fleet main", [wrong(hostile, hostile, hostile)])
    assert "<b>" not in page
    assert "https://evil" not in page
    assert "\n::error" not in page
    assert "::error" not in alerts([wrong(hostile, hostile, hostile)])[0][1]
