"""Errors in the form of the OpenAI API."""

from pydantic import BaseModel


class ErrorDetail(BaseModel):
    """What is wrong, and on which side: ``invalid_request_error`` is the client's, ``server_error`` is not.

    ``param`` is the field or header that is wrong, and ``code`` a name for programs; both may be unknown.
    """

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """The body of every response that is an error."""

    error: ErrorDetail

    @classmethod
    def of(cls, status: int, message: str, param: str | None = None, code: str | None = None) -> "ErrorResponse":
        """The error of a response with this status."""
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return cls(error=ErrorDetail(message=message, type=kind, param=param, code=code))
