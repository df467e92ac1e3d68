"""Reports. Reads results of comparisons and studies, produces one page of charts and tables in four forms: HTML,
Markdown, JSON and the terminal's.
"""

from eval.report.ab import ab_page
from eval.report.bias import bias_page
from eval.report.charts import Chart, Scale, picture
from eval.report.judge import judge_page
from eval.report.online import online_page
from eval.report.page import Page, html_of, markdown_of, print_page, write_page
from eval.report.transfer import transfer_page
from eval.report.trial import trial_page
from eval.report.validity import validity_page

__all__ = [
    "Chart", "Page", "Scale", "ab_page", "bias_page", "html_of", "judge_page", "markdown_of", "online_page",
    "picture", "print_page", "transfer_page", "trial_page", "validity_page", "write_page",
]  # fmt: skip
