"""The inputs of the action, as action.yml declares them and the README lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the action: what action.yml declares, and the variable that it is handed over in."""

    name: str
    env: str
    description: str
    default: str
    modes: tuple[str, ...]


PREFIX: Final = "RUNNER_SCALER_"
MODES: Final = ("auto", "plan", "up", "down", "kick", "status", "doctor", "lint")
"""What the action can do. `schema` and `demo` are for a shell."""
SHARDED: Final = ("auto", "plan", "status")
WITH_CONFIG: Final = tuple(mode for mode in MODES if mode != "kick")


def _input(name: str, description: str, default: str = "", modes: tuple[str, ...] = MODES) -> Input:
    return Input(name, PREFIX + name.upper().replace("-", "_"), description, default, modes)


INPUTS: Final = (
    _input("mode", f"What to do: {', '.join(MODES)}.", "auto"),
    _input("config", "The config file, in the workspace.", "config.yaml", WITH_CONFIG),
    _input("arch", "Launch for this architecture: amd64 or arm64.", modes=("up",)),
    _input("pool", "Launch from this pool, instead of naming an architecture.", modes=("up",)),
    _input(
        "repository", "The repository (owner/name) to launch for; needed where the config has several.", "", ("up",)
    ),
    _input("count", "How many instances to launch: 1 to 50.", "1", ("up",)),
    _input("instance-id", "The instance to end.", modes=("down",)),
    _input("force", "End the instance even while it runs a job: true or false.", "false", ("down",)),
    _input("wait", "Wait until the runners are online: true or false.", "false", ("up",)),
    _input("for", "Watch for so long, such as 50m. Empty: one tick.", modes=("auto",)),
    _input("every", "How often to look during a watch.", "15s", ("auto",)),
    _input(
        "linger",
        "End a watch early after so long with no work and no running job. Empty: idle_timeout + 2 x every.",
        "",
        ("auto",),
    ),
    _input(
        "hand-over",
        "When the watch is over and there is work left, start the next run: true or false. Needs actions: write.",
        "false",
        ("auto",),
    ),
    _input(
        "keep-alive",
        "Tell GitHub that the schedule is in use, which it stops after 60 quiet days in a public repository: true or"
        " false. Needs actions: write.",
        "false",
        ("auto",),
    ),
    _input(
        "scaler",
        "The repository (owner/name) of the scaler's workflow: which one to kick.",
        "",
        ("kick", "status", "doctor"),
    ),
    _input("workflow", "The file of the scaler's workflow.", "autoscale.yml", ("kick", "status", "doctor")),
    _input("ref", "The branch of the scaler's workflow. Empty: the default branch.", "", ("kick",)),
    _input("dry-run", "true turns auto into plan: it says what it would do, and does nothing.", "false", ("auto",)),
    _input(
        "github-token",
        "A token that may manage the runners: of a GitHub App, or a fine-grained one, with administration: write on"
        " the repositories (or self-hosted runners: write on the organization) and actions: read.",
    ),
    _input("github-app-id", "Instead of a token: the id, or the client id, of a GitHub App with these permissions."),
    _input("github-app-private-key", "The App's private key (PEM). Its tokens are minted and renewed as needed."),
    _input(
        "workflow-token",
        "The token of the workflow itself, for hand-over and keep-alive (actions: write) and for the clocks in status and"
        " doctor (actions: read).",
        "${{ github.token }}",
        ("auto", "status", "doctor"),
    ),
    _input("github-api-url", "The URL of GitHub's API.", "${{ github.api_url }}"),
    _input("role-to-assume", "The AWS role to assume through OIDC, instead of the config's.", modes=WITH_CONFIG),
    _input("aws-region", "The AWS region, instead of the config's.", modes=WITH_CONFIG),
    _input(
        "shard",
        "The part of the repositories to see to, where several runs share them: 2/8 is the second of eight.",
        modes=SHARDED,
    ),
)
"""The action's inputs in order. A test holds action.yml, its env map and the README to this table."""
