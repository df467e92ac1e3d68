"""Any table, row by row. Reads files of any dialect, produces typed values by field, and rejects."""

from retrieval.tabular.columns import INTERACTION_COLUMNS, ITEM_COLUMNS, Columns
from retrieval.tabular.lines import Line, Source, missing, opened, shown
from retrieval.tabular.readers import COLUMNS, NOT_JSON, NOT_UTF8, ROWS, Row, read_csv, read_jsonl, read_rows
from retrieval.tabular.rejects import Problem, Rejected, Rejects
from retrieval.tabular.rows import YEARS, InteractionRows, ItemRows, RefusedRow

__all__ = [
    "COLUMNS",
    "INTERACTION_COLUMNS",
    "ITEM_COLUMNS",
    "NOT_JSON",
    "NOT_UTF8",
    "ROWS",
    "YEARS",
    "Columns",
    "InteractionRows",
    "ItemRows",
    "Line",
    "Problem",
    "RefusedRow",
    "Rejected",
    "Rejects",
    "Row",
    "Source",
    "missing",
    "opened",
    "read_csv",
    "read_jsonl",
    "read_rows",
    "shown",
]
