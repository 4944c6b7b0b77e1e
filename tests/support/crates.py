"""Validates an RO-Crate with roc-validator, offline: the one document that it asks for is given here.

That is the JSON-LD context of RO-Crate 1.1. Of it only the terms are here that findings use.
"""

from __future__ import annotations

import json
from pathlib import Path

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_SCHEMA_ORG = (
    "CreativeWork", "Dataset", "SoftwareApplication", "CreateAction", "Claim", "name", "description", "datePublished",
    "license", "hasPart", "mentions", "about", "version", "softwareVersion", "additionalType", "instrument", "object",
    "result", "actionStatus", "startTime", "endTime", "contentSize", "encodingFormat",
)  # fmt: skip
_TERMS = {
    **{name: f"http://schema.org/{name}" for name in _SCHEMA_ORG},
    "File": "http://schema.org/MediaObject",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}


def issues(crate: Path, cache: Path, severity: str = "RECOMMENDED") -> list[tuple[str, str]]:
    """(severity, message) of all that the Process Run Crate profile, and what it builds on, finds in the folder."""
    import requests
    from rocrate_validator import models, services
    from rocrate_validator.utils.http import HttpRequester

    def get(url: str, **_: object) -> requests.Response:
        response = requests.Response()
        response.url, response.status_code = url, 200 if url == CONTEXT else 504
        response.headers["Content-Type"] = "application/ld+json"
        response._content = json.dumps({"@context": _TERMS}).encode()
        return response

    HttpRequester().get = get
    found = services.validate(
        models.ValidationSettings(
            rocrate_uri=str(crate),
            profile_identifier="process-run-crate",
            requirement_severity=severity,
            offline=True,
            cache_path=cache,
        )
    )
    return sorted({(issue.severity.name, issue.message) for issue in found.get_issues()})
