"""What may be shown of words that hold a password."""

import re

IN_ADDRESS = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")
IN_QUERY = re.compile(r"(password=)[^&\s'\"]*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """``postgresql://me:***@host/db``, and ``***`` after ``password=``."""
    return IN_QUERY.sub(r"\1***", IN_ADDRESS.sub(r"\1:***@", text))
