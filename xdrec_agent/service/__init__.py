"""The service of `xdrec serve`: recommendations, reasons and conversation over HTTP."""
