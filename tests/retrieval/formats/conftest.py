"""What the format tests share: files in the layouts of data sets, and imports of them."""

from __future__ import annotations

import gzip
import zipfile

import pytest

from retrieval.ingest import IngestRequest, ingest


@pytest.fixture
def write(tmp_path):
    """Writes a file, gzipped if its name ends so; returns its path."""

    def write(name, text):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        return path

    return write


@pytest.fixture
def zipped(tmp_path):
    """Writes a ZIP with these members; returns its path."""

    def zipped(members, name="export.zip"):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for member, text in members.items():
                packed.writestr(member, text)
        return path

    return zipped


@pytest.fixture
def load(store):
    """Imports files of a format; reports by file."""

    def load(path, format, domain="films", **options):
        reports = ingest(store, IngestRequest(path, domain, format=format, **options))
        return {report.file: report for report in reports}

    return load
