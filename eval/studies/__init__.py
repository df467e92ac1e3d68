"""Studies. Each reads runs, logs or labels and produces the figures of one question."""

from eval.studies.attack_gains import AttackReport, attack_report, print_attacks
from eval.studies.bias import TAU_BINS, bias_card
from eval.studies.bias_types import BiasCard, Interval
from eval.studies.dialogue_results import load_results, merged, print_dialogues, save_results
from eval.studies.explanation_figures import print_explanations
from eval.studies.facets import METRIC, Enriched, run_both
from eval.studies.labels import (
    FOLDER,
    SHEET,
    Agreement,
    LabelReport,
    agreements,
    label_report,
    read_labels,
    read_sheet,
    write_sheet,
)
from eval.studies.llm_judge import What, judged, pairs, read_explained
from eval.studies.memorization import title_familiarity
from eval.studies.online import OnlineArm, OnlineComparison, OnlineResult, day, judge_log
from eval.studies.preference import JudgeResult, verdict_of
from eval.studies.transfer import ALL, AUTO, Arms, Effect, Matrix, matrix, results_of
from eval.studies.transfer_encoders import Encoders
from eval.studies.transfer_runs import CHOOSABLE, TransferRequest, run_arms, run_fused
from eval.studies.validity import MetricValidity, ValidityResult, simulate_runs

__all__ = [
    "ALL",
    "AUTO",
    "CHOOSABLE",
    "FOLDER",
    "METRIC",
    "SHEET",
    "TAU_BINS",
    "Agreement",
    "Arms",
    "AttackReport",
    "BiasCard",
    "Effect",
    "Encoders",
    "Enriched",
    "Interval",
    "JudgeResult",
    "LabelReport",
    "Matrix",
    "MetricValidity",
    "OnlineArm",
    "OnlineComparison",
    "OnlineResult",
    "TransferRequest",
    "ValidityResult",
    "What",
    "agreements",
    "attack_report",
    "bias_card",
    "day",
    "judge_log",
    "judged",
    "label_report",
    "load_results",
    "matrix",
    "merged",
    "pairs",
    "print_attacks",
    "print_dialogues",
    "print_explanations",
    "read_explained",
    "read_labels",
    "read_sheet",
    "results_of",
    "run_arms",
    "run_both",
    "run_fused",
    "save_results",
    "simulate_runs",
    "title_familiarity",
    "verdict_of",
    "write_sheet",
]
