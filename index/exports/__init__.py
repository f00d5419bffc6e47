"""A run as files: tables, spreadsheets, one document. Each says whether generated values are in it."""
