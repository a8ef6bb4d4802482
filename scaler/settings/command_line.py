"""The command line as data: commands, flags, help. Reads words into texts; what they mean is for `inputs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scaler import __version__
from scaler.text import nearest, quoted

PROGRAM: Final = "python -m scaler"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: its spellings, what follows it ("" for nothing, [FILE] for perhaps), the commands that know it."""

    name: str
    spellings: tuple[str, ...]
    metavar: str
    help: str
    commands: tuple[str, ...]


COMMANDS: Final[Mapping[str, str]] = {
    "auto": "look once, or for a while with --for: launch for queued jobs, end what is idle",
    "plan": "say what auto would do, and why; change nothing",
    "up": "launch instances by hand",
    "down": "deregister one runner and end its instance",
    "kick": "have the scaler's workflow run now, from any repository",
    "status": "show pools, runners, instances and jobs, and when each clock last ticked",
    "doctor": "check config, permissions, roles, templates, images and clocks; change nothing",
    "lint": "check that the pools serve what the repositories' workflows ask for",
    "schema": "print the JSON Schema of config.yaml",
    "demo": "run the main job on an embedded GitHub and AWS: no account needed",
}
_WORKING = ("auto", "plan", "up", "down", "status")

FLAGS: Final = (
    Flag("for", ("--for",), "TIME", "watch for so long, such as 50m [one tick]", ("auto",)),
    Flag("every", ("--every",), "TIME", "look so often during a watch [15s]", ("auto",)),
    Flag(
        "linger",
        ("--linger",),
        "TIME",
        "end a watch after so long with no work and no running job [idle_timeout + 2 x every]",
        ("auto",),
    ),
    Flag("arch", ("-a", "--arch"), "ARCH", "launch for amd64 or arm64", ("up",)),
    Flag("pool", ("-p", "--pool"), "POOL", "launch from this pool", ("up",)),
    Flag("count", ("-n", "--count"), "N", "how many, 1 to 50 [1]", ("up",)),
    Flag("repository", ("--repo", "--repository"), "OWNER/NAME", "launch for this repository", ("up",)),
    Flag("wait", ("--wait",), "", "wait until the runners are online", ("up",)),
    Flag("instance-id", ("-i", "-r", "--instance-id"), "ID", "the instance to end", ("down",)),
    Flag("force", ("--force",), "", "end it even while it runs a job", ("down",)),
    Flag(
        "scaler", ("--scaler",), "OWNER/NAME", "the repository of the scaler's workflow", ("kick", "status", "doctor")
    ),
    Flag("workflow", ("--workflow",), "FILE", "its file [autoscale.yml]", ("kick", "status", "doctor")),
    Flag("ref", ("--ref",), "BRANCH", "its branch [the default one]", ("kick",)),
    Flag("offline", ("--offline",), "", "check the config alone, without a token", ("lint",)),
    Flag("shard", ("--shard",), "I/N", "see to this part of the repositories alone", ("auto", "plan", "status")),
    Flag("config", ("--config",), "PATH", "the config file [config.yaml]", (*_WORKING, "doctor", "lint")),
    Flag("json", ("--json",), "[FILE]", "write the result as JSON to a file, or to standard output", _WORKING),
    Flag("verbose", ("-v", "--verbose"), "", "say more in the log", (*_WORKING, "kick", "doctor", "lint")),
)
_BY_SPELLING: Final = {spelling: flag for flag in FLAGS for spelling in flag.spellings}


@dataclass(frozen=True, slots=True)
class Given:
    """A command and the texts that came with it, by input name; `names` is how each is called where it came from."""

    command: str
    values: Mapping[str, str]
    names: Mapping[str, str]
    rest: tuple[str, ...] = ()


class Answered(Exception):
    """`--help` or `--version`: print the text, exit 0."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Unusable(Exception):
    """A command line that means nothing here: what is wrong, word by word, and how it is used."""

    def __init__(self, problems: Sequence[tuple[str, str]], usage: str) -> None:
        super().__init__("; ".join(message for _, message in problems))
        self.problems = tuple(problems)
        self.usage = usage


def read_line(argv: Sequence[str]) -> Given:
    """The words of a command line, without the program's name. Raises `Unusable` or `Answered`."""
    return _Line(argv).read()


class _Line:
    """Reads words from left to right. Flags may stand before or after the command, except before `demo`."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._words = list(argv)
        self._command = ""
        self._values: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._problems: list[tuple[str, str]] = []

    def read(self) -> Given:
        while self._words and self._command != "demo":
            word = self._words.pop(0)
            if word in ("-h", "--help"):
                raise Answered(help_text(self._command))
            if word == "--version":
                raise Answered(f"runner-scaler {__version__}")
            if word.startswith("-") and word != "-":
                self._flag(word)
            elif self._command:
                self._problems.append(("", f"unexpected {quoted(word)} after {self._command}{_hint(word)}"))
            else:
                self._choose(word)
        if not self._command:
            self._problems.append(("", f"no command; give one of {', '.join(COMMANDS)}"))
        for name, spelling in self._names.items():
            self._belongs(name, spelling)
        if self._problems:
            raise Unusable(self._problems, usage(self._command))
        return Given(self._command, self._values, self._names, tuple(self._words))

    def _choose(self, word: str) -> None:
        if word in COMMANDS:
            self._command = word
            return
        meant = nearest(word, COMMANDS)
        hint = f'; did you mean "{meant}"?' if meant else f"; give one of {', '.join(COMMANDS)}"
        raise Unusable([*self._problems, ("", f"unknown command {quoted(word)}{hint}")], usage(""))

    def _flag(self, word: str) -> None:
        spelling, equals, value = word.partition("=")
        if not word.startswith("--") and len(spelling) > 2:
            spelling, value, equals = word[:2], word[2:].removeprefix("="), "="
        flag = _BY_SPELLING.get(spelling)
        if flag is None:
            known = [s for s, f in _BY_SPELLING.items() if not self._command or self._command in f.commands]
            meant = nearest(spelling, known) if word.startswith("--") else None
            self._problems.append((spelling[:40], "unknown flag" + (f'; did you mean "{meant}"?' if meant else "")))
            if meant and _BY_SPELLING[meant].metavar and not equals:
                self._value(_BY_SPELLING[meant], spelling, None)  # its value is no word of its own
            return
        if flag.name in self._values:
            self._problems.append((spelling, "given twice; give it once"))
        self._names[flag.name] = spelling
        self._values[flag.name] = self._value(flag, spelling, value if equals else None)

    def _value(self, flag: Flag, spelling: str, attached: str | None) -> str:
        if not flag.metavar:
            if attached is not None:
                self._problems.append((spelling, f"takes no value, got {quoted(attached)}; leave it out for false"))
            return "true"
        if attached is not None:
            return attached
        following = self._words[0] if self._words else None
        is_value = following is not None and following.partition("=")[0] not in (*_BY_SPELLING, "-h", "--help")
        if flag.metavar.startswith("["):
            plain = following == "-" or (following is not None and not following.startswith("-"))
            return self._words.pop(0) if plain and following not in COMMANDS else "-"
        if is_value:
            return self._words.pop(0)
        self._problems.append((spelling, f"needs a value: {spelling} {flag.metavar}"))
        return ""

    def _belongs(self, name: str, spelling: str) -> None:
        commands = next(flag.commands for flag in FLAGS if flag.name == name)
        if self._command and self._command not in commands:
            self._problems.append((spelling, f"is for {', '.join(commands)}, not for {self._command}; remove it"))


def _hint(word: str) -> str:
    if word.startswith("i-"):
        return f"; write -i {word[:20]}"
    return f"; write -a {word}" if word in ("amd64", "arm64") else "; remove it"


def usage(command: str) -> str:
    """One line: how a command, or the program, is called."""
    if not command:
        return f"usage: {PROGRAM} COMMAND [flags]   (commands: {', '.join(COMMANDS)}; flags: --help)"
    words = [_shown(flag) for flag in FLAGS if command in flag.commands]
    return f"usage: {PROGRAM} {command} {' '.join(f'[{word}]' for word in words) or '[flags]'}"


def help_text(command: str) -> str:
    """The whole help, of one command or of all."""
    lines = [usage(command), ""]
    if not command:
        lines += [f"  {name:<8} {what}" for name, what in COMMANDS.items()] + [""]
    for flag in FLAGS:
        if not command or command in flag.commands:
            where = "" if command or len(flag.commands) > 1 else f" ({flag.commands[0]})"
            lines.append(f"  {', '.join(flag.spellings)} {flag.metavar}".ljust(34) + f" {flag.help}{where}")
    lines += [
        *("  -h, --help".ljust(34) + " this, or the help of a command", "  --version".ljust(34) + " the version", ""),
        "Environment: GH_TOKEN or GITHUB_TOKEN, or GH_APP_ID and GH_APP_PRIVATE_KEY; GITHUB_API_URL; GH_OWNER and",
        "GH_REPOSITORY (for up); and what the AWS SDK reads. Times are written 90s, 10m, 6h, 1d.",
        "Exit codes: 0 served or being served · 1 failure · 2 config, input or refusal · 3 credentials or permission ·",
        "4 something could not be observed · 5 a cap or breaker was hit · 130, 143 stopped.",
    ]
    return "\n".join(lines)


def _shown(flag: Flag) -> str:
    return f"{flag.spellings[0]} {flag.metavar}".strip()
