"""Runs. Reads a request, produces run folders, and compares them."""

from eval.runs.align import matched, shared_metrics
from eval.runs.arms import arm_choice, arm_settings, manifest_of
from eval.runs.catalogue import cases_left, catalogue_case, run_catalogue
from eval.runs.comparison import ABResult, Arm, Comparison, compare_runs
from eval.runs.folder import CaseResult, Manifest, RunFolder, Summary, Task, commit
from eval.runs.rerank import beside, metrics_of
from eval.runs.runner import RunRequest, TrialRequest, make_run, make_trial, replayed
from eval.runs.trial import TrialResult

__all__ = [
    "ABResult",
    "Arm",
    "CaseResult",
    "Comparison",
    "Manifest",
    "RunFolder",
    "RunRequest",
    "Summary",
    "Task",
    "TrialRequest",
    "TrialResult",
    "arm_choice",
    "arm_settings",
    "beside",
    "cases_left",
    "catalogue_case",
    "commit",
    "compare_runs",
    "make_run",
    "make_trial",
    "manifest_of",
    "matched",
    "metrics_of",
    "replayed",
    "run_catalogue",
    "shared_metrics",
]
