"""
The wire formats of EC2, SSM and STS, read and written generically from botocore's own service models.

A request becomes the dict that a boto3 caller passed; an answer is the dict that a boto3 caller gets. So the
shape of any operation comes from AWS's model and not from here. A key that the model does not have is an
error: `UnknownParameter` in a request, `KeyError` in an answer (that is a mistake of the sandbox).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import botocore.loaders
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from scaler.sandbox.aws.error import AwsError

Params = dict[str, Any]
SERVICES = ("ec2", "iam", "ssm", "sts")


@cache
def model(service: str) -> ServiceModel:
    """Botocore's model of a service (about half a second for EC2, once a process). No session: no one's profile."""
    return ServiceModel(botocore.loaders.create_loader().load_service_model(service, "service-2"), service)


@cache
def operation_model(service: str, action: str) -> OperationModel | None:
    """One operation; None if the service has none of that name."""
    if action not in model(service).operation_names:
        return None
    return model(service).operation_model(action)


# --- requests ----------------------------------------------------------------------------------


def read_form(service: str, action: str, form: str) -> Params:
    """The parameters of a query-protocol request (EC2, STS). Raises the service's parameter errors."""
    tree: dict[str, Any] = {}
    for key, value in parse_qsl(form, keep_blank_values=True):
        if key in {"Action", "Version"}:
            continue
        node, parts = tree, key.split(".")
        for part in parts[:-1]:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise AwsError("MalformedQueryString", f"The query string is malformed at {key}")
            node = child
        node[parts[-1]] = value
    operation = operation_model(service, action)
    shape = operation.input_shape if operation else None
    return _structure(service, shape, tree, "") if isinstance(shape, StructureShape) else {}


def _read(service: str, shape: Shape, node: Any, path: str) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(service, shape, node, path)
    if isinstance(shape, ListShape):
        items = node if service == "ec2" else node.get("member", {}) if isinstance(node, dict) else {}
        if not isinstance(items, dict):
            return []  # botocore writes an empty list as `Name=`
        return [_read(service, shape.member, items[key], f"{path}.{key}") for key in sorted(items, key=_index)]
    return _scalar(service, shape, node, path)


def _index(key: str) -> int:
    if not key.isdigit():
        raise AwsError("MalformedQueryString", f"The query string is malformed at {key}")
    return int(key)


def _structure(service: str, shape: StructureShape, node: Any, path: str) -> Params:
    if not isinstance(node, dict):
        raise AwsError("InvalidParameterValue", f"Value ({node}) for parameter {path} is invalid.")
    names = {_name_in(service, member, name): (name, member) for name, member in shape.members.items()}
    params: Params = {}
    for key, child in node.items():
        if key not in names:
            raise AwsError("UnknownParameter", f"The parameter {path + key} is not recognized")
        name, member = names[key]
        params[name] = _read(service, member, child, f"{path}{key}.")
    for name in shape.required_members:
        if name not in params:
            raise AwsError("MissingParameter", f"The request must contain the parameter {path}{name}")
    return params


def _name_in(service: str, member: Shape, name: str) -> str:
    # As botocore's EC2Serializer: queryName, else the location name with a capital, else the member's name.
    if service != "ec2":
        return str(member.serialization.get("name", name))
    if "queryName" in member.serialization:
        return str(member.serialization["queryName"])
    located = str(member.serialization.get("name", name))
    return located[0].upper() + located[1:]


def _scalar(service: str, shape: Shape, text: Any, path: str) -> Any:
    where = path.rstrip(".")
    if not isinstance(text, str):
        raise AwsError("InvalidParameterValue", f"Value for parameter {where} is invalid.")
    try:
        match shape.type_name:
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case "integer" | "long":
                return int(text)
            case "float" | "double":
                return float(text)
            case "timestamp":
                return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, KeyError):
        raise AwsError("InvalidParameterValue", f"Value ({text}) for parameter {where} is invalid.") from None
    if service == "ec2" and isinstance(shape, StringShape) and shape.enum and text not in shape.enum:
        raise AwsError("InvalidParameterValue", f"Invalid value '{text}' for {where}.")
    return text


def read_json(service: str, action: str, body: bytes) -> Params:
    """The parameters of a JSON request (SSM). Raises `SerializationException` or `ValidationException`."""
    try:
        params = json.loads(body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "Could not parse the request body.") from None
    if not isinstance(params, dict):
        raise AwsError("SerializationException", "Start of structure or map found where not expected.")
    operation = operation_model(service, action)
    if operation and operation.input_shape is not None:
        problems = list(_problems(operation.input_shape, params, ""))
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
            raise AwsError("ValidationException", f"{count}: {'; '.join(problems)}")
    return params


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """What a JSON service's own validation says about lengths, patterns and enums of its model."""
    shown = "***" if shape.metadata.get("sensitive") else value
    failed = f"Value '{shown}' at '{path}' failed to satisfy constraint: Member must"
    _check_type(shape, value, path)
    match shape:
        case StructureShape():
            for name in shape.required_members:
                if name not in value:
                    where = f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")
                    yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
            for name, member in shape.members.items():
                if name in value:
                    yield from _problems(member, value[name], f"{path}.{name[0].lower()}{name[1:]}".lstrip("."))
        case ListShape():
            yield from (f"{failed} have length {bound}" for bound in _bounds(shape, len(value)))
            for number, item in enumerate(value, 1):
                yield from _problems(shape.member, item, f"{path}.{number}.member")
        case StringShape():
            yield from (f"{failed} have length {bound}" for bound in _bounds(shape, len(value)))
            pattern = shape.metadata.get("pattern")
            if pattern and not _matches(pattern, value):
                yield f"{failed} satisfy regular expression pattern: {pattern}"
            if shape.enum and value not in shape.enum:
                yield f"{failed} satisfy enum value set: [{', '.join(shape.enum)}]"
        case _ if shape.type_name in {"integer", "long"}:
            yield from (f"{failed} have value {bound}" for bound in _bounds(shape, value))


def _check_type(shape: Shape, value: Any, path: str) -> None:
    kinds = {"structure": dict, "list": list, "string": str, "integer": int, "long": int, "boolean": bool}
    kind = kinds.get(shape.type_name)
    if kind is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise AwsError("SerializationException", f"Expected a {shape.type_name} at '{path}'.")


def _bounds(shape: Shape, size: int) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if high is not None and size > high:
        yield f"less than or equal to {high}"
    if low is not None and size < low:
        yield f"greater than or equal to {low}"


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(f"^(?:{pattern})$", value) is not None
    except re.error:  # a pattern in Java's dialect
        return True


# --- answers -----------------------------------------------------------------------------------


def write_query(service: str, action: str, result: Params, request_id: str) -> bytes:
    """The XML answer of a query-protocol operation."""
    operation = operation_model(service, action)
    shape = operation.output_shape if operation else None
    inner = "".join(_xml_members(service, shape, result)) if isinstance(shape, StructureShape) else ""
    space = model(service).metadata["xmlNamespace"]
    if service == "ec2":
        if shape is None:
            inner = "<return>true</return>"
        inner = f"<requestId>{request_id}</requestId>{inner}"
    else:
        inner = (
            f"<{action}Result>{inner}</{action}Result>"
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{space}">{inner}</{action}Response>'.encode()
    )


def _xml_members(service: str, shape: StructureShape, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if item is None:
            continue
        member = shape.members[name]
        tag = str(member.serialization.get("name", name))
        yield f"<{tag}>{''.join(_xml(service, member, item))}</{tag}>"


def _xml(service: str, shape: Shape, value: Any) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        yield from _xml_members(service, shape, value)
    elif isinstance(shape, ListShape):
        tag = str(shape.member.serialization.get("name", "item" if service == "ec2" else "member"))
        for item in value:
            yield f"<{tag}>{''.join(_xml(service, shape.member, item))}</{tag}>"
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, datetime):
        yield value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    else:
        yield escape(str(value))


def write_json(service: str, action: str, result: Params) -> bytes:
    """The answer of a JSON operation."""
    operation = operation_model(service, action)
    shape = operation.output_shape if operation else None
    return json.dumps(_json(shape, result)).encode()


def _json(shape: Shape | None, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        return {name: _json(shape.members[name], item) for name, item in value.items() if item is not None}
    if isinstance(shape, ListShape):
        return [_json(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {key: _json(shape.value, item) for key, item in value.items()}
    return round(value.timestamp(), 3) if isinstance(value, datetime) else value


def write_error(service: str, error: AwsError, request_id: str) -> tuple[bytes, str]:
    """An error as the service in question writes it, and its content type."""
    if service == "ssm":
        body = {"__type": error.code} | ({"message": error.message} if error.message else {})
        return json.dumps(body).encode(), "application/x-amz-json-1.1"
    code, message = escape(error.code), escape(error.message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if service == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    else:
        space = model(service).metadata["xmlNamespace"]
        side = "Sender" if error.status < 500 else "Receiver"
        text = (
            f'<ErrorResponse xmlns="{space}"><Error><Type>{side}</Type>{inner}</Error>'
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode(), "text/xml;charset=UTF-8"
