"""Parts of the HTML report: run folders read leniently, tables, charts, pictures, the template."""
