"""Studies. Each reads runs, logs or labels and produces the figures of one question."""

from eval.studies.attacks import AttackReport, attack_report, print_attacks
from eval.studies.bias import TAU_BINS, bias_card
from eval.studies.bias_card import BiasCard, Interval
from eval.studies.dialogue_evaluation import (
    load_results,
    measure_dialogues,
    merge_results,
    print_dialogues,
    save_results,
)
from eval.studies.explanations import measure_explanations, print_explanations, read_explained
from eval.studies.facets import METRIC, FacetStudy
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
from eval.studies.llm_judge import JudgeResult, judge_pairs, judge_result, pairs_of
from eval.studies.memorization import title_log_probabilities
from eval.studies.online import OnlineArm, OnlineComparison, OnlineResult, day, judge_log
from eval.studies.transfer import ALL, AUTO, Effect, Matrix, TransferResult, transfer_result
from eval.studies.transfer_runs import TrainedEncoders, TransferStudy
from eval.studies.validity import MetricValidity, ValidityResult, simulate_runs

__all__ = [
    "ALL", "AUTO", "FOLDER", "METRIC", "SHEET", "TAU_BINS", "Agreement", "AttackReport", "BiasCard", "Effect",
    "FacetStudy", "Interval", "JudgeResult", "LabelReport", "Matrix", "MetricValidity", "OnlineArm",
    "OnlineComparison", "OnlineResult", "TrainedEncoders", "TransferResult", "TransferStudy", "ValidityResult",
    "agreements", "attack_report", "bias_card", "day", "judge_log", "judge_pairs", "judge_result", "label_report",
    "load_results", "measure_dialogues", "measure_explanations", "merge_results", "pairs_of", "print_attacks",
    "print_dialogues", "print_explanations", "read_explained", "read_labels", "read_sheet", "save_results",
    "simulate_runs", "title_log_probabilities", "transfer_result", "write_sheet",
]  # fmt: skip
