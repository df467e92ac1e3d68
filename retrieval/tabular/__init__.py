"""Any table, row by row. Reads files of any dialect, produces typed values by field, and rejects."""

from retrieval.tabular.columns import INTERACTION_COLUMNS, ITEM_COLUMNS, Columns
from retrieval.tabular.lines import MAX_ROW, Line, RowProblem, Source, excerpt, missing_file, open_lines
from retrieval.tabular.readers import (
    NOT_JSON,
    ROW_READERS,
    WRONG_COLUMN_COUNT,
    Row,
    RowReader,
    Rows,
    guess_format,
    parse_json,
    peek_columns,
    read_csv,
    read_jsonl,
    read_lines,
    read_rows,
)
from retrieval.tabular.rejects import Problem, Rejected, Rejects
from retrieval.tabular.rows import InteractionRows, ItemRows, cell_text
from retrieval.tabular.values import YEARS, RefusedRow, checked_seconds, parse_number, storable, utc_seconds

__all__ = [
    "INTERACTION_COLUMNS",
    "ITEM_COLUMNS",
    "MAX_ROW",
    "NOT_JSON",
    "ROW_READERS",
    "WRONG_COLUMN_COUNT",
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
    "RowProblem",
    "RowReader",
    "Rows",
    "Source",
    "cell_text",
    "checked_seconds",
    "excerpt",
    "guess_format",
    "missing_file",
    "open_lines",
    "parse_json",
    "parse_number",
    "peek_columns",
    "read_csv",
    "read_jsonl",
    "read_lines",
    "read_rows",
    "storable",
    "utc_seconds",
]
