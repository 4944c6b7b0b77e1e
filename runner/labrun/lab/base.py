"""What every model of the lab language shares: strictness, and the small types (slugs, durations, addresses)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from labrun.lab import hints
from labrun.logic.suggest import did_you_mean

REFERENCE = re.compile(r"\$\{([a-z_][a-z0-9_]{0,31})\}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


STORED = {"stored": True}  # the validation context of what a run has kept: it was checked when it was run


def author_check(method: Callable[[Any], Any]) -> Any:
    """A model validator that tells an author what makes no sense. What is read back from a run is not checked anew:
    checks become stricter, and what was done stays as it was."""

    def check(self: Any, info: ValidationInfo) -> Any:
        return self if info.context == STORED else method(self)

    return model_validator(mode="after")(check)


def fail(kind: str, message: str) -> PydanticCustomError:
    """A validation error with our own words. Braces are escaped, for pydantic fills templates."""
    return PydanticCustomError(kind, "{text}", {"text": message})


class Strict(BaseModel):
    """Frozen; an unknown key is an error that names the key that was probably meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in data:
                if key not in known:
                    hint = hints.key(str(key), known) or did_you_mean(str(key), known)
                    text = f"unknown key '{str(key)[:60]}'.{hint}"
                    raise PydanticCustomError("unknown_key", "{text}", {"text": text, "key": key})
        return data


def _duration_s(value: object) -> object:
    if isinstance(value, bool):
        raise fail("duration", "a duration is needed, such as 500ms, 2s or 1m")
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNIT_S[match[2]]
    raise fail("duration", f"a duration is needed, such as 500ms, 2s or 1m, not {value!r}")


def is_reference(value: object) -> bool:
    """``${name}`` and nothing else: a value that an earlier step saves, or a parameter."""
    return isinstance(value, str) and REFERENCE.fullmatch(value) is not None


def _prefix(value: str) -> str:
    if is_reference(value):
        return value
    try:
        ipaddress.ip_interface(value)
    except ValueError as error:
        raise fail("address", f"not an address: {error}") from error
    if "/" not in value:
        raise fail("address", f"the prefix length is missing: {value}/24, or {value}/32 for this address alone")
    return value


def _ip(value: str) -> str:
    if is_reference(value):
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError as error:
        raise fail("address", f"not an IP address: {error}") from error
    return value


def _network(value: str) -> str:
    if is_reference(value):
        return value
    if value == "default":
        return value
    try:
        ipaddress.ip_interface(value)
    except ValueError as error:
        raise fail("address", f"'default', an address or a prefix is needed: {error}") from error
    return value


def _mac(value: str) -> str:
    if is_reference(value):
        return value
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value):
        raise fail("mac", f"not a MAC address: {value!r} (six bytes such as 02:00:00:00:00:01)")
    return value.lower()


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError) as error:
        raise fail("regex", f"not a regular expression: {error}") from error
    except RecursionError as error:
        raise fail("regex", "this regular expression has too many groups in groups") from error
    return value


def _interface(value: str) -> str:
    if is_reference(value):
        return value
    # dev_valid_name() in net/core/dev.c: under IFNAMSIZ, not . or .., no slash, colon or space.
    if not 0 < len(value.encode()) < 16 or value in (".", "..") or re.search(r"[/:\s]", value):
        raise fail("interface", f"not an interface name: {value!r} (1 to 15 bytes, no space, '/' or ':')")
    return value


def _env_name(value: str) -> str:
    if not _ENV_NAME.fullmatch(value):
        raise fail("env", f"{value[:60]!r} is no name of a variable: letters, digits and _, not first a digit")
    if value == "BASH_ENV":
        raise fail("env", "BASH_ENV is labrun's own: by it a shell tells what its exit status does not")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise fail("nul", "there can be no NUL character in it")
    return value


def as_text(value: object) -> object:
    """YAML gives numbers for `8900` and true for `true`; where text is wanted they are taken as they are written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


ValueName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,31}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Flag = Annotated[bool, Field(strict=True)]  # `off` is text in YAML 1.2, not false
Int = Annotated[int, Field(strict=True)]
Scalar = str | int | float | bool
Text = Annotated[str, BeforeValidator(as_text, json_schema_input_type=Scalar)]
_DurationText = Annotated[str, Field(pattern=rf"^\s*{_DURATION.pattern}\s*$")]
Duration = Annotated[
    float,
    Field(gt=0, le=3600),
    BeforeValidator(_duration_s, json_schema_input_type=Annotated[float, Field(gt=0, le=3600)] | _DurationText),
]
Prefix = Annotated[str, AfterValidator(_prefix)]
IP = Annotated[str, AfterValidator(_ip)]
Network = Annotated[str, AfterValidator(_network)]
Mac = Annotated[str, AfterValidator(_mac)]
Regex = Annotated[str, AfterValidator(_regex)]
Interface = Annotated[str, AfterValidator(_interface)]
Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
# In the file, a parameter may stand for the number; it is filled in before this looks at it.
ReferenceText = Annotated[str, Field(pattern=rf"^{REFERENCE.pattern}$")]
Mtu = Annotated[
    int,
    Field(ge=68, le=65535, strict=True),
    BeforeValidator(lambda value: value, json_schema_input_type=Annotated[int, Field(ge=68, le=65535)] | ReferenceText),
]
EnvName = Annotated[str, AfterValidator(_env_name), Field(json_schema_extra={"pattern": f"^{_ENV_NAME.pattern}$"})]
EnvText = Annotated[Text, AfterValidator(_no_nul), Field(max_length=32768)]
Env = dict[EnvName, EnvText]
OneOrMore = BeforeValidator(_listed, json_schema_input_type=str | Annotated[tuple[str, ...], Field(min_length=1)])
Interfaces = Annotated[tuple[Interface, ...], Field(min_length=1), OneOrMore]
Nodes = Annotated[tuple[Slug, ...], Field(min_length=1), OneOrMore]
