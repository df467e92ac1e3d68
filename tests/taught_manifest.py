"""The manifest of an adapter that learnt from certain people, as it lies beside weights that it was merged into."""

from __future__ import annotations

from datetime import UTC, datetime

from xdrec_agent.models import AdapterManifest, BaseModelId, TrainingData, merged_manifest_name


def write_manifest(folder, people, split):
    """Say in `folder` that its model learnt from the people of this identity, chosen by `split`."""
    manifest = AdapterManifest(
        name="taste",
        kind="taste",
        base=BaseModelId(name="base", revision=None, sha256=""),
        template="item",
        template_fingerprint="",
        data=TrainingData(domains=("books",), people=people),
        settings={"users": split.model_dump(mode="json")},
        before={},
        metrics={},
        steps=1,
        tokens=1,
        seconds=1,
        seed=0,
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )
    (folder / merged_manifest_name("taste")).write_text(manifest.model_dump_json(), encoding="utf-8")
