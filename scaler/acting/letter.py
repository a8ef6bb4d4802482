"""What an instance is told through its parameter: the value that docs/parameter.schema.json describes. Pure."""

from __future__ import annotations

import json

from scaler.model import Secret
from scaler.settings.config import Pool


def letter(pool: Pool, url: str, name: str, group: str | None, secret: Secret) -> str:
    """The JSON for one instance: how to register as `name` at `url`, and its limits in seconds."""
    # min_idle and reuse want a runner to wait for long: the machine has no idle limit of its own there (D6).
    waits = bool(pool.min_idle) or not pool.ephemeral
    return json.dumps(
        {
            "v": 1,
            "registration": pool.registration.value,
            "url": url,
            "name": name,
            "labels": list(pool.labels),
            "group": group,
            "ephemeral": pool.ephemeral,
            "secret": secret.value,
            "limits": {
                "boot_timeout": int(pool.boot_timeout.total_seconds()),
                "idle_timeout": None if waits else int(pool.idle_timeout.total_seconds()),
                "max_lifetime": int(pool.max_lifetime.total_seconds()),
            },
        },
        separators=(",", ":"),
    )
