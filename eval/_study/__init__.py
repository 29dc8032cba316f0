"""Parts of the perceptual study: its page, answers read from CSV, rates with intervals."""
