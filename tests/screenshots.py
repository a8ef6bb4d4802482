"""
The job summary as GitHub shows it: `python -m tests.screenshots` plays four watches and takes their pictures.

The shipped program plays them in the simulation's world. GitHub's own parser (cmarkgfm) reads the page, its style
sheet and Mermaid (in the version that GitHub had in November 2025) draw it, Chromium takes the picture.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import cmarkgfm
from cmarkgfm.cmark import Options

from scaler.model import Tick
from scaler.reporting.page import markdown
from scaler.reporting.trend import Trend, then
from scaler.sandbox.github.faults import Fault, FaultKind
from scaler.sandbox.github.state import JobSpec
from simulation.boxes import Habit
from simulation.world import Simulation
from tests.fetched import Unreachable, client, kept, verify

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDTH = 960
SIMULATED = "http://github.simulation"
CONFIG = """\
version: 1
fleet: main
aws: {region: us-east-1}
github: {price_per_minute: 0.006}
repositories: [acme/api, acme/web, acme/infra]
max_runners: 12
pools:
  amd64:
    arch: amd64
    labels: [self-hosted, linux, x64, acme]
    launch_template: {name: runner-amd64, version: 3}
    market: spot-then-on-demand
    max: 8
    price_per_hour: 0.1008
  arm64:
    arch: arm64
    labels: [self-hosted, linux, arm64, acme]
    launch_template: {name: runner-arm64, version: 3}
    max: 4
    price_per_hour: 0.0816
"""
AMD64 = ("self-hosted", "linux", "x64", "acme")
ARM64 = ("self-hosted", "linux", "arm64", "acme")
GPU = ("self-hosted", "linux", "gpu-l4")
WATCH = timedelta(seconds=15)


# --- four watches --------------------------------------------------------------------------------

Act = Callable[[Simulation], object]


@dataclass(frozen=True)
class Scene:
    """What happens at which minute of a watch of so many minutes."""

    minutes: float
    acts: Mapping[float, Act]


def push(repository: str, labels: tuple[str, ...], *jobs: tuple[str, float]) -> Act:
    """A run of these jobs and their minutes."""
    return lambda sim: sim.github.push(repository, [JobSpec(name, labels, minutes * 60) for name, minutes in jobs])


def _many(name: str, count: int, minutes: float) -> list[tuple[str, float]]:
    return [(f"{name} ({number}/{count})", minutes + number % 3) for number in range(1, count + 1)]


def _blind(sim: Simulation) -> None:
    sim.github.faults.add(Fault(FaultKind.STATUS, "/repos/acme/web/actions/runs", "GET", times=None))


def _change_of_mind(sim: Simulation) -> None:
    """The newest run is cancelled while its machines boot: their runners will be idle for a while."""
    sim.cancel(max(sim.github.state.runs))


def _broken(sim: Simulation) -> None:
    sim.boxes.manners.always = Habit.REFUSED


SCENES = {
    "quiet": Scene(
        29,
        {
            1: push("acme/api", AMD64, ("build", 4), ("lint", 2), ("unit (3.11)", 5), ("unit (3.12)", 5)),
            8: push("acme/web", ARM64, ("build", 3), ("e2e (chrome)", 6)),
        },
    ),
    "busy": Scene(
        34,
        {
            1: push("acme/api", AMD64, ("build", 4), ("lint", 2), *_many("unit", 4, 5)),
            12: push("acme/web", ARM64, ("build", 3), ("e2e (chrome)", 30), ("e2e (firefox)", 30)),
            13: push("acme/api", AMD64, *_many("unit", 2, 5)),
            13.5: _change_of_mind,
            22: push("acme/api", AMD64, *_many("integration", 12, 16)),
            24: push("acme/infra", GPU, ("train", 20), ("evaluate", 5)),
            33.5: push("acme/web", ARM64, ("deploy preview", 5)),
        },
    ),
    "degraded": Scene(
        16,
        {
            1: push("acme/api", AMD64, *_many("unit", 5, 20)),
            2: push("acme/web", ARM64, ("build", 12), ("e2e (chrome)", 25)),
            12: _blind,
            13: push("acme/api", AMD64, ("lint", 2)),
        },
    ),
    "breaker": Scene(40, {0: _broken, 1: push("acme/api", AMD64, ("build", 4), *_many("unit", 3, 5))}),
}


def play(scene: Scene) -> str:
    """The page of the watch's last tick."""
    sim = Simulation(CONFIG)
    start = sim.clock.now()
    left = dict(scene.acts)
    trend: Trend | None = None
    pages: list[str] = []

    def on_tick(tick: Tick) -> None:
        nonlocal trend
        tick = _on_github(tick)
        trend = then(trend, tick)
        pages[:] = [markdown(tick, sim.config, trend)]
        passed = (sim.clock.now() - start) / timedelta(minutes=1)
        for minute in [minute for minute in left if minute <= passed]:
            left.pop(minute)(sim)

    sim.reconciler().watch(timedelta(minutes=scene.minutes), WATCH, timedelta(hours=1), on_tick)
    return pages[0]


def _on_github(tick: Tick) -> Tick:
    """With the addresses that jobs have on github.com."""
    verdicts = tuple(replace(v, url=v.url.replace(SIMULATED, "https://github.com")) for v in tick.plan.verdicts)
    return replace(tick, plan=replace(tick.plan, verdicts=verdicts))


# --- as GitHub shows it --------------------------------------------------------------------------


def _packed(package: str, version: str, integrity: str, member: str) -> Path:
    """One file of an npm package, pinned."""

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            client("npm", "pack", f"{package}@{version}", "--pack-destination", scratch, "--ignore-scripts")
            (archive,) = Path(scratch).glob("*.tgz")
            verify(archive, integrity)
            with tarfile.open(archive, "r:gz") as opened:
                file = opened.extractfile(f"package/{member}")
                assert file is not None, f"{package} {version} has no {member}"
                path.write_bytes(file.read())

    return kept(f"{package}/{version}/{Path(member).name}", write)


def mermaid() -> Path:
    """Mermaid, as one script."""
    integrity = "sha512-ZudVx73BwrMJfCFmSSJT84y6u5brEoV8DOItdHomNLz32uBjNrelm7mg95X7g+C6UoQH/W6mBLGDEDv73JdxBg=="
    return _packed("mermaid", "11.12.0", integrity, "dist/mermaid.min.js")


def style(theme: str) -> Path:
    """GitHub's style of Markdown, in `light` or `dark`."""
    integrity = "sha512-tmT5sY+zvg2302XLYEfH2mtkViIM1SWf2nvYoF5N1ZsO0V6B2qZTiw3GOzw4vpjLygK/KG35qRlPFweHqfzz5w=="
    return _packed("github-markdown-css", "5.9.0", integrity, f"github-markdown-{theme}.css")


def rendered(page: str, theme: str) -> str:
    """The page as a document for a browser."""
    body = cmarkgfm.github_flavored_markdown_to_html(page, options=Options.CMARK_OPT_UNSAFE)
    body = re.sub(
        r'<pre lang="mermaid"><code>(.*?)</code></pre>', r'<div class="mermaid">\1</div>', body, flags=re.DOTALL
    )
    drawn = "dark" if theme == "dark" else "default"
    return f"""<!doctype html><html><head><meta charset="utf-8">
<style>{style(theme).read_text()} body {{ margin: 0; padding: 24px; box-sizing: border-box }}</style></head>
<body class="markdown-body">{body}<script src="{html.escape(mermaid().as_uri())}"></script>
<script>
mermaid.initialize({{startOnLoad: false, securityLevel: "strict", theme: "{drawn}"}});
mermaid.run().finally(() => {{ document.title = "height " + document.body.scrollHeight }});
</script></body></html>"""


def picture(page: str, theme: str, target: Path) -> None:
    """Take the picture of a page, as high as it is, in few colours."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "page.html"
        file.write_text(rendered(page, theme), encoding="utf-8")
        found = re.search(r"<title>height (\d+)</title>", _chromium(scratch, file, "--dump-dom"))
        assert found, "the page was not drawn"
        _chromium(scratch, file, f"--window-size={WIDTH},{found[1]}", f"--screenshot={scratch}/page.png")
        quantised = ["pngquant", "--force", "--strip", "--output", str(target), "64", f"{scratch}/page.png"]
        subprocess.run(quantised, check=True)


def _chromium(scratch: str, file: Path, *options: str) -> str:
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run")
    command = ["chromium", "--headless", *quiet, "--hide-scrollbars", f"--user-data-dir={scratch}/profile"]
    command += ["--allow-file-access-from-files", f"--window-size={WIDTH},800", "--virtual-time-budget=10000"]
    done = subprocess.run([*command, *options, file.as_uri()], check=True, capture_output=True, text=True, timeout=120)
    return done.stdout


def main() -> int:
    """Take all the pictures."""
    for name, scene in SCENES.items():
        page = play(scene)
        for theme in ("light", "dark") if name == "busy" else ("light",):
            target = DOCS / f"summary-{name}{'-dark' if theme == 'dark' else ''}.png"
            picture(page, theme, target)
            print(f"{target.relative_to(DOCS.parent)}: {target.stat().st_size // 1024} KB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unreachable as error:
        sys.exit(f"not drawn: {error}")
