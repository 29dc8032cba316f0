"""Speed and memory, measured against the published code in one run; README.md says how."""
