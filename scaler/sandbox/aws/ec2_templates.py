"""EC2's launch templates: numbered versions of launch data, a default among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scaler.sandbox.aws.ec2_filters import tag_list, tags_for, wanted
from scaler.sandbox.aws.error import AwsError
from scaler.sandbox.aws.iam_world import Principal
from scaler.sandbox.aws.ids import Ids
from scaler.sandbox.aws.paging import page
from scaler.sandbox.clock import Clock

Params = Mapping[str, Any]
Data = Mapping[str, Any]


@dataclass(slots=True)
class Template:
    """A launch template. `versions` are numbered from 1; a deleted one leaves a gap."""

    id: str
    name: str
    versions: dict[int, tuple[datetime, Data, str]]
    made_at: datetime
    made_by: str
    default: int = 1
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        """The newest version's number."""
        return max(self.versions)

    def number(self, text: str) -> int | None:
        """The version meant by `$Latest`, `$Default` or a number; None if there is none."""
        number = {"$Latest": self.latest, "$Default": self.default}.get(text or "$Default")
        if number is None and text.isdigit():
            number = int(text)
        return number if number in self.versions else None


class Templates:
    """The launch templates of one account and region."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self.all: dict[str, Template] = {}

    def operations(self) -> dict[str, Callable[[Params, Principal], dict[str, Any]]]:
        """What this part of EC2 serves."""
        return {
            "CreateLaunchTemplate": self.create,
            "CreateLaunchTemplateVersion": self.create_version,
            "ModifyLaunchTemplate": self.modify,
            "DeleteLaunchTemplate": self.delete,
            "DescribeLaunchTemplates": self.describe,
            "DescribeLaunchTemplateVersions": self.describe_versions,
        }

    def seed(
        self,
        name: str,
        versions: Iterable[Data],
        template_id: str = "",
        default: int = 0,
        *,
        tags: Mapping[str, str] | None = None,
    ) -> Template:
        """A template of the world's own, with all its versions; the newest is the default unless told."""
        now = self._clock.now()
        numbered = {number: (now, data, "") for number, data in enumerate(versions, 1)}
        made = template_id or self._ids.new("lt")
        template = Template(made, name, numbered, now, "arn:aws:iam::0:root", tags=dict(tags or {}))
        template.default = default or template.latest
        self.all[template.id] = template
        return template

    def find(self, template_id: str | None, name: str | None) -> Template:
        """The template of this id or name. Raises EC2's two different NotFounds."""
        if bool(template_id) == bool(name):
            text = "You must specify either the launch template ID or the launch template name, but not both."
            raise AwsError("MissingParameter" if not name else "InvalidParameterCombination", text)
        if template_id:
            if not re.fullmatch(r"lt-[0-9a-f]{17}", template_id):
                raise AwsError("InvalidLaunchTemplateId.Malformed", f"Invalid launch template id: {template_id}")
            if template_id not in self.all:
                raise AwsError(
                    "InvalidLaunchTemplateId.NotFound",
                    f"The specified launch template, with template ID {template_id}, does not exist.",
                )
            return self.all[template_id]
        for template in self.all.values():
            if template.name == name:
                return template
        raise AwsError(
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )

    def resolve(self, given: Params) -> tuple[Template, int, Data]:
        """What a LaunchTemplateSpecification names. Raises VersionNotFound."""
        template = self.find(given.get("LaunchTemplateId"), given.get("LaunchTemplateName"))
        number = _version(template, given.get("Version", ""))
        return template, number, template.versions[number][1]

    # --- operations --------------------------------------------------------------------------

    def create(self, params: Params, caller: Principal) -> dict[str, Any]:
        """CreateLaunchTemplate."""
        name = params["LaunchTemplateName"]
        if any(each.name == name for each in self.all.values()):
            text = "Launch template name already in use."
            raise AwsError("InvalidLaunchTemplateName.AlreadyExistsException", text)
        if not re.fullmatch(r"[a-zA-Z0-9().\-/_]{3,128}", name):
            raise AwsError(
                "InvalidLaunchTemplateName.MalformedException", "A launch template name must be 3-128 characters."
            )
        now = self._clock.now()
        first = (now, params["LaunchTemplateData"], params.get("VersionDescription", ""))
        tags = tags_for("launch-template", params)
        template = Template(self._ids.new("lt"), name, {1: first}, now, caller.arn, tags=tags)
        self.all[template.id] = template
        return {"LaunchTemplate": _shown(template)}

    def create_version(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - the operations' one shape
        """CreateLaunchTemplateVersion."""
        template = self.find(params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))
        data = dict(params["LaunchTemplateData"])
        if "SourceVersion" in params:
            source = _version(template, params["SourceVersion"])
            data = {**template.versions[source][1], **data}
        number = template.latest + 1
        template.versions[number] = (self._clock.now(), data, params.get("VersionDescription", ""))
        return {"LaunchTemplateVersion": _version_shown(template, number)}

    def modify(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """ModifyLaunchTemplate: choose the default version."""
        template = self.find(params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))
        template.default = _version(template, params.get("DefaultVersion", ""))
        return {"LaunchTemplate": _shown(template)}

    def delete(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """DeleteLaunchTemplate."""
        template = self.find(params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))
        del self.all[template.id]
        return {"LaunchTemplate": _shown(template)}

    def describe(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """DescribeLaunchTemplates."""
        ids, names = params.get("LaunchTemplateIds", ()), params.get("LaunchTemplateNames", ())
        found = [self.find(each, None) for each in ids] + [self.find(None, each) for each in names]
        if not ids and not names:
            found = list(self.all.values())
        facts = {each.id: {"launch-template-name": [each.name]} for each in found}
        found = [each for each in found if wanted(params.get("Filters", ()), facts[each.id], each.tags)]
        found.sort(key=lambda each: each.id)
        shown, token = page(
            found, lambda each: each.id, params.get("MaxResults", 200), params.get("NextToken"), "InvalidNextToken"
        )
        return {"LaunchTemplates": [_shown(each) for each in shown], "NextToken": token}

    def describe_versions(self, params: Params, caller: Principal) -> dict[str, Any]:  # noqa: ARG002 - as above
        """DescribeLaunchTemplateVersions, newest first; without a template, `$Latest` or `$Default` of all."""
        named = params.get("LaunchTemplateId") or params.get("LaunchTemplateName")
        templates = (
            [self.find(params.get("LaunchTemplateId"), params.get("LaunchTemplateName"))]
            if named
            else list(self.all.values())
        )
        shown = []
        for template in templates:
            numbers = [_version(template, each) for each in params.get("Versions", ())] or list(template.versions)
            low, high = int(params.get("MinVersion", 1)), int(params.get("MaxVersion", template.latest))
            chosen = sorted((each for each in set(numbers) if low <= each <= high), reverse=True)
            shown += [_version_shown(template, each) for each in chosen]
        return {"LaunchTemplateVersions": shown}


def _version(template: Template, text: str) -> int:
    number = template.number(text)
    if number is None:
        if not (text.isdigit() or text.startswith("$")):
            raise AwsError("InvalidLaunchTemplateId.VersionNotFound", f"Invalid launch template version: {text}")
        raise AwsError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {text} for the launch template with ID {template.id}.",
        )
    return number


def _shown(template: Template) -> dict[str, Any]:
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "CreateTime": template.made_at.replace(microsecond=0),
        "CreatedBy": template.made_by,
        "DefaultVersionNumber": template.default,
        "LatestVersionNumber": template.latest,
        "Tags": tag_list(template.tags),
    }


def _version_shown(template: Template, number: int) -> dict[str, Any]:
    made_at, data, description = template.versions[number]
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionNumber": number,
        "VersionDescription": description or None,
        "CreateTime": made_at.replace(microsecond=0),
        "CreatedBy": template.made_by,
        "DefaultVersion": number == template.default,
        "LaunchTemplateData": data,
    }
