"""A release described in Croissant 1.0, with its responsible-AI fields, for data catalogues.

Croissant: https://docs.mlcommons.org/croissant/docs/croissant-spec.html; the fields
``rai:``: https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dpbench.privacy.statement import Statement, in_short
from dpbench.release.images import ARCHIVE, INDEX

__all__ = ["croissant"]

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(
    folder: Path,
    count: int,
    statement: Statement,
    *,
    licence: str,
    creator: str,
    objections: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe the ``count`` images that lie in ``folder``, as JSON-LD."""
    name = statement.title
    guarantee = in_short(statement)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": f"{count} synthetic images, {guarantee} for {statement.unit}.",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "license": licence,
        "creator": {"@type": "sc:Organization", "name": creator},
        "url": "https://github.com/dpbench/dpbench",
        "datePublished": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": "1.0.0",
        "citeAs": f"{creator}: {name}",
        "distribution": [
            _file(folder, INDEX, "text/csv"),
            _file(folder, ARCHIVE, "application/zip"),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "field": [_field("path", "PNG file"), _field("label", "class, or `all`")],
            }
        ],
        **_responsible(statement, guarantee, objections),
    }


def _file(folder: Path, name: str, encoding: str) -> dict[str, Any]:
    content = (folder / name).read_bytes()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": encoding,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _field(column: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{column}",
        "name": column,
        "description": description,
        "dataType": "sc:Text",
        "source": {"fileObject": {"@id": INDEX}, "extract": {"column": column}},
    }


def _responsible(statement: Statement, guarantee: str, objections: Sequence[str]) -> dict[str, Any]:
    return {
        "rai:dataCollection": f"Sampled from a generative model of {statement.data_domain}",
        "rai:dataCollectionType": ["Software Collection"],
        "rai:dataManipulationProtocol": "; ".join(
            line.removeprefix("- ").rstrip(".") for line in statement.composition
        )
        + ".",
        "rai:personalSensitiveInformation": [
            f"The generator, as it was chosen, is {guarantee} for {statement.unit}, by "
            f"{statement.adjacency}."
        ],
        "rai:dataLimitations": [
            *(f"Released against advice: {objection}" for objection in objections),
            *statement.unprotected,
        ],
        "rai:dataBiases": [
            "Rare kinds of images are lost first, and the more so the smaller epsilon is.",
            "The public model can draw only what resembles its public images.",
        ],
        "rai:dataUseCases": [
            "Training and testing of models where the original images may not be shared."
        ],
        "rai:dataSocialImpact": "Conclusions about individuals, and counts of rare cases, cannot "
        "be drawn from synthetic images.",
        "rai:dataReleaseMaintenancePlan": "Another release from the same private images adds to "
        "epsilon: it must be accounted for together with this one.",
    }
