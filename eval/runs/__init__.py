"""Runs. Reads a request, produces run folders, and compares them."""

from eval.runs.align import align_runs, shared_metrics
from eval.runs.arms import arm_choice, arm_settings, manifest_of
from eval.runs.catalogue import measure_case, remaining_cases, run_catalogue
from eval.runs.comparison import ABResult, Arm, Comparison, compare_runs
from eval.runs.folder import CaseResult, Manifest, RunFolder, Summary, TaskName, commit
from eval.runs.rerank import reference_metrics, rerank_metrics
from eval.runs.runner import RunRequest, TrialRequest, make_run, make_trial, plan_cases, replay_run
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
    "TaskName",
    "TrialRequest",
    "TrialResult",
    "align_runs",
    "arm_choice",
    "arm_settings",
    "commit",
    "compare_runs",
    "make_run",
    "make_trial",
    "manifest_of",
    "measure_case",
    "plan_cases",
    "reference_metrics",
    "remaining_cases",
    "replay_run",
    "rerank_metrics",
    "run_catalogue",
    "shared_metrics",
]
