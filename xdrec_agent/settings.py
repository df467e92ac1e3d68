"""All settings as one frozen object. Reads xdrec.toml, the environment and overrides, produces `Settings`.

Order, later wins: defaults, `xdrec.toml` in the working folder (or the file named by `XDREC_CONFIG`), environment
(`XDREC_LLM__PORT=9000` sets `[llm] port`), what the command line says. Only this file looks at the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from retrieval.errors import UsageError
from retrieval.settings import EncoderSettings, IndexSettings, RetrieverSettings, Section


class StoreSettings(Section):
    """Where items and interactions are kept."""

    url: str | None = None
    """SQLAlchemy URL (`postgresql+psycopg://…`); None: SQLite in the home folder."""


class LLMSettings(Section):
    """The language model and the server that runs it."""

    model: str = "smollm2-135m-instruct"
    """A name of `xdrec models list`, a Hugging Face id, or a folder."""
    base_url: str | None = None
    """An OpenAI-compatible endpoint to use as it is, or several of the same model, separated by commas: they are
    balanced. None: the vLLM server that `xdrec llm up` starts."""
    api_key: SecretStr | None = None
    """Key for `base_url`; the server of `xdrec llm up` makes its own."""
    allow_remote: bool = False
    """Whether histories may be sent to a `base_url` on another machine (HTTPS only)."""
    port: int = Field(default=8417, ge=1, le=65535)
    max_model_len: int = Field(default=4096, ge=256)
    kv_cache_gib: int = Field(default=2, ge=1)
    """CPU only: memory for the KV cache."""
    extra_args: tuple[str, ...] = ()
    """Further arguments for vLLM's server."""
    start_timeout_s: float = Field(default=600, gt=0)
    timeout_s: float = Field(default=60, gt=0)
    """Deadline of one call, retries included."""
    attempts: int = Field(default=3, ge=1)
    concurrency: int = Field(default=16, ge=1)
    """Requests in flight at a time, per server."""
    recovery_s: float = Field(default=5, gt=0)
    """How long a server that keeps failing is left out before it is tried again."""
    cache: Literal["on", "off", "only"] = "on"
    """Whether replies are kept and used again; "only": nothing else answers, a miss is an error."""
    cache_gib: float = Field(default=1, gt=0)
    """Size of the response cache; the oldest replies go first."""


class RerankSettings(Section):
    """How candidates are reranked."""

    strategy: str = "hybrid"
    """identity, listwise-logprob, pointwise-logprob, listwise-generate or hybrid."""
    judge: str | None = None
    """Whose judgement `hybrid` mixes with the retriever's score; None: the one fitted for the model."""
    weight: float | None = Field(default=None, ge=0, le=1)
    """Of the judge in `hybrid`; None: the fitted one of the model, 0 if there is none."""
    candidates: int = Field(default=20, ge=1)
    """How many of the retriever's candidates are reranked."""
    window: int = Field(default=20, ge=2, le=52)
    """How many of them the model is shown at once."""
    scheme: Literal["windows", "tournament"] = "windows"
    """How more of them are reranked: windows that move up from the bottom, or groups whose better halves meet."""
    min_shuffles: int = Field(default=2, ge=1)
    max_shuffles: int = Field(default=8, ge=1)
    """More than the least only while the top still moves more than noise would."""
    aggregate: Literal["mean", "borda"] = "mean"
    """Consensus of shuffles: mean log-probability, or mean rank."""
    template: str = "rerank"
    """Template of the lists: a shipped one's name or a file."""
    judge_template: str = "judge"
    """Template of `pointwise-logprob`."""
    max_history: int = Field(default=10, ge=1)
    """Most recent liked items shown to the model."""
    deadline_s: float = Field(default=120, gt=0)
    """How long reranking may take; after that the retriever's order stands, marked as degraded."""
    seed: int = 0


class ExplainSettings(Section):
    """How reasons are written."""

    max_tokens: int = Field(default=160, ge=32)
    evidence: int = Field(default=3, ge=1, le=10)
    """History items offered to the model as reasons, the best matching ones."""
    deadline_s: float = Field(default=120, gt=0)
    """How long a reason may take; after that the plain one from the catalogue's facts stands."""


class Settings(BaseSettings):
    """Everything that can be set; one object is made at the edge and passed inwards."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="XDREC_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    home: Path = Path(".xdrec")
    """Folder of the store, the indexes and the server's state; relative to the working folder."""
    models_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("xdrec") / "models")
    """Folder of downloaded models, shared between projects."""
    offline: bool = False
    """Never reach for a hub or package index."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    store: StoreSettings = StoreSettings()
    encoder: EncoderSettings = EncoderSettings()
    index: IndexSettings = IndexSettings()
    retriever: RetrieverSettings = RetrieverSettings()
    llm: LLMSettings = LLMSettings()
    rerank: RerankSettings = RerankSettings()
    explain: ExplainSettings = ExplainSettings()

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.store.url or f"sqlite:///{self.home / 'store.sqlite'}"

    @property
    def index_dir(self) -> Path:
        """Folder of the indexes."""
        return self.home / "index"

    @property
    def responses_dir(self) -> Path:
        """Folder of the response cache."""
        return self.home / "responses"

    @property
    def server_dir(self) -> Path:
        """Folder of the LLM server's state and log."""
        return self.home / "llm"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of the sources, strongest first."""
        toml = TomlConfigSettingsSource(settings_cls, toml_file=Path(os.environ.get("XDREC_CONFIG", "xdrec.toml")))
        return init_settings, env_settings, toml


def load_settings(**overrides: Any) -> Settings:
    """Make the settings; `overrides` are sections or top-level values that the command line gave.

    Raises:
        UsageError: a value is out of range or a name is unknown, or xdrec.toml is not TOML.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise UsageError(f"settings: {problems}", hint="see docs/settings.md, or `xdrec doctor`") from exc
    except ValueError as exc:  # tomllib.TOMLDecodeError
        raise UsageError(f"xdrec.toml: {exc}", hint="mend the file or set XDREC_CONFIG to another") from exc
