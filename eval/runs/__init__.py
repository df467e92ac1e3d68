"""Runs. Reads a request, produces run folders, and compares them."""

from eval.runs.align import align_runs, shared_metrics
from eval.runs.arms import arm_choice, arm_settings, manifest_of, measured, settings_again
from eval.runs.catalogue import measure_case, remaining_cases, run_catalogue
from eval.runs.comparison import ABResult, Arm, Comparison, compare_runs
from eval.runs.folder import CaseResult, Manifest, RunFolder, Summary, TaskName, commit, parse_json
from eval.runs.requests import Protocol, RunRequest
from eval.runs.rerank import reference_metrics, rerank_metrics
from eval.runs.runner import make_run, make_trial, replay_run
from eval.runs.trial import TrialResult

__all__ = [
    "ABResult", "Arm", "CaseResult", "Comparison", "Manifest", "Protocol", "RunFolder", "RunRequest", "Summary",
    "TaskName", "TrialResult", "align_runs", "arm_choice", "arm_settings", "commit", "compare_runs", "make_run",
    "make_trial", "manifest_of", "measure_case", "measured", "parse_json", "reference_metrics", "remaining_cases",
    "replay_run", "rerank_metrics", "run_catalogue", "settings_again", "shared_metrics",
]  # fmt: skip
