"""The pull request that proposes a new image: one branch, made anew each time, and one open pull request of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from github import Github, GithubException, InputGitTreeElement
from github.Repository import Repository

BRANCH = "runner-image"

ALLOW = """\
Allow it: the workflow's job needs contents: write and pull-requests: write, and the repository the setting "Allow
GitHub Actions to create and approve pull requests" (Settings, Actions, General)."""


class Refused(Exception):
    """GitHub took no pull request; the sentence says what was refused, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """What was checked out: `acme/runners`, its commit, its branch."""

    repository: str
    sha: str
    branch: str


def propose(github: Github, checkout: Checkout, files: Mapping[str, str], title: str, body: str) -> str:
    """Put the files on the branch and open its pull request, or renew it; the address."""
    repository = github.get_repo(checkout.repository, lazy=True)
    try:
        _commit(repository, checkout, files, title)
        owner = checkout.repository.split("/")[0]
        for pull in repository.get_pulls(state="open", head=f"{owner}:{BRANCH}", base=checkout.branch):
            pull.edit(title=title, body=body)
            return pull.html_url
        return repository.create_pull(title=title, body=body, head=BRANCH, base=checkout.branch).html_url
    except GithubException as error:
        said = error.data.get("message", "") if isinstance(error.data, dict) else ""
        raise Refused(f"GitHub: no pull request in {checkout.repository}: {error.status} {said}\n{ALLOW}") from error


def _commit(repository: Repository, checkout: Checkout, files: Mapping[str, str], message: str) -> None:
    """One commit upon the one that was checked out; the branch points to it, whatever it pointed to before."""
    parent = repository.get_git_commit(checkout.sha)
    blobs = [InputGitTreeElement(path, "100644", "blob", content=text) for path, text in files.items()]
    tree = repository.create_git_tree(blobs, base_tree=parent.tree)
    made = repository.create_git_commit(message, tree, [parent])
    try:
        repository.create_git_ref(f"refs/heads/{BRANCH}", made.sha)
    except GithubException as error:
        if error.status != 422:  # it exists
            raise
        # Not GitRef.edit: PyGithub 2.10 asks for git/ref/, where GitHub has no PATCH.
        path = f"/repos/{checkout.repository}/git/refs/heads/{BRANCH}"
        repository.requester.requestJsonAndCheck("PATCH", path, input={"sha": made.sha, "force": True})
