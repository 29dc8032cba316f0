"""Parts of a comparison: its runs and their processes, scores over seeds, tables, the page."""
