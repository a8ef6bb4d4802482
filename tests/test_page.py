"""The job summary, as GitHub's own parser of Markdown reads it: what comes first, what is cut, what cannot mark it up."""

from __future__ import annotations

import string
from html.parser import HTMLParser
from typing import Any

import cmarkgfm
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from hypothesis import strategies as st

from scaler.decide import decide
from scaler.model import Memory, Outcome, Result, Snapshot, Tick, Up, View
from scaler.reporting.markup import LONGEST, plain
from scaler.reporting.page import ALL_ROWS, ROWS, markdown
from scaler.settings.config import Config
from scaler.text import safe
from tests.worlds import API, WEB, booting, config, ghost, idle, job, jobs, pool, unseen, working, world

CONFIG = config()
MIB = 1024 * 1024
"""GitHub drops a step's summary that is larger (docs.github.com: workflow commands for GitHub Actions)."""


def tick(snapshot: Snapshot, *, result: Result | None = None, config: Config = CONFIG, **outcome: Any) -> Tick:
    """A tick of this world whose every command came to the same."""
    plan = decide(config, snapshot, Memory())
    outcomes = tuple(Outcome(command, result, **outcome) for command in plan.commands) if result else ()
    return Tick(snapshot, plan, outcomes)


class Rendered(HTMLParser):
    """What a browser would make of it: every tag, every address, and the text of every table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.rows: list[str] = []
        self.text = ""
        html = cmarkgfm.github_flavored_markdown_to_html(text, options=Options.CMARK_OPT_UNSAFE)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and data.strip():
            self.rows[-1] += f"{data} "


GPU = "self-hosted gpu"
OURS = {"h3", "h4", "p", "strong", "code", "pre", "blockquote", "table", "thead", "tbody", "tr", "th", "td"}
OURS |= {"details", "summary"}

PAGE = """\
### runner-scaler: fleet main

**Busy**: 2 queued, 1 running, 1 instance · 2026-11-23 09:00:00 UTC

#### 1 job not being served

| Jobs | Oldest | Why |
| --- | --- | --- |
| job-2 in acme/api | 12m00s | **no pool**: no pool carries all of \\[gpu, self-hosted\\]; nearest: pool amd64, which lacks "gpu" |

<details><summary>acme/api: 1 queued, 1 running (1 not being served)</summary>

| Job | Pool | Age | Verdict |
| --- | --- | --- | --- |
| job-2 |  | 12m00s | **no pool**: no pool carries all of \\[gpu, self-hosted\\]; nearest: pool amd64, which lacks "gpu" |
| job-900 |  | 1m00s | **running**: runs on main-1a2b3c-i-1 |

</details>

<details><summary>acme/web: 1 queued, 0 running</summary>

| Job | Pool | Age | Verdict |
| --- | --- | --- | --- |
| job-1 | amd64 | 0m40s | **launching**: launching into slot 1 of pool amd64 |

</details>

<details><summary>Pool amd64: 1 of 4 (1 busy)</summary>

| Instance | Scope | Age | Verdict |
| --- | --- | --- | --- |
| i-1 | acme/api | 20m00s | **busy**: runs "job-900" of acme/api |

</details>

<details><summary>1 command: 1 planned</summary>

| Command | Why | Outcome |
| --- | --- | --- |
| launch amd64/1 for acme/web | job "job-1" of acme/web is queued and no runner is free for it | planned |

</details>

<details><summary>Costs: no price is set; 1 instance now, 24 instance-hours in a day like this</summary>

|  | Now | An hour | A day like this |
| --- | --- | --- | --- |
| Pool amd64 | 1 | unknown | 24 h, unknown |
| The scaler's own job | 0 | 0 | each minute begun, unknown |

In USD, from `price_per_hour` of each pool and `github.price_per_minute`. A day like this: 24 hours of the mean number \
of instances since the first tick.

</details>

Keep an instance: tag it `runner-scaler:hold`. Launch no more: `max: 0` in its pool. Stop all: disable the workflow; \
instances end themselves.
"""


def test_the_page_tells_first_which_jobs_are_not_served_then_everything_folded() -> None:
    planned = tick(world(job(1, repository=WEB, age="40s"), job(2, labels="self-hosted gpu", age="12m"), working()))
    assert markdown(planned, CONFIG) == PAGE


@pytest.mark.parametrize(
    ("of", "state"),
    [
        pytest.param(tick(world()), "Quiet", id="nothing"),
        pytest.param(tick(world(job())), "Busy", id="a job"),
        pytest.param(tick(world(booting())), "Busy", id="an instance"),
        pytest.param(tick(world(unseen(View.QUEUE, API))), "Degraded", id="something unseen"),
        pytest.param(tick(world(unseen(View.RUNNERS, API, denied=True))), "Denied", id="a permission is missing"),
        pytest.param(tick(world(job()), result=Result.REFUSED), "Refused", id="EC2 refuses the template"),
        pytest.param(tick(world(jobs(5, age="11m"))), "At a cap", id="a job waits long for a full pool"),
    ],
)
def test_the_first_line_says_how_it_is(of: Tick, state: str) -> None:
    assert markdown(of, CONFIG).splitlines()[2].startswith(f"**{state}**: ")


def test_jobs_that_wait_for_one_cause_are_one_row_the_oldest_first() -> None:
    full = tick(world(jobs(5, start=2, age="2m"), job(1, age="20m", labels=GPU), job(9, age="9m", labels=GPU)))
    rows = Rendered(markdown(full, CONFIG)).rows
    assert rows[1].startswith("job-1, job-9 in acme/api 20m00s no pool ")
    assert rows[2].startswith("job-6 in acme/api 2m00s pool at max ")


def test_what_did_not_work_is_open_with_the_lines_to_paste() -> None:
    denied = tick(world(job()), result=Result.DENIED, detail="AWS: denied", remedy="Allow:\n```\n**ssm**")
    text = markdown(denied, CONFIG)
    found = Rendered(text)
    assert "Did not work" in found.text
    assert found.rows[1].startswith("launch amd64/0 for acme/api denied (AWS: denied) ")
    assert "Allow:\n```\n**ssm**\n" in found.text
    assert text.index("Did not work") < text.index("acme/api: 1 queued")


def test_what_was_not_seen_is_told_once_for_each_cause() -> None:
    text = markdown(tick(world(unseen(View.QUEUE, API), unseen(View.QUEUE, WEB))), CONFIG)
    assert "> **Not seen**: queue acme/api, queue acme/web: said no" in text


# --- it stays small ------------------------------------------------------------------------------


def test_a_long_table_is_cut_with_a_count() -> None:
    big = config(pool(max=1000), max_runners=1000)
    text = markdown(tick(world(jobs(2000)), config=big), big)
    assert f"… and {2000 - ROWS} more" in text


def test_the_tables_of_many_repositories_are_cut_with_a_count() -> None:
    names = tuple(f"acme/r{number}" for number in range(ALL_ROWS + 7))
    wide = config(repositories=names)
    many = world(*(job(number, repository=name, labels=GPU) for number, name in enumerate(names)))
    text = markdown(tick(many, config=wide), wide)
    assert text.count("<details>") == ALL_ROWS
    assert text.count("… and 7 in 7 more") == 1


HOSTILE = (
    "a|b\n| <img src=x onerror=alert(1)> </details> `x` **b** [y](https://evil.example) ::error:: ##[error] $x$ ~~z~~ "
    "https://evil.example www.evil.example <!-- \u202egpj.exe ```mermaid\ngraph TD; A-->B\n``` %%{init: {}}%% &lt; #1"
)


def test_ten_thousand_jobs_with_long_names_fit_three_times_over() -> None:
    """GitHub drops a summary over 1 MiB whole."""
    names = tuple(f"acme/r{number}" for number in range(997))
    big = config(pool(max=1000), max_runners=1000, repositories=names)
    long = HOSTILE * 9
    crowd = [job(n, repository=names[n % 997], name=f"{n} {long}") for n in range(10_000)]
    crowd += [job(n, repository=names[n % 997], name=long, labels=f"self-hosted gpu{n}") for n in range(10_000, 10_100)]
    blind = (unseen(View.GROUP, f"{long}{n}") for n in range(1000))
    full = world(*crowd, *blind, *(idle(f"i-{n}", since="1m") for n in range(2000)), *(ghost() for _ in range(2000)))
    text = markdown(tick(full, result=Result.FAILED, detail=long, config=big), big)
    assert len(text.encode()) < MIB / 3


# --- and nothing from outside marks it up --------------------------------------------------------


def test_names_from_outside_cannot_mark_up_the_page() -> None:
    hostile = tick(
        world(
            job(name=HOSTILE, labels="self-hosted gpu", url="https://github.com/acme/api/actions/runs/1/job/1"),
            job(2, name=HOSTILE, url="https://x/) <img>"),
            idle("i-2", since="1m"),
        )
    )
    found = Rendered(markdown(hostile, CONFIG))
    assert found.tags == OURS - {"pre", "blockquote"} | {"a"}
    assert set(found.links) == {"https://github.com/acme/api/actions/runs/1/job/1"}
    assert "a|b\\n| <img src=x onerror=alert(1)> </details> `x` **b** [y](https://evil.example)" in found.text
    assert not [line for line in markdown(hostile, CONFIG).splitlines() if line.startswith(("::", "```"))]
    assert "\u202e" not in found.text


PIECES = [*string.punctuation, *"ab1 \n\t\u202e\u05d0", "www.", "https://", "<b>", "&lt;", "::", "##["]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_text_is_shown_as_it_is_and_marks_up_nothing(text: str) -> None:
    found = Rendered(f"| a |\n| --- |\n| x{plain(text)}x |")
    assert f"x{safe(text)}x" in found.text
    assert found.tags - {"a"} == {"table", "thead", "tbody", "tr", "th", "td"}
    assert all(link.startswith(("mailto:", "xmpp:")) for link in found.links)  # GFM takes what has an @ for one


def test_a_text_is_cut_between_its_escapes() -> None:
    assert Rendered(plain("*" * LONGEST)).text.strip() == "*" * (LONGEST // 2) + "…"


def test_what_was_asked_for_by_hand_is_open_and_what_was_left_behind_is_folded() -> None:
    asked = markdown(tick(world(asked=(Up("amd64", API, 9),))), CONFIG)
    assert "#### Asked for by hand\n\n| What | Name | Verdict |" in asked
    assert "<summary>Left behind: 1 ghost</summary>" in markdown(tick(world(ghost())), CONFIG)
