"""REST endpoint of a repository's files (docs.github.com: get repository content)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from scaler.sandbox.github.call import Call
from scaler.sandbox.github.http import Response
from scaler.sandbox.github.state import Refused


def get_contents(call: Call) -> Response:
    """A file with its content, or a folder's entries as a bare array; 404."""
    path, files = call.path["path"].strip("/"), call.repository.files
    if path in files:
        return Response(200, _entry(call, path, files[path]))
    below = sorted(
        {path + "/" + name.removeprefix(path + "/").split("/")[0] for name in files if name.startswith(path + "/")}
    )
    if not below:
        raise Refused(404, "Not Found")
    return Response(200, [_entry(call, each, files.get(each), listed=True) for each in below])


def _entry(call: Call, path: str, text: str | None, *, listed: bool = False) -> dict[str, Any]:
    raw = (text or "").encode()
    repository = call.repository
    kind, sha = "dir" if text is None else "file", hashlib.sha1(raw).hexdigest()
    api, html = f"{call.views.api}/repos/{repository.full_name}", f"{call.views.html}/{repository.full_name}"
    links = {
        "self": f"{api}/contents/{path}?ref={repository.default_branch}",
        "git": f"{api}/git/{'trees' if text is None else 'blobs'}/{sha}",
        "html": f"{html}/blob/{repository.default_branch}/{path}",
    }
    content = {} if listed else {"content": base64.encodebytes(raw).decode(), "encoding": "base64"}
    return {
        "type": kind,
        "size": len(raw),
        "name": path.rpartition("/")[2],
        "path": path,
        "sha": sha,
        "url": links["self"],
        "git_url": links["git"],
        "html_url": links["html"],
        "download_url": None if text is None else f"{html}/raw/{repository.default_branch}/{path}",
        "_links": links,
        **content,
    }
