"""What is fetched for the tests is what was pinned, whole, and missed aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fetch_openapi, fetched


@pytest.mark.parametrize(
    ("ci", "outcome"),
    [
        pytest.param("true", pytest.fail.Exception, id="fails on CI"),
        pytest.param("", pytest.skip.Exception, id="is skipped elsewhere"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine without the registry must not pass by not having looked."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fetched, "CACHE", tmp_path)
    with pytest.raises(outcome, match=r"NOT CHECKED.*npm is not installed"):
        fetched.needed(fetch_openapi.fetch)


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "package.tgz"
    package.write_bytes(b"something else")
    with pytest.raises(fetched.Tampered, match=r"package\.tgz: expected sha512-abc"):
        fetched.verify(package, "sha512-abc")


def test_a_fetch_that_breaks_off_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetched, "CACHE", tmp_path)

    def broken(path: Path) -> None:
        path.write_text("half")
        raise ConnectionResetError

    def whole(path: Path) -> None:
        path.write_bytes(b"whole")

    with pytest.raises(ConnectionResetError):
        fetched.kept("some/file", broken)
    assert not (tmp_path / "some" / "file").exists()
    assert fetched.kept("some/file", whole).read_bytes() == b"whole"
    assert fetched.kept("some/file", broken).read_bytes() == b"whole"
