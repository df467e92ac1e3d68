"""Settings of the retrieval part: plain frozen models with defaults, made at the edge and passed in."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Base of a settings section: immutable, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderSettings(Section):
    """Which sentence-transformers model embeds items and free text."""

    model: str = "minilm-taste"
    batch_size: int = Field(default=32, ge=1)
    backend: Literal["torch", "onnx-int8"] = "torch"
    """What computes: "onnx-int8" is ONNX Runtime with weights and activations of 8 bits, on the CPU
    (docs/how-to/encoder.md); changing it needs `xdrec index --rebuild`."""
    facets: bool = False
    """Whether the facets of `xdrec enrich` are part of an item's text; changing it needs `xdrec index --rebuild`."""


class IndexSettings(Section):
    """Where vectors live and how many of them a search looks at."""

    chroma_url: str | None = None
    """None: embedded in the home folder; else http(s)://host:port of a Chroma server."""
    exact_limit: int = Field(default=10_000, ge=1)
    """Up to so many eligible items are all scored exactly; of more, product quantization of the vectors proposes which
    ones are. A change needs `xdrec index`."""
    template: str = "item"
    """Template of the text that stands for an item: a shipped one's name or a file."""
    incremental_limit: int = Field(default=256, ge=0)
    """Up to so many new items join their domain's index as they are ingested; 0: only `xdrec index` adds items."""


class RetrieverSettings(Section):
    """How candidates are scored. The defaults were chosen on validation users (docs/explanation/experiments.md)."""

    temperature: float = Field(default=0.1, ge=0.03)
    """Of the log-sum-exp over history items: towards 0 the best match alone counts, towards infinity their mean."""
    half_life_days: float | None = Field(default=None, gt=0)
    """A liked item this much older than the newest counts half; None: age does not matter."""
    dislike_weight: float = Field(default=0.1, ge=0)
    """How much the similarity to disliked items lowers a score."""
    neutral_weight: float = Field(default=0.5, ge=0)
    """Weight of an item that was neither liked nor disliked, beside 0.5 to 1 of a liked one."""
    text_weight: float = Field(default=1.0, ge=0)
    """Weight of a free text beside the whole liked history; 0: the text is ignored."""
    signals: tuple[str, ...] | None = None
    """Which signals count (`retrieval.ranking.SIGNALS`), "text" among them; None: all."""
    popularity: float = Field(default=1.0, ge=0)
    """Factor of popularity's fitted weight: 0 leaves it out, so that recommendations differ from the bestsellers."""
    diversity: float = Field(default=0.0, ge=0, le=1)
    """Maximal marginal relevance: 0 is pure relevance, towards 1 candidates must differ from those above them."""


class ExclusionSettings(Section):
    """Items of a domain that what somebody has in another one forbids."""

    target: str
    """Domain of the items."""
    source: str
    """Domain of what somebody has."""
    attribute: str
    """Attribute of the items that names ids of the source."""
    when: Literal["has", "lacks"] = "has"
    """Forbidden if the person has any of them (a contraindication), or lacks any (a prerequisite)."""
