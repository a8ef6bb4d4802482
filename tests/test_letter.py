"""What an instance is told is what the published schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scaler.acting.letter import letter
from scaler.model import Secret
from scaler.settings.config import Registration
from tests.worlds import pool

SCHEMA = json.loads((Path(__file__).parents[1] / "docs/parameter.schema.json").read_text())
POOLS = [
    pool(),
    pool(registration=Registration.TOKEN, min_idle=2),
    pool(registration=Registration.TOKEN, ephemeral=False),
]


def told(**fields: Any) -> Any:
    """The letter to an instance of such a pool."""
    return json.loads(
        letter(pool(**fields), "https://github.com/acme/api", "main-1a2b3c-i-0a1b2c3d", None, Secret("s3cret"))
    )


@pytest.mark.parametrize("each", POOLS)
def test_the_letter_is_what_its_schema_says(each: Any) -> None:
    text = letter(each, "https://github.com/acme", "main-1a2b3c-i-0a1b2c3d", "scaled", Secret("s3cret"))
    jsonschema.validate(json.loads(text), SCHEMA)


def test_limits_are_seconds() -> None:
    assert told()["limits"] == {"boot_timeout": 600, "idle_timeout": 300, "max_lifetime": 21600}


@pytest.mark.parametrize("waits", [{"min_idle": 1}, {"ephemeral": False}])
def test_a_runner_that_is_meant_to_wait_has_no_idle_limit_of_its_own(waits: Any) -> None:
    assert told(**waits)["limits"]["idle_timeout"] is None


def test_a_secret_is_in_no_representation() -> None:
    assert "s3cret" not in repr(Secret("s3cret"))
