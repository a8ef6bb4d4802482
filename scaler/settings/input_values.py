"""How the texts of inputs are read. Each reader returns the value, or raises a ValueError with one clear line."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from scaler import durations
from scaler.settings.schema import Schema
from scaler.settings.schema_check import refusal
from scaler.text import quoted


def boolean(text: str) -> bool:
    """`true` or `false`, exactly: what else people write is read differently by every tool."""
    if text not in ("true", "false"):
        raise ValueError(f"{quoted(text)}; write true or false")
    return text == "true"


def count(text: str) -> int:
    """How many instances at once."""
    if not re.fullmatch(r"[1-9]|[1-4][0-9]|50", text):
        raise ValueError(f"{quoted(text)} is not an integer 1..50")
    return int(text)


def instance_id(text: str) -> str:
    """One EC2 instance id."""
    if re.fullmatch(r"i-([0-9a-f]{8}|[0-9a-f]{17})", text):
        return text
    if len(re.findall(r"\bi-[0-9a-f]{8,17}\b", text)) > 1:
        raise ValueError(f"{quoted(text)} is several; give one instance at a time")
    raise ValueError(f"{quoted(text)} is not i- + 8 or 17 hexadecimal digits")


def duration(low: str, high: str) -> Callable[[str], timedelta]:
    """A duration within bounds."""
    return lambda text: durations.parse(text, durations.read(low), durations.read(high))


def fitting(schema: Schema) -> Callable[[str], str]:
    """A text that the config would take at that place."""

    def read(text: str) -> str:
        if why := refusal(text, schema):
            raise ValueError(why)
        return text

    return read


def api_url(text: str) -> str:
    """GitHub's API: https, or plain http on this machine alone, since a token goes there."""
    parts = _url(text)
    if parts is None or parts.scheme not in ("http", "https"):
        raise ValueError("not a URL; write https://HOST, for GHES https://HOST/api/v3")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a user, a query or a fragment does not belong here; write https://HOST/api/v3")
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        raise ValueError("http:// refused; use https")
    return text.rstrip("/")


def proxy(text: str) -> str:
    """A proxy as HTTPS_PROXY names it. It may hold a password, so that no message shows it."""
    parts = _url(text if "://" in text else f"http://{text}")
    if parts is None or parts.scheme not in ("http", "https", "socks4", "socks5", "socks5h"):
        raise ValueError("not a proxy's URL (not shown); write http://HOST:PORT, or unset it")
    return text


def token(text: str) -> str:
    """A GitHub token, as far as its shape can tell."""
    if not text:
        raise ValueError(
            "empty; in a workflow: is the secret set in this repository or environment? in a shell: export GH_TOKEN"
        )
    if set(text) == {"*"}:
        raise ValueError("only asterisks: a masked value was copied, not the token; give the secret itself")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("has a space, a line break or another character no token has; copy it again")
    return text


def app_id(text: str) -> str:
    """A GitHub App's id, a number, or its client id (docs.github.com: authenticating as a GitHub App)."""
    if not re.fullmatch(r"[1-9][0-9]{0,11}|Iv[A-Za-z0-9.]{8,40}", text):
        raise ValueError(f"{quoted(text)} is no App's id; write its number, or its client id (Iv23...)")
    return text


def private_key(text: str) -> str:
    r"""A private key in PEM. Where its line breaks became `\n`, as in an env file, they are put back."""
    whole = text.replace("\\n", "\n").replace("\r", "").strip()
    if not re.fullmatch(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+\n-----END \1PRIVATE KEY-----", whole):
        raise ValueError("not a private key in PEM (not shown); give the file that GitHub let you download, whole")
    return whole + "\n"


def workflow_file(text: str) -> str:
    """A workflow's file below `.github/workflows`, by its name or by its path in the repository."""
    name = text.removeprefix(".github/workflows/")
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]{0,99}\.ya?ml", name, re.ASCII):
        raise ValueError(f"{quoted(text)} is no workflow's file; write its name, such as autoscale.yml")
    return name


def branch(text: str) -> str:
    """A branch (git-check-ref-format: no space, none of ~ ^ : ? * [ and the backslash)."""
    name = text.removeprefix("refs/heads/")
    if not re.fullmatch(r"[^\s~^:?*\[\\]{1,255}", name) or not name.isprintable():
        raise ValueError(f"{quoted(text)} is no branch; write its name, such as main")
    return name


def _url(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and re.fullmatch(r"[!-~]+", text) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
