"""Prometheus metrics. Reads what requests and answers say of themselves, produces the text of /metrics.

Each application has a registry of its own, so that two in one process do not count for each other. Processes that serve
together count into one folder, which any of them adds up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from xdrec_agent.types import Recommendations

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What is counted and timed.

    Args:
        shared: folder into which other processes count, too; None: this is the only one.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("xdrec_requests", "Requests answered.", ("route", "status"), registry=registry)
        self.seconds = Histogram(
            "xdrec_request_seconds", "From request to the end of its answer.", ("route",), buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "xdrec_in_flight",
            "Recommendations and conversations at work.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.waiting = Gauge(
            "xdrec_waiting", "Requests that wait for a turn.", registry=registry, multiprocess_mode="livesum"
        )
        self.shed = Counter("xdrec_shed", "Requests turned away because too many waited.", registry=registry)
        self.stages = Histogram(
            "xdrec_stage_seconds", "Time of a stage of an answer.", ("stage",), buckets=_SECONDS, registry=registry
        )
        self.overhead = Histogram(
            "xdrec_overhead_seconds", "Of a recommendation, what is none of its stages.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.answers = Counter(
            "xdrec_answers", "Recommendations given.", ("target", "source", "arm"), registry=registry
        )
        self.degraded = Counter("xdrec_degraded", "Answers that are marked as degraded.", registry=registry)
        self.explanations = Counter("xdrec_explanations", "Reasons given.", ("source",), registry=registry)
        self.tokens = Counter("xdrec_llm_tokens", "Tokens to and from the model.", ("stage",), registry=registry)
        self.feedback = Counter("xdrec_feedback", "What people did with items.", ("kind", "arm"), registry=registry)

    def count_answer(self, answer: Recommendations, arm: str, seconds: float) -> None:
        """Count an answer, which took `seconds` from its query to its last reason."""
        self.answers.labels(answer.target, answer.source, arm).inc()
        if answer.degraded:
            self.degraded.inc()
        for item in answer.items:
            if item.explanation:
                self.explanations.labels(item.explanation.source).inc()
        for stage, spent in answer.seconds.items():
            self.stages.labels(stage).observe(spent)
        for stage, usage in answer.usage.items():
            self.tokens.labels(stage).inc(usage.prompt_tokens + usage.completion_tokens)
        self.overhead.observe(max(0.0, seconds - sum(answer.seconds.values())))

    def text(self) -> bytes:
        """What a scrape gets."""
        if self._shared is None:
            return generate_latest(self._registry)
        combined = CollectorRegistry()
        MultiProcessCollector(combined, path=str(self._shared))  # type: ignore[no-untyped-call] # it has no types
        return generate_latest(combined)
