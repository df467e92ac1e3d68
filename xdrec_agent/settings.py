"""All settings as one frozen object. Reads xdrec.toml, the environment and overrides, produces `Settings`.

Order, later wins: defaults, `xdrec.toml` in the working folder (or the file named by `XDREC_CONFIG`), environment
(`XDREC_LLM__PORT=9000` sets `[llm] port`), what the command line says. Only this file looks at the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from retrieval.errors import UsageError
from retrieval.settings import EncoderSettings, ExclusionSettings, IndexSettings, RetrieverSettings, Section


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
    adapters: dict[str, Path] = Field(default_factory=dict)
    """Adapters that `xdrec llm up` serves beside the model, by name; slower than a merged one (`xdrec adapt use`)."""
    adapter: str | None = None
    """Which of them answers; None: the model itself."""
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

    language: str = "en"
    """A folder under prompts/: "en", "es" or "zh"; another language is another folder."""
    style: str = "short"
    """"short", "detailed" or "playful": a template of the language."""
    template: str | None = None
    """A file, for the configured language and style; None: the shipped one."""
    sentences: Path | None = None
    """A YAML file of own sentences (`constrained`, `fallback`), for the configured language; None: the shipped ones."""
    freedom: Literal["auto", "pattern", "free"] = "auto"
    """Whether a model chooses among constrained sentences or writes its own first; "auto": its own from a billion
    parameters on, as its name tells them. Either way nothing is shown that the check objects to."""
    disclaimers: dict[str, str] = Field(default_factory=dict)
    """By domain, what is added to every reason."""
    max_tokens: int = Field(default=160, ge=32)
    evidence: int = Field(default=3, ge=1, le=10)
    """History items offered to the model as reasons, the best matching ones."""
    deadline_s: float = Field(default=120, gt=0)
    """How long a reason may take; after that the plain one from the catalogue's facts stands."""


class ChatSettings(Section):
    """How the turns of a conversation are read."""

    model: Literal["auto", "always", "off"] = "auto"
    """Whether the language model reads turns too; "auto": those of which the rules make nothing or ask about."""
    deadline_s: float = Field(default=10, gt=0)
    """How long the model may take over a turn; after that the rules' reading stands."""
    days: int = Field(default=365, ge=1)
    """For how long a dialogue is kept in which nobody speaks."""
    most: int = Field(default=100_000, ge=1)
    """Dialogues that are kept; those that were spoken in last stay."""


class AnswerSettings(Section):
    """What is kept of answers."""

    keep: bool = True
    """Whether what was recommended is kept with its query, for `xdrec explain` and evaluation."""
    days: int = Field(default=365, ge=1)
    """For how long."""
    most: int = Field(default=200_000, ge=1)
    """How many, the latest; 10 items with plain reasons take about 20 kB."""


class ArmSettings(Section):
    """One arm of an online comparison; users are assigned by hash."""

    name: str = Field(min_length=1)
    share: float = Field(gt=0)
    """Relative to the other arms' shares."""
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What differs, by section: {"rerank": {"strategy": "identity"}}; retriever, rerank or explain."""


class ServiceSettings(Section):
    """The service of `xdrec serve`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8416, ge=0, le=65535)
    keys: Literal["auto", "required", "off"] = "auto"
    """Whether requests need a key; "auto": unless only this machine can connect. "off" is refused elsewhere."""
    workers: int = Field(default=1, ge=1)
    """Processes that answer, on one socket; a busy service needs one for each processor."""
    concurrency: int = Field(default=16, ge=1)
    """Recommendations and conversations at a time, in each process."""
    queue: int = Field(default=16, ge=0)
    """How many more may wait for a turn; the next one is told to come again later (429)."""
    rate: str = "600/minute"
    """Requests per key."""
    body_kib: int = Field(default=256, ge=1)
    """Largest request body."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of other origins that may call; none by default."""
    cover_hosts: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$")], ...] = ()
    """Hosts that the page may load covers from (https); each sees what is recommended to whom. Others become links."""
    arms: tuple[ArmSettings, ...] = ()
    """Arms of an online comparison; none: everybody gets the configured settings."""
    log_text: bool = False
    """Whether logs may hold what people wrote and who they are."""
    tracing: bool = False
    """Whether OpenTelemetry spans are exported (OTEL_EXPORTER_OTLP_ENDPOINT names the collector)."""
    shutdown_s: float = Field(default=30, gt=0)
    """How long what runs may take to finish when the service is told to end."""


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
    service: ServiceSettings = ServiceSettings()
    answers: AnswerSettings = AnswerSettings()
    chat: ChatSettings = ChatSettings()
    exclusions: tuple[ExclusionSettings, ...] = ()
    """Items that nobody with certain others in their history is ever recommended."""

    def patient(self) -> Self:
        """These for work that nobody waits for: a request has time to wait for its turn at a saturated server."""
        return self.model_copy(
            update={"llm": self.llm.model_copy(update={"timeout_s": max(900.0, self.llm.timeout_s)})}
        )

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.store.url or f"sqlite:///{self.home / 'store.sqlite'}"

    @property
    def index_dir(self) -> Path:
        """Folder of the indexes."""
        return self.home / "index"

    @property
    def fits_dir(self) -> Path:
        """Folder of what was fitted on this home's data: weights of signals, what a judge is worth."""
        return self.home / "fits"

    @property
    def adapters_dir(self) -> Path:
        """Folder of the adapters."""
        return self.home / "adapters"

    @property
    def responses_dir(self) -> Path:
        """Folder of the response cache."""
        return self.home / "responses"

    @property
    def rates_dir(self) -> Path:
        """Folder of the counters of requests."""
        return self.home / "rates"

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
        toml = TomlConfigSettingsSource(settings_cls, toml_file=config_file())
        return init_settings, env_settings, toml


def config_file() -> Path:
    """The file of settings, whether it is there or not."""
    return Path(os.environ.get("XDREC_CONFIG", "xdrec.toml"))


def load_settings(**overrides: Any) -> Settings:
    """Make the settings; `overrides` are sections or top-level values that the command line gave.

    Raises:
        UsageError: a value is out of range or a name is unknown, or xdrec.toml is not TOML.
    """
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise UsageError(f"settings: {problems}", hint="see docs/reference/settings.md, or `xdrec doctor`") from exc
    except ValueError as exc:  # tomllib.TOMLDecodeError
        raise UsageError(f"xdrec.toml: {exc}", hint="mend the file or set XDREC_CONFIG to another") from exc
