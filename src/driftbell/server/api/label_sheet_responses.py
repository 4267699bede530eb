"""Responses with label sheets: CSV files of the predictions to label."""

from __future__ import annotations

from typing import Any

from fastapi import Response

CSV_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/csv": {"schema": {"type": "string"}}},
        "description": "The label sheet: a header, and one line for each prediction to label.",
    }
}


def label_sheet_response(sheet: str, name: str) -> Response:
    """Return a label sheet as a file.

    Args:
        sheet: its content.
        name: id of the alarm or of the check, for the name of the file.
    """
    headers = {"Content-Disposition": f'attachment; filename="label-sheet-{name}.csv"'}
    return Response(sheet, media_type="text/csv", headers=headers)
