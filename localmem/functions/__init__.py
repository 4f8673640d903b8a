"""Functions the model may call. One of your own needs: `from localmem.functions import outside, Length, Range`."""

from localmem.errors import FunctionError
from localmem.functions.schema import Label, Length, Range, outside

__all__ = ["FunctionError", "Label", "Length", "Range", "outside"]
