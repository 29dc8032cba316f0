"""Parts of the page of a comparison: words, tables, figures, the template, its script."""
