"""Any table, row by row. Reads files of any dialect, produces typed values by field, and rejects."""

from retrieval.tabular.rdf import TRIPLE_READERS, last_part
from retrieval.tabular.readers import (
    NOT_JSON,
    ROW_READERS,
    WRONG_COLUMN_COUNT,
    Row,
    RowProblem,
    Rows,
    Source,
    guess_format,
    missing_file,
    open_lines,
    parse_json,
    peek_columns,
    read_csv,
    read_jsonl,
    read_lines,
    read_rows,
)
from retrieval.tabular.rejects import Problem, Rejects
from retrieval.tabular.rows import (
    INTERACTION_COLUMNS,
    ITEM_COLUMNS,
    YEARS,
    Columns,
    InteractionRows,
    ItemRows,
    RefusedRow,
    cell_text,
    parse_number,
    storable,
    unix_seconds,
)

__all__ = [
    "INTERACTION_COLUMNS", "ITEM_COLUMNS", "NOT_JSON", "ROW_READERS", "TRIPLE_READERS", "WRONG_COLUMN_COUNT",
    "YEARS", "Columns", "InteractionRows", "ItemRows", "Problem", "RefusedRow", "Rejects", "Row", "RowProblem",
    "Rows", "Source", "cell_text", "guess_format", "last_part", "missing_file", "open_lines", "parse_json",
    "parse_number", "peek_columns", "read_csv", "read_jsonl", "read_lines", "read_rows", "storable", "unix_seconds",
]  # fmt: skip
