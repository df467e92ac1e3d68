"""Reports. Reads results, produces pages, pictures and tables."""

from eval.report.ab import print_ab, write_report
from eval.report.bias_card import sentence, write_bias_card
from eval.report.page import print_page, write_page
from eval.report.plots import Scale, element
from eval.report.transfer import transfer_result
from eval.report.validity import simulate_runs

__all__ = [
    "Scale",
    "element",
    "print_ab",
    "print_page",
    "sentence",
    "simulate_runs",
    "transfer_result",
    "write_bias_card",
    "write_page",
    "write_report",
]
