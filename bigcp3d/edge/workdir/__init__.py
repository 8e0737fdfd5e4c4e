"""The small files of a work directory: records, tables, locks."""
